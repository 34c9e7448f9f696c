"""Every request, whoever answers it: its id, how long it took, one line in the log. In front of the app."""

import logging
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dashboard.telemetry import metrics, tracing
from dashboard.telemetry import request_id as ids

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
# Whoever answers says here by which endpoint, and which numbers stand in the address.
ENDPOINT, PLACE = "console.endpoint", "console.place"
# No endpoint was found: everybody who tries addresses is one line of the measurements.
NOBODY = "none"
# Asked by machines, every few seconds or a thousand times in one: told only when something is wrong. Events are a page's.
MACHINES = {"health.alive", "health.ready", "measured.show", "webhooks.take"}


class AccessLog:
    """WSGI: ``inner``, watched."""

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer, and count when the last byte has been handed on or the client has gone."""
        request_id = ids.accepted(environ.get("HTTP_X_REQUEST_ID"))
        began, answered = perf_counter(), {"status": 500}

        def start(
            status: str, headers: list[tuple[str, str]], *more: Any
        ) -> Callable[[bytes], object]:
            answered["status"] = int(status.split(" ", 1)[0])
            return start_response(status, [*headers, (ids.HEADER, request_id)], *more)

        def end() -> None:
            with ids.with_id(request_id):
                _tell(environ, answered["status"], perf_counter() - began)

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
            end()
            raise
        return _Answer(answer, request_id, end)


class _Answer:
    """What is handed on, piece by piece. ``end`` is called once: after the last piece, or when nobody wants any more."""

    def __init__(self, pieces: Iterable[bytes], request_id: str, end: Callable[[], None]) -> None:
        self._pieces, self._next, self._id, self._end = pieces, iter(pieces), request_id, end
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
        """The server is done with it."""
        try:
            if (close := getattr(self._pieces, "close", None)) is not None:
                close()
        finally:
            self._finish()

    def _finish(self) -> None:
        if not self._ended:
            self._ended = True
            self._end()


def _endpoint(environ: "WSGIEnvironment") -> str:
    found: str = environ.get(ENDPOINT) or NOBODY
    return found


def _tell(environ: "WSGIEnvironment", status: int, seconds: float) -> None:
    endpoint = _endpoint(environ)
    metrics.request_ended(endpoint, status, seconds)
    told = {
        "method": environ["REQUEST_METHOD"],
        "endpoint": endpoint,
        "status": status,
        "seconds": round(seconds, 4),
        **environ.get(PLACE, {}),
    }
    level = (
        logging.DEBUG
        if endpoint in MACHINES and status < 400
        else logging.WARNING
        if status >= 500
        else logging.INFO
    )
    log.log(level, "%s %s %s", environ["REQUEST_METHOD"], endpoint, status, extra=told)
