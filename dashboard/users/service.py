"""Users: create, find, disable and enable them, and change their role."""

from datetime import datetime
from typing import Final

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import or_, select, update

from dashboard.core.database import add_if_new, db
from dashboard.core.email_addresses import canonical
from dashboard.core.text import clean
from dashboard.users.errors import PeopleError
from dashboard.users.limits import LONGEST_ADDRESS
from dashboard.users.models import AccessToken, User
from dashboard.users.passwords import has_password, hash_password
from dashboard.users.sessions import end_all

ROLES: Final = ("viewer", "operator", "admin")


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
