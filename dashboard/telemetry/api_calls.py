"""Each call to Peliqan: measured, logged if it fails, and sent with the current request id."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType

from dashboard import peliqan
from dashboard.telemetry import process_metrics, request_id, tracing

log = logging.getLogger(__name__)


class ApiCallRecorder:
    """A ``peliqan.ApiCallObserver`` that measures calls. Thread-safe."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Return a context for one call; entering it returns the headers to add."""
        return _Call(route)


class _Call:
    """The context of one call.

    A class, since a refresh makes thousands of calls and ``contextmanager`` takes three times as
    long.
    """

    def __init__(self, route: str) -> None:
        self._route, self._id = route, request_id.current() or request_id.fresh()
        self._span = tracing.span(f"Peliqan {route}", kind="client") if tracing.is_on() else None

    def __enter__(self) -> Mapping[str, str]:
        self._started = perf_counter()
        if self._span is not None:
            self._entered = self._span.__enter__()
        return {request_id.HEADER: self._id}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        route, seconds = self._route, perf_counter() - self._started
        result = error.code if isinstance(error, peliqan.PeliqanError) else "ok"
        if self._span is not None:
            self._entered.name_it(
                f"Peliqan {route}", {"peliqan.route": route, "peliqan.result": result}
            )
            self._span.__exit__(kind, error, trace)
        process_metrics.call_ended(route, result, seconds)
        if result != "ok":
            fields = {
                "route": route,
                "result": result,
                "seconds": round(seconds, 4),
                "request_id": self._id,
            }
            log.info("A call to Peliqan's %s failed: %s", route, result, extra=fields)
