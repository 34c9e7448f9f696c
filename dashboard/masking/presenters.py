"""What the person at the browser may see of a table: asked by pages, exports and searches alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.context import services
from dashboard.masking import service as reveals
from dashboard.masking.rules import SEES_ALL
from dashboard.users.access import visitor


@dataclass(frozen=True)
class MaskingContext:
    """``hidden``: columns whose values are masked for this person, with what each looks like. ``until``: when a reveal ends."""

    hidden: dict[str, str]
    until: datetime | None = None


def masking_context(
    account_id: int, table_id: int, columns: Sequence[peliqan.Column]
) -> MaskingContext:
    """What the person who asks may see of this table."""
    user = visitor().user
    if user.role == SEES_ALL:
        return MaskingContext({})
    until = reveals.until(user, account_id, table_id, services().clock())
    decided = _decided(table_id, columns)
    revealed = until is not None
    hidden = services().masks.hidden(
        columns,
        role=user.role,
        overrides=decided.get(table_id, {}),
        elsewhere=decided,
        revealed=revealed,
    )
    return MaskingContext(hidden, until)


def as_others_see(
    table_id: int, columns: Sequence[peliqan.Column]
) -> tuple[dict[str, str], dict[str, bool]]:
    """For administrators: the columns that everybody else sees masked, and what was decided by hand (True: masked)."""
    decided = _decided(table_id, columns)
    own = decided.get(table_id, {})
    return services().masks.hidden(columns, role="viewer", overrides=own, elsewhere=decided), own


def _decided(table_id: int, columns: Sequence[peliqan.Column]) -> dict[int, dict[str, bool]]:
    """Return what administrators decided for the columns of a table and of those that it links to, by table."""
    linked = {column.linked_table_id for column in columns if column.linked_table_id is not None}
    return reveals.overrides_in({table_id, *linked})
