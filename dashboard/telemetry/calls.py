"""Every call to Peliqan: counted, told when it fails, sent with the id of the request or task that it is made for."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from dashboard import peliqan
from dashboard.telemetry import ids, metrics, tracing

log = logging.getLogger(__name__)


class Watch:
    """A ``peliqan.Watch``. Safe to use from many threads."""

    @contextmanager
    def call(self, route: str) -> Iterator[Mapping[str, str]]:
        """Around one call: what else to send with it."""
        request_id = ids.current() or ids.fresh()
        began, result = perf_counter(), "ok"
        try:
            with tracing.span(f"Peliqan {route}", kind="client") as span:
                try:
                    yield {ids.HEADER: request_id}
                except peliqan.PeliqanError as error:
                    result = error.code
                    raise
                finally:
                    span.name_it(f"Peliqan {route}", {"peliqan.route": route, "peliqan.result": result})
        finally:
            seconds = perf_counter() - began
            metrics.call_ended(route, result, seconds)
            if result != "ok":
                told = {"route": route, "result": result, "seconds": round(seconds, 4), "request_id": request_id}
                log.info("A call to Peliqan's %s failed: %s", route, result, extra=told)
