"""The health of a table: a current check and earlier counts, above its rows or as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from dashboard import peliqan
from dashboard.context import services
from dashboard.fleet.models import Account, MonitoredTable
from dashboard.tables import presenters, short_links
from dashboard.tables.health import jobs as table_check_jobs
from dashboard.tables.health import service as table_checks
from dashboard.tables.health.models import TableCheck
from dashboard.tables.limits import CHECK_FRESH_FOR, ROW_COUNTS_SHOWN
from dashboard.web import htmx
from dashboard.web.lookup import get_account_or_404
from dashboard.web.required_role import requires

bp = Blueprint("table_health", __name__)


@dataclass(frozen=True)
class HealthPage:
    """The context of the page and its fragment.

    ``seen``: the latest check that read rows; ``earlier``: all checks, the newest first.
    ``problem``: why no current check was possible.
    """

    account: Account
    table: MonitoredTable
    seen: TableCheck | None
    earlier: Sequence[TableCheck]
    problem: peliqan.PeliqanError | None

    @property
    def most(self) -> int:
        """The most rows that the table had at any of these checks."""
        return max((each.rows for each in self.earlier), default=0)

    @property
    def steps(self) -> list[tuple[TableCheck, int | None]]:
        """The latest checks, each with the change in rows since the one before.

        None for the oldest of all.
        """
        more: list[int | None] = [
            newer.rows - older.rows for newer, older in pairwise(self.earlier)
        ]
        return list(zip(self.earlier, [*more, None], strict=False))[:ROW_COUNTS_SHOWN]


@bp.get("/accounts/<int:account_id>/tables/<int:table_id>/health")
@requires("viewer")
def show(account_id: int, table_id: int) -> ResponseReturnValue:
    """Check the table and show the result, at most once a minute.

    If Peliqan does not answer: show the latest results and the reason.
    """
    account, problem = get_account_or_404(account_id), None
    table = table_checks.watched(account_id, table_id)
    if table is None or not _is_fresh(account_id, table_id):
        try:
            _check(account_id, table_id)
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


def _check(account_id: int, table_id: int) -> None:
    api = services().api.for_account(account_id)
    table, columns = api.table(table_id), api.columns(table_id)
    args = short_links.read(account_id, table_id, request.args).args
    query, _ = presenters.read_query(account_id, table_id, args, (), columns)
    table_check_jobs.check_table(api, table, columns, query, services().clock())


def _is_fresh(account_id: int, table_id: int) -> bool:
    at = services().clock()
    return any(
        each.sampled is not None and at - each.at < CHECK_FRESH_FOR
        for each in table_checks.latest(account_id, table_id, 3)
    )
