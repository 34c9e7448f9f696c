"""Second factor for users with a password: time-based codes (TOTP, RFC 6238), by ``pyotp``.

A code is accepted once: its time step is stored, and codes of that step or earlier are refused.
Each recovery code is accepted once in the place of a code. Secrets are encrypted with the keys of
customers' tokens, and encrypted again with the newest key whenever a code is accepted.
"""

import base64
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final

import pyotp
from sqlalchemy import delete, or_, select, update

from dashboard.core.database import change, db
from dashboard.users import keys
from dashboard.users.limits import RECOVERY_CODES
from dashboard.users.models import RecoveryCode, User

STEP: Final = 30
# A telephone's clock may differ by so many steps.
TOLERANCE: Final = 1
TITLE: Final = "Partner Console"
Seal = Callable[[str], bytes]


def new_secret() -> str:
    """Return a new base32 secret of 160 random bits, as the RFC recommends."""
    return pyotp.random_base32()


def address_of(secret: str, email: str) -> str:
    """Return the address that an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=TITLE)


def step_of(secret: str, code: str, at: datetime) -> int | None:
    """Return the time step that a code belongs to; None if it belongs to none near ``at``."""
    code, now, totp = _plain(code), int(at.timestamp()) // STEP, pyotp.TOTP(secret)
    # All steps are compared even after a match, so that the time taken reveals nothing.
    fitting = [
        step
        for step in range(now - TOLERANCE, now + TOLERANCE + 1)
        if hmac.compare_digest(totp.generate_otp(step), code)
    ]
    return fitting[-1] if fitting else None


def switch_on(user: User, secret: str, step: int, seal: Seal) -> list[str]:
    """Require codes from this user and return their new recovery codes. Commits.

    ``step``: the time step of the code that confirmed the secret.
    """
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    _delete_codes(user)
    db.session.add_all(
        RecoveryCode(user_id=user.id, code_hash=keys.hashed(_plain(code))) for code in codes
    )
    user.totp_secret, user.totp_step = seal(secret), step
    db.session.commit()
    return codes


def switch_off(user: User) -> None:
    """Remove a user's second factor and recovery codes. Commits."""
    _delete_codes(user)
    user.totp_secret = user.totp_step = None
    db.session.commit()


def use_code(user: User, secret: str | None, code: str, at: datetime, seal: Seal) -> str | None:
    """Accept a code once; return its kind, ``code`` or ``recovery code``, or None. Commits.

    ``secret``: the user's; None if no configured key decrypts it, and then only recovery codes are
    accepted. Of two requests with the same code, one is accepted.
    """
    step = step_of(secret, code, at) if secret is not None else None
    if step is not None and secret is not None:
        newer = update(User).where(
            User.id == user.id,
            User.totp_secret.is_not(None),
            or_(User.totp_step.is_(None), User.totp_step < step),
        )
        accepted = change(newer.values(totp_step=step, totp_secret=seal(secret)))
        db.session.commit()
        return "code" if accepted else None
    unused = update(RecoveryCode).where(
        RecoveryCode.user_id == user.id,
        RecoveryCode.code_hash == keys.hashed(_plain(code)),
        RecoveryCode.used_at.is_(None),
    )
    accepted = change(unused.values(used_at=at))
    db.session.commit()
    return "recovery code" if accepted else None


def codes_left(user: User) -> int:
    """Count a user's unused recovery codes."""
    unused = select(RecoveryCode.id).where(
        RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None)
    )
    return len(db.session.scalars(unused).all())


def _delete_codes(user: User) -> None:
    change(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))


def _new_code() -> str:
    """Return a code of 120 random bits, not guessable from its hash (ASVS 6.5.2 asks for 112)."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(text[start : start + 6] for start in range(0, 24, 6))


def _plain(code: str) -> str:
    """Return a typed code without spaces and punctuation, in lower case."""
    return "".join(each for each in code.lower() if each.isascii() and each.isalnum())[:64]
