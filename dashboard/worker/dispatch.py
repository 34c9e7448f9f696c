"""The work queues. A message is only a hint; the store says what is due, so a lost or doubled message does no harm.

Six of them, each with its own threads in every worker: ``jobs`` for what must not wait, ``readings`` for reading the fleet,
``exports`` for whole tables, which take minutes, ``questions`` for SQL, ``pulls`` for copies, ``deliveries`` for the partner's
hook. A worker reads in one thread; who finds more due than it can take at once leaves a hint for the next worker to help.
"""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from huey import crontab
from redis.exceptions import RedisError

from dashboard.actions import service as actions
from dashboard.actions import sync
from dashboard.actions.models import Action
from dashboard.alerts import delivery as alerts
from dashboard.bulk import jobs as bulk_work
from dashboard.bulk import service as bulk
from dashboard.bulk.models import BulkJob
from dashboard.context import Fleet
from dashboard.core.database import db
from dashboard.customer_links import service as links
from dashboard.deliveries import jobs as delivery_work
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.hook import Hook, open_hook
from dashboard.deliveries.models import Delivery
from dashboard.exports import jobs as export_work
from dashboard.exports import service as exports
from dashboard.exports.models import Export
from dashboard.findings import evaluate as findings
from dashboard.fleet import counters as counts
from dashboard.monitoring.queries import WRITTEN, WRITTEN_EVERY
from dashboard.pulls import jobs as pull_work
from dashboard.pulls import service as pulls
from dashboard.pulls.models import PullSchedule
from dashboard.refresh import passes
from dashboard.refresh import queue as due
from dashboard.refresh import service as refresh
from dashboard.sql import jobs as question_work
from dashboard.sql import service as questions
from dashboard.sql.models import Answer
from dashboard.tables import saved_views as table_views
from dashboard.tables.data_checks import jobs as data_checks
from dashboard.tables.data_checks import service as checked_data
from dashboard.tables.health import jobs as table_health
from dashboard.tables.health import service as looks
from dashboard.tables.search import service as searches
from dashboard.tasks import periodic
from dashboard.tasks.queue import DAY, MINUTE, QUEUES, make_huey
from dashboard.tasks.throttle import Seldom
from dashboard.webhooks import jobs as webhooks
from dashboard.webhooks import retention as event_retention
from dashboard.webhooks import service as events
from dashboard.worker import retention

if TYPE_CHECKING:
    from dashboard.settings import Settings

log = logging.getLogger(__name__)
LOOK_AGAIN = 5
HINT_EVERY = 0.2


class Work:
    """The fleet's tasks, with what they need and an app context around each."""

    def __init__(
        self,
        fleet: Fleet,
        settings: "Settings",
        around: Callable[[str], AbstractContextManager[None]] = lambda _task: nullcontext(),
    ) -> None:
        """``around``: entered around each task, by its name."""
        self.fleet, self.settings, self.around = fleet, settings, around
        self.queues = {name: make_huey("console" if name == "jobs" else f"console-{name}", settings) for name in QUEUES}
        self.jobs, self.readings, self.exports, self.questions, self.pulls, self.deliveries = self.queues.values()
        self.hook: Hook | None = open_hook(settings, fleet.clock)
        self.stop = Event()
        self._look_task: Any = self.jobs.task(name="look")(self._in_context(self.look))
        self._bulk_task: Any = self.jobs.task(name="bulk")(self._in_context(self.bulk))
        self._export_task: Any = self.exports.task(name="export")(self._in_context(self.export))
        self._count_task: Any = self.jobs.task(name="count")(self._in_context(self.count))
        self._question_task: Any = self.questions.task(name="question")(self._in_context(self.question))
        self._pull_task: Any = self.pulls.task(name="pull")(self._in_context(self.pull))
        self._delivery_task: Any = self.deliveries.task(name="deliver")(self._in_context(self.deliver))
        self._open_task: Any = self.jobs.task(name="open_pass")(self._in_context(self.open_pass))
        self._ask_again_task: Any = self.jobs.task(name="ask_again")(self._in_context(self.ask_again))
        self._read_task: Any = self.readings.task(name="read")(self._in_context(self.read))
        self._alerts_task: Any = self.jobs.task(name="alerts")(self._in_context(self.alert))
        self._events_task: Any = self.jobs.task(name="take_events")(self._in_context(self.take_events))
        self._told_task: Any = self.readings.task(name="read_told")(self._in_context(self.read_told))
        self.events_came = Seldom(self._hint_events, HINT_EVERY)
        self._taking, self._more = Lock(), Event()
        self._again_at: datetime | None = None
        self._asks_at: datetime | None = None
        self._written_at: datetime | None = None
        self.jobs.periodic_task(crontab(), name="tick")(self._in_context(self.tick))

    def waiting(self) -> dict[str, int]:
        """How many messages wait in each queue, by its name.

        Raises:
            RedisError, sqlite3.Error: the queue is away.
        """
        return {name: int(huey.pending_count()) for name, huey in self.queues.items()}

    def ensure_writable(self, at: datetime) -> None:
        """Return if the queue takes a value: one is written at most every ten seconds by each process.

        Raises:
            RedisError, sqlite3.Error: it does not, since Redis is at its limit of memory or the disk is full.
        """
        if self._written_at is None or not timedelta() <= at - self._written_at < WRITTEN_EVERY:
            self.jobs.put(WRITTEN, at.isoformat())
            self._written_at = at

    def follow(self, action: Action) -> None:
        """Ask the worker to look at an action when it is due. Without the queue the next tick finds it."""
        self._schedule(self._look_task, action, "action")

    def look(self, action_id: int) -> None:
        """One look at an action, unless it is not due or somebody else is looking; then ask for the next."""
        action = actions.lease(action_id, self.fleet.clock())
        if action is None:
            return
        looker = sync.look if action.kind == actions.SYNC else links.look
        looker(self.fleet.api, action, self.fleet.clock(), self.settings.dashboard_watch_interval)
        self.follow(action)
        if action.settled_at is not None:
            for job_id in bulk.wake(action_id, self.fleet.clock()):
                self._bulk_task(job_id)

    def carry_on(self, job: BulkJob) -> None:
        """Ask the worker to go on with a bulk job when it is due. Without the queue the next tick finds it."""
        self._schedule(self._bulk_task, job, "bulk job")

    def bulk(self, job_id: int) -> None:
        """One step of a bulk job, unless it is not due or somebody else is at it; then ask for the next."""
        job = bulk.lease(job_id, self.fleet.clock())
        if job is not None:
            bulk_work.step(self.fleet.api, job, self.fleet.clock, self.settings.dashboard_watch_interval, self.follow)
            self.carry_on(job)

    def make_file(self, export: Export) -> None:
        """Ask the worker to work on an export when it is due. Without the queue the next tick finds it."""
        self._schedule(self._export_task, export, "export")

    def export(self, export_id: int) -> None:
        """Work on an export to its end, unless it is not due or somebody else is at it."""
        export = exports.lease(export_id, self.fleet.clock())
        if export is not None:
            export_work.work_on(self.fleet.api, export, self.fleet.clock, self.settings.dashboard_data, self.stop)
            if not self.stop.is_set():
                self.make_file(export)

    def count(self) -> None:
        """Count the rows of tables that are due, and check the data of connections that are."""
        table_health.count_due(self.fleet.api, self.fleet.clock, self.stop)
        data_checks.check_due(self.fleet.api, self.fleet.clock, self.stop)

    def find_out(self, answer: Answer) -> None:
        """Ask a worker for this answer. Without the queue the next tick finds it."""
        self._schedule(self._question_task, answer, "answer")

    def question(self, answer_id: int) -> None:
        """Ask for one answer, unless somebody has."""
        answer = questions.lease(answer_id, self.fleet.clock())
        if answer is not None:
            question_work.work_on(self.fleet, answer, self.stop)

    def pull_out(self, schedule: PullSchedule) -> None:
        """Ask a worker to run a schedule when it is due. Without the queue the next tick finds it."""
        self._schedule(self._pull_task, schedule, "schedule")

    def pull(self, schedule_id: int) -> None:
        """Copy what a schedule says, unless it is not due or somebody else is at it."""
        schedule = pulls.lease(schedule_id, self.fleet.clock())
        if schedule is not None:
            pull_work.work_on(self.fleet, schedule, self.stop)

    def connection_came(self, account_id: int, connection_id: int, who: str) -> Delivery | None:
        """A connection is new: its tables go to the hook, once, however often that is told. None where there is no hook."""
        if self.hook is None:
            return None
        begun = deliveries.begin([(account_id, connection_id)], who, self.fleet.clock())
        db.session.commit()
        delivery = deliveries.latest_of((account_id, connection_id))
        if begun and delivery is not None:
            self.hand_over(delivery)
        return delivery

    def hand_over(self, delivery: Delivery) -> None:
        """Ask a worker to go on with a delivery when it is due. Without the queue the next tick finds it."""
        self._schedule(self._delivery_task, delivery, "delivery")

    def deliver(self, delivery_id: int) -> None:
        """One turn at a delivery, unless it is not due or somebody else is at it; then ask for the next."""
        delivery = deliveries.lease(delivery_id, self.fleet.clock())
        if delivery is not None:
            target = delivery_work.Target(self.hook, self.settings.hook_tables)
            delivery_work.work_on(self.fleet, target, delivery, self.settings.dashboard_watch_interval, self.stop)
            if not self.stop.is_set():
                self.hand_over(delivery)

    def _schedule(self, task: Any, row: Action | Answer | BulkJob | Delivery | Export | PullSchedule, what: str) -> None:
        if row.due_at is None:
            return
        delay = max(0.0, (row.due_at - self.fleet.clock()).total_seconds())
        try:
            task.schedule(args=(row.id,), delay=delay)
        except (RedisError, sqlite3.Error) as error:
            log.warning(
                "The queue is away (%s): the next tick comes back to %s %s.",
                type(error).__name__,
                what,
                row.id,
                extra={"away": error},
            )

    def open_pass(self) -> None:
        """Begin a pass if one is due, and have the fleet read. While Peliqan answers nobody, none begins."""
        if self.fleet.api.breaker.outage is not None:
            self._ask_again_task()
            return
        at = self.fleet.clock()
        if passes.is_due(at, self.fleet.interval, self.fleet.outages.ended_at()):
            passes.open_or_join(at)
        if passes.current_id() is not None:
            self._read_task()

    def ask_again(self) -> None:
        """While Peliqan answers nobody: when it is our turn, ask whether it does again. If so, the fleet is read anew at once."""
        breaker = self.fleet.api.breaker
        if breaker.take_turn():
            self.fleet.api.answers_again()
        outage = breaker.outage
        if outage is None:
            self.open_pass()
        elif outage.turn_at != self._asks_at:
            # One message for each turn, however many noticed the outage; should it be lost, the next tick asks.
            self._asks_at = outage.turn_at
            self._ask_again_task.schedule(delay=max(0.0, (outage.turn_at - self.fleet.clock()).total_seconds()))

    def read(self) -> None:
        """Read what is due; ask another worker to help, and to come back while a pass is not complete."""
        at = self.fleet.clock()
        if due.some(at, 3 * self.fleet.concurrency) and not self.readings.pending_count():
            self._read_task()
        refresh.read_due(self.fleet, stop=self.stop)
        if self.fleet.api.breaker.outage is not None:
            self._ask_again_task()
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

    def take_events(self) -> None:
        """Work through what Peliqan sent: one thread at a time, again where more was hinted at meanwhile."""
        self._more.set()
        while self._more.is_set() and self._taking.acquire(blocking=False):
            try:
                self._more.clear()
                self._take_events()
            finally:
                self._taking.release()

    def _take_events(self) -> None:
        taken = webhooks.take_all(self.fleet.clock, self.fleet.interval, delivers=self.hook is not None)
        for action_id in taken.actions:
            self._look_task(action_id)
        for delivery_id in taken.deliveries:
            self._delivery_task(delivery_id)
        if taken.accounts and not self.readings.pending_count():
            self._told_task()
        at, due_at = self.fleet.clock(), events.next_due()
        if due_at is not None and (self._again_at is None or self._again_at <= at):
            # One message at a time, however many events wait: it looks after all of them.
            self._again_at = max(due_at, at + timedelta(seconds=LOOK_AGAIN))
            self._events_task.schedule(delay=(self._again_at - at).total_seconds())

    def read_told(self) -> None:
        """Read the accounts that events made due."""
        refresh.read_due(self.fleet, stop=self.stop)

    def _hint_events(self) -> None:
        try:
            self._events_task()
        except (RedisError, sqlite3.Error) as error:
            log.warning(
                "The queue is away (%s): events are taken with the next tick.", type(error).__name__, extra={"away": error}
            )

    def tick(self) -> None:
        """Every minute, once however many workers there are: whatever is due, asked for again."""
        # Each machine has its own folder of files.
        export_work.sweep(self.settings.dashboard_data)
        if periodic.take_job("tick", self.fleet.clock(), MINUTE):
            self._hand_out()

    def begin(self) -> None:
        """When a worker begins: the same, whoever did it last."""
        periodic.take_job("tick", self.fleet.clock(), MINUTE)
        self._hand_out()

    def _hand_out(self) -> None:
        """A message may have been lost with the worker that had it."""
        at = self.fleet.clock()
        for action_id in actions.due(at):
            self._look_task(action_id)
        for job_id in bulk.due(at):
            self._bulk_task(job_id)
        exports.expire(at)
        for export_id in exports.due(at):
            self._export_task(export_id)
        searches.forget(at)
        table_views.forget(at)
        pulls.close_lost(at)
        for schedule_id in pulls.due(at):
            self._pull_task(schedule_id)
        questions.give_up(at)
        questions.forget(at)
        for answer_id in questions.due(at):
            self._question_task(answer_id)
        for delivery_id in deliveries.due(at):
            self._delivery_task(delivery_id)
        if looks.due(at, 1) or checked_data.due(at, 1):
            self._count_task()
        if events.some_new() or events.next_due() is not None:
            self._events_task()
        self.open_pass()
        if passes.current_id() is None and due.some(at):
            self._read_task()
        findings.grow_older(at)
        self._alerts_task()
        if periodic.take_job("findings", at, DAY):
            # What the calendar alone changes: consents that end. Everything else is evaluated when it changes.
            findings.evaluate_all(at)
        if periodic.take_job("retention", at, DAY):
            retention.forget(at - timedelta(days=self.settings.dashboard_keep_history_days))
            event_retention.forget_events(at)
            counts.repair_texts()

    def _in_context(self, function: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            with self.fleet.app.app_context(), self.around(function.__name__):
                function(*args)

        run.__name__ = function.__name__
        return run
