"""Passwords: the rules for a new one, its hash, and the check of a given one."""

import re
import secrets
from datetime import datetime
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dashboard.users.errors import PeopleError
from dashboard.users.limits import LONGEST_PASSWORD, MIN_REMAINDER, MIN_SCORE, SHORTEST_PASSWORD
from dashboard.users.models import User
from dashboard.users.sessions import end_all

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


# Only so many characters are rated, since rating takes long and these are hard enough to guess.
RATED_LENGTH: Final = 64
_hasher = PasswordHasher()


_NOT_WORD: Final = re.compile(r"[^\w]+")


# Verified when no such user exists, so that response times do not reveal which addresses exist.
@cache
def _nobodys_hash() -> str:
    """Return a hash of no password. Made on first use, since it takes 64 MB."""
    return _hasher.hash(secrets.token_urlsafe(16))


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


def has_password(user: User | None, password: str) -> bool:
    """Return whether this is the user's password.

    Takes the same time if the user is None or has no password.
    """
    try:
        # Users of a provider have an empty hash.
        return _hasher.verify((user.password_hash if user else "") or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
