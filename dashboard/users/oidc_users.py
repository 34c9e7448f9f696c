"""Users of an OpenID Connect provider: created at their first sign-in, found by its subject.

Their address stays the one of the first sign-in, since rows of the console refer to it; a later
change at the provider has no effect.

A new or handed-over user is identified by the address alone, so the address must be verified:
either the provider sends ``email_verified``, or the settings name the address's domain as the
provider's own (Entra ID sends no ``email_verified``). Entra ID's optional claim ``xms_edov`` is not
read: with one tenant's issuer and named domains it adds nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select, update

from dashboard.audit import service as audit
from dashboard.core.database import add_if_new, change, db
from dashboard.users import service as users
from dashboard.users import sessions, two_factor
from dashboard.users.errors import PeopleError
from dashboard.users.models import User


@dataclass(frozen=True)
class OidcIdentity:
    """What a provider states about a user who signs in.

    ``subject``: the provider's identifier. ``verified``: whether the address is; None if the
    provider does not say. ``role``: the console's role; None if no claim maps to one. ``claim``:
    the claim that the address comes from.
    """

    issuer: str
    subject: str
    email: str
    verified: bool | None
    role: str | None
    claim: str = "email"


class NotProvisioned(ValueError):
    """The user was not signed in; the text says what happened and what to do."""


def provision_user(identity: OidcIdentity, at: datetime, domains: Collection[str] = ()) -> User:
    """Return the identity's user with its current role; create the user if new. Commits.

    ``domains``: addresses of these domains count as verified, unless the provider states that the
    address is not.

    Raises:
        NotProvisioned: the user must not be signed in.
    """
    if identity.verified is False:
        raise NotProvisioned(
            "Your e-mail address is not verified there, so it could be anybody’s."
            " Verify it with your provider, then come again."
        )
    address = _address(identity)
    if identity.role is None:
        _end_sessions(identity, at)
        raise NotProvisioned(
            "Your account there has no role in this console."
            " Ask the administrator of your accounts to give you one, then come again."
        )
    user = _bound(identity)
    if user is None:
        namesake = users.find_user(address)
        _check_namesake(namesake, identity, address)
        _check_verified(identity, address, domains, is_waiting=namesake is not None)
        if namesake is None:
            return _create(identity, address, at, domains)
        if namesake.disabled_at is None and not _bind(namesake, identity, at):
            return provision_user(identity, at, domains)
        user = namesake
    if user.disabled_at is not None:
        raise NotProvisioned(
            "You are shut out of this console. Ask an administrator to let you in again."
        )
    if user.role != identity.role:
        users.set_role(user, identity.role, at)
    db.session.commit()
    return user


def hand_over(user: User, issuer: str) -> None:
    """Hand a user over to a provider, from their first verified sign-in there on. Commits.

    Until then the user signs in as before, so that a provider that cannot verify the address locks
    nobody out. The first sign-in removes the password, the second factor and any earlier provider
    account, and ends the sessions (``_bind``).
    """
    user.handed_to = issuer
    db.session.commit()


def _bind(user: User, identity: OidcIdentity, at: datetime) -> bool:
    """Bind a handed-over user to the provider's account at the first sign-in. Commits.

    The password and the second factor are removed, and all sessions end. Returns False if another
    request was first: the user may be bound to another account then.
    """
    is_handed_over = or_(
        User.handed_to == identity.issuer, (User.issuer == identity.issuer) & User.subject.is_(None)
    )
    bound = {"issuer": identity.issuer, "subject": identity.subject, "handed_to": None}
    no_password = {"password_hash": "", "password_given": False}
    statement = update(User).where(User.id == user.id, is_handed_over)
    if not change(statement.values(**bound, **no_password)):
        db.session.rollback()
        return False
    db.session.expire(user)
    two_factor.switch_off(user)
    sessions.end_all(user, at)
    detail = f"First sign-in at {identity.issuer}: the password and the second factor are removed."
    audit.record(at, user.email, "hand_over", audit.DONE, detail=detail)
    return True


def _address(identity: OidcIdentity) -> str:
    try:
        return users.checked_address(identity.email)
    except PeopleError:
        quoted = (
            f" (its claim “{identity.claim}” says “{identity.email[:80]}”, which is none)"
            if identity.email
            else ""
        )
        raise NotProvisioned(
            f"Your provider did not tell your e-mail address{quoted}."
            f" Ask its administrator to send the {identity.claim} claim,"
            " or this console's operator to set DASHBOARD_OIDC_EMAIL_CLAIM to the claim that has"
            " the address."
        ) from None


def _bound(identity: OidcIdentity) -> User | None:
    return db.session.scalar(
        select(User).where(User.issuer == identity.issuer, User.subject == identity.subject)
    )


def _check_namesake(namesake: User | None, identity: OidcIdentity, address: str) -> None:
    """Return if no user has the address, or if its user is handed over to this provider.

    Raises:
        NotProvisioned: the address belongs to another user.
    """
    if namesake is None or namesake.handed_to == identity.issuer:
        return
    if namesake.issuer is None:
        raise NotProvisioned(
            f"{address} signs in with a password here, and a provider’s account cannot take it"
            " over. Sign in below, or ask an administrator to hand this person over to the provider"
            " under Admin, Users."
        )
    # Versions before schema 0022 removed the password at the hand-over already.
    if namesake.issuer != identity.issuer or namesake.subject is not None:
        raise NotProvisioned(
            f"{address} belongs to another account of a provider’s. Ask an administrator to hand"
            " this person over to the provider again under Admin, Users."
        )


def _check_verified(
    identity: OidcIdentity, address: str, domains: Collection[str], *, is_waiting: bool
) -> None:
    """Return if the address is verified, by the provider or by its domain.

    Raises:
        NotProvisioned: it is not.
    """
    domain = address.rpartition("@")[2]
    if identity.verified or domain in domains:
        return
    subject = " was handed over to the provider, which" if is_waiting else ": your provider"
    raise NotProvisioned(
        f"{address}{subject} does not say that the address is verified, so it could be anybody’s."
        " Ask the provider's administrator to send email_verified, or, if all addresses of"
        f" {domain} are your provider’s own, this console's operator to name {domain} in"
        " DASHBOARD_OIDC_DOMAINS." + (" Until then sign in as before." if is_waiting else "")
    )


def _end_sessions(identity: OidcIdentity, at: datetime) -> None:
    """End the sessions of a user whose account no longer has a role here."""
    user = _bound(identity)
    if user is not None:
        sessions.end_all(user, at)


def _create(identity: OidcIdentity, address: str, at: datetime, domains: Collection[str]) -> User:
    assert identity.role is not None
    new = User(
        email=address,
        role=identity.role,
        password_hash="",
        created_at=at,
        issuer=identity.issuer,
        subject=identity.subject,
    )
    user = add_if_new(new)
    db.session.commit()
    # None if a concurrent first sign-in created the user.
    return provision_user(identity, at, domains) if user is None else user
