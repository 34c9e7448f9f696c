"""The work queues. A message only wakes a worker: what is due is a row, so a lost or doubled message is harmless.

Each queue has its own threads in every worker, so that work that takes minutes delays nothing that people wait for.
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

if TYPE_CHECKING:
    from flask import Flask

    from dashboard.context import Clock
    from dashboard.settings import Settings

log = logging.getLogger(__name__)
# A little less than a minute and a day, so that a task that is late once does not skip a turn.
MINUTE, DAY = timedelta(seconds=50), timedelta(days=1)
# The queues, and how many threads of a worker take from each. None: as many as the command line says.
QUEUES: Final[dict[str, int | None]] = {
    "jobs": None,  # what people wait for
    "readings": 1,  # the fleet refresh
    "exports": 2,  # whole tables, which take minutes
    "questions": 4,  # SQL
    "pulls": 1,  # copies of tables
    "deliveries": 2,  # new connections, for the partner's data hook
}
# Huey names a task by module and name: messages of earlier versions name the module that held all tasks.
MODULE_IN_MESSAGES: Final = "dashboard.fleet.queue"
WRITTEN: Final = "written"
WRITTEN_EVERY: Final = timedelta(seconds=10)


class Due(Protocol):
    """A row of work: its id, and when to work on it (None: never again)."""

    id: Any
    due_at: Any


@dataclass(frozen=True)
class Task:
    """What a worker does: its name in the queue, the queue that it waits in, and the function.

    Calling it runs the function here and now. All methods need an application context.
    """

    name: str
    queue: str
    run: Callable[..., None]

    def __call__(self, *args: Any) -> None:
        """Run it in this thread."""
        self.run(*args)

    def enqueue(self, *args: Any, delay: float = 0) -> None:
        """Have a worker run it, ``delay`` seconds from now.

        Raises:
            RedisError, sqlite3.Error: the queue is away.
        """
        services().queues.enqueue(self, *args, delay=delay)

    def enqueue_when_due(self, row: Due) -> None:
        """Have a worker run it with the row's id when the row is due; without the queue, ``every_minute`` does."""
        services().queues.enqueue_when_due(self, row)


def task(name: str, queue: str = "jobs") -> Callable[[Callable[..., None]], Task]:
    """Make a function a task. ``name`` stays: messages in a queue carry it over an upgrade."""
    return lambda run: Task(name, queue, run)


class TaskQueues:
    """The queues of one application, with its tasks in them and an application context around each task."""

    def __init__(
        self,
        app: "Flask",
        settings: "Settings",
        clock: "Clock",
        tasks: Iterable[Task],
        every_minute: Task,
        around: Callable[[str], AbstractContextManager[None]] = lambda _task: nullcontext(),
    ) -> None:
        """``around``: entered around each task, by its name.

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
        """Have a worker run a task, ``delay`` seconds from now.

        Raises:
            RedisError, sqlite3.Error: the queue is away.
        """
        message: Any = self._tasks[task.name]
        if delay > 0:
            message.schedule(args=args, delay=delay)
        else:
            message(*args)

    def try_to_enqueue(self, task: Task, *args: Any, delay: float = 0) -> None:
        """Enqueue a task whose work is due in the store: without the queue, ``every_minute`` enqueues it later."""
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
        """Enqueue a task with a row's id for the time when the row is due. Does nothing where it is never due again."""
        if row.due_at is not None:
            self.try_to_enqueue(
                task, row.id, delay=max(0.0, (row.due_at - self._clock()).total_seconds())
            )

    def enqueue_once_at(self, task: Task, when: datetime) -> None:
        """Enqueue a task without arguments for a time, unless this process has a message of it that comes no later.

        Raises:
            RedisError, sqlite3.Error: the queue is away.
        """
        at, scheduled = self._clock(), self._scheduled.get(task.name)
        if scheduled is not None and at < scheduled <= when:
            return
        self.enqueue(task, delay=max(0.0, (when - at).total_seconds()))
        self._scheduled[task.name] = when

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait in each queue, by its name.

        Raises:
            RedisError, sqlite3.Error: the queue is away.
        """
        return {name: int(huey.pending_count()) for name, huey in self.by_name.items()}

    def ensure_writable(self, at: datetime) -> None:
        """Write a value into the queue, at most one in ten seconds by each process.

        Raises:
            RedisError, sqlite3.Error: Redis is at its limit of memory, or the disk is full.
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
    """Make a queue in Redis where there is one, else in an SQLite file beside the store."""
    more = {"results": False, "serializer": SignedMessages(settings.secret_keys)}
    if settings.redis_url:
        return RedisHuey(name, url=settings.redis_url, **more)
    make_private(settings.dashboard_data, queue_file(settings.dashboard_data))
    return SqliteHuey(name, filename=str(queue_file(settings.dashboard_data)), **more)


def queue_file(folder: Path) -> Path:
    """Return the file of the queues where there is no Redis."""
    return folder / "queue.db"
