"""Causes: findings that are alike, counted together. A hundred red connections are often three causes.

A cause is one rule, one connector and one error text without what differs from customer to customer. Many connections of one
connector that went dark in the same hour are a cause of their own: that is the platform, not the customers.
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
from dashboard.findings.rules.normalise import normalised
from dashboard.findings.rules.registry import GRAVITIES

DARK = "dark"
HOUR = timedelta(hours=1)
MOST_IN_ONE_QUERY = 500


class Key(NamedTuple):
    """What tells causes apart. ``text``: normalised; of what the platform did, the hour."""

    rule: str
    connector: str
    text: str = ""

    @property
    def hashed(self) -> str:
        """Short enough for an index, whatever the text."""
        return hashlib.sha256("\0".join(self).encode()).hexdigest()


class Seed(NamedTuple):
    """What a new cause begins with: the severity of its first finding, and an example."""

    severity: str
    example: str


class ExistingCause(NamedTuple):
    """A cause, as far as its findings need it."""

    id: int
    suppressed_until: datetime | None


@dataclass
class Tally:
    """Whose numbers have to be counted anew: causes by id, and connectors with the hours in which something went dark."""

    touched: set[int] = field(default_factory=set)
    dark: set[tuple[str, datetime]] = field(default_factory=set)


def text_of(error: str) -> str:
    """The error by which causes are told apart."""
    return normalised(error) if error else ""


def find_or_make(wanted: Mapping[Key, Seed], at: datetime) -> dict[Key, ExistingCause]:
    """The causes for these keys, new ones made. Within ``begin_change``, so that nobody makes the same. Does not commit."""
    found = _known(wanted)
    new = {key: seed for key, seed in wanted.items() if key not in found}
    if new:
        db.session.execute(insert(Cause), [_row(key, seed, at) for key, seed in new.items()])
        found |= _known(new)
    return found


def settle(tally: Tally, at: datetime, platform: int) -> None:
    """Count the causes that were touched; what has nothing left has recovered, what has something again is open anew."""
    for connector, hour in sorted(tally.dark):
        tally.touched |= _gather_dark(connector, hour, at, platform)
    ids = sorted(tally.touched)
    for start in range(0, len(ids), MOST_IN_ONE_QUERY):
        _settle(ids[start : start + MOST_IN_ONE_QUERY], at)


def recount(at: datetime) -> None:
    """Count all of them. Does not commit."""
    settle(Tally(touched=set(db.session.scalars(select(Cause.id)))), at, 0)


def _settle(ids: list[int], at: datetime) -> None:
    numbers = (
        func.count(Finding.connection_id),
        func.count(Finding.account_id.distinct()),
        func.min(Finding.severity_rank),
    )
    unsettled = select(Finding.cause_id, *numbers).where(
        Finding.cause_id.in_(ids), Finding.recovered_at.is_(None)
    )
    counted = {row[0]: row[1:] for row in db.session.execute(unsettled.group_by(Finding.cause_id))}
    known = select(Cause.id, Cause.state, Cause.most, Cause.times, Cause.suppressed_until).where(
        Cause.id.in_(ids)
    )
    for cause in db.session.execute(known):
        if cause.id not in counted:
            _end(cause.id, cause.state, at)
            continue
        connections, accounts, rank = counted[cause.id]
        values: dict[str, Any] = {
            "connections": connections,
            "accounts": accounts,
            "severity": GRAVITIES[rank],
            "severity_rank": rank,
            "most": max(cause.most, connections),
        }
        if cause.state == RECOVERED:
            state = (
                SUPPRESSED
                if cause.suppressed_until is not None and cause.suppressed_until > at
                else NEW
            )
            again = {
                "since": at,
                "times": cause.times + 1,
                "most": connections,
                "recovered_at": None,
            }
            values |= {
                **again,
                "state": state,
                "state_rank": STATES.index(state),
                "owner": None,
                "owned_at": None,
            }
        change(update(Cause).where(Cause.id == cause.id).values(values))


def _end(cause_id: int, state: str, at: datetime) -> None:
    """Recovered; forgotten where it never had a finding that stayed with it, and nobody said anything of it."""
    if state == RECOVERED:
        return
    if not any(
        db.session.scalar(select(column).where(column == cause_id).limit(1))
        for column in _referring()
    ):
        change(delete(Cause).where(Cause.id == cause_id))
        return
    over = {
        "state": RECOVERED,
        "state_rank": STATES.index(RECOVERED),
        "recovered_at": at,
        "connections": 0,
        "accounts": 0,
    }
    change(update(Cause).where(Cause.id == cause_id).values(over))


@cache
def _referring() -> list[Column[Any]]:
    """Whatever speaks of a cause by its id: findings, alerts, notes."""
    keys = (key for table in db.metadata.tables.values() for key in table.foreign_keys)
    return [key.parent for key in keys if key.column is Cause.__table__.c.id]


def _gather_dark(connector: str, hour: datetime, at: datetime, platform: int) -> set[int]:
    """Give what went dark in the same hour a cause of its own, where it is many; the causes whose findings moved.

    An outage that begins within an hour is noticed by what was due in the rest of it and in the next: so a neighbouring hour's
    are of the same cause.
    """
    here = (Finding.rule == DARK, Finding.connector == connector, Finding.recovered_at.is_(None))
    in_hour = (
        db.session.scalar(select(func.count()).where(*here, Finding.missing_since == hour)) or 0
    )
    keys = {
        near: Key(DARK, connector, f"since {near:%Y-%m-%dT%H}")
        for near in (hour, hour - HOUR, hour + HOUR)
    }
    going_on = _known(keys.values(), unsettled=True)
    began = next((near for near, key in keys.items() if key in going_on), hour)
    if in_hour < platform and keys[began] not in going_on:
        return set()
    near = (*here, Finding.missing_since.between(began - HOUR, began + HOUR))
    by_cause = dict(
        db.session.execute(
            select(Finding.cause_id, func.count()).where(*near).group_by(Finding.cause_id)
        ).all()
    )
    example = f"{sum(by_cause.values())} connections of {connector} have had no data since {began:%d %B %Y, %H}:00 UTC."
    cause = find_or_make({keys[began]: Seed("critical", example)}, at)[keys[began]]
    change(
        update(Cause)
        .where(Cause.id == cause.id)
        .values(with_folds(Cause, {"platform": True, "example": example}))
    )
    moving: dict[str, Any] = {"cause_id": cause.id}
    if cause.suppressed_until is not None and cause.suppressed_until > at:
        moving |= {"state": SUPPRESSED, "state_rank": STATES.index(SUPPRESSED)}
    change(update(Finding).where(*near, Finding.cause_id != cause.id).values(moving))
    return {cause.id, *by_cause}


def _known(keys: Collection[Key], *, unsettled: bool = False) -> dict[Key, ExistingCause]:
    by_hash = {key.hashed: key for key in keys}
    found: dict[Key, ExistingCause] = {}
    hashes = list(by_hash)
    for start in range(0, len(hashes), MOST_IN_ONE_QUERY):
        these = select(Cause.key, Cause.id, Cause.suppressed_until).where(
            Cause.key.in_(hashes[start : start + MOST_IN_ONE_QUERY])
        )
        if unsettled:
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
        "severity_rank": GRAVITIES.index(seed.severity),
        "state": NEW,
        "state_rank": STATES.index(NEW),
        "since": at,
        "example": seed.example[:2000],
    }
