"""The worker: Huey's consumer in threads, with what is due handed out when it begins."""

import os
import signal
import threading
from types import FrameType

from huey.consumer import Consumer

from dashboard.app import Console


def make_consumer(parts: Console, threads: int) -> Consumer:
    """A consumer that looks for work often enough for people to wait for it."""
    return parts.huey.create_consumer(
        workers=threads,
        periodic=True,
        initial_delay=0.05,
        backoff=1.15,
        max_delay=0.5,
        scheduler_interval=1,
        check_worker_health=True,
    )


def run_worker(parts: Console, threads: int, *, exit_with_parent: bool) -> None:
    """Work until SIGTERM or SIGINT; then finish what is in hand and end.

    ``exit_with_parent``: end as well when the process that started this one is gone, however it ended.
    """
    consumer = make_consumer(parts, threads)
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    consumer._set_signal_handlers = lambda: None
    parent = os.getppid()
    with parts.work.app.app_context():
        parts.work.hand_out()
    consumer.start()
    while not stop.wait(0.5):
        if exit_with_parent and os.getppid() != parent:
            break
    consumer.stop(graceful=True)
    parts.huey.storage.close()
