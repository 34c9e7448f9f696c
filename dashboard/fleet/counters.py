"""Counters of connections by kind, of the fleet and each account, for lists.

Every change that goes through the session updates them in its transaction (``before_flush``,
``after_flush``). A writer first calls ``lock_snapshot``, so that two writers never start from the
same number, on both databases.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, event, func, insert, select, update
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import History
from sqlalchemy.orm.attributes import instance_state as object_state
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE

from dashboard.core.database import change, change_many, db
from dashboard.core.search_text import AT_ONCE, refold
from dashboard.core.snapshot_version import lock_snapshot
from dashboard.fleet import visibility
from dashboard.fleet.models import SEVERITIES, Account, Connection, ConnectionCount

Kind = tuple[str, str, str]
COUNTED_BY = ("severity", "status", "connector", "gone_at", "is_warehouse")
LISTED = (Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))


def recount() -> None:
    """Recompute all counters, folded texts and visible accounts. Commits.

    Needed after a manual repair of the database; otherwise it changes nothing.
    """
    refold()
    lock_snapshot()
    shown = select(
        Connection.severity, Connection.status, Connection.connector, func.count()
    ).where(*LISTED)
    counted = db.session.execute(
        shown.group_by(Connection.severity, Connection.status, Connection.connector)
    ).all()
    change(delete(ConnectionCount))
    names = ("severity", "status", "connector", "connections")
    if counted:
        db.session.execute(
            insert(ConnectionCount), [dict(zip(names, row, strict=True)) for row in counted]
        )
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


@event.listens_for(Session, "before_flush")
def _count_changes(session: Session, *_: Any) -> None:
    changed = [
        each
        for each in (*session.new, *session.dirty)
        if isinstance(each, (Account, Connection)) and _matters(each)
    ]
    if not changed:
        return
    lock_snapshot(session)
    session.info.setdefault("named", set()).update(
        each.id for each in changed if isinstance(each, Account) and _changes_visibility(each)
    )
    session.info.setdefault("accounts", set()).update(
        each.id if isinstance(each, Account) else each.account_id for each in changed
    )
    moved: Counter[Kind] = Counter()
    for each in changed:
        if isinstance(each, Connection):
            before, after = _kind(each, before=True), _kind(each, before=False)
            if before is not None:
                moved[before] -= 1
            if after is not None:
                moved[after] += 1
    for (severity, status, connector), difference in sorted(moved.items()):
        if difference:
            _add(session, severity, status, connector, difference)


@event.listens_for(Session, "after_flush")
def _count_accounts(session: Session, *_: Any) -> None:
    if ids := session.info.pop("accounts", None):
        _recount_accounts(session, sorted(ids))
    if named := session.info.pop("named", None):
        visibility.rebuild_visible_accounts(session, account_ids=named)


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _clear(session: Session) -> None:
    for name in ("accounts", "named"):
        session.info.pop(name, None)


def _matters(row: Account | Connection) -> bool:
    state = object_state(row)
    names = (
        ("name", "external_id", "unreadable_reason", "gone_at")
        if isinstance(row, Account)
        else (*COUNTED_BY, "name")
    )
    return not state.persistent or any(_history(state, name).has_changes() for name in names)


def _changes_visibility(account: Account) -> bool:
    """Return whether the change affects which users may see the account."""
    state = object_state(account)
    return not state.persistent or _history(state, "external_id").has_changes()


def _history(state: InstanceState[Any], name: str) -> History:
    # ``state.attrs`` would create and keep an object for each of the row's columns.
    return state.get_history(name, PASSIVE_NO_INITIALIZE)


def _kind(row: Connection, *, before: bool) -> Kind | None:
    """Return how the connection is counted; None if lists do not show it."""
    state = object_state(row)
    if before and not state.persistent:
        return None
    values = {}
    for name in COUNTED_BY:
        history = _history(state, name)
        values[name] = history.deleted[0] if before and history.deleted else getattr(row, name)
    if values["gone_at"] is not None or values["is_warehouse"]:
        return None
    return values["severity"], values["status"] or "", values["connector"] or ""


def _add(session: Session, severity: str, status: str, connector: str, difference: int) -> None:
    key = {"severity": severity, "status": status, "connector": connector}
    here = [getattr(ConnectionCount, name) == value for name, value in key.items()]
    more = (
        update(ConnectionCount)
        .where(*here)
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
