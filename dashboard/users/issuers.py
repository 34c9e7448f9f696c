"""OpenID Connect issuers: shared ones, users bound to others, and moving users to a new one.

A user is identified by issuer and subject (OpenID Connect Core 1.0, section 5.7). When an issuer's
address changes, its users must be moved, or they count as unknown.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from dashboard.audit import service as audit
from dashboard.core.database import change, db
from dashboard.users.models import User

MICROSOFT: Final = frozenset(
    {
        "login.microsoftonline.com",
        "login.microsoft.com",
        "login.windows.net",
        "sts.windows.net",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
    }
)
# In the place of a tenant: accounts of any organisation, personal accounts, or both
# (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
# The last value is the tenant that all personal accounts share.
NO_TENANT: Final = frozenset(
    {"common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"}
)


class MoveError(ValueError):
    """No user was moved to another issuer; the text says why."""


def is_microsoft(issuer: str) -> bool:
    """Return whether the issuer is Entra ID, which sends no ``email_verified``."""
    return (urlsplit(issuer).hostname or "") in MICROSOFT


def is_shared(issuer: str) -> bool:
    """Return whether an issuer serves the accounts of many organisations.

    Each of these can give its users any address ("nOAuth"). The metadata of Entra ID's
    multi-tenant endpoints has ``{tenantid}`` in the issuer.
    """
    if "{" in issuer:
        return True
    tenant = urlsplit(issuer).path.strip("/").partition("/")[0].lower()
    return is_microsoft(issuer) and (not tenant or tenant in NO_TENANT)


def bound_elsewhere(issuer: str | None) -> Sequence[tuple[str, int]]:
    """Return other issuers that enabled users are bound to, with the number of users of each."""
    others = select(User.issuer, func.count()).where(
        User.issuer.is_not(None), User.disabled_at.is_(None)
    )
    if issuer is not None:
        others = others.where(User.issuer != issuer)
    return [
        (str(found), count)
        for found, count in db.session.execute(others.group_by(User.issuer).order_by(User.issuer))
    ]


def count_waiting() -> int:
    """Count enabled users who are handed over to a provider and have not signed in there yet."""
    waiting = select(func.count()).where(User.handed_to.is_not(None), User.disabled_at.is_(None))
    return db.session.scalar(waiting) or 0


def move(old: str, new: str, who: str, at: datetime) -> int:
    """Bind all users of issuer ``old`` to ``new``, those handed over included. Commits.

    Returns how many users were moved: all or none. Subjects stay, so the provider must keep
    sending the same ones.

    Raises:
        MoveError: no user is bound to ``old``, ``new`` is shared, or a user of ``new`` has one of
            the subjects already.
    """
    if old == new:
        raise MoveError("Both are the same issuer. Nobody was moved.")
    if is_shared(new):
        raise MoveError(
            f"{new} stands for the accounts of many organisations."
            " Name your own tenant's issuer. Nobody was moved."
        )
    user, moved = aliased(User), aliased(User)
    duplicates = select(user.email, moved.email).join(moved, moved.subject == user.subject)
    duplicates = duplicates.where(user.issuer == old, moved.issuer == new)
    if conflicts := db.session.execute(duplicates.order_by(user.email).limit(5)).all():
        pairs = ", ".join(f"{one} and {other}" for one, other in conflicts)
        raise MoveError(
            f"At {new} somebody else has the same subject already: {pairs}. Nobody was moved."
            " Find out which of the two is right, then hand the other user over again under"
            " Admin, Users."
        )
    found = set(
        db.session.scalars(select(User.id).where(or_(User.issuer == old, User.handed_to == old)))
    )
    if not found:
        known = ", ".join(issuer for issuer, _ in bound_elsewhere(None)) or "none"
        raise MoveError(f"Nobody is bound to {old}. Issuers that people are bound to: {known}.")
    try:
        change(update(User).where(User.issuer == old).values(issuer=new))
        change(update(User).where(User.handed_to == old).values(handed_to=new))
        # Commits the updates as well.
        audit.record(
            at, who, "move_issuer", audit.DONE, detail=f"{len(found)} people from {old} to {new}."
        )
    except IntegrityError:
        db.session.rollback()
        raise MoveError(
            "Somebody signed in at the new issuer just now. Nobody was moved: try again."
        ) from None
    return len(found)
