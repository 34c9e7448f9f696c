"""The worker: Huey's consumer in threads, with what is due handed out when it begins."""

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
from dashboard.tasks.queue import QUEUES, TaskQueues
from dashboard.worker import dispatch

# glibc's name for "at most so many arenas", in mallopt(3).
M_ARENA_MAX = -8
# Where processors are short, a tenth of what who serves pages has.
NICE = 10


class Memory:
    """What glibc keeps of what was freed. Elsewhere than on glibc nothing is changed."""

    def __init__(self) -> None:
        self._libc: Any = None
        with suppress(OSError):
            self._libc = ctypes.CDLL("libc.so.6")

    def keep_together(self) -> None:
        """Let all threads take memory from two places: by itself glibc gives each its own, and what lies idle there adds up."""
        with suppress(AttributeError):
            self._libc.mallopt(M_ARENA_MAX, 2)

    def give_back(self) -> None:
        """What lies idle between what is in use: some of a pass's memory. Takes less than a millisecond."""
        with suppress(AttributeError):
            self._libc.malloc_trim(0)


def make_consumers(queues: TaskQueues, threads: int) -> list[Consumer]:
    """Make a consumer for each queue, which looks for work often enough for people to wait for it.

    ``threads``: of the queue "jobs", which also runs ``every_minute``; the other queues' numbers stand in ``QUEUES``.
    """
    return [
        _consumer(queues[name], number or threads, periodic=name == "jobs")
        for name, number in QUEUES.items()
    ]


def _consumer(huey: Huey, threads: int, *, periodic: bool) -> Consumer:
    # Redis tells at once what there is to do: the delay is for when it is away. A file is looked at again and again.
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


def run_worker(parts: Services, threads: int, *, exit_with_parent: bool) -> None:
    """Work until SIGTERM or SIGINT; then finish what is in hand and end.

    ``exit_with_parent``: end as well when the process that started this one is gone, however it ended.
    """
    queues, stop = parts.queues, threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    memory = Memory()
    memory.keep_together()
    if exit_with_parent:
        # It shares its machine with those who answer people: they come first.
        os.nice(NICE)
    refresh.tune_interpreter()
    consumers = make_consumers(queues, threads)
    parent = os.getppid()
    presence: ProcessRegistration = parts.app.extensions["presence"]
    presence.begin()
    with parts.app.app_context():
        dispatch.start()
    for consumer in consumers:
        consumer._set_signal_handlers = lambda: None
        consumer.start()
    while not stop.wait(0.5):
        memory.give_back()
        if exit_with_parent and os.getppid() != parent:
            break
    queues.stop.set()
    # All at once: each may wait a second for a message of Redis', and they were waited for one by one.
    for consumer in consumers:
        consumer.stop_flag.set()
    for consumer in consumers:
        consumer.stop(graceful=True)
        consumer.huey.storage.close()
    presence.end()
