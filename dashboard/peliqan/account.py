"""``AccountApi``: one customer's calls, with that customer's token."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from dashboard.peliqan.routes import Route, Routes
from dashboard.peliqan.sql import SqlPart, read_parts
from dashboard.peliqan.transport import Transport

A = TypeVar("A", bound=Answer)
V = TypeVar("V")
MOST_PAGES = 1_000
# How many of a connection's newest runs are searched for one, where runs cannot be asked for by their ids.
RUNS_SEARCHED = 100
# The thing is missing and not the route, or it is somebody else's.
ABOUT_THE_THING = ("DOES_NOT_EXIST", "NOT_IN_GROUP")


class MissingRoutes:
    """Routes that the API turned out not to have for customers, by name: for the life of the process.

    Not every account has every route (S: a sub-account has no list of runs by id), and some paths are assumptions. Where the
    same can be read in another way, that is the second choice.
    """

    def __init__(self) -> None:
        self._names = set[str]()

    def forget(self) -> None:
        """Try all routes again."""
        self._names.clear()

    def read(self, name: str, first: Callable[[], V], second: Callable[[], V]) -> V:
        """Return what ``first`` reads by the route of this name, or where that is missing or refused what ``second`` reads.

        A route is remembered as missing once the second way has led to the thing.

        Raises:
            errors.PeliqanError: of the second way, or of the first where the thing itself is missing or nothing was answered.
        """
        if name in self._names:
            return second()
        try:
            return first()
        except (errors.NotFound, errors.Forbidden, errors.Refused) as error:
            if isinstance(error, errors.Busy) or any(
                word in (error.error or "") for word in ABOUT_THE_THING
            ):
                raise
        found = second()
        if found is not None:
            self._names.add(name)
        return found


class AccountApi:
    """What can be asked about one customer. Its token is kept by ``tokens`` and never leaves this class."""

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
        """All connections (S: a list; ``data`` or ``results`` with ``next`` are taken too)."""
        found: dict[int, Connection] = {}
        for page in range(1, MOST_PAGES + 1):
            data = self._send("servers", query={"page": page} if page > 1 else None)
            before = len(found)
            found.update({each.id: each for each in self._list(Connection, data, "servers")})
            if not (isinstance(data, dict) and data.get("next")):
                return tuple(found.values())
            if len(found) == before:
                break
        raise errors.BrokenAnswer("servers", note="its pages repeat themselves")

    def connection(self, connection_id: int) -> Connection:
        """One connection's health: by its own route (D; path A), or else from the list of connections."""
        return self._missing.read(
            "server",
            lambda: self.connection_itself(connection_id),
            lambda: self._listed_connection(connection_id),
        )

    def connection_itself(self, connection_id: int) -> Connection:
        """One connection's health by its own route alone (D; path A)."""
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
        """Start a sync (D S). A GET with a side effect: sent once, whatever happens."""
        query = {"pipeline": "true", "tables": "", "categories": "", "is_async": "true"}
        data = self._send("syncdb", {"server_id": connection_id}, query)
        return parse(SyncStarted, data, self._routes["syncdb"])

    def sync_status(
        self, connection_id: int, *, task_id: str | None = None, run_id: int | None = None
    ) -> SyncStatus:
        """Whether a sync runs: by the route for that (D S), or else from the connection's runs."""

        def by_its_route() -> SyncStatus:
            query = {"task_id": task_id, "pipeline_run_id": run_id}
            data = self._send("syncdb_status", {"server_id": connection_id}, query)
            return parse(SyncStatus, data, self._routes["syncdb_status"])

        def by_runs() -> SyncStatus:
            found = self.runs(connection_id, per_page=RUNS_SEARCHED)
            run = next((run for run in found if run_id in (None, run.id)), None)
            if run is None:
                return SyncStatus(running=False)
            return SyncStatus(running=run.is_running, status=run.status, run_id=run.id)

        return self._missing.read("syncdb_status", by_its_route, by_runs)

    def runs(self, connection_id: int, page: int = 1, per_page: int = 10) -> tuple[Run, ...]:
        """A connection's runs, newest first (S)."""
        data = self._send("runs", {"server_id": connection_id}, _page_of_runs(page, per_page))
        return tuple(sorted(self._list(Run, data, "runs"), key=lambda run: run.id, reverse=True))

    def run(self, connection_id: int, run_id: int) -> Run | None:
        """One run: by its id (S), or else among the connection's newest; None when the API does not list it (yet)."""

        def by_its_id() -> tuple[Run, ...]:
            data = self._send("pipeline_runs", query={"run_id": run_id, **_page_of_runs(1, 10)})
            return self._list(Run, data, "pipeline_runs")

        found = self._missing.read(
            "pipeline_runs", by_its_id, lambda: self.runs(connection_id, per_page=RUNS_SEARCHED)
        )
        return next((run for run in found if run.id == run_id), None)

    def run_logs(self, run_id: int) -> str:
        """The log of a run (S; its shape ``{"logs": text}`` is an assumption, a bare text is taken too)."""
        data = self._send("run_logs", {"run_id": run_id})
        logs = data.get("logs") if isinstance(data, dict) else data
        if isinstance(logs, list):
            logs = "\n".join(str(line) for line in logs)
        if not isinstance(logs, str):
            raise errors.BrokenAnswer("run_logs", note="field logs: is no text")
        return logs

    def invite(self, connector: str) -> Link:
        """A link with which the customer makes a connection (S); nothing is e-mailed. See ``customer_links.service``."""
        asked = {
            "recipient": "",
            "subject": "",
            "message": "",
            "confirmationRecipient": "",
            "serverType": connector,
        }
        return parse(
            Link, self._send("invite", body={**asked, "sendEmail": False}), self._routes["invite"]
        )

    def reauthorise(self, connection_id: int) -> Link:
        """A link with which the customer allows access again (D; path A). Unchecked: see ``customer_links.service``."""
        return self._one(Link, "reauthorise", server_id=connection_id)

    def saltedge_refresh(self, connection_id: int) -> Link:
        """A link with which the bank hands over new transactions (D; path A). Unchecked: see ``customer_links.service``."""
        return self._one(Link, "saltedge_refresh", server_id=connection_id)

    def databases(self) -> tuple[Database, ...]:
        """The customer's databases, without their tables (D B)."""
        return self._list(
            Database, self._send("applications", query={"exclude_tables": 1}), "applications"
        )

    def tables(self, database_id: int) -> tuple[Table, ...]:
        """A database's tables, in their order (D B)."""
        found = self._list(Table, self._send("tables", {"database_id": database_id}), "tables")
        return tuple(sorted(found, key=lambda table: (table.order, table.name)))

    def table(self, table_id: int) -> Table:
        """One table: by its own route (S B), or else from the lists of the customer's databases."""
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
        """A table's columns: the primary one first, then in their order (B)."""
        found = self._list(Column, self._send("fields", {"table_id": table_id}), "fields")
        tables = {column.id: column.linked_table_id for column in found}
        found = tuple(_with_target(column, tables) for column in found)
        return tuple(sorted(found, key=lambda column: (not column.primary, column.order)))

    def rows(
        self,
        table_id: int,
        *,
        page: int = 1,
        size: int = 100,
        search: str = "",
        order_by: str = "",
        filters: Mapping[str, str] = {},
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        retry_timeouts: bool = True,
    ) -> RowPage:
        """One page of rows (D B). ``size`` up to 200; ``order_by`` a column's name, ``-`` in front for descending,
        ``+`` for ascending, which a name that begins with a sign needs. ``include``: these columns only, or all but those
        to ``exclude``; mind that the server then ignores a filter on any other, and says nothing.
        ``retry_timeouts``: False for a caller that asks for fewer pages at a time after a time-out.

        A page past the end is an empty one with the true count, as newer servers say it; older ones answer
        ERROR_INVALID_PAGE (B), which costs one more call to learn the count.
        """
        query: dict[str, Any] = {"user_field_names": "True", "page": page, "size": size, **filters}
        more = {
            "search": search,
            "order_by": _quoted(order_by),
            "include": ",".join(map(_quoted, include)),
        }
        more["exclude"] = ",".join(map(_quoted, exclude))
        query |= {name: value for name, value in more.items() if value}
        try:
            data = self._send("rows", {"table_id": table_id}, query, retry_timeouts=retry_timeouts)
            return parse(RowPage, data, self._routes["rows"])
        except errors.Refused as error:
            if error.error != "ERROR_INVALID_PAGE" or page == 1:
                raise
        first = self._send("rows", {"table_id": table_id}, {**query, "page": 1, "size": 1})
        return parse(RowPage, first, self._routes["rows"]).model_copy(update={"rows": ()})

    def row(self, table_id: int, row_id: int) -> dict[str, Any]:
        """One row by its id (B)."""
        data = self._send(
            "row", {"table_id": table_id, "row_id": row_id}, {"user_field_names": "True"}
        )
        if not isinstance(data, dict):
            raise errors.BrokenAnswer("row", note="it is no object")
        return data

    def warehouse(self) -> str:
        """The name of the customer's data warehouse, as SQL asks for it: by its own route (S), or else from the connections."""
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

    def ask(
        self,
        query: str,
        *,
        quiet: float | None = 60,
        hang_up: CancelHandle | None = None,
        warehouse: str | None = None,
    ) -> Iterator[SqlPart]:
        """A question in SQL to the customer's warehouse (S), its answer part by part; ``quiet``: seconds to wait for a byte,
        None: as long as for any other call; ``hang_up``: for another thread, to end it. ``warehouse``: its name if known.

        Raises:
            errors.QueryFailed: the database refused it; errors.BrokenAnswer: the answer was cut off.
        """
        # Asked each time: a token that is no longer good is replaced by that.
        route, warehouse = self._routes["proxy_db"], warehouse or self.warehouse()
        token = self._tokens.get(self.account_id) or self._identity(self.account_id)
        place = {
            "connection": warehouse,
            "dbName": warehouse,
            "schemaName": "",
            "tableName": "",
            "pk": None,
        }
        body = {**place, "action": "fetch", "kwargs": {"query": query}}
        yield from read_parts(
            self._transport.stream(
                route, token, body, quiet=quiet or self._transport.read_timeout, hang_up=hang_up
            ),
            route.name,
        )

    def _one(self, model: type[A], name: str, **place: int) -> A:
        return parse(model, self._send(name, place), self._routes[name])

    def _list(self, model: type[A], data: Any, name: str) -> tuple[A, ...]:
        if isinstance(data, dict):
            data = data["data"] if "data" in data else data.get("results")
        found = parse_list(model, data, self._routes[name])
        # Of one id the last counts; what has none (a column may) is kept as it comes.
        return tuple(
            {getattr(each, "id", 0) or -place: each for place, each in enumerate(found, 1)}.values()
        )

    def _send(
        self,
        name: str,
        place: Mapping[str, int] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        **more: bool,
    ) -> Any:
        """Send with the customer's token. A 401 drops it and asks for a new one, once; refused, nothing was carried out.

        ``more``: as ``Transport.send`` takes it.
        """
        route: Route = self._routes[name]
        if route.once:
            # Its token may have to be asked for first, and that must not be the read by which Peliqan is tried again.
            self._transport.ensure(route)
        token = self._tokens.get(self.account_id)
        if token is not None:
            try:
                return self._transport.send(
                    route, token, place=place, query=query, body=body, **more
                )
            except errors.NotAuthorised:
                self._tokens.drop(self.account_id, token)
        token = self._identity(self.account_id)
        self._tokens.put(self.account_id, token)
        return self._transport.send(route, token, place=place, query=query, body=body, **more)


def _with_target(column: Column, tables: Mapping[int, int | None]) -> Column:
    """Return a lookup with the field looked up as ``linked`` (recorded: its name is in the list of fields), others as they are.

    ``tables``: by the id of a link_row field, the table that it links to.
    """
    if not column.target_field_name or column.linked is not None:
        return column
    table_id = tables.get(column.through_field_id or 0)
    return column.model_copy(
        update={"linked": Column(name=column.target_field_name), "linked_table_id": table_id}
    )


def _page_of_runs(page: int, size: int) -> dict[str, int]:
    """The parameters of a page of runs. Its size goes by both names that Peliqan's own programs use (S)."""
    return {"page": page, "per_page": size, "page_size": size}


def _quoted(text: str) -> str:
    """Quote one item of a comma-separated parameter, which Baserow reads as a line of CSV with ``\\`` as its escape character.

    Source: Baserow's ``split_comma_separated_string``; recorded: ``order_by="-Name, with comma"``, the sign inside the quotes.
    """
    if not set(text) & set(',"\\\r\n'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'
