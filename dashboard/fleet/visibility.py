"""The accounts that restricted users may see: the rules, and the resulting accounts."""

from collections.abc import Collection

from sqlalchemy import ForeignKey, String, case, delete, func, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from dashboard.core.database import BigId, Model, change
from dashboard.core.row_access import Visibility
from dashboard.fleet.models import Account


class AccountAccessRule(Model):
    """A rule: the user sees the account with this external id, or all that begin with ``text``.

    ``is_prefix`` selects the second kind.
    """

    __tablename__ = "scope"
    visibility = Visibility("scope WHERE scope.user_id = {me}")

    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), primary_key=True)
    text: Mapped[str] = mapped_column(String(255), primary_key=True)
    is_prefix: Mapped[bool] = mapped_column(primary_key=True)


class VisibleAccount(Model):
    """An account that a restricted user may see, computed from their ``AccountAccessRule`` rows."""

    __tablename__ = "seen"
    visibility = Visibility("seen WHERE seen.user_id = {me}")

    user_id: Mapped[int] = mapped_column(BigId, ForeignKey("user.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("account.id"), primary_key=True, index=True
    )


def rebuild_visible_accounts(
    session: Session, *, user_id: int | None = None, account_ids: Collection[int] = ()
) -> None:
    """Recompute the visible accounts of one user, or all users' access to some accounts.

    Compares external ids letter by letter, on both databases. Does not commit.
    """

    begins = (
        func.substr(Account.external_id, 1, func.length(AccountAccessRule.text))
        == AccountAccessRule.text
    )
    fits = case(
        (AccountAccessRule.is_prefix, begins), else_=Account.external_id == AccountAccessRule.text
    )
    now = select(AccountAccessRule.user_id, Account.id).join(Account, fits).distinct()
    which = (
        VisibleAccount.user_id == user_id
        if user_id is not None
        else VisibleAccount.account_id.in_(account_ids)
    )
    of = (
        AccountAccessRule.user_id == user_id if user_id is not None else Account.id.in_(account_ids)
    )
    change(delete(VisibleAccount).where(which), session)
    change(insert(VisibleAccount).from_select(["user_id", "account_id"], now.where(of)), session)
