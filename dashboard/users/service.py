"""Users, their passwords and sessions, and personal access tokens.

Keys and tokens are random; only their SHA-256 is stored.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import bindparam, or_, select, update

from dashboard.core.database import add_if_new, db
from dashboard.core.email_addresses import canonical
from dashboard.core.text import clean
from dashboard.users.models import AccessToken, User, UserSession

ROLES: Final = ("viewer", "operator", "admin")
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 1000
# Words that are guessed first for this console, besides zxcvbn's lists. Without them, a password
# must have at least MIN_REMAINDER characters.
COMMON_WORDS: Final = (
    "peliqan",
    "partner",
    "console",
    "dashboard",
    "customer",
    "support",
    "viewer",
    "operator",
    "admin",
    "wachtwoord",
    "passwort",
    "motdepasse",
    "contraseña",
    "azerty",
)
MIN_REMAINDER: Final = 8
# zxcvbn's highest score, on a scale from 0: ten thousand million guesses or more.
MIN_SCORE: Final = 4
# Only so many characters are rated, since rating takes long and these are hard enough to guess.
RATED_LENGTH: Final = 64
IDLE: Final = timedelta(hours=1)
ABSOLUTE: Final = timedelta(hours=12)
TOKEN_PREFIX: Final = "pc_"
# A provider does not report users who left, so their tokens pause after so long without sign-in.
TOKEN_PAUSES_AFTER: Final = timedelta(days=30)
_hasher = PasswordHasher()
# Characters of an e-mail address (RFC 5321, and the limit of email-validator).
LONGEST_ADDRESS: Final = 254
_NOT_WORD: Final = re.compile(r"[^\w]+")
# Conditions of an open session: not ended, and not timed out (parameters: ``session_limits``).
# Built once, since every request uses them.
IS_OPEN = (
    UserSession.ended_at.is_(None),
    UserSession.seen_at >= bindparam("used_since"),
    UserSession.started_at >= bindparam("begun_since"),
)
_BY_KEY = select(UserSession).where(UserSession.key_hash == bindparam("key_hash"), *IS_OPEN)


# Verified when no such user exists, so that response times do not reveal which addresses exist.
@cache
def _nobodys_hash() -> str:
    """Return a hash of no password. Made on first use, since it takes 64 MB."""
    return _hasher.hash(secrets.token_urlsafe(16))


class PeopleError(ValueError):
    """An address, role, password or token name is invalid; the text says why."""


@dataclass(frozen=True)
class Secret:
    """A new key or token, shown or set once."""

    value: str


def create_user(email: str, role: str, password: str, at: datetime, *, given: bool = False) -> User:
    """Create a user. Commits.

    ``given``: an administrator chose the password, so the user must choose another first.

    Raises:
        PeopleError: the address is invalid or used already, the role is unknown, or the password
            is too short or easily guessed.
    """
    address = checked_address(email)
    if role not in ROLES:
        raise PeopleError(f"“{role[:20]}” is no role. There are: {', '.join(ROLES)}.")
    hashed_password = hash_password(password, address)
    if find_user(address) is not None:
        raise PeopleError(f"There is a user {address} already.")
    new = User(
        email=address, role=role, password_hash=hashed_password, created_at=at, password_given=given
    )
    user = add_if_new(new)
    db.session.commit()
    if user is None:
        raise PeopleError(f"There is a user {address} already.")
    return user


def checked_address(email: str) -> str:
    """Return an e-mail address in its canonical form (``core.email_addresses``).

    Raises:
        PeopleError: it is no e-mail address.
    """
    if len(email) > LONGEST_ADDRESS:
        raise PeopleError(
            f"“{email[:80]}…” is no e-mail address: one has {LONGEST_ADDRESS} characters at most."
        )
    try:
        found = validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise PeopleError(f"“{email[:80]}” is no e-mail address: {error}") from None
    return canonical(found.normalized)


def hash_password(password: str, email: str) -> str:
    """Hash a password with Argon2id and the library's parameters.

    ``email``: the user's address, whose parts count as easily guessed.

    Raises:
        PeopleError: the password is too short, too long, or easily guessed: common, known from
            breaches, or made mostly of words, dates and keyboard rows (zxcvbn's lists).
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise PeopleError(f"A password needs {SHORTEST_PASSWORD} characters or more.")
    # Imported here, since its lists take megabytes that a worker never needs.
    from zxcvbn import zxcvbn

    words = {*COMMON_WORDS, *(part for part in _NOT_WORD.split(email.lower()) if len(part) > 2)}
    remainder = password.lower()
    # The longest first, so that a word inside another one leaves no rest.
    for word in sorted(words, key=len, reverse=True):
        remainder = remainder.replace(word, "")
    rating = zxcvbn(password[:RATED_LENGTH], user_inputs=sorted(words))
    if len(remainder) < MIN_REMAINDER or rating["score"] < MIN_SCORE:
        why = (
            rating["feedback"]["warning"]
            or "It is made of little but your address, words of the trade or one character."
        )
        raise PeopleError(f"That is guessed too easily. {why}")
    return _hasher.hash(password)


def find_user(email: str) -> User | None:
    """Return the user with this address in any spelling, disabled ones included; else None.

    Compares the canonical form only, which login attempts are counted by too: no text finds a user
    and is counted for another. If earlier versions created two users with one canonical form,
    returns the one with this exact spelling, else the first.
    """
    form, written = canonical(email), clean(email).strip().lower()
    # The second condition finds users of a version that stored no canonical form, until the daily
    # repair adds it.
    same = (
        select(User)
        .where(or_(User.address == form, User.email.in_([form, written])))
        .order_by(User.id)
    )
    found = [user for user in db.session.scalars(same) if canonical(user.email) == form]
    return next((user for user in found if user.email == written), found[0] if found else None)


def set_password(user: User, password: str, at: datetime, *, given: bool = False) -> None:
    """Set a new password and end all sessions of the user. Commits.

    ``given``: as in ``create_user``. A user whom a version before schema 0022 handed over to a
    provider, and who never signed in there, gets a password again.

    Raises:
        PeopleError: the password is refused (see ``hash_password``), or a provider authenticates
            the user.
    """
    if user.issuer is not None and user.subject is not None:
        raise PeopleError(f"{user.email} signs in at {user.issuer} and has no password here.")
    user.password_hash, user.password_given = hash_password(password, user.email), given
    if user.issuer is not None:
        user.handed_to, user.issuer = user.issuer, None
    end_all(user, at)


def disable(user: User, at: datetime) -> None:
    """Disable a user, revoke their tokens and end their sessions. Commits."""
    user.disabled_at = at
    db.session.execute(
        update(AccessToken)
        .where(AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    end_all(user, at)


def enable(user: User) -> None:
    """Enable a disabled user. Commits."""
    user.disabled_at = None
    db.session.commit()


def set_role(user: User, role: str, at: datetime) -> None:
    """Change a user's role and end their sessions, so that no session keeps old rights. Commits."""
    if role not in ROLES:
        raise PeopleError(f"“{role[:20]}” is no role. There are: {', '.join(ROLES)}.")
    user.role = role
    end_all(user, at)


def check_password(email: str, password: str) -> User | None:
    """Return the user if the password is right and the user is enabled; else None.

    Takes the same time if no such user exists.
    """
    user = find_user(email)
    return (
        user
        if has_password(user, password) and user is not None and user.disabled_at is None
        else None
    )


def has_password(user: User | None, password: str) -> bool:
    """Return whether this is the user's password.

    Takes the same time if the user is None or has no password.
    """
    try:
        # Users of a provider have an empty hash.
        return _hasher.verify((user.password_hash if user else "") or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False


def sign_in(user: User, at: datetime, browser: str = "") -> Secret:
    """Start a session and return the key for the session cookie. Commits.

    ``browser``: a short name, shown to the user.
    """
    key = secrets.token_urlsafe(32)
    _record_use(user, at)
    db.session.add(
        UserSession(
            user_id=user.id, key_hash=hashed(key), started_at=at, seen_at=at, browser=browser[:80]
        )
    )
    db.session.commit()
    return Secret(key)


def signed_in(key: str, at: datetime, *, counts_as_use: bool) -> UserSession | None:
    """Return the open session of this key; None if it ended or its user is disabled.

    A session ends ``IDLE`` after its last use and ``ABSOLUTE`` after its start. Polls must pass
    ``counts_as_use=False``, since an open tab must not keep a session alive. Commits when it
    records the use, at most once a minute.
    """
    found = db.session.scalar(_BY_KEY, {"key_hash": hashed(key), **session_limits(at)})
    if found is None or found.user.disabled_at is not None:
        return None
    if counts_as_use and at - found.seen_at > timedelta(minutes=1):
        found.seen_at = at
        _record_use(found.user, at)
        db.session.commit()
    return found


def session_limits(at: datetime) -> dict[str, datetime]:
    """Return the parameters of ``IS_OPEN`` at this time."""
    return {"used_since": at - IDLE, "begun_since": at - ABSOLUTE}


def _record_use(user: User, at: datetime) -> None:
    """Record a use; after a pause of more than ``IDLE``, also when the last visit ended."""
    if user.seen_at is not None and at - user.seen_at > IDLE:
        user.left_at = user.seen_at
    user.seen_at = at


def sign_out(key: str, at: datetime) -> None:
    """End a session on the server, so that copies of its cookie are invalid. Commits."""
    db.session.execute(
        update(UserSession).where(UserSession.key_hash == hashed(key)).values(ended_at=at)
    )
    db.session.commit()


def end_all(user: User, at: datetime, *, except_key: str = "") -> None:
    """End a user's sessions, except the one of ``except_key``. Commits."""
    mine = update(UserSession).where(
        UserSession.user_id == user.id,
        UserSession.key_hash != hashed(except_key),
        UserSession.ended_at.is_(None),
    )
    db.session.execute(mine.values(ended_at=at))
    db.session.commit()


def new_token(user: User, name: str, at: datetime) -> Secret:
    """Create a personal access token, to be shown once. Commits.

    Raises:
        PeopleError: the name is empty, or the user has 20 tokens.
    """
    if not name.strip():
        raise PeopleError("Give the token a name that says what uses it.")
    if len(tokens_of(user)) >= 20:
        raise PeopleError("You have 20 tokens. Revoke one that is not used any more.")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    db.session.add(
        AccessToken(
            user_id=user.id,
            name=name.strip()[:80],
            start=token[:9],
            token_hash=hashed(token),
            created_at=at,
        )
    )
    db.session.commit()
    return Secret(token)


def tokens_of(user: User) -> list[AccessToken]:
    """Return a user's tokens that are not revoked, newest first."""
    mine = select(AccessToken).where(
        AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None)
    )
    return list(db.session.scalars(mine.order_by(AccessToken.id.desc())))


def revoke_token(user: User, token_id: int, at: datetime) -> bool:
    """Revoke one of a user's tokens; False if the user has no such token. Commits."""
    token = next((token for token in tokens_of(user) if token.id == token_id), None)
    if token is not None:
        token.revoked_at = at
        db.session.commit()
    return token is not None


def owner_of_token(value: str, at: datetime) -> User | None:
    """Return the owner of a valid token; None if it is revoked or its owner is disabled.

    Records the use once a minute, with a commit. A provider's user must have signed in within
    ``TOKEN_PAUSES_AFTER``; otherwise the token is invalid until the next sign-in.
    """
    found = db.session.scalar(
        select(AccessToken).where(
            AccessToken.token_hash == hashed(value), AccessToken.revoked_at.is_(None)
        )
    )
    if found is None or found.user.disabled_at is not None:
        return None
    if found.user.issuer is not None and (
        found.user.seen_at is None or at - found.user.seen_at > TOKEN_PAUSES_AFTER
    ):
        return None
    if found.used_at is None or at - found.used_at > timedelta(minutes=1):
        found.used_at = at
        db.session.commit()
    return found.user


def hashed(value: str) -> str:
    """Return the SHA-256 of a value. Enough for 256 random bits, which no dictionary contains."""
    return hashlib.sha256(value.encode()).hexdigest()
