"""Causes: groups of similar findings.

A cause is one rule, one connector and one normalised error text (`normalise.py`). Many connections
of one connector that went dark in the same hour share a cause marked ``platform``: the fault is
then on Peliqan's side, not the customers'.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Column, delete, func, insert, select, update

from dashboard.core.database import change, db
from dashboard.core.search_text import with_folds
from dashboard.findings.models import NEW, RECOVERED, STATES, SUPPRESSED, Cause, Finding
from dashboard.findings.rules.definitions import FINDING_SEVERITIES
from dashboard.findings.rules.error_texts import normalised

DARK = "dark"
HOUR = timedelta(hours=1)
MOST_IN_ONE_QUERY = 500


class Key(NamedTuple):
    """The identity of a cause. ``text``: normalised error; for platform causes, the hour."""

    rule: str
    connector: str
    text: str = ""

    @property
    def hashed(self) -> str:
        """Return the key as a SHA-256 hex digest, short enough for an index."""
        return hashlib.sha256("\0".join(self).encode()).hexdigest()


class Seed(NamedTuple):
    """Initial values of a new cause: severity of its first finding, and an example."""

    severity: str
    example: str


class ExistingCause(NamedTuple):
    """The fields of a cause that the evaluation of its findings needs."""

    id: int
    suppressed_until: datetime | None


@dataclass
class PendingRecount:
    """The causes to count again. ``dark_hours``: connectors, with hours in which data stopped."""

    cause_ids: set[int] = field(default_factory=set)
    dark_hours: set[tuple[str, datetime]] = field(default_factory=set)


def error_key(error: str) -> str:
    """Return the normalised error, which distinguishes causes; "" for no error."""
    return normalised(error) if error else ""


def find_or_create(wanted: Mapping[Key, Seed], at: datetime) -> dict[Key, ExistingCause]:
    """Return the causes of these keys; insert those that do not exist. Does not commit.

    Call after ``lock_snapshot``, so that no other process inserts the same cause.
    """
    found = _existing(wanted)
    new = {key: seed for key, seed in wanted.items() if key not in found}
    if new:
        db.session.execute(insert(Cause), [_row(key, seed, at) for key, seed in new.items()])
        found |= _existing(new)
    return found


def update_counts(pending: PendingRecount, at: datetime, platform: int) -> None:
    """Count these causes again: those without findings recover, others reopen. Does not commit.

    ``platform``: from so many connections on, a dark hour gets a cause of its own.
    """
    for connector, hour in sorted(pending.dark_hours):
        pending.cause_ids |= _group_dark(connector, hour, at, platform)
    ids = sorted(pending.cause_ids)
    for start in range(0, len(ids), MOST_IN_ONE_QUERY):
        _update_counts(ids[start : start + MOST_IN_ONE_QUERY], at)


def recount_all(at: datetime) -> None:
    """Count all causes again. Does not commit."""
    update_counts(PendingRecount(cause_ids=set(db.session.scalars(select(Cause.id)))), at, 0)


def _update_counts(ids: list[int], at: datetime) -> None:
    numbers = (
        func.count(Finding.connection_id),
        func.count(Finding.account_id.distinct()),
        func.min(Finding.severity_rank),
    )
    current = select(Finding.cause_id, *numbers).where(
        Finding.cause_id.in_(ids), Finding.recovered_at.is_(None)
    )
    counted = {row[0]: row[1:] for row in db.session.execute(current.group_by(Finding.cause_id))}
    stored = select(Cause.id, Cause.state, Cause.most, Cause.times, Cause.suppressed_until).where(
        Cause.id.in_(ids)
    )
    for cause in db.session.execute(stored):
        if cause.id not in counted:
            _recover(cause.id, cause.state, at)
            continue
        connections, accounts, rank = counted[cause.id]
        values: dict[str, Any] = {
            "connections": connections,
            "accounts": accounts,
            "severity": FINDING_SEVERITIES[rank],
            "severity_rank": rank,
            "most": max(cause.most, connections),
        }
        if cause.state == RECOVERED:
            state = SUPPRESSED if _is_suppressed(cause, at) else NEW
            values |= {
                "since": at,
                "times": cause.times + 1,
                "most": connections,
                "recovered_at": None,
                "state": state,
                "state_rank": STATES.index(state),
                "owner": None,
                "owned_at": None,
            }
        change(update(Cause).where(Cause.id == cause.id).values(values))


def _is_suppressed(cause: Any, at: datetime) -> bool:
    return cause.suppressed_until is not None and cause.suppressed_until > at


def _recover(cause_id: int, state: str, at: datetime) -> None:
    """Mark a cause as recovered; delete it when no finding, alert or note refers to it."""
    if state == RECOVERED:
        return
    if not any(
        db.session.scalar(select(column).where(column == cause_id).limit(1))
        for column in _referring()
    ):
        change(delete(Cause).where(Cause.id == cause_id))
        return
    recovered = {
        "state": RECOVERED,
        "state_rank": STATES.index(RECOVERED),
        "recovered_at": at,
        "connections": 0,
        "accounts": 0,
    }
    change(update(Cause).where(Cause.id == cause_id).values(recovered))


@cache
def _referring() -> list[Column[Any]]:
    """Return all columns with a foreign key to causes: of findings, alerts, notes and others."""
    keys = (key for table in db.metadata.tables.values() for key in table.foreign_keys)
    return [key.parent for key in keys if key.column is Cause.__table__.c.id]


def _group_dark(connector: str, hour: datetime, at: datetime, platform: int) -> set[int]:
    """Move findings that went dark in the same hour to one cause; return the changed causes.

    Does nothing below ``platform`` findings. Findings of the hours before and after belong to the
    same cause: an outage affects connections that were due until the end of the next hour.
    """
    dark = (Finding.rule == DARK, Finding.connector == connector, Finding.recovered_at.is_(None))
    in_hour = (
        db.session.scalar(select(func.count()).where(*dark, Finding.missing_since == hour)) or 0
    )
    keys = {
        near: Key(DARK, connector, f"since {near:%Y-%m-%dT%H}")
        for near in (hour, hour - HOUR, hour + HOUR)
    }
    current = _existing(keys.values(), only_current=True)
    start = next((near for near, key in keys.items() if key in current), hour)
    if in_hour < platform and keys[start] not in current:
        return set()
    near = (*dark, Finding.missing_since.between(start - HOUR, start + HOUR))
    by_cause = dict(
        db.session.execute(
            select(Finding.cause_id, func.count()).where(*near).group_by(Finding.cause_id)
        ).all()
    )
    example = (
        f"{sum(by_cause.values())} connections of {connector} have had no data"
        f" since {start:%d %B %Y, %H}:00 UTC."
    )
    cause = find_or_create({keys[start]: Seed("critical", example)}, at)[keys[start]]
    change(
        update(Cause)
        .where(Cause.id == cause.id)
        .values(with_folds(Cause, {"platform": True, "example": example}))
    )
    moved: dict[str, Any] = {"cause_id": cause.id}
    if _is_suppressed(cause, at):
        moved |= {"state": SUPPRESSED, "state_rank": STATES.index(SUPPRESSED)}
    change(update(Finding).where(*near, Finding.cause_id != cause.id).values(moved))
    return {cause.id, *by_cause}


def _existing(keys: Collection[Key], *, only_current: bool = False) -> dict[Key, ExistingCause]:
    """Return the stored causes of these keys; ``only_current``: without recovered ones."""
    by_hash = {key.hashed: key for key in keys}
    found: dict[Key, ExistingCause] = {}
    hashes = list(by_hash)
    for start in range(0, len(hashes), MOST_IN_ONE_QUERY):
        these = select(Cause.key, Cause.id, Cause.suppressed_until).where(
            Cause.key.in_(hashes[start : start + MOST_IN_ONE_QUERY])
        )
        if only_current:
            these = these.where(Cause.recovered_at.is_(None))
        found |= {
            by_hash[key]: ExistingCause(id, until) for key, id, until in db.session.execute(these)
        }
    return found


def _row(key: Key, seed: Seed, at: datetime) -> dict[str, Any]:
    return {
        "key": key.hashed,
        "rule": key.rule,
        "connector": key.connector,
        "text": key.text,
        "severity": seed.severity,
        "severity_rank": FINDING_SEVERITIES.index(seed.severity),
        "state": NEW,
        "state_rank": STATES.index(NEW),
        "since": at,
        "example": seed.example[:2000],
    }
