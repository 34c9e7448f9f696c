"""Checks before a command starts: whether database, data folder and Redis can be used."""

from pathlib import Path

from flask import Flask
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.core.redaction import scrubbed
from dashboard.core.schema import needs_upgrade
from dashboard.monitoring import queries as service_status
from dashboard.settings import Settings

MOUNTS = Path("/proc/mounts")
NETWORKED = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "lustre",
    "afs",
    "9p",
}


def store_problem(app: Flask) -> str | None:
    """Return what is wrong with the database, as words after its name; None if nothing."""
    with app.app_context():
        try:
            if needs_upgrade():
                return "has an older schema than this version: run dashboard db upgrade"
        except SQLAlchemyError as error:
            return f"does not answer ({own_words(error)}): check DATABASE_URL"
        try:
            service_status.ensure_writable(app.extensions["services"].clock())
        except SQLAlchemyError as error:
            return (
                f"cannot be written to ({own_words(error)}):"
                " make room on its disk, or lift what makes it read-only"
            )
    return None


def queue_problem(redis_url: str) -> str | None:
    """Return what is wrong with Redis; None if nothing, or if none is set."""
    if not redis_url:
        return None
    try:
        with Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
            client.set("console.written", "1", ex=60)
    except ResponseError as error:
        return (
            f"takes no value ({own_words(error)}): give it more memory, or let it write to its disk"
        )
    except (RedisError, ValueError) as error:
        return f"does not answer ({own_words(error)}): check REDIS_URL"
    return None


def own_words(error: Exception) -> str:
    """Return the first line of a database or Redis error, without secrets.

    It distinguishes a wrong password, name, host or port.
    """
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return scrubbed(lines[0])[:300] if lines else type(cause).__name__


def sharing_problem(settings: Settings, mounts: Path = MOUNTS) -> str | None:
    """Return why SQLite cannot work in the data folder; None if it can.

    ``mounts``: Linux' table of mounted file systems. SQLite's write-ahead log uses memory shared by
    processes of one machine (https://www.sqlite.org/wal.html). On a network file system a second
    machine would not see it, and both would damage the file.
    """
    if not settings.store_url.startswith("sqlite") or not mounts.exists():
        return None
    folder = Path(settings.store_url.removeprefix("sqlite:///")).resolve().parent
    lines = map(str.split, mounts.read_text().splitlines())
    kinds = {Path(mounted_on): kind for _, mounted_on, kind, *_ in lines}
    kind = next((kinds[each] for each in (folder, *folder.parents) if each in kinds), "")
    if kind not in NETWORKED:
        return None
    return (
        f"lies on a network file system ({kind}), where SQLite cannot be shared between machines:"
        " choose a local folder, or set DATABASE_URL to a PostgreSQL database"
    )
