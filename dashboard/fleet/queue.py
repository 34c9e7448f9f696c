"""The work queue. A message is only a hint; the store says what is due, so a lost or doubled message does no harm."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from huey import Huey, RedisHuey, SqliteHuey, crontab

from dashboard import peliqan
from dashboard.fleet import links, refresh, sync
from dashboard.store import actions
from dashboard.store.models import Action

if TYPE_CHECKING:
    from dashboard.settings import Settings


def make_huey(redis_url: str, folder: Path) -> Huey:
    """Redis where there is one, else a SQLite file beside the store: the same tasks on both."""
    if redis_url:
        return RedisHuey("console", url=redis_url, results=False)
    folder.mkdir(parents=True, exist_ok=True)
    return SqliteHuey("console", filename=str(folder / "queue.db"), results=False)


class Work:
    """The fleet's tasks, with what they need: the API, the clock, the settings and an app context around each."""

    def __init__(self, app: Flask, huey: Huey, api: peliqan.Peliqan, clock: Callable[[], datetime], settings: "Settings") -> None:
        self.app, self.huey, self.api, self.clock, self.settings = app, huey, api, clock, settings
        self._refresh_task: Any = huey.task(name="refresh")(self._in_context(self.refresh_if_due))
        self._look_task: Any = huey.task(name="look")(self._in_context(self.look))
        huey.periodic_task(crontab(), name="hand_out")(self._in_context(self.hand_out))

    def follow(self, action: Action) -> None:
        """Ask the worker to look at an action when it is due."""
        if action.due_at is not None:
            self._look_task.schedule(args=(action.id,), delay=max(0.0, (action.due_at - self.clock()).total_seconds()))

    def look(self, action_id: int) -> None:
        """One look at an action, unless it is not due or somebody else is looking; then ask for the next."""
        action = actions.lease(action_id, self.clock())
        if action is None:
            return
        looker = sync.look if action.kind == actions.SYNC else links.look
        looker(self.api, action, self.clock(), self.settings.dashboard_watch_interval)
        self.follow(action)

    def refresh_if_due(self) -> None:
        """A pass over the fleet, if one is due; then ask for the next."""
        interval = self.settings.dashboard_refresh_interval
        if refresh.is_due(self.clock(), interval):
            try:
                refresh.refresh_fleet(self.api, self.clock, self.settings.dashboard_api_concurrency)
            except refresh.AlreadyRunning:
                return
        if interval < 60:
            self._refresh_task.schedule(delay=interval)

    def hand_out(self) -> None:
        """Every minute, and when a worker begins: whatever is due, asked for again."""
        for action_id in actions.due(self.clock()):
            self._look_task(action_id)
        if refresh.is_due(self.clock(), self.settings.dashboard_refresh_interval):
            self._refresh_task()

    def _in_context(self, function: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            with self.app.app_context():
                function(*args)

        run.__name__ = function.__name__
        return run
