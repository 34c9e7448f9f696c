"""A second opinion on a fleet: the checks of the health application that Peliqan published, in words of our own.

Written from what that application checks (connections, their five newest runs, their tables), sharing no code with it, with the
console or with the sandbox. It asks over HTTP and with Peliqan's SDK, and knows nothing else.
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
    """One check that spoke: of a connection, or of an account as a whole (``connection_id`` 0); of a table where it names one."""

    check: str
    account_id: int
    connection_id: int = 0
    table: str = ""


@dataclass(frozen=True)
class Source:
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
        """Whether its runs are looked at."""
        return not self.is_target and not self.unscheduled and self.health != "DISABLED"


def source_of(account_id: int, told: Mapping[str, Any]) -> Source:
    is_warehouse = bool(told.get("is_datawarehouse"))
    return Source(
        account_id,
        told.get("id") or told["connection_id"],
        told.get("name") or "",
        told.get("server_type") or "",
        (told.get("health_status") or "").upper(),
        is_warehouse,
        bool(told.get("is_target")) or is_warehouse,
        told.get("target"),
        (told.get("target_schema") or {}).get("schema_name") or "",
        told.get("run_interval") or DAY,
        bool(told.get("disable_scheduler")),
    )


class Fleet:
    """What was read: sources by account, the newest runs by connection, and the accounts that could not be read."""

    def __init__(self, url: str, partner_token: str) -> None:
        self._url, self._partner = url, {"Authorization": f"JWT {partner_token}"}
        self.sources: list[Source] = []
        self.runs: dict[int, list[dict[str, Any]]] = {}
        self.unreadable: list[int] = []

    def read(self) -> None:
        """Read all of it, eight accounts at a time."""
        accounts, page, more = [], 1, True
        while more:
            answer = requests.get(
                f"{self._url}/api/partner/sub-accounts/?page={page}&per_page=100",
                headers=self._partner,
                timeout=30,
            )
            accounts += [each["id"] for each in answer.json()["data"]]
            page, more = page + 1, bool(answer.json()["next"])
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
            place = f"{self._url}/api/partner/sub-account/identity/?account_id={account_id}"
            token = session.get(place, headers=self._partner, timeout=30).json()["token"]
            session.headers["Authorization"] = f"JWT {token}"
            answer = session.get(f"{self._url}/api/servers/", timeout=30)
            if answer.status_code != 200:
                return account_id, None, {}
            sources = [source_of(account_id, each) for each in answer.json()]
            runs = {}
            for each in sources:
                if each.is_active:
                    answer = session.get(
                        f"{self._url}/api/servers/{each.id}/runs/?page_size={NEWEST_RUNS}",
                        timeout=30,
                    )
                    runs[each.id] = answer.json()["data"][:NEWEST_RUNS]
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
    """How long a run of each connector takes that ended well: the upper one of the two in the middle."""
    took: dict[str, list[float]] = defaultdict(list)
    for source in fleet.sources:
        for run in fleet.runs.get(source.id, ()):
            start, end = at(run["timestamp_start"]), at(run["timestamp_end"])
            if run["status"] in GOOD and start and end:
                took[source.connector].append((end - start).total_seconds())
    return {connector: sorted(seconds)[len(seconds) // 2] for connector, seconds in took.items()}


def of_runs(fleet: Fleet, now: datetime) -> Iterable[Opinion]:
    """What the runs of active sources say."""
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
    latest, began = runs[0], at(runs[0]["timestamp_start"])
    if latest["status"] in ACTIVE:
        seconds = (now - began).total_seconds() if began else 0.0
        if usual and seconds > max(3 * usual, 3600):
            yield "stuck_run"
        return
    if str(latest.get("status_code_from_source")) == "2":
        yield "self_disabled"
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
    if is_clean and records_of(latest) == 0:
        before = [
            count
            for run in runs[1:]
            if run["status"] in GOOD and (count := records_of(run)) is not None
        ]
        if len(before) >= 2 and min(before) > 0:
            yield "loaded_nothing"


def of_structure(fleet: Fleet) -> Iterable[Opinion]:
    """What the list of an account's connections says, with whether any of the runs that were read succeeded."""
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
    for group in groups.values():
        barren = [
            each for each in group if each.id in fleet.runs and not _succeeded(fleet.runs[each.id])
        ]
        if len(group) > 1 and barren:
            # One for all of them: the first.
            yield Opinion("duplicate_connection", barren[0].account_id, barren[0].id)
    for source in fleet.sources:
        if (
            source.is_target
            and not source.is_warehouse
            and source.id not in targets[source.account_id]
        ):
            yield Opinion("orphan_target", source.account_id, source.id)


def _succeeded(runs: Sequence[Mapping[str, Any]]) -> bool:
    return any(run["status"] in GOOD for run in runs)


class Warehouse:
    """The tables of one account, by the SDK: what its ``dbconnect`` and ``fetch`` give."""

    def __init__(self, partner: Peliqan, account_id: int) -> None:
        self._account = partner.get_subaccount_instance(account_id=account_id)
        self.sources = [source_of(account_id, each) for each in self._account.list_connections()]
        self._target = next(each.name for each in self.sources if each.is_warehouse)
        self._database = self._account.dbconnect(self._target)

    def ask(self, query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._database.fetch(self._target, query=query)
        return rows

    def opinions(
        self, source: Source, now: datetime, before: Mapping[str, int] = {}
    ) -> Iterable[Opinion]:
        """What the tables of a source say. ``before``: how many rows each had at the check before, by name."""
        try:
            counts = self._tables(source)
        except PeliqanClientException:
            yield Opinion("check_failed", source.account_id, source.id)
            return
        for table, (rows, keys, versions, received) in counts.items():
            names = []
            if keys and rows / keys > 1.01:
                names.append("duplicate_keys")
            if versions > 1:
                names.append("mixed_versions")
            if received is not None and (now - received).days > 7:
                names.append("table_stale")
            if rows < 0.7 * before.get(table, 0):
                names.append("row_count_drop")
            if not rows and any(
                other.startswith(f"{table}_") and figures[0] for other, figures in counts.items()
            ):
                names.append("parent_table_empty")
            for name in names:
                yield Opinion(name, source.account_id, source.id, table)

    def rows_of(self, source: Source) -> dict[str, int]:
        """How many rows each of its tables has."""
        return {table: figures[0] for table, figures in self._tables(source).items()}

    def _tables(self, source: Source) -> dict[str, tuple[int, int, int, datetime | None]]:
        """Rows, different keys, live versions and the newest receipt of each table."""
        columns: dict[str, set[str]] = defaultdict(set)
        listed = "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        for row in self.ask(f"{listed} WHERE table_schema = '{source.schema}'"):
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
        figures = f"COUNT(*) AS n, {key} AS ids, COUNT(DISTINCT {live}) AS versions, {received} AS last_received"
        [row] = self.ask(f'SELECT {figures} FROM "{schema}"."{table}"')
        return int(row["n"]), int(row["ids"]), int(row["versions"]), at(row["last_received"])
