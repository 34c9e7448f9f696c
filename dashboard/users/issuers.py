"""Issuers that people are bound to: which are shared by many organisations, who is bound to another, and moving people.

A person is known by issuer and subject (OpenID Connect Core 1.0, section 5.7), so they are somebody else once the issuer's
address changes.
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

MICROSOFT: Final = frozenset({
    "login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net", "login.microsoftonline.us",
    "login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
})  # fmt: skip
# Instead of a tenant: any organisation's, any person's, or both (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
# The last one is the tenant that all personal accounts share.
NO_TENANT: Final = frozenset(
    {"common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"}
)


class MoveError(ValueError):
    """A sentence that says why nobody was moved to another issuer."""


def is_microsoft(issuer: str) -> bool:
    """Whether it is Entra ID, which sends no ``email_verified``."""
    return (urlsplit(issuer).hostname or "") in MICROSOFT


def is_shared(issuer: str) -> bool:
    """Whether an issuer stands for the accounts of many organisations, each of which can give its people any address (nOAuth).

    Entra ID's description of its endpoints for many tenants has ``{tenantid}`` in its issuer.
    """
    if "{" in issuer:
        return True
    tenant = urlsplit(issuer).path.strip("/").partition("/")[0].lower()
    return is_microsoft(issuer) and (not tenant or tenant in NO_TENANT)


def bound_elsewhere(issuer: str | None) -> Sequence[tuple[str, int]]:
    """Issuers other than this one that people who are not disabled are bound to, with how many they are."""
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
    """How many people are handed over to a provider and have not come from there yet."""
    waiting = select(func.count()).where(User.handed_to.is_not(None), User.disabled_at.is_(None))
    return db.session.scalar(waiting) or 0


def move(old: str, new: str, who: str, at: datetime) -> int:
    """Bind everybody who is bound or handed over to ``old`` to ``new``, all of them or nobody; how many. Commits.

    Subjects stay as they are: the provider must go on calling everybody by the same one.

    Raises:
        MoveError: nobody is bound to ``old``, or somebody at ``new`` has one of the subjects already.
    """
    if old == new:
        raise MoveError("Both are the same issuer. Nobody was moved.")
    if is_shared(new):
        raise MoveError(
            f"{new} stands for the accounts of many organisations. Name your own tenant's issuer. Nobody was moved."
        )
    here, there = aliased(User), aliased(User)
    taken = select(here.email, there.email).join(there, there.subject == here.subject)
    taken = taken.where(here.issuer == old, there.issuer == new).order_by(here.email).limit(5)
    if conflicts := db.session.execute(taken).all():
        pairs = ", ".join(f"{one} and {other}" for one, other in conflicts)
        raise MoveError(
            f"At {new} somebody else has the same subject already: {pairs}. Nobody was moved. Find out which of the two is right"
            " and hand the other one over anew under Admin, Users."
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
        # The entry's commit is the moving's as well.
        audit.record(
            at, who, "move_issuer", audit.DONE, detail=f"{len(found)} people from {old} to {new}."
        )
    except IntegrityError:
        db.session.rollback()
        raise MoveError(
            "Somebody signed in at the new issuer just now. Nobody was moved: try again."
        ) from None
    return len(found)
