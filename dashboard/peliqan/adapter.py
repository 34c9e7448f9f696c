"""requests' adapter for the one host that a service talks to."""

from threading import Lock
from typing import Any

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool


class OneHostAdapter(HTTPAdapter):
    """Looks its pool of connections up once. requests does so with every request: a tenth of its time.

    For requests to one scheme, host and port alone, always with the same proxies and the same certificates to trust.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lock = Lock()
        self._pool: HTTPConnectionPool | None = None

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> HTTPConnectionPool:
        """The pool; made, and told which certificates to trust, at the first request."""
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
                    super().cert_verify(pool, request.url or "", verify, cert)
                    self._pool = pool
        return self._pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Done when the pool was made."""
