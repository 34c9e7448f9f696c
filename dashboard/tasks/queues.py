"""Task queues. Messages only wake a worker: work is a row, so lost messages do no harm.

Each queue has threads of its own in every worker, so that tasks of minutes do not delay short ones.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Protocol

from huey import Huey, RedisHuey, SqliteHuey, crontab
from redis.exceptions import RedisError

from dashboard.context import services
from dashboard.core.private_files import make_private
from dashboard.tasks.serializer import SignedMessages
from dashboard.tasks.worker_threads import QUEUES

if TYPE_CHECKING:
    from flask import Flask

    from dashboard.context import Clock
    from dashboard.settings import Settings

log = logging.getLogger(__name__)
# Slightly less than a minute, so that a task which was late once does not skip a turn.
MINUTE, DAY = timedelta(seconds=50), timedelta(days=1)
# Huey names a task by module and name. Messages of earlier versions name the module that then
# held all tasks.
MODULE_IN_MESSAGES: Final = "dashboard.fleet.queue"
WRITTEN: Final = "written"
WRITTEN_EVERY: Final = timedelta(seconds=10)


class Due(Protocol):
    """Row of work: its id, and its due time (None: never)."""

    id: Any
    due_at: Any


@dataclass(frozen=True)
class Task:
    """Task of a worker: its name and queue in messages, and its function.

    Calling it runs the function directly. All methods need an application context.
    """

    name: str
    queue: str
    run: Callable[..., None]

    def __call__(self, *args: Any) -> None:
        """Run the function in this thread."""
        self.run(*args)

    def enqueue(self, *args: Any, delay: float = 0) -> None:
        """Enqueue a message, to be run in ``delay`` seconds.

        Raises:
            RedisError, sqlite3.Error: the queue is unavailable.
        """
        services().queues.enqueue(self, *args, delay=delay)

    def enqueue_when_due(self, row: Due) -> None:
        """Enqueue a message for the time when the row is due.

        If the queue is unavailable, ``every_minute`` enqueues it later.
        """
        services().queues.enqueue_when_due(self, row)


def task(name: str, queue: str = "jobs") -> Callable[[Callable[..., None]], Task]:
    """Return a decorator that makes a function a task.

    ``name`` must not change: messages of an earlier version contain it.
    """
    return lambda run: Task(name, queue, run)


class TaskQueues:
    """Queues of one application; each of its tasks runs in an application context."""

    def __init__(
        self,
        app: "Flask",
        settings: "Settings",
        clock: "Clock",
        tasks: Iterable[Task],
        every_minute: Task,
        around: Callable[[str], AbstractContextManager[None]] = lambda _task: nullcontext(),
    ) -> None:
        """Create the queues. ``around``: context entered around each task, by the task's name.

        Raises:
            sqlite3.Error: the queue's file cannot be used.
        """
        self._app, self._clock, self._around = app, clock, around
        self.by_name = {
            name: make_huey("console" if name == "jobs" else f"console-{name}", settings)
            for name in QUEUES
        }
        self.stop = Event()
        self._tasks = {
            each.name: self.by_name[each.queue].task(name=each.name)(self._in_context(each))
            for each in tasks
        }
        self.by_name[every_minute.queue].periodic_task(crontab(), name=every_minute.name)(
            self._in_context(every_minute)
        )
        self._scheduled: dict[str, datetime] = {}
        self._written_at: datetime | None = None

    def __getitem__(self, name: str) -> Huey:
        return self.by_name[name]

    def enqueue(self, task: Task, *args: Any, delay: float = 0) -> None:
        """Enqueue a message, to be run in ``delay`` seconds.

        Raises:
            RedisError, sqlite3.Error: the queue is unavailable.
        """
        message: Any = self._tasks[task.name]
        if delay > 0:
            message.schedule(args=args, delay=delay)
        else:
            message(*args)

    def try_to_enqueue(self, task: Task, *args: Any, delay: float = 0) -> None:
        """Enqueue a message for due work; without the queue, ``every_minute`` does so later."""
        try:
            self.enqueue(task, *args, delay=delay)
        except (RedisError, sqlite3.Error) as error:
            kind = type(error).__name__
            log.warning(
                "The queue is away (%s): task %s follows within a minute.",
                kind,
                task.name,
                extra={"away": error},
            )

    def enqueue_when_due(self, task: Task, row: Due) -> None:
        """Enqueue a message for the time when the row is due; nothing if it never is."""
        if row.due_at is not None:
            self.try_to_enqueue(
                task, row.id, delay=max(0.0, (row.due_at - self._clock()).total_seconds())
            )

    def enqueue_once_at(self, task: Task, when: datetime) -> None:
        """Enqueue a message for a time, unless this process has enqueued one for no later time.

        Raises:
            RedisError, sqlite3.Error: the queue is unavailable.
        """
        at, scheduled = self._clock(), self._scheduled.get(task.name)
        if scheduled is not None and at < scheduled <= when:
            return
        self.enqueue(task, delay=max(0.0, (when - at).total_seconds()))
        self._scheduled[task.name] = when

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting messages by queue.

        Raises:
            RedisError, sqlite3.Error: the queue is unavailable.
        """
        return {name: int(huey.pending_count()) for name, huey in self.by_name.items()}

    def ensure_writable(self, at: datetime) -> None:
        """Write a value into the queue, at most once in ten seconds.

        Raises:
            RedisError, sqlite3.Error: Redis has reached its memory limit, or the disk is full.
        """
        if self._written_at is None or not timedelta() <= at - self._written_at < WRITTEN_EVERY:
            self.by_name["jobs"].put(WRITTEN, at.isoformat())
            self._written_at = at

    def _in_context(self, task: Task) -> Callable[..., None]:
        def run(*args: Any) -> None:
            with self._app.app_context(), self._around(task.name):
                task.run(*args)

        run.__name__, run.__module__ = task.name, MODULE_IN_MESSAGES
        return run


def make_huey(name: str, settings: "Settings") -> Huey:
    """Return a queue in Redis if it is configured, else in an SQLite file in the data folder."""
    options = {"results": False, "serializer": SignedMessages(settings.secret_keys)}
    if settings.redis_url:
        return RedisHuey(name, url=settings.redis_url, **options)
    make_private(settings.dashboard_data, queue_file(settings.dashboard_data))
    return SqliteHuey(name, filename=str(queue_file(settings.dashboard_data)), **options)


def queue_file(folder: Path) -> Path:
    """Return the path of the queues' file, which is used without Redis."""
    return folder / "queue.db"
