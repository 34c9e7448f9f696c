"""The version of the snapshot, and the lock of whoever changes it."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dashboard.core import row_access as sight
from dashboard.core.database import change, db
from dashboard.fleet.models import SnapshotVersion

_VERSION = select(SnapshotVersion.version)


def begin_change(session: Session | None = None) -> None:
    """Wait until nobody else changes the snapshot; what is read from here to the commit is the latest."""
    session = session or db.session()
    if not session.info.get("changing"):
        sight.see_all_until_commit(session)
        change(update(SnapshotVersion).values(version=SnapshotVersion.version + 1), session)
        session.info["changing"] = True
        session.info.pop("version", None)


def version() -> int:
    """Grows with every change of the snapshot that a list could show. Asked for once in a transaction."""
    info = db.session().info
    if "version" not in info:
        info["version"] = db.session.scalar(_VERSION) or 0
    found: int = info["version"]
    return found
