"""WSGI middleware in front of the application: a request id, a measurement and a log line."""

import logging
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dashboard.telemetry import process_metrics, tracing
from dashboard.telemetry import request_id as ids

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
# Keys of the WSGI environment in which the application sets its endpoint and the ids in the path.
ENDPOINT, PATH_IDS = "console.endpoint", "console.path_ids"
# The endpoint of requests that match none, so that all guessed addresses are one label.
NO_ENDPOINT = "none"
# Endpoints that machines request very often; logged at INFO only if the status is an error.
MACHINES = {"health.alive", "health.ready", "measured.show", "webhooks.take"}


class AccessLog:
    """Middleware that logs and measures the requests of ``inner``."""

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer, and log once the last byte is passed on or the client disconnects."""
        request_id = ids.accepted(environ.get("HTTP_X_REQUEST_ID"))
        started, answered = perf_counter(), {"status": 500}

        def start(
            status: str, headers: list[tuple[str, str]], *more: Any
        ) -> Callable[[bytes], object]:
            answered["status"] = int(status.split(" ", 1)[0])
            return start_response(status, [*headers, (ids.HEADER, request_id)], *more)

        def finish() -> None:
            with ids.with_id(request_id):
                _log_request(environ, answered["status"], perf_counter() - started)

        try:
            with ids.with_id(request_id), tracing.span("request", kind="server") as span:
                answer = self._inner(environ, start)
                span.name_it(
                    f"{environ['REQUEST_METHOD']} {_endpoint(environ)}",
                    {
                        "http.route": _endpoint(environ),
                        "http.response.status_code": answered["status"],
                    },
                )
        except BaseException:
            finish()
            raise
        return _Body(answer, request_id, finish)


class _Body:
    """A response body. Calls ``on_end`` once: after the last piece, or at ``close``."""

    def __init__(
        self, pieces: Iterable[bytes], request_id: str, on_end: Callable[[], None]
    ) -> None:
        self._pieces, self._next = pieces, iter(pieces)
        self._id, self._on_end = request_id, on_end
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with ids.with_id(self._id):
                return next(self._next)
        except BaseException:
            self._finish()
            raise

    def close(self) -> None:
        """Close the inner body."""
        try:
            if (close := getattr(self._pieces, "close", None)) is not None:
                close()
        finally:
            self._finish()

    def _finish(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()


def _endpoint(environ: "WSGIEnvironment") -> str:
    found: str = environ.get(ENDPOINT) or NO_ENDPOINT
    return found


def _log_request(environ: "WSGIEnvironment", status: int, seconds: float) -> None:
    endpoint = _endpoint(environ)
    process_metrics.request_ended(endpoint, status, seconds)
    fields = {
        "method": environ["REQUEST_METHOD"],
        "endpoint": endpoint,
        "status": status,
        "seconds": round(seconds, 4),
        **environ.get(PATH_IDS, {}),
    }
    level = (
        logging.DEBUG
        if endpoint in MACHINES and status < 400
        else logging.WARNING
        if status >= 500
        else logging.INFO
    )
    log.log(level, "%s %s %s", environ["REQUEST_METHOD"], endpoint, status, extra=fields)
