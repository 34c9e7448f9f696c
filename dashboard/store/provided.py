"""People whom an OpenID Connect provider vouches for: made when they first come, known by the provider's own name for them.

Their address is the one they came with first: what they own in the console hangs on it, so another one later changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from dashboard.store import people, second
from dashboard.store.database import add_if_new, db
from dashboard.store.models import User


@dataclass(frozen=True)
class Vouched:
    """What a provider says of somebody. ``subject``: its name for them; ``verified``: of the address, None where not told.

    ``role``: what its claim means here; None where it means nothing.
    """

    issuer: str
    subject: str
    email: str
    verified: bool | None
    role: str | None


class NotAdmitted(ValueError):
    """Sentences for whoever was not let in: what happened, and what to do."""


def admit(vouched: Vouched, at: datetime) -> User:
    """The person, with the role that the provider gives them today; made where they are new. Commits.

    Raises:
        NotAdmitted: they are not let in.
    """
    if vouched.verified is False:
        raise NotAdmitted(
            "Your e-mail address is not verified there, so it could be anybody’s. Verify it with your provider, then come again."
        )
    try:
        address = people.checked_address(vouched.email)
    except people.PeopleError:
        raise NotAdmitted(
            "Your provider did not tell your e-mail address. Ask whoever looks after it to send the e-mail claim."
        ) from None
    if vouched.role is None:
        _end(vouched, at)
        raise NotAdmitted(
            "Your account there has no role in this console. Ask whoever looks after your accounts to give you one, then come"
            " again."
        )
    user = _known(vouched, address)
    if user is None:
        return _make(vouched, address, at)
    if user.disabled_at is not None:
        raise NotAdmitted("You are shut out of this console. Ask an administrator to let you in again.")
    user.subject = vouched.subject
    if user.role != vouched.role:
        people.set_role(user, vouched.role, at)
    db.session.commit()
    return user


def hand_over(user: User, issuer: str, at: datetime) -> None:
    """From now on the provider vouches for this person: who comes first with their verified address. Ends sign-ins. Commits.

    Their password is forgotten, and their second factor.
    """
    user.issuer, user.subject, user.password_hash, user.password_given = issuer, None, "", False
    second.switch_off(user)
    people.end_all(user, at)


def _known(vouched: Vouched, address: str) -> User | None:
    """Who that is; None for somebody new.

    Raises:
        NotAdmitted: the address is somebody else's.
    """
    here = select(User).where(User.issuer == vouched.issuer, User.subject == vouched.subject)
    found = db.session.scalar(here)
    if found is not None:
        return found
    namesake = people.find_user(address)
    if namesake is None:
        return None
    if namesake.issuer is None:
        raise NotAdmitted(
            f"{address} signs in with a password here, and is not taken over by somebody else’s word. Sign in below, or ask an"
            " administrator to hand this person over to the provider under Admin, Users."
        )
    if namesake.issuer != vouched.issuer or namesake.subject is not None:
        raise NotAdmitted(
            f"{address} belongs to another account of a provider’s. Ask an administrator to hand this person over to the provider"
            " anew under Admin, Users."
        )
    if vouched.verified is not True:
        raise NotAdmitted(
            f"{address} was handed over to the provider, which does not say that the address is verified. Verify it there first."
        )
    return namesake


def _end(vouched: Vouched, at: datetime) -> None:
    """Who had a role here once, and has none now, does not stay signed in elsewhere."""
    gone = db.session.scalar(select(User).where(User.issuer == vouched.issuer, User.subject == vouched.subject))
    if gone is not None:
        people.end_all(gone, at)


def _make(vouched: Vouched, address: str, at: datetime) -> User:
    assert vouched.role is not None
    new = User(email=address, role=vouched.role, password_hash="", created_at=at, issuer=vouched.issuer, subject=vouched.subject)
    user = add_if_new(new)
    db.session.commit()
    # Of two first sign-ins at once, the other one has made them.
    return admit(vouched, at) if user is None else user
