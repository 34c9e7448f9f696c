"""A table's health: a look at it now and the counts of earlier ones, in place above its rows or as a page of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.context import services
from dashboard.fleet.models import Account, MonitoredTable
from dashboard.tables import addresses as table_views
from dashboard.tables import presenters
from dashboard.tables.health import jobs as table_check_jobs
from dashboard.tables.health import service as table_checks
from dashboard.tables.health.models import TableCheck
from dashboard.web import htmx
from dashboard.web.access import requires
from dashboard.web.lookup import get_account_or_404

bp = Blueprint("table_health", __name__)


@dataclass(frozen=True)
class HealthPage:
    """What page and fragment receive. ``seen``: the latest look at the rows themselves; ``earlier``: all, the newest first."""

    account: Account
    table: MonitoredTable
    seen: TableCheck | None
    earlier: Sequence[TableCheck]
    problem: peliqan.PeliqanError | None

    @property
    def most(self) -> int:
        """The most rows that it had at any of these looks."""
        return max((each.rows for each in self.earlier), default=0)

    @property
    def steps(self) -> list[tuple[TableCheck, int | None]]:
        """Each look with how many rows more than at the one before; None for the eldest."""
        more: list[int | None] = [
            newer.rows - older.rows for newer, older in pairwise(self.earlier)
        ]
        return list(zip(self.earlier, [*more, None], strict=False))


@bp.get("/accounts/<int:account_id>/tables/<int:table_id>/health")
@requires("viewer")
def show(account_id: int, table_id: int) -> ResponseReturnValue:
    """A look at the table, at most one a minute. Where Peliqan does not answer, what was seen last, with the reason."""
    account, problem = get_account_or_404(account_id), None
    table = table_checks.watched(account_id, table_id)
    if table is None or not _was_just_seen(account_id, table_id):
        try:
            _look(account_id, table_id)
        except peliqan.NotFound:
            raise
        except peliqan.PeliqanError as error:
            if table is None:
                raise
            problem = error
        table = table_checks.watched(account_id, table_id)
    assert table is not None
    earlier = table_checks.latest(account_id, table_id)
    seen = next((each for each in earlier if each.sampled is not None), None)
    template = (
        "tables/health/_table_health.html" if htmx.is_htmx() else "tables/health/table_health.html"
    )
    return render_template(template, page=HealthPage(account, table, seen, earlier, problem))


def _look(account_id: int, table_id: int) -> None:
    api = services().api.for_account(account_id)
    table, columns = api.table(table_id), api.columns(table_id)
    asked = table_views.read(account_id, table_id, request.args).args
    query, _ = presenters.read_query(account_id, table_id, asked, (), columns)
    table_check_jobs.check_table(api, table, columns, query, services().clock())


def _was_just_seen(account_id: int, table_id: int) -> bool:
    at = services().clock()
    return any(
        each.sampled is not None and at - each.at < table_checks.FRESH
        for each in table_checks.latest(account_id, table_id, 3)
    )
