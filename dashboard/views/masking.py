"""What the person at the browser may see of a table: asked by pages, exports and searches alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.app import console
from dashboard.data.masks import SEES_ALL
from dashboard.store import reveals
from dashboard.views.access import visitor


@dataclass(frozen=True)
class Sight:
    """``hidden``: columns whose values are masked for this person, with what each looks like. ``until``: when a reveal ends."""

    hidden: dict[str, str]
    until: datetime | None = None


def sight(account_id: int, table_id: int, columns: Sequence[peliqan.Column]) -> Sight:
    """What the person who asks may see of this table."""
    user = visitor().user
    if user.role == SEES_ALL:
        return Sight({})
    until = reveals.until(user, account_id, table_id, console().clock())
    decided = reveals.overrides(table_id)
    hidden = console().masks.hidden(columns, role=user.role, overrides=decided, revealed=until is not None)
    return Sight(hidden, until)


def as_others_see(table_id: int, columns: Sequence[peliqan.Column]) -> tuple[dict[str, str], dict[str, bool]]:
    """For administrators: the columns that everybody else sees masked, and what was decided by hand (True: masked)."""
    decided = reveals.overrides(table_id)
    return console().masks.hidden(columns, role="viewer", overrides=decided), decided
