"""Users, sign-ins and personal access tokens. Keys and tokens are random, and kept as SHA-256 only."""

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
# What is tried first here, beside what is tried first everywhere; so much has to be left of a password without it.
TRIED_FIRST: Final = (
    "peliqan", "partner", "console", "dashboard", "customer", "support", "viewer", "operator", "admin",
    "wachtwoord", "passwort", "motdepasse", "contraseña", "azerty",
)  # fmt: skip
LEFT_OVER: Final = 8
# The best of zxcvbn's marks, which go from 0: it takes ten thousand million guesses or more.
LEAST_MARK: Final = 4
# Longer ones are hard enough to guess by their beginning, and take long to be looked through.
LOOKED_THROUGH: Final = 64
IDLE: Final = timedelta(hours=1)
ABSOLUTE: Final = timedelta(hours=12)
TOKEN_PREFIX: Final = "pc_"
# A provider says nothing of who left: their tokens rest when they were not here for so long.
VOUCHED_FOR: Final = timedelta(days=30)
_hasher = PasswordHasher()
# Characters of an e-mail address (RFC 5321, and what email-validator takes).
LONGEST_ADDRESS: Final = 254
_NO_WORD: Final = re.compile(r"[^\w]+")
# Of sign-ins: that nobody has ended them, and time has not (``limits``). Made once, as what every page asks.
LASTING = (
    UserSession.ended_at.is_(None),
    UserSession.seen_at >= bindparam("used_since"),
    UserSession.started_at >= bindparam("begun_since"),
)
_BY_KEY = select(UserSession).where(UserSession.key_hash == bindparam("key_hash"), *LASTING)


# Checked when there is no such user, so that the time an answer takes does not tell which addresses exist.
@cache
def _nobodys_hash() -> str:
    """Made when first needed: it takes 64 MB, which a worker, where nobody signs in, has no use for."""
    return _hasher.hash(secrets.token_urlsafe(16))


class PeopleError(ValueError):
    """A sentence that says what is wrong with an address, role or password."""


@dataclass(frozen=True)
class Secret:
    """A new key or token, for the one time it is shown or set."""

    value: str


def create_user(email: str, role: str, password: str, at: datetime, *, given: bool = False) -> User:
    """Add a person. ``given``: the password is another one's choice, and theirs must come before anything else.

    Raises:
        PeopleError: the address is none or taken, the role unknown, the password too short or too easily guessed.
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
    """An e-mail address as it is kept: its canonical form (``core.email_addresses``).

    Raises:
        PeopleError: it is none.
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
    """Argon2id with the library's own parameters. ``email``: whose it is to be.

    Raises:
        PeopleError: too short, absurdly long, or guessed easily: it is common, was found in breaches, or made of little but
            words, dates and rows of keys (zxcvbn's lists).
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise PeopleError(f"A password needs {SHORTEST_PASSWORD} characters or more.")
    # Loaded here: its lists are megabytes, which a worker has no use for.
    from zxcvbn import zxcvbn

    words = {*TRIED_FIRST, *(part for part in _NO_WORD.split(email.lower()) if len(part) > 2)}
    left = password.lower()
    # The longest first, so that nothing is left over of one that holds another.
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, "")
    found = zxcvbn(password[:LOOKED_THROUGH], user_inputs=sorted(words))
    if len(left) < LEFT_OVER or found["score"] < LEAST_MARK:
        why = (
            found["feedback"]["warning"]
            or "It is made of little but your address, words of the trade or one character."
        )
        raise PeopleError(f"That is guessed too easily. {why}")
    return _hasher.hash(password)


def find_user(email: str) -> User | None:
    """Find the person with this address in any spelling, disabled ones included.

    Only by the canonical form, which is also what attempts are counted by: no text finds a person and is counted for another.
    Where earlier versions let in two people with one canonical form: the one whose spelling is this one, or else the first.
    """
    form, written = canonical(email), clean(email).strip().lower()
    # The second half: of a user whom a version made that kept no canonical form, until the daily repair.
    same = (
        select(User)
        .where(or_(User.address == form, User.email.in_([form, written])))
        .order_by(User.id)
    )
    found = [user for user in db.session.scalars(same) if canonical(user.email) == form]
    return next((user for user in found if user.email == written), found[0] if found else None)


def set_password(user: User, password: str, at: datetime, *, given: bool = False) -> None:
    """A new password; it ends every sign-in of that person. ``given``: as in ``create_user``. Commits.

    Whom a version before schema 0022 handed over to a provider, and who never signed in there, has a password again.

    Raises:
        PeopleError: it is none (see ``hash_password``), or a provider vouches for them.
    """
    if user.issuer is not None and user.subject is not None:
        raise PeopleError(f"{user.email} signs in at {user.issuer} and has no password here.")
    user.password_hash, user.password_given = hash_password(password, user.email), given
    if user.issuer is not None:
        user.handed_to, user.issuer = user.issuer, None
    end_all(user, at)


def disable(user: User, at: datetime) -> None:
    """Shut a person out: no sign-in, no token, and none of those that are open. Commits."""
    user.disabled_at = at
    db.session.execute(
        update(AccessToken)
        .where(AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    end_all(user, at)


def enable(user: User) -> None:
    """Let a person in again. Commits."""
    user.disabled_at = None
    db.session.commit()


def set_role(user: User, role: str, at: datetime) -> None:
    """Another role; it ends every sign-in, so that nobody goes on with rights they lost. Commits."""
    if role not in ROLES:
        raise PeopleError(f"“{role[:20]}” is no role. There are: {', '.join(ROLES)}.")
    user.role = role
    end_all(user, at)


def check_password(email: str, password: str) -> User | None:
    """The person, if the password is theirs and they are not disabled. Takes as long when there is no such person."""
    user = find_user(email)
    return (
        user
        if has_password(user, password) and user is not None and user.disabled_at is None
        else None
    )


def has_password(user: User | None, password: str) -> bool:
    """Whether a password is this person's. Takes as long where there is no such person, or they have none."""
    try:
        # Who signs in at a provider has none.
        return _hasher.verify((user.password_hash if user else "") or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False


def sign_in(user: User, at: datetime, browser: str = "") -> Secret:
    """Begin a sign-in; the key goes into the session cookie. ``browser``: in a few words, for its owner. Commits."""
    key = secrets.token_urlsafe(32)
    _note_use(user, at)
    db.session.add(
        UserSession(
            user_id=user.id, key_hash=hashed(key), started_at=at, seen_at=at, browser=browser[:80]
        )
    )
    db.session.commit()
    return Secret(key)


def signed_in(key: str, at: datetime, *, counts_as_use: bool) -> UserSession | None:
    """The sign-in of this key, while it lasts: ``IDLE`` after its last use, ``ABSOLUTE`` after its start.

    A poll does not count as use: a tab left open must not keep anybody signed in.
    """
    found = db.session.scalar(_BY_KEY, {"key_hash": hashed(key), **limits(at)})
    if found is None or found.user.disabled_at is not None:
        return None
    if counts_as_use and at - found.seen_at > timedelta(minutes=1):
        found.seen_at = at
        _note_use(found.user, at)
        db.session.commit()
    return found


def limits(at: datetime) -> dict[str, datetime]:
    """The parameters of ``LASTING`` at this moment."""
    return {"used_since": at - IDLE, "begun_since": at - ABSOLUTE}


def _note_use(user: User, at: datetime) -> None:
    """They are here. After more than ``IDLE`` this is another visit: the one before ended when they were last seen."""
    if user.seen_at is not None and at - user.seen_at > IDLE:
        user.left_at = user.seen_at
    user.seen_at = at


def sign_out(key: str, at: datetime) -> None:
    """End the sign-in, so that a copied cookie is worth nothing. Commits."""
    db.session.execute(
        update(UserSession).where(UserSession.key_hash == hashed(key)).values(ended_at=at)
    )
    db.session.commit()


def end_all(user: User, at: datetime, *, but: str = "") -> None:
    """End every sign-in of a person, ``but`` the one of this key. Commits."""
    mine = update(UserSession).where(
        UserSession.user_id == user.id,
        UserSession.key_hash != hashed(but),
        UserSession.ended_at.is_(None),
    )
    db.session.execute(mine.values(ended_at=at))
    db.session.commit()


def new_token(user: User, name: str, at: datetime) -> Secret:
    """A personal access token, to be shown once. Commits.

    Raises:
        PeopleError: no name, or too many.
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
    """A person's tokens that are not revoked, newest first."""
    mine = select(AccessToken).where(
        AccessToken.user_id == user.id, AccessToken.revoked_at.is_(None)
    )
    return list(db.session.scalars(mine.order_by(AccessToken.id.desc())))


def revoke_token(user: User, token_id: int, at: datetime) -> bool:
    """Make one of a person's tokens worthless; False when they have no such. Commits."""
    token = next((token for token in tokens_of(user) if token.id == token_id), None)
    if token is not None:
        token.revoked_at = at
        db.session.commit()
    return token is not None


def owner_of_token(value: str, at: datetime) -> User | None:
    """Whose token it is, if it is not revoked and they are not disabled. Notes the use once a minute.

    Of who signs in at a provider only while they do so: ``VOUCHED_FOR`` after they were here last it rests until they come again.
    """
    found = db.session.scalar(
        select(AccessToken).where(
            AccessToken.token_hash == hashed(value), AccessToken.revoked_at.is_(None)
        )
    )
    if found is None or found.user.disabled_at is not None:
        return None
    if found.user.issuer is not None and (
        found.user.seen_at is None or at - found.user.seen_at > VOUCHED_FOR
    ):
        return None
    if found.used_at is None or at - found.used_at > timedelta(minutes=1):
        found.used_at = at
        db.session.commit()
    return found.user


def hashed(value: str) -> str:
    """SHA-256: enough for values of 256 random bits, which no dictionary holds."""
    return hashlib.sha256(value.encode()).hexdigest()
