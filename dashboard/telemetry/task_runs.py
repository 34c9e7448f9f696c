"""Every task of a worker's: counted, with an id that its lines in the log and its calls to Peliqan share."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from dashboard.telemetry import metrics, request_id, tracing

log = logging.getLogger(__name__)


@contextmanager
def around_task(task: str) -> Iterator[None]:
    """Around one task, by its name. That it failed is told by the queue, which knows why."""
    began, result = perf_counter(), "failed"
    with request_id.with_id(request_id.fresh()), tracing.span(f"task {task}", kind="consumer"):
        try:
            yield
            result = "ok"
        finally:
            metrics.task_ended(task, result)
            log.debug(
                "Task %s: %s",
                task,
                result,
                extra={"task": task, "seconds": round(perf_counter() - began, 4)},
            )
