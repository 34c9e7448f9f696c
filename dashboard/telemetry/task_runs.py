"""Each task of a worker: counted, with an id that its log lines and API calls share."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from dashboard.telemetry import process_metrics, request_id, tracing

log = logging.getLogger(__name__)


@contextmanager
def around_task(task: str) -> Iterator[None]:
    """Count and log one task. Its failure is logged by the queue, which has the exception."""
    started, result = perf_counter(), "failed"
    with request_id.with_id(request_id.fresh()), tracing.span(f"task {task}", kind="consumer"):
        try:
            yield
            result = "ok"
        finally:
            process_metrics.task_ended(task, result)
            log.debug(
                "Task %s: %s",
                task,
                result,
                extra={"task": task, "seconds": round(perf_counter() - started, 4)},
            )
