"""All paths of the API.

``source`` names where each is documented: D Peliqan's embedding page, S its Python SDK, H its help
pages, B Baserow's API documentation (Peliqan's data routes are Baserow's), A an assumption that no
public source states. A setting ``PELIQAN_PATH_<NAME>`` replaces a path, since Peliqan's own pages
disagree on some.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import Formatter
from typing import Final, Literal


@dataclass(frozen=True)
class Route:
    """One route. ``once``: it has a side effect, so it is sent once and never retried."""

    name: str
    method: Literal["GET", "POST"]
    path: str
    source: str
    partner: bool = False
    once: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the route only reads, so that a request may be sent again."""
        return self.method == "GET" and not self.once

    @property
    def placeholders(self) -> set[str]:
        """The names in braces in the path."""
        return {name for _, name, _, _ in Formatter().parse(self.path) if name is not None}


ROUTES: Final = (
    Route("sub_accounts", "GET", "/api/partner/sub-accounts/", "D S", partner=True),
    Route("sub_account", "GET", "/api/partner/sub-account/", "S", partner=True),
    Route("identity", "GET", "/api/partner/sub-account/identity/", "D S", partner=True),
    Route("integrate", "POST", "/api/partner/sub-account/integrate/", "D", partner=True, once=True),
    Route("servers", "GET", "/api/servers/", "S"),
    Route("server", "GET", "/api/servers/{server_id}/", "D, path A"),
    Route("syncdb", "GET", "/api/servers/{server_id}/syncdb/", "D S", once=True),
    Route("syncdb_status", "GET", "/api/servers/{server_id}/syncdb/status/", "D S"),
    Route("runs", "GET", "/api/servers/{server_id}/runs/", "S"),
    Route("pipeline_runs", "GET", "/api/pipeline_runs/", "S"),
    Route("run_logs", "GET", "/api/pipeline_runs/{run_id}/logs/", "S, shape A"),
    Route("invite", "POST", "/api/servers/invite/", "S", once=True),
    Route("reauthorise", "GET", "/api/servers/{server_id}/reauthorise/", "D, path A", once=True),
    Route(
        "saltedge_refresh",
        "GET",
        "/api/servers/{server_id}/saltedge-refresh/",
        "D, path A",
        once=True,
    ),
    Route("applications", "GET", "/api/applications/", "D B"),
    Route("default_dw_info", "GET", "/api/applications/default_dw_info/", "S"),
    Route("proxy_db", "POST", "/api/proxy/db/", "S"),
    Route("tables", "GET", "/api/database/tables/database/{database_id}/", "D B"),
    Route("table", "GET", "/api/database/tables/{table_id}/", "S B"),
    Route("fields", "GET", "/api/database/fields/table/{table_id}/", "B"),
    Route("rows", "GET", "/api/database/rows/table/{table_id}/", "D B"),
    Route("row", "GET", "/api/database/rows/table/{table_id}/{row_id}/", "B"),
)


class Routes:
    """The routes by name, after replacements by settings."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """Take path templates by route name.

        Raises:
            ValueError: a name is unknown, a path does not begin with one slash, or its placeholders
                differ from the route's.
        """
        self._routes = {route.name: route for route in ROUTES}
        for name, path in (overrides or {}).items():
            self._routes[name] = self._replaced(name, path)

    def __getitem__(self, name: str) -> Route:
        return self._routes[name]

    def _replaced(self, name: str, path: str) -> Route:
        setting = f"PELIQAN_PATH_{name.upper()}"
        if name not in self._routes:
            names = ", ".join(sorted(self._routes))
            raise ValueError(f"{setting}: there is no route of that name; there are: {names}")
        route = self._routes[name]
        try:
            found = replace(route, path=path).placeholders
        except ValueError:
            raise ValueError(f"{setting}: the braces in {path} do not match") from None
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"{setting}: must begin with one slash")
        if found != route.placeholders:
            names = str(sorted(route.placeholders) or "none")
            raise ValueError(f"{setting}: must have exactly these placeholders: {names}")
        return replace(route, path=path)
