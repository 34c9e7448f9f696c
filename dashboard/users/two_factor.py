"""A second factor for who signs in with a password: codes that change every thirty seconds (TOTP, RFC 6238), by ``pyotp``.

A code is taken once: the step of time that it is of is kept, and none of that step or before it is taken again. Recovery codes
let in once each. Secrets are kept encrypted, by the same keys as customers' tokens, and anew with each code that is taken.
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
from dashboard.users import service as users
from dashboard.users.models import RecoveryCode, User

STEP: Final = 30
# A telephone's clock may be so many steps off.
OFF: Final = 1
RECOVERY_CODES: Final = 8
TITLE: Final = "Partner Console"
Seal = Callable[[str], bytes]


def new_secret() -> str:
    """Of 160 random bits, as the RFC asks, in base32."""
    return pyotp.random_base32()


def address_of(secret: str, email: str) -> str:
    """What an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=TITLE)


def step_of(secret: str, code: str, at: datetime) -> int | None:
    """The step of time that a code is of; None where it is of none near ``at``."""
    code, now, totp = _plain(code), int(at.timestamp()) // STEP, pyotp.TOTP(secret)
    # All of them are looked at, however early one fits.
    fitting = [
        step
        for step in range(now - OFF, now + OFF + 1)
        if hmac.compare_digest(totp.generate_otp(step), code)
    ]
    return fitting[-1] if fitting else None


def switch_on(user: User, secret: str, step: int, seal: Seal) -> list[str]:
    """Ask this person for codes from now on; ``step``: of the code by which they confirmed it. Their recovery codes. Commits."""
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    _forget_codes(user)
    db.session.add_all(
        RecoveryCode(user_id=user.id, code_hash=users.hashed(_plain(code))) for code in codes
    )
    user.totp_secret, user.totp_step = seal(secret), step
    db.session.commit()
    return codes


def switch_off(user: User) -> None:
    """Ask for no codes any more. Commits."""
    _forget_codes(user)
    user.totp_secret = user.totp_step = None
    db.session.commit()


def take(user: User, secret: str | None, code: str, at: datetime, seal: Seal) -> str | None:
    """Whether a code lets this person in, and what it was: a ``code`` or a ``recovery code``; None where it does not. Commits.

    ``secret``: theirs; None where no key of ours reads it, and only recovery codes do. Of two who send one code at once, one is
    let in.
    """
    step = step_of(secret, code, at) if secret is not None else None
    if step is not None and secret is not None:
        newer = update(User).where(
            User.id == user.id,
            User.totp_secret.is_not(None),
            or_(User.totp_step.is_(None), User.totp_step < step),
        )
        taken = change(newer.values(totp_step=step, totp_secret=seal(secret)))
        db.session.commit()
        return "code" if taken else None
    unused = update(RecoveryCode).where(
        RecoveryCode.user_id == user.id,
        RecoveryCode.code_hash == users.hashed(_plain(code)),
        RecoveryCode.used_at.is_(None),
    )
    taken = change(unused.values(used_at=at))
    db.session.commit()
    return "recovery code" if taken else None


def codes_left(user: User) -> int:
    """How many recovery codes somebody has that were not used."""
    unused = select(RecoveryCode.id).where(
        RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None)
    )
    return len(db.session.scalars(unused).all())


def _forget_codes(user: User) -> None:
    change(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))


def _new_code() -> str:
    """Of 120 random bits: too many to be guessed from its hash (ASVS 6.5.2 asks for 112)."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(text[start : start + 6] for start in range(0, 24, 6))


def _plain(code: str) -> str:
    """As people type it, without what stands between."""
    return "".join(each for each in code.lower() if each.isascii() and each.isalnum())[:64]
