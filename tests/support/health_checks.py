"""A second opinion on a fleet: the checks of Peliqan's published health application.

Written from what that application checks (connections, their five newest runs, their tables). It
shares no code with it, the console or the sandbox; it uses HTTP and Peliqan's SDK only.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import requests
from peliqan import Peliqan
from peliqan.exceptions import PeliqanClientException

NEWEST_RUNS = 5
GOOD, ACTIVE = (
    ("COMPLETED", "COMPLETED_WITH_ERRORS"),
    ("RUNNING", "IN_PROGRESS", "SYNC_IN_PROGRESS"),
)
REFUSALS = (
    "401",
    "unauthorized",
    "invalid_grant",
    "refresh token",
    "expired access token",
    "chainid",
)
DAY = 86400


class Opinion(NamedTuple):
    """A failed check of a connection, an account (``connection_id`` 0) or a table."""

    check: str
    account_id: int
    connection_id: int = 0
    table: str = ""


@dataclass(frozen=True)
class Source:
    """A connection as the API lists it. ``interval`` in seconds."""

    """A connection as the list of connections gives it. ``interval`` in seconds."""

    account_id: int
    id: int
    name: str
    connector: str
    health: str
    is_warehouse: bool
    is_target: bool
    target: int | None
    schema: str
    interval: int
    unscheduled: bool

    @property
    def is_active(self) -> bool:
        """Whether its runs are checked."""
        return not self.is_target and not self.unscheduled and self.health != "DISABLED"


def source_of(account_id: int, fields: Mapping[str, Any]) -> Source:
    is_warehouse = bool(fields.get("is_datawarehouse"))
    return Source(
        account_id,
        fields.get("id") or fields["connection_id"],
        fields.get("name") or "",
        fields.get("server_type") or "",
        (fields.get("health_status") or "").upper(),
        is_warehouse,
        bool(fields.get("is_target")) or is_warehouse,
        fields.get("target"),
        (fields.get("target_schema") or {}).get("schema_name") or "",
        fields.get("run_interval") or DAY,
        bool(fields.get("disable_scheduler")),
    )


class Fleet:
    """The sources, the newest runs by connection, and the unreadable accounts."""

    def __init__(self, url: str, partner_token: str) -> None:
        self._url, self._partner = url, {"Authorization": f"JWT {partner_token}"}
        self.sources: list[Source] = []
        self.runs: dict[int, list[dict[str, Any]]] = {}
        self.unreadable: list[int] = []

    def read(self) -> None:
        """Read the fleet, eight accounts at a time."""
        accounts, page, more = [], 1, True
        while more:
            response = requests.get(
                f"{self._url}/api/partner/sub-accounts/?page={page}&per_page=100",
                headers=self._partner,
                timeout=30,
            )
            accounts += [each["id"] for each in response.json()["data"]]
            page, more = page + 1, bool(response.json()["next"])
        with ThreadPoolExecutor(8) as pool:
            for account_id, sources, runs in pool.map(self._read_account, accounts):
                if sources is None:
                    self.unreadable.append(account_id)
                else:
                    self.sources += sources
                    self.runs |= runs

    def _read_account(
        self, account_id: int
    ) -> tuple[int, list[Source] | None, dict[int, list[dict[str, Any]]]]:
        with requests.Session() as session:
            identity = f"{self._url}/api/partner/sub-account/identity/?account_id={account_id}"
            token = session.get(identity, headers=self._partner, timeout=30).json()["token"]
            session.headers["Authorization"] = f"JWT {token}"
            response = session.get(f"{self._url}/api/servers/", timeout=30)
            if response.status_code != 200:
                return account_id, None, {}
            sources = [source_of(account_id, each) for each in response.json()]
            runs = {}
            for each in sources:
                if each.is_active:
                    response = session.get(
                        f"{self._url}/api/servers/{each.id}/runs/?page_size={NEWEST_RUNS}",
                        timeout=30,
                    )
                    runs[each.id] = response.json()["data"][:NEWEST_RUNS]
            return account_id, sources, runs


def at(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def records_of(run: Mapping[str, Any]) -> int | None:
    tables = run.get("tables")
    each = list(tables.values()) if isinstance(tables, dict) else list(tables or ())
    counts = [
        table["records"]
        for table in each
        if isinstance(table, dict) and isinstance(table.get("records"), int)
    ]
    return sum(counts) if counts else None


def error_of(run: Mapping[str, Any]) -> str:
    return " ".join(
        str(run[name])
        for name in ("error", "message", "source_error", "status_message")
        if run.get(name)
    ).lower()


def usual_seconds(fleet: Fleet) -> dict[str, float]:
    """Return the seconds of a successful run by connector: the median, the upper of two."""
    took: dict[str, list[float]] = defaultdict(list)
    for source in fleet.sources:
        for run in fleet.runs.get(source.id, ()):
            start, end = at(run["timestamp_start"]), at(run["timestamp_end"])
            if run["status"] in GOOD and start and end:
                took[source.connector].append((end - start).total_seconds())
    return {connector: sorted(seconds)[len(seconds) // 2] for connector, seconds in took.items()}


def of_runs(fleet: Fleet, now: datetime) -> Iterable[Opinion]:
    """Yield the failed checks of active sources' runs."""
    usual = usual_seconds(fleet)
    for source in fleet.sources:
        if source.is_active:
            for check in _of_source(
                source, fleet.runs[source.id], usual.get(source.connector), now
            ):
                yield Opinion(check, source.account_id, source.id)


def _of_source(
    source: Source, runs: Sequence[Mapping[str, Any]], usual: float | None, now: datetime
) -> Iterable[str]:
    if not runs:
        yield "never_ran"
        return
    latest, started_at = runs[0], at(runs[0]["timestamp_start"])
    if latest["status"] in ACTIVE:
        seconds = (now - started_at).total_seconds() if started_at else 0.0
        if usual and seconds > max(3 * usual, 3600):
            yield "stuck_run"
        return
    if str(latest.get("status_code_from_source")) == "2":
        yield "self_disabled"
    yield from _of_outcome(source, runs, now)
    if latest["status"] == "COMPLETED" and records_of(latest) == 0:
        before = [
            count
            for run in runs[1:]
            if run["status"] in GOOD and (count := records_of(run)) is not None
        ]
        if len(before) >= 2 and min(before) > 0:
            yield "loaded_nothing"


def _of_outcome(source: Source, runs: Sequence[Mapping[str, Any]], now: datetime) -> Iterable[str]:
    latest = runs[0]
    success = next((at(run["timestamp_start"]) for run in runs if run["status"] in GOOD), None)
    intervals = (now - success).total_seconds() / source.interval if success else None
    is_clean, text = latest["status"] == "COMPLETED", error_of(latest)
    if not is_clean and any(sign in text for sign in REFUSALS):
        yield "auth_failed"
    elif intervals is None:
        yield "failing"
    elif intervals > 3:
        yield "dark"
    elif latest["status"] not in GOOD and intervals > 1:
        yield "failing"
    elif not is_clean:
        yield "noisy"
    elif intervals > 2:
        yield "late"


def of_structure(fleet: Fleet) -> Iterable[Opinion]:
    """Yield the failed checks of accounts and their lists of connections."""
    for account_id in fleet.unreadable:
        yield Opinion("account_unreadable", account_id)
    groups: dict[tuple[int, str], list[Source]] = defaultdict(list)
    targets: dict[int, set[int | None]] = defaultdict(set)
    for source in fleet.sources:
        if source.is_target:
            continue
        groups[source.account_id, source.connector].append(source)
        targets[source.account_id].add(source.target)
        if source.health == "DISABLED":
            yield Opinion("disabled", source.account_id, source.id)
        elif source.unscheduled:
            yield Opinion("scheduler_off", source.account_id, source.id)
    yield from _duplicates(fleet, groups.values())
    for source in fleet.sources:
        is_extra_target = source.is_target and not source.is_warehouse
        if is_extra_target and source.id not in targets[source.account_id]:
            yield Opinion("orphan_target", source.account_id, source.id)


def _duplicates(fleet: Fleet, groups: Iterable[list[Source]]) -> Iterable[Opinion]:
    """Yield one opinion for each group with connections that never succeeded: of the first."""
    for group in groups:
        barren = [
            each for each in group if each.id in fleet.runs and not _succeeded(fleet.runs[each.id])
        ]
        if len(group) > 1 and barren:
            yield Opinion("duplicate_connection", barren[0].account_id, barren[0].id)


def _succeeded(runs: Sequence[Mapping[str, Any]]) -> bool:
    return any(run["status"] in GOOD for run in runs)


class Warehouse:
    """The tables of one account, through the SDK's ``dbconnect`` and ``fetch``."""

    def __init__(self, partner: Peliqan, account_id: int) -> None:
        self._account = partner.get_subaccount_instance(account_id=account_id)
        self.sources = [source_of(account_id, each) for each in self._account.list_connections()]
        self._target = next(each.name for each in self.sources if each.is_warehouse)
        self._database = self._account.dbconnect(self._target)

    def send_query(self, query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._database.fetch(self._target, query=query)
        return rows

    def opinions(
        self, source: Source, now: datetime, before: Mapping[str, int] = {}
    ) -> Iterable[Opinion]:
        """Yield the failed checks of a source's tables.

        ``before``: the number of rows at the previous check, by table name.
        """
        try:
            counts = self._tables(source)
        except PeliqanClientException:
            yield Opinion("check_failed", source.account_id, source.id)
            return
        for table, figures in counts.items():
            names = list(_of_table(figures, now, before.get(table, 0)))
            if not figures[0] and any(
                other.startswith(f"{table}_") and found[0] for other, found in counts.items()
            ):
                names.append("parent_table_empty")
            for name in names:
                yield Opinion(name, source.account_id, source.id, table)

    def rows_of(self, source: Source) -> dict[str, int]:
        """Return the number of rows of each of its tables."""
        return {table: figures[0] for table, figures in self._tables(source).items()}

    def _tables(self, source: Source) -> dict[str, tuple[int, int, int, datetime | None]]:
        """Return rows, distinct keys, live versions and the newest receipt of each table."""
        columns: dict[str, set[str]] = defaultdict(set)
        listed = "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        for row in self.send_query(f"{listed} WHERE table_schema = '{source.schema}'"):
            columns[row["table_name"]].add(row["column_name"])
        return {
            table: self._count(source.schema, table, its)
            for table, its in columns.items()
            if "__sdc_" not in table
        }

    def _count(
        self, schema: str, table: str, columns: set[str]
    ) -> tuple[int, int, int, datetime | None]:
        key = next(
            (
                f'COUNT(DISTINCT "{name}")'
                for name in ("id", "_id", "key", "uuid")
                if name in columns
            ),
            "0",
        )
        version = '"_sdc_table_version"' if "_sdc_table_version" in columns else "NULL"
        live = (
            f'CASE WHEN "_sdc_deleted_at" IS NULL THEN {version} END'
            if "_sdc_deleted_at" in columns
            else version
        )
        received = 'MAX("_sdc_received_at")' if "_sdc_received_at" in columns else "NULL"
        figures = (
            f"COUNT(*) AS n, {key} AS ids, COUNT(DISTINCT {live}) AS versions, "
            f"{received} AS last_received"
        )
        [row] = self.send_query(f'SELECT {figures} FROM "{schema}"."{table}"')
        return int(row["n"]), int(row["ids"]), int(row["versions"]), at(row["last_received"])


def _of_table(
    figures: tuple[int, int, int, datetime | None], now: datetime, before: int
) -> Iterable[str]:
    rows, keys, versions, received = figures
    if keys and rows / keys > 1.01:
        yield "duplicate_keys"
    if versions > 1:
        yield "mixed_versions"
    if received is not None and (now - received).days > 7:
        yield "table_stale"
    if rows < 0.7 * before:
        yield "row_count_drop"
