"""``AccountApi``: one customer's calls, with that customer's token.

Letters in parentheses are the source of each fact, as in ``routes``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import CancelHandle
from dashboard.peliqan.interfaces import TokenStore
from dashboard.peliqan.models import (
    Answer,
    Column,
    Connection,
    Database,
    Link,
    RowPage,
    Run,
    SyncStarted,
    SyncStatus,
    Table,
    Warehouse,
)
from dashboard.peliqan.responses import parse, parse_list
from dashboard.peliqan.routes import Routes
from dashboard.peliqan.sql import SqlPart, read_parts
from dashboard.peliqan.transport import Call, Transport

A = TypeVar("A", bound=Answer)
V = TypeVar("V")
MOST_PAGES = 1_000
# How many of a connection's newest runs are searched for one, if the API has no runs by id.
RUNS_SEARCHED = 100
# The object is missing or belongs to another customer; the route exists.
OBJECT_ERRORS = ("DOES_NOT_EXIST", "NOT_IN_GROUP")


@dataclass(frozen=True)
class RowQuery:
    """Which rows of a table to read, and which of their columns.

    ``size``: rows a page, at most 200. ``order_by``: a column's name; ``-`` in front means
    descending, ``+`` ascending, which a name that begins with a sign needs. ``filters``: query
    parameters of Baserow. ``include``: only these columns; ``exclude``: all but these. The server
    silently ignores a filter on a column that is not included.
    """

    page: int = 1
    size: int = 100
    search: str = ""
    order_by: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def parameters(self) -> dict[str, Any]:
        """Return the query parameters of the request (D B)."""
        optional = {
            "search": self.search,
            "order_by": _quoted(self.order_by),
            "include": ",".join(map(_quoted, self.include)),
            "exclude": ",".join(map(_quoted, self.exclude)),
        }
        return {
            "user_field_names": "True",
            "page": self.page,
            "size": self.size,
            **self.filters,
            **{name: value for name, value in optional.items() if value},
        }


class MissingRoutes:
    """Names of routes that the API does not have for customers. Lives as long as the process.

    Not every account has every route (S: a sub-account has no list of runs by id), and some paths
    are assumptions. For these there is a second way to read the same data.
    """

    def __init__(self) -> None:
        self._names = set[str]()

    def forget(self) -> None:
        """Try all routes again."""
        self._names.clear()

    def read(self, name: str, first: Callable[[], V], second: Callable[[], V]) -> V:
        """Return ``first()``, which uses the route ``name``, or ``second()`` if that is missing.

        The route counts as missing once ``second`` has found the object.

        Raises:
            errors.PeliqanError: of ``second``; or of ``first`` if the object itself is missing or
                the API did not answer.
        """
        if name in self._names:
            return second()
        try:
            return first()
        except (errors.NotFound, errors.Forbidden, errors.Refused) as error:
            if isinstance(error, errors.Busy) or any(
                word in (error.error or "") for word in OBJECT_ERRORS
            ):
                raise
        found = second()
        if found is not None:
            self._names.add(name)
        return found


class AccountApi:
    """One customer's calls. The token comes from ``tokens`` and never leaves this class."""

    def __init__(
        self,
        account_id: int,
        transport: Transport,
        routes: Routes,
        tokens: TokenStore,
        identity: Callable[[int], str],
        missing: MissingRoutes,
    ) -> None:
        self.account_id, self._missing = account_id, missing
        self._transport, self._routes, self._tokens, self._identity = (
            transport,
            routes,
            tokens,
            identity,
        )

    def connections(self) -> tuple[Connection, ...]:
        """Return all connections (S: a list; or ``data`` or ``results`` with ``next``)."""
        found: dict[int, Connection] = {}
        for page in range(1, MOST_PAGES + 1):
            data = self._send("servers", {"page": page} if page > 1 else None)
            before = len(found)
            found.update({each.id: each for each in self._list(Connection, data, "servers")})
            if not (isinstance(data, dict) and data.get("next")):
                return tuple(found.values())
            if len(found) == before:
                break
        raise errors.BrokenAnswer("servers", note="its pages repeat themselves")

    def connection(self, connection_id: int) -> Connection:
        """Return a connection by its own route (D; path A), or else from the list."""
        return self._missing.read(
            "server",
            lambda: self.connection_by_id(connection_id),
            lambda: self._listed_connection(connection_id),
        )

    def connection_by_id(self, connection_id: int) -> Connection:
        """Return a connection by its own route only (D; path A)."""
        found = self._one(Connection, "server", server_id=connection_id)
        if found.id != connection_id:
            raise errors.BrokenAnswer("server", note="it is another connection's")
        return found

    def _listed_connection(self, connection_id: int) -> Connection:
        found = next((each for each in self.connections() if each.id == connection_id), None)
        if found is None:
            raise errors.NotFound(
                "servers", status=404, note="the connection is not in the customer's list"
            )
        return found

    def start_sync(self, connection_id: int) -> SyncStarted:
        """Start a sync (D S). A GET with a side effect, so it is sent once and never retried."""
        query = {"pipeline": "true", "tables": "", "categories": "", "is_async": "true"}
        data = self._send("syncdb", query, server_id=connection_id)
        return parse(SyncStarted, data, self._routes["syncdb"])

    def sync_status(
        self, connection_id: int, *, task_id: str | None = None, run_id: int | None = None
    ) -> SyncStatus:
        """Return whether a sync runs: by its own route (D S), or from the connection's runs."""

        def by_own_route() -> SyncStatus:
            query = {"task_id": task_id, "pipeline_run_id": run_id}
            data = self._send("syncdb_status", query, server_id=connection_id)
            return parse(SyncStatus, data, self._routes["syncdb_status"])

        def by_runs() -> SyncStatus:
            found = self.runs(connection_id, per_page=RUNS_SEARCHED)
            run = next((run for run in found if run_id in (None, run.id)), None)
            if run is None:
                return SyncStatus(running=False)
            return SyncStatus(running=run.is_running, status=run.status, run_id=run.id)

        return self._missing.read("syncdb_status", by_own_route, by_runs)

    def runs(self, connection_id: int, page: int = 1, per_page: int = 10) -> tuple[Run, ...]:
        """Return a connection's runs, newest first (S)."""
        data = self._send("runs", _page_of_runs(page, per_page), server_id=connection_id)
        return tuple(sorted(self._list(Run, data, "runs"), key=lambda run: run.id, reverse=True))

    def run(self, connection_id: int, run_id: int) -> Run | None:
        """Return a run by its id (S), or from the newest runs; None if it is not listed yet."""

        def by_id() -> tuple[Run, ...]:
            data = self._send("pipeline_runs", {"run_id": run_id, **_page_of_runs(1, 10)})
            return self._list(Run, data, "pipeline_runs")

        found = self._missing.read(
            "pipeline_runs", by_id, lambda: self.runs(connection_id, per_page=RUNS_SEARCHED)
        )
        return next((run for run in found if run.id == run_id), None)

    def run_logs(self, run_id: int) -> str:
        """Return the log of a run (S); its shape is ``{"logs": text}`` (A) or plain text."""
        data = self._send("run_logs", run_id=run_id)
        logs = data.get("logs") if isinstance(data, dict) else data
        if isinstance(logs, list):
            logs = "\n".join(str(line) for line in logs)
        if not isinstance(logs, str):
            raise errors.BrokenAnswer("run_logs", note="field logs: is no text")
        return logs

    def invite(self, connector: str) -> Link:
        """Return a link with which the customer adds a connection (S). Nothing is e-mailed.

        The URL is not checked: see ``customer_links.service``.
        """
        body = {
            "recipient": "",
            "subject": "",
            "message": "",
            "confirmationRecipient": "",
            "serverType": connector,
            "sendEmail": False,
        }
        return parse(Link, self._post("invite", body), self._routes["invite"])

    def reauthorise(self, connection_id: int) -> Link:
        """Return a link with which the customer authorises access again (D; path A).

        The URL is not checked: see ``customer_links.service``.
        """
        return self._one(Link, "reauthorise", server_id=connection_id)

    def saltedge_refresh(self, connection_id: int) -> Link:
        """Return a link with which the customer has the bank refresh transactions (D; path A).

        The URL is not checked: see ``customer_links.service``.
        """
        return self._one(Link, "saltedge_refresh", server_id=connection_id)

    def databases(self) -> tuple[Database, ...]:
        """Return the customer's databases, without their tables (D B)."""
        data = self._send("applications", {"exclude_tables": 1})
        return self._list(Database, data, "applications")

    def tables(self, database_id: int) -> tuple[Table, ...]:
        """Return a database's tables in their order (D B)."""
        found = self._list(Table, self._send("tables", database_id=database_id), "tables")
        return tuple(sorted(found, key=lambda table: (table.order, table.name)))

    def table(self, table_id: int) -> Table:
        """Return a table by its own route (S B), or else from the lists of the databases."""
        return self._missing.read(
            "table",
            lambda: self._one(Table, "table", table_id=table_id),
            lambda: self._listed_table(table_id),
        )

    def _listed_table(self, table_id: int) -> Table:
        for database in self.databases():
            for table in self.tables(database.id):
                if table.id == table_id:
                    return table.model_copy(
                        update={"database_id": table.database_id or database.id}
                    )
        raise errors.NotFound(
            "tables", status=404, note="the table is in none of the customer's databases"
        )

    def columns(self, table_id: int) -> tuple[Column, ...]:
        """Return a table's columns: the primary one first, then in their order (B)."""
        found = self._list(Column, self._send("fields", table_id=table_id), "fields")
        tables = {column.id: column.linked_table_id for column in found}
        found = tuple(_with_target(column, tables) for column in found)
        return tuple(sorted(found, key=lambda column: (not column.primary, column.order)))

    def rows(
        self, table_id: int, query: RowQuery | None = None, *, retry_timeouts: bool = True
    ) -> RowPage:
        """Return one page of rows (D B).

        A page after the last is empty and has the true count. Newer servers answer so; older ones
        answer ERROR_INVALID_PAGE (B), which costs one more call for the count.
        ``retry_timeouts``: False if the caller reacts to a time-out with smaller pages.
        """
        query = query or RowQuery()
        parameters = query.parameters()
        call = self._call("rows", parameters, table_id=table_id)
        try:
            data = self._send_call(call, retry_timeouts=retry_timeouts)
            return parse(RowPage, data, self._routes["rows"])
        except errors.Refused as error:
            if error.error != "ERROR_INVALID_PAGE" or query.page == 1:
                raise
        first = self._send("rows", {**parameters, "page": 1, "size": 1}, table_id=table_id)
        return parse(RowPage, first, self._routes["rows"]).model_copy(update={"rows": ()})

    def row(self, table_id: int, row_id: int) -> dict[str, Any]:
        """Return one row by its id (B)."""
        data = self._send("row", {"user_field_names": "True"}, table_id=table_id, row_id=row_id)
        if not isinstance(data, dict):
            raise errors.BrokenAnswer("row", note="it is no object")
        return data

    def warehouse(self) -> str:
        """Return the warehouse's name for SQL: by its own route (S), or from the connections."""
        return self._missing.read(
            "default_dw_info",
            lambda: self._one(Warehouse, "default_dw_info").name,
            self._listed_warehouse,
        )

    def _listed_warehouse(self) -> str:
        found = next(
            (each.name for each in self.connections() if each.is_warehouse and each.name), None
        )
        if found is None:
            raise errors.NotFound("servers", status=404, note="the customer has no data warehouse")
        return found

    def query(
        self,
        statement: str,
        *,
        read_timeout: float | None = 60,
        cancel: CancelHandle | None = None,
        warehouse: str | None = None,
    ) -> Iterator[SqlPart]:
        """Run an SQL statement in the customer's warehouse (S); yield its result part by part.

        ``read_timeout``: seconds to wait for a byte; None for that of all other calls. ``cancel``:
        lets another thread end the query. ``warehouse``: its name if known.

        Raises:
            errors.QueryFailed: the database refused the statement.
            errors.BrokenAnswer: the answer was cut off.
        """
        # Reads the warehouse's name each time if unknown: that call replaces an expired token.
        route, warehouse = self._routes["proxy_db"], warehouse or self.warehouse()
        token = self._tokens.get(self.account_id) or self._identity(self.account_id)
        body = {
            "connection": warehouse,
            "dbName": warehouse,
            "schemaName": "",
            "tableName": "",
            "pk": None,
            "action": "fetch",
            "kwargs": {"query": statement},
        }
        lines = self._transport.stream(
            Call(route, token, body=body),
            read_timeout=read_timeout or self._transport.read_timeout,
            cancel=cancel,
        )
        yield from read_parts(lines, route.name)

    def _one(self, model: type[A], name: str, **path_params: int) -> A:
        return parse(model, self._send(name, None, **path_params), self._routes[name])

    def _list(self, model: type[A], data: Any, name: str) -> tuple[A, ...]:
        if isinstance(data, dict):
            data = data["data"] if "data" in data else data.get("results")
        found = parse_list(model, data, self._routes[name])
        # The last object of an id counts. Objects without an id (some columns) are all returned.
        return tuple(
            {getattr(each, "id", 0) or -index: each for index, each in enumerate(found, 1)}.values()
        )

    def _send(self, name: str, query: Mapping[str, Any] | None = None, **path_params: int) -> Any:
        return self._send_call(self._call(name, query, **path_params))

    def _post(self, name: str, body: Mapping[str, Any]) -> Any:
        return self._send_call(Call(self._routes[name], "", body=body))

    def _call(self, name: str, query: Mapping[str, Any] | None, **path_params: int) -> Call:
        return Call(self._routes[name], "", path_params, query)

    def _send_call(self, call: Call, *, retry_timeouts: bool = True) -> Any:
        """Send a call with the customer's token. After a 401, fetch a new token and send once more.

        A refused call has no effect, so sending it again is safe.
        """
        if call.route.once:
            # Fetching a token is a read. It must not be the probe of an open circuit breaker.
            self._transport.ensure(call.route)
        token = self._tokens.get(self.account_id)
        if token is not None:
            try:
                return self._transport.send(
                    replace(call, token=token), retry_timeouts=retry_timeouts
                )
            except errors.NotAuthorised:
                self._tokens.drop(self.account_id, token)
        token = self._identity(self.account_id)
        self._tokens.put(self.account_id, token)
        return self._transport.send(replace(call, token=token), retry_timeouts=retry_timeouts)


def _with_target(column: Column, tables: Mapping[int, int | None]) -> Column:
    """Return a lookup with its target field as ``linked``, and other columns unchanged.

    Recorded: the target's name is in the list of fields. ``tables``: for each id of a link_row
    field, the table that it links to.
    """
    if not column.target_field_name or column.linked is not None:
        return column
    table_id = tables.get(column.through_field_id or 0)
    return column.model_copy(
        update={"linked": Column(name=column.target_field_name), "linked_table_id": table_id}
    )


def _page_of_runs(page: int, size: int) -> dict[str, int]:
    """Return the parameters of a page of runs; Peliqan's programs use both size names (S)."""
    return {"page": page, "per_page": size, "page_size": size}


def _quoted(text: str) -> str:
    """Quote one item of a comma-separated parameter.

    Baserow reads it as a line of CSV with the escape character ``\\``: its function
    ``split_comma_separated_string``. Recorded: ``order_by="-Name, with comma"``, with the sign
    inside the quotes.
    """
    if not set(text) & set(',"\\\r\n'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'
