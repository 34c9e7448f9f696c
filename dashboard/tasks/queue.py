"""The Huey queue: its storage (Redis or an SQLite file), and the names of the queues."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from huey import Huey, RedisHuey, SqliteHuey

from dashboard.core.private_files import make_private
from dashboard.tasks.serializer import SignedMessages

if TYPE_CHECKING:
    from dashboard.settings import Settings

MINUTE, DAY = timedelta(seconds=50), timedelta(days=1)


# "jobs" has the name that it had when it was alone.
QUEUES = ("jobs", "readings", "exports", "questions", "pulls", "deliveries")


def make_huey(name: str, settings: "Settings") -> Huey:
    """Redis where there is one, else a SQLite file beside the store: the same tasks on both."""
    more = {"results": False, "serializer": SignedMessages(settings.secret_keys)}
    if settings.redis_url:
        return RedisHuey(name, url=settings.redis_url, **more)
    make_private(settings.dashboard_data, queue_file(settings.dashboard_data))
    return SqliteHuey(name, filename=str(queue_file(settings.dashboard_data)), **more)


def queue_file(folder: Path) -> Path:
    """Where the queue is kept without Redis."""
    return folder / "queue.db"
