"""Worker process: Huey consumers in threads; due work is enqueued at the start."""

import ctypes
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from huey import Huey
from huey.consumer import Consumer

from dashboard.context import Services
from dashboard.refresh import service as refresh
from dashboard.tasks.processes import ProcessRegistration
from dashboard.tasks.queues import TaskQueues
from dashboard.tasks.worker_threads import QUEUES
from dashboard.worker import dispatch

# Parameter of glibc's mallopt(3): the maximum number of memory arenas.
M_ARENA_MAX = -8
# With this niceness, a worker gets a tenth of the CPU time of web processes if CPU is scarce.
NICE = 10


class Memory:
    """Control of glibc's memory management; does nothing with another C library."""

    def __init__(self) -> None:
        self._libc: Any = None
        with suppress(OSError):
            self._libc = ctypes.CDLL("libc.so.6")

    def limit_arenas(self) -> None:
        """Limit all threads to two arenas: by default each has its own, with idle memory in it."""
        with suppress(AttributeError):
            self._libc.mallopt(M_ARENA_MAX, 2)

    def release_idle(self) -> None:
        """Return idle memory to the system; takes less than a millisecond."""
        with suppress(AttributeError):
            self._libc.malloc_trim(0)


def make_consumers(queues: TaskQueues, threads: int) -> list[Consumer]:
    """Return a consumer for each queue.

    ``threads``: of the queue "jobs", which also runs ``every_minute``; see ``QUEUES`` for others.
    """
    return [
        _consumer(queues[name], number or threads, periodic=name == "jobs")
        for name, number in QUEUES.items()
    ]


def _consumer(huey: Huey, threads: int, *, periodic: bool) -> Consumer:
    # Redis pushes messages: its delay only matters after errors. A file has to be polled.
    delay, longest = (0.5, 2.0) if huey.storage.blocking else (0.05, 0.5)
    return huey.create_consumer(
        workers=threads,
        periodic=periodic,
        initial_delay=delay,
        backoff=1.15,
        max_delay=longest,
        scheduler_interval=1,
        check_worker_health=True,
    )


def run_worker(services: Services, threads: int, *, exit_with_parent: bool) -> None:
    """Run until SIGTERM or SIGINT; then finish running tasks and return.

    ``exit_with_parent``: also stop when the parent process ends, for any reason.
    """
    queues, stop = services.queues, threading.Event()

    def request_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
    memory = Memory()
    memory.limit_arenas()
    if exit_with_parent:
        # Web processes on the same machine have precedence.
        os.nice(NICE)
    refresh.tune_interpreter()
    consumers = make_consumers(queues, threads)
    parent = os.getppid()
    presence: ProcessRegistration = services.app.extensions["presence"]
    presence.begin()
    with services.app.app_context():
        dispatch.start()
    for consumer in consumers:
        consumer._set_signal_handlers = lambda: None
        consumer.start()
    while not stop.wait(0.5):
        memory.release_idle()
        if exit_with_parent and os.getppid() != parent:
            break
    queues.stop.set()
    # All flags are set before any wait, since each consumer may block on Redis for a second.
    for consumer in consumers:
        consumer.stop_flag.set()
    for consumer in consumers:
        consumer.stop(graceful=True)
        consumer.huey.storage.close()
    presence.end()
