"""Access rules of a restricted user: external ids of customers, or prefixes of them.

``core.row_access`` applies them to queries.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from dashboard.core.database import change, db
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.core.text import comparable
from dashboard.fleet import visibility
from dashboard.fleet.models import Account
from dashboard.fleet.visibility import AccountAccessRule, VisibleAccount
from dashboard.users.limits import LONGEST_RULE, MOST_RULES
from dashboard.users.models import User


class BadScope(ValueError):
    """The text entered is not a list of customers; the message says why."""


def scopes_of(user: User) -> list[AccountAccessRule]:
    """Return a user's access rules in order; empty if they see all or none."""
    mine = db.session.scalars(select(AccountAccessRule).where(AccountAccessRule.user_id == user.id))
    return sorted(mine, key=lambda scope: (comparable(scope.text), scope.text, scope.is_prefix))


def as_text(scopes: Sequence[AccountAccessRule]) -> str:
    """Return the rules as an administrator enters them, one a line."""
    return "\n".join(f"{scope.text}*" if scope.is_prefix else scope.text for scope in scopes)


def read(text: str) -> list[tuple[str, bool]]:
    """Parse entered lines into (text, is a prefix) pairs.

    Raises:
        BadScope: the text is empty, has too many lines, or has a line that is no external id.
    """
    lines = dict.fromkeys(filter(None, map(str.strip, text.replace(",", "\n").splitlines())))
    if not lines:
        raise BadScope("Name a customer at least, or let this person see all.")
    if len(lines) > MOST_RULES:
        raise BadScope(
            f"These are {len(lines)} lines; there can be {MOST_RULES}."
            " Give your customers’ ids a common beginning."
        )
    found = []
    for line in lines:
        name, is_prefix = line.removesuffix("*"), line.endswith("*")
        if not name or "*" in name or len(name) > LONGEST_RULE or not name.isprintable():
            raise BadScope(
                f"“{line[:60]}” names no customers: write an external id,"
                " or its beginning with * behind it."
            )
        found.append((name, is_prefix))
    return found


def limit(user: User, to: Sequence[tuple[str, bool]] | None) -> None:
    """Restrict a user to these customers, or to none if empty; None removes the restriction.

    Takes effect with the user's next request. Commits.
    """
    # Increments the snapshot version, so that cached counters of the user are not used again.
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
    """Return whether the user may see a customer of this external id, existing or not."""
    return not user.sees_some or any(
        external_id.startswith(scope.text) if scope.is_prefix else external_id == scope.text
        for scope in scopes_of(user)
    )


def count(user: User) -> int:
    """Count the customers that a restricted user sees now."""
    accounts = (
        select(func.count())
        .select_from(Account)
        .join(VisibleAccount, VisibleAccount.account_id == Account.id)
    )
    return (
        db.session.scalar(
            accounts.where(VisibleAccount.user_id == user.id, Account.gone_at.is_(None))
        )
        or 0
    )


def in_words(user: User) -> str:
    """Describe the customers that a user sees, for the audit log."""
    if not user.limited:
        return f"{user.email}: all customers"
    return f"{user.email}: {', '.join(as_text(scopes_of(user)).splitlines())}"[:2000]
