"""The work queues. A message is only a hint; the store says what is due, so a lost or doubled message does no harm.

Two of them, each with its own threads in every worker: ``jobs`` for what must not wait, ``readings`` for reading the fleet. A
worker reads in one thread; who finds more due than it can take at once leaves a hint for the next worker to help.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from huey import Huey, RedisHuey, SqliteHuey, crontab
from redis.exceptions import RedisError

from dashboard.fleet import alerts, links, refresh, sync
from dashboard.store import actions, due, findings, passes, retention
from dashboard.store.models import Action

if TYPE_CHECKING:
    from dashboard.settings import Settings

log = logging.getLogger(__name__)
MINUTE, DAY = timedelta(seconds=50), timedelta(days=1)
LOOK_AGAIN = 5


def make_huey(name: str, redis_url: str, folder: Path) -> Huey:
    """Redis where there is one, else a SQLite file beside the store: the same tasks on both."""
    if redis_url:
        return RedisHuey(name, url=redis_url, results=False)
    folder.mkdir(parents=True, exist_ok=True)
    return SqliteHuey(name, filename=str(folder / "queue.db"), results=False)


class Work:
    """The fleet's tasks, with what they need and an app context around each."""

    def __init__(self, fleet: refresh.Fleet, settings: "Settings") -> None:
        self.fleet, self.settings = fleet, settings
        self.jobs = make_huey("console", settings.redis_url, settings.dashboard_data)
        self.readings = make_huey("console-readings", settings.redis_url, settings.dashboard_data)
        self.stop = Event()
        self._look_task: Any = self.jobs.task(name="look")(self._in_context(self.look))
        self._open_task: Any = self.jobs.task(name="open_pass")(self._in_context(self.open_pass))
        self._read_task: Any = self.readings.task(name="read")(self._in_context(self.read))
        self._alerts_task: Any = self.jobs.task(name="alerts")(self._in_context(self.alert))
        self.jobs.periodic_task(crontab(), name="tick")(self._in_context(self.tick))

    def follow(self, action: Action) -> None:
        """Ask the worker to look at an action when it is due. Without the queue the next tick finds it."""
        if action.due_at is None:
            return
        delay = max(0.0, (action.due_at - self.fleet.clock()).total_seconds())
        try:
            self._look_task.schedule(args=(action.id,), delay=delay)
        except RedisError as error:
            log.warning("The queue is away (%s): action %s is looked at with the next tick.", type(error).__name__, action.id)

    def look(self, action_id: int) -> None:
        """One look at an action, unless it is not due or somebody else is looking; then ask for the next."""
        action = actions.lease(action_id, self.fleet.clock())
        if action is None:
            return
        looker = sync.look if action.kind == actions.SYNC else links.look
        looker(self.fleet.api, action, self.fleet.clock(), self.settings.dashboard_watch_interval)
        self.follow(action)

    def open_pass(self) -> None:
        """Begin a pass if one is due, and have the fleet read."""
        at = self.fleet.clock()
        if passes.is_due(at, self.fleet.interval):
            passes.open_or_join(at)
        if passes.current_id() is not None:
            self._read_task()

    def read(self) -> None:
        """Read what is due; ask another worker to help, and to come back while a pass is not complete."""
        at = self.fleet.clock()
        if due.some(at, 3 * self.fleet.concurrency) and not self.readings.pending_count():
            self._read_task()
        refresh.read_due(self.fleet, stop=self.stop)
        if passes.current_id() is not None:
            # A pass that began while nothing was due has everything left to do; of one that ends, the rest is in others' hands.
            if due.some(self.fleet.clock()):
                self._read_task()
            else:
                self._read_task.schedule(delay=LOOK_AGAIN)
        elif (last := passes.latest()) is not None:
            until = last.started_at + timedelta(seconds=self.fleet.interval) - self.fleet.clock()
            self._open_task.schedule(delay=max(0.0, until.total_seconds()))

    def alert(self) -> None:
        """Tell people what is new, and try again what could not be sent."""
        alerts.tell(self.fleet, self.settings.dashboard_url)

    def tick(self) -> None:
        """Every minute, once however many workers there are: whatever is due, asked for again."""
        if due.take_job("tick", self.fleet.clock(), MINUTE):
            self._hand_out()

    def begin(self) -> None:
        """When a worker begins: the same, whoever did it last."""
        due.take_job("tick", self.fleet.clock(), MINUTE)
        self._hand_out()

    def _hand_out(self) -> None:
        """A message may have been lost with the worker that had it."""
        at = self.fleet.clock()
        for action_id in actions.due(at):
            self._look_task(action_id)
        self.open_pass()
        if passes.current_id() is None and due.some(at):
            self._read_task()
        findings.grow_older(at)
        self._alerts_task()
        if due.take_job("findings", at, DAY):
            # What the calendar alone changes: consents that end. Everything else is evaluated when it changes.
            findings.evaluate_all(at)
        if due.take_job("retention", at, DAY):
            retention.forget(at - timedelta(days=self.settings.dashboard_keep_history_days))

    def _in_context(self, function: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            with self.fleet.app.app_context():
                function(*args)

        run.__name__ = function.__name__
        return run
