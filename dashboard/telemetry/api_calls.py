"""Every call to Peliqan: counted, told when it fails, sent with the id of the request or task that it is made for."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType

from dashboard import peliqan
from dashboard.telemetry import metrics, request_id, tracing

log = logging.getLogger(__name__)


class ApiCallRecorder:
    """A ``peliqan.Watch``. Safe to use from many threads."""

    def call(self, route: str) -> AbstractContextManager[Mapping[str, str]]:
        """Around one call: what else to send with it."""
        return _Call(route)


class _Call:
    """By hand, and not by ``contextmanager``: a pass makes thousands of them, and this costs a third."""

    def __init__(self, route: str) -> None:
        self._route, self._id = route, request_id.current() or request_id.fresh()
        self._span = tracing.span(f"Peliqan {route}", kind="client") if tracing.is_on() else None

    def __enter__(self) -> Mapping[str, str]:
        self._began = perf_counter()
        if self._span is not None:
            self._told = self._span.__enter__()
        return {request_id.HEADER: self._id}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        route, seconds = self._route, perf_counter() - self._began
        result = error.code if isinstance(error, peliqan.PeliqanError) else "ok"
        if self._span is not None:
            self._told.name_it(
                f"Peliqan {route}", {"peliqan.route": route, "peliqan.result": result}
            )
            self._span.__exit__(kind, error, trace)
        metrics.call_ended(route, result, seconds)
        if result != "ok":
            told = {
                "route": route,
                "result": result,
                "seconds": round(seconds, 4),
                "request_id": self._id,
            }
            log.info("A call to Peliqan's %s failed: %s", route, result, extra=told)
