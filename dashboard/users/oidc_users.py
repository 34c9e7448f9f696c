"""People whom an OpenID Connect provider vouches for: made when they first come, known by the provider's own name for them.

Their address is the one they came with first: what they own in the console hangs on it, so another one later changes nothing.

Somebody new, or handed over, is known by an address alone, so something must vouch for it: the provider says ``email_verified``,
or the settings say that the address's domain is the provider's own (Entra ID sends no ``email_verified``). Its optional claim
``xms_edov`` is not read: where the issuer is one tenant's and the domains are named, it adds nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, update

from dashboard.audit import service as audit
from dashboard.core.database import add_if_new, change, db
from dashboard.users import service as users
from dashboard.users import two_factor
from dashboard.users.models import User


@dataclass(frozen=True)
class OidcIdentity:
    """What a provider says of somebody. ``subject``: its name for them; ``verified``: of the address, None where not told.

    ``role``: what its claim means here; None where it means nothing. ``claim``: where the address was looked for.
    """

    issuer: str
    subject: str
    email: str
    verified: bool | None
    role: str | None
    claim: str = "email"


class NotProvisioned(ValueError):
    """Sentences for whoever was not let in: what happened, and what to do."""


def provision_user(vouched: OidcIdentity, at: datetime, domains: Collection[str] = ()) -> User:
    """The person, with the role that the provider gives them today; made where they are new. Commits.

    ``domains``: addresses in these are the provider's own and count as verified, unless it says that they are not.

    Raises:
        NotAdmitted: they are not let in.
    """
    if vouched.verified is False:
        raise NotProvisioned(
            "Your e-mail address is not verified there, so it could be anybody’s. Verify it with your provider, then come again."
        )
    address = _address(vouched)
    if vouched.role is None:
        _end(vouched, at)
        raise NotProvisioned(
            "Your account there has no role in this console. Ask whoever looks after your accounts to give you one, then come"
            " again."
        )
    user = _bound(vouched)
    if user is None:
        namesake = users.find_user(address)
        _check_namesake(namesake, vouched, address)
        _check_vouched_for(vouched, address, domains, is_waiting=namesake is not None)
        if namesake is None:
            return _make(vouched, address, at, domains)
        if namesake.disabled_at is None and not _bind(namesake, vouched, at):
            return provision_user(vouched, at, domains)
        user = namesake
    if user.disabled_at is not None:
        raise NotProvisioned(
            "You are shut out of this console. Ask an administrator to let you in again."
        )
    if user.role != vouched.role:
        users.set_role(user, vouched.role, at)
    db.session.commit()
    return user


def hand_over(user: User, issuer: str) -> None:
    """The provider vouches for this person as soon as somebody signs in there with their verified address. Commits.

    Until then they sign in as before: nobody is locked out by a provider that cannot vouch for them. Then their password, their
    second factor and whatever account they had at a provider before are worth nothing, and their sessions end (``_bind``).
    """
    user.handed_to = issuer
    db.session.commit()


def _bind(user: User, vouched: OidcIdentity, at: datetime) -> bool:
    """The first sign-in of somebody handed over: from now on the provider's account is the only way in. Commits.

    False where another request was first: they may be bound to another account by now.
    """
    waits = or_(
        User.handed_to == vouched.issuer, (User.issuer == vouched.issuer) & User.subject.is_(None)
    )
    bound = {"issuer": vouched.issuer, "subject": vouched.subject, "handed_to": None}
    no_password = {"password_hash": "", "password_given": False}
    if not change(update(User).where(User.id == user.id, waits).values(**bound, **no_password)):
        db.session.rollback()
        return False
    db.session.expire(user)
    two_factor.switch_off(user)
    users.end_all(user, at)
    detail = f"First sign-in at {vouched.issuer}: the password and the second factor are removed."
    audit.record(at, user.email, "hand_over", audit.DONE, detail=detail)
    return True


def _address(vouched: OidcIdentity) -> str:
    try:
        return users.checked_address(vouched.email)
    except users.PeopleError:
        says = (
            f" (its claim “{vouched.claim}” says “{vouched.email[:80]}”, which is none)"
            if vouched.email
            else ""
        )
        raise NotProvisioned(
            f"Your provider did not tell your e-mail address{says}. Ask its administrator to send the {vouched.claim} claim,"
            " or this console's operator to set DASHBOARD_OIDC_EMAIL_CLAIM to the claim that has the address."
        ) from None


def _bound(vouched: OidcIdentity) -> User | None:
    return db.session.scalar(
        select(User).where(User.issuer == vouched.issuer, User.subject == vouched.subject)
    )


def _check_namesake(namesake: User | None, vouched: OidcIdentity, address: str) -> None:
    """Return where nobody has the address, or its person is handed over to this provider.

    Raises:
        NotAdmitted: the address is somebody else's.
    """
    if namesake is None or namesake.handed_to == vouched.issuer:
        return
    if namesake.issuer is None:
        raise NotProvisioned(
            f"{address} signs in with a password here, and is not taken over by somebody else’s word. Sign in below, or ask an"
            " administrator to hand this person over to the provider under Admin, Users."
        )
    # Handed over by a version before schema 0022, which took the password at once.
    if namesake.issuer != vouched.issuer or namesake.subject is not None:
        raise NotProvisioned(
            f"{address} belongs to another account of a provider’s. Ask an administrator to hand this person over to the provider"
            " anew under Admin, Users."
        )


def _check_vouched_for(
    vouched: OidcIdentity, address: str, domains: Collection[str], *, is_waiting: bool
) -> None:
    """Return if the address is verified.

    Raises:
        NotAdmitted: neither the provider nor the settings vouch for it.
    """
    domain = address.rpartition("@")[2]
    if vouched.verified or domain in domains:
        return
    waits = " was handed over to the provider, which" if is_waiting else ": your provider"
    raise NotProvisioned(
        f"{address}{waits} does not say that the address is verified, so it could be anybody’s. Ask the provider's"
        f" administrator to send email_verified, or, if all addresses of {domain} are your provider’s own, this console's"
        f" operator to name {domain} in DASHBOARD_OIDC_DOMAINS."
        + (" Until then sign in as before." if is_waiting else "")
    )


def _end(vouched: OidcIdentity, at: datetime) -> None:
    """Who had a role here once, and has none now, does not stay signed in elsewhere."""
    gone = _bound(vouched)
    if gone is not None:
        users.end_all(gone, at)


def _make(vouched: OidcIdentity, address: str, at: datetime, domains: Collection[str]) -> User:
    assert vouched.role is not None
    new = User(
        email=address,
        role=vouched.role,
        password_hash="",
        created_at=at,
        issuer=vouched.issuer,
        subject=vouched.subject,
    )
    user = add_if_new(new)
    db.session.commit()
    # Of two first sign-ins at once, the other one has made them.
    return provision_user(vouched, at, domains) if user is None else user
