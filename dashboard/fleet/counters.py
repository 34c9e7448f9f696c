"""Counters of connections by kind, of the fleet and each account, for lists.

``updating`` updates them in the transaction of a change. It locks the snapshot, so that two writers
never start from the same number, on both databases.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from dashboard.core.database import change, change_many, db
from dashboard.core.search_text import AT_ONCE, refold
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.fleet import visibility
from dashboard.fleet.models import SEVERITIES, Account, Connection, ConnectionCount

Kind = tuple[str, str, str]
LISTED = (Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))


def recount() -> None:
    """Recompute all counters, folded texts and visible accounts. Commits.

    Needed after a manual repair of the database; otherwise it changes nothing.
    """
    refold()
    lock_snapshot()
    change(delete(ConnectionCount))
    for kind, count in sorted(_kinds().items()):
        _add(db.session(), *kind, count)
    ids = list(db.session.scalars(select(Account.id)))
    for start in range(0, len(ids), AT_ONCE):
        _recount_accounts(db.session(), ids[start : start + AT_ONCE])
        visibility.rebuild_visible_accounts(db.session(), account_ids=ids[start : start + AT_ONCE])
    db.session.commit()


def repair_texts() -> int:
    """Recompute all texts that lists search and sort by; return the number of corrected rows.

    Rows are wrong if another version folded them, as during an upgrade. Commits after every 500
    rows.
    """
    repaired = refold()
    ids = list(db.session.scalars(select(Account.id)))
    for start in range(0, len(ids), AT_ONCE):
        these = ids[start : start + AT_ONCE]
        lock_snapshot()
        before = select(Account.id, Account.search).where(Account.id.in_(these))
        texts: dict[int, str] = dict(db.session.execute(before).all())
        wrong = [
            id
            for id, found in _summaries(db.session(), these).items()
            if found["search"] != texts[id]
        ]
        if wrong:
            _recount_accounts(db.session(), wrong)
            db.session.commit()
        else:
            # Without changes the counters stay correct.
            db.session.rollback()
        repaired += len(wrong)
    return repaired


@contextmanager
def updating(account_ids: Collection[int]) -> Iterator[None]:
    """Keep the counters right over a block that changes these accounts or their connections.

    Locks the snapshot. Does not commit.
    """
    lock_snapshot()
    session, ids = db.session(), sorted(account_ids)
    before = _kinds(Connection.account_id.in_(ids))
    yield
    session.flush()
    difference = _kinds(Connection.account_id.in_(ids))
    difference.subtract(before)
    for kind, more in sorted(difference.items()):
        if more:
            _add(session, *kind, more)
    _recount_accounts(session, ids)


def _kinds(*which: ColumnElement[bool]) -> Counter[Kind]:
    """Return the numbers of connections that lists show, by kind."""
    kind = (Connection.severity, Connection.status, Connection.connector)
    shown = select(*kind, func.count()).where(*which, *LISTED).group_by(*kind)
    return Counter(
        {
            (severity, status, connector): count
            for severity, status, connector, count in db.session.execute(shown)
        }
    )


def _add(session: Session, severity: str, status: str, connector: str, difference: int) -> None:
    key = {"severity": severity, "status": status, "connector": connector}
    same_group = [getattr(ConnectionCount, name) == value for name, value in key.items()]
    more = (
        update(ConnectionCount)
        .where(*same_group)
        .values(connections=ConnectionCount.connections + difference)
    )
    if change(more, session) == 0:
        change(insert(ConnectionCount).values(**key, connections=difference), session)


def _recount_accounts(session: Session, ids: Sequence[int]) -> None:
    fields: dict[str, Any] = {name: bindparam(name) for name in _summary(Counter(), [])}
    rows = [{"which": id, **found} for id, found in _summaries(session, ids).items()]
    change_many(
        update(Account).where(Account.id == bindparam("which")).values(fields), rows, session
    )


def _summaries(session: Session, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the values that depend on these accounts' connections, by account."""
    names = session.execute(
        select(Account.id, Account.name_folded, Account.external_id_folded).where(
            Account.id.in_(ids)
        )
    )
    words: dict[int, list[str]] = {id: [name, external_id] for id, name, external_id in names}
    counts: dict[int, Counter[str]] = {id: Counter() for id in words}
    columns = (
        Connection.account_id,
        Connection.severity,
        Connection.name_folded,
        Connection.connector_folded,
    )
    shown = (
        select(*columns)
        .where(Connection.account_id.in_(ids), *LISTED)
        .order_by(Connection.account_id, Connection.id)
    )
    for id, severity, name, connector in session.execute(shown):
        counts[id][severity] += 1
        words[id] += [name, connector]
    return {id: _summary(counts[id], words[id]) for id in words}


def _summary(counts: Counter[str], words: Iterable[str]) -> dict[str, Any]:
    worst = min(counts, key=SEVERITIES.index, default=None)
    return {
        "by_severity": {severity: counts[severity] for severity in SEVERITIES if counts[severity]},
        "connections_count": counts.total(),
        "severity": worst,
        "severity_rank": SEVERITIES.index(worst) if worst else len(SEVERITIES),
        "search": " ".join(dict.fromkeys(filter(None, words))),
    }
