"""The version of the snapshot, and the lock for changing it."""

from sqlalchemy import BigInteger, event, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from dashboard.core import row_access
from dashboard.core.database import Model, change, db
from dashboard.core.row_access import EVERYONE


class SnapshotVersion(Model):
    """One row. ``version`` grows with every change of an account or connection that lists show.

    A writer increments it first, which locks the row: one writer at a time, on both databases.
    """

    __tablename__ = "snapshot_version"
    visibility = EVERYONE

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)


_VERSION = select(SnapshotVersion.version)


def lock_snapshot(session: Session | None = None) -> None:
    """Lock the snapshot until commit and increment its version. Does not commit.

    Waits while another transaction holds the lock. Reads until the commit return the latest rows,
    without row-level access.
    """
    session = session or db.session()
    if not session.info.get("changing"):
        row_access.unrestrict_until_commit(session)
        change(update(SnapshotVersion).values(version=SnapshotVersion.version + 1), session)
        session.info["changing"] = True
        session.info.pop("version", None)


def version() -> int:
    """Return the version of the snapshot, read once in a transaction."""
    info = db.session().info
    if "version" not in info:
        info["version"] = db.session.scalar(_VERSION) or 0
    found: int = info["version"]
    return found


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop("changing", None)
    session.info.pop("version", None)
