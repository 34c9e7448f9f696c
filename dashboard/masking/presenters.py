"""What the current user may see of a table, for pages, exports and searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboard import peliqan
from dashboard.context import services
from dashboard.masking import service as reveals
from dashboard.masking.rule_file import SEES_ALL
from dashboard.users.authentication import visitor


@dataclass(frozen=True)
class MaskingContext:
    """Masking of a table for a user.

    ``hidden``: masked columns with the kind of personal data; ``until``: end of a reveal.
    """

    hidden: dict[str, str]
    until: datetime | None = None


def masking_context(
    account_id: int, table_id: int, columns: Sequence[peliqan.Column]
) -> MaskingContext:
    """Return the masking of this table for the current user."""
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
    """Return columns that are masked for others, and administrators' decisions (True: masked)."""
    decided = _decided(table_id, columns)
    mine = decided.get(table_id, {})
    hidden = services().masks.hidden(columns, role="viewer", overrides=mine, elsewhere=decided)
    return hidden, mine


def _decided(table_id: int, columns: Sequence[peliqan.Column]) -> dict[int, dict[str, bool]]:
    """Return administrators' decisions for a table and the tables that it links to, by table."""
    linked = {column.linked_table_id for column in columns if column.linked_table_id is not None}
    return reveals.overrides_in({table_id, *linked})
