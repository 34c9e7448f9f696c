"""Which customers a limited person sees: their external ids, or how these begin. What follows from that: ``sight``."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from dashboard.core.database import change, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.core.text import comparable
from dashboard.fleet import visibility
from dashboard.fleet.models import Account
from dashboard.fleet.visibility import AccountAccessRule, VisibleAccount
from dashboard.users.models import User

MOST = 500
LONGEST = 255


class BadScope(ValueError):
    """A sentence: what was entered names no customers."""


def scopes_of(user: User) -> list[AccountAccessRule]:
    """What a person is limited to, in order; nothing where they are not, or to nobody."""
    mine = db.session.scalars(select(AccountAccessRule).where(AccountAccessRule.user_id == user.id))
    return sorted(mine, key=lambda scope: (comparable(scope.text), scope.text, scope.is_prefix))


def as_text(scopes: Sequence[AccountAccessRule]) -> str:
    """A line each, as people enter them."""
    return "\n".join(f"{scope.text}*" if scope.is_prefix else scope.text for scope in scopes)


def read(text: str) -> list[tuple[str, bool]]:
    """What people enter, as texts and whether each is only a beginning.

    Raises:
        BadScope: nothing was entered, or what is no external id.
    """
    lines = dict.fromkeys(filter(None, map(str.strip, text.replace(",", "\n").splitlines())))
    if not lines:
        raise BadScope("Name a customer at least, or let this person see all.")
    if len(lines) > MOST:
        raise BadScope(
            f"These are {len(lines)} lines; there can be {MOST}. Give your customers’ ids a common beginning."
        )
    found = []
    for line in lines:
        name, is_prefix = line.removesuffix("*"), line.endswith("*")
        if not name or "*" in name or len(name) > LONGEST or not name.isprintable():
            raise BadScope(
                f"“{line[:60]}” names no customers: write an external id, or its beginning with * behind it."
            )
        found.append((name, is_prefix))
    return found


def limit(user: User, to: Sequence[tuple[str, bool]] | None) -> None:
    """Have a person see these customers and no others; None: all. It holds from their next request on. Commits."""
    # What was counted for them is counted anew.
    lock_snapshot()
    change(delete(AccountAccessRule).where(AccountAccessRule.user_id == user.id))
    user.limited = to is not None
    db.session.add_all(
        AccountAccessRule(user_id=user.id, text=text, is_prefix=is_prefix)
        for text, is_prefix in to or ()
    )
    db.session.flush()
    visibility.rebuild_visible_accounts(db.session(), user_id=user.id)
    db.session.commit()


def may_see(user: User, external_id: str) -> bool:
    """Whether a person may see the customer with this external id, whether or not there is one already."""
    return not user.sees_some or any(
        external_id.startswith(scope.text) if scope.is_prefix else external_id == scope.text
        for scope in scopes_of(user)
    )


def count(user: User) -> int:
    """How many customers a limited person sees now."""
    counting = (
        select(func.count())
        .select_from(Account)
        .join(VisibleAccount, VisibleAccount.account_id == Account.id)
    )
    return (
        db.session.scalar(
            counting.where(VisibleAccount.user_id == user.id, Account.gone_at.is_(None))
        )
        or 0
    )


def in_words(user: User) -> str:
    """For the audit trail: what a person sees."""
    if not user.limited:
        return f"{user.email}: all customers"
    return f"{user.email}: {', '.join(as_text(scopes_of(user)).splitlines())}"[:2000]
