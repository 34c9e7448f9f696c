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

from dashboard.context import Console
from dashboard.refresh import service as refresh
from dashboard.tasks.processes import Presence
from dashboard.worker.dispatch import Work

# glibc's name for "at most so many arenas", in mallopt(3).
M_ARENA_MAX = -8
# Where processors are short, a tenth of what who serves pages has.
NICE = 10
# So many tables are made files of at a time; others wait.
EXPORTS = 2
# So many warehouses are asked at a time.
QUESTIONS = 4
# So many connections' tables are handed to the hook at a time; others have their turn after a minute.
DELIVERIES = 2


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


def make_consumers(work: Work, threads: int) -> list[Consumer]:
    """Consumers that look for work often enough for people to wait for it: ``threads`` for jobs, one for reading the fleet, two
    for exports, four for questions, one for pulls, two for deliveries."""
    numbers = (
        (work.readings, 1),
        (work.exports, EXPORTS),
        (work.questions, QUESTIONS),
        (work.pulls, 1),
        (work.deliveries, DELIVERIES),
    )
    others = [_consumer(huey, number, periodic=False) for huey, number in numbers]
    return [_consumer(work.jobs, threads, periodic=True), *others]


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


def run_worker(parts: Console, threads: int, *, exit_with_parent: bool) -> None:
    """Work until SIGTERM or SIGINT; then finish what is in hand and end.

    ``exit_with_parent``: end as well when the process that started this one is gone, however it ended.
    """
    work, stop = parts.work, threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    memory = Memory()
    memory.keep_together()
    if exit_with_parent:
        # It shares its machine with those who answer people: they come first.
        os.nice(NICE)
    refresh.let_threads_take_turns()
    consumers = make_consumers(work, threads)
    parent = os.getppid()
    presence: Presence = work.fleet.app.extensions["presence"]
    presence.begin()
    with work.fleet.app.app_context():
        work.begin()
    for consumer in consumers:
        consumer._set_signal_handlers = lambda: None
        consumer.start()
    while not stop.wait(0.5):
        memory.give_back()
        if exit_with_parent and os.getppid() != parent:
            break
    work.stop.set()
    # All at once: each may wait a second for a message of Redis', and they were waited for one by one.
    for consumer in consumers:
        consumer.stop_flag.set()
    for consumer in consumers:
        consumer.stop(graceful=True)
        consumer.huey.storage.close()
    presence.end()
