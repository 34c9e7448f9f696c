"""One connection's or one account's life: what happened to it, from everywhere that it is kept, newest first.

Eight sources, each asked once for no more than a page shows; what they give is merged by time. A ``Cursor`` names the last
event of a page, so that pages neither overlap nor leave out events that happened at the same moment.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, not_, or_, select
from sqlalchemy.orm import defer, load_only

from dashboard.actions.models import Action
from dashboard.audit import service as audit
from dashboard.audit.models import AuditEntry
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import Connection, HealthChange, Run
from dashboard.notes.models import Note
from dashboard.webhooks.models import WebhookEvent

HEALTH, RUN, ACTION, AUDIT, FINDING, NOTE, WEBHOOK = (
    "health",
    "run",
    "action",
    "audit",
    "finding",
    "note",
    "webhook",
)
# By what people filter, in the order in which they are offered.
KINDS = (HEALTH, RUN, ACTION, FINDING, NOTE, WEBHOOK, AUDIT)
# What the audit trail calls a question in SQL.
SQL = "sql"
PAGE = 50
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class BadCursor(ValueError):
    """A place in the timeline that is none."""


class Cursor(NamedTuple):
    """A place between two events: when, which source, which row."""

    at: datetime
    source: int
    id: int

    def __str__(self) -> str:
        # In microseconds, as both databases keep times: a float would round them.
        return f"{(self.at - _EPOCH) // _MICROSECOND}-{self.source}-{self.id}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """What ``str`` gave.

        Raises:
            BadCursor: it is something else.
        """
        parts = text.split("-")
        if len(parts) != 3 or not all(
            part.isascii() and part.isdigit() and len(part) < 19 for part in parts
        ):
            raise BadCursor(text)
        at, source, id = map(int, parts)
        if source >= len(_SOURCES):
            raise BadCursor(text)
        try:
            return cls(_EPOCH + at * _MICROSECOND, source, id)
        except OverflowError:
            raise BadCursor(text) from None


@dataclass(frozen=True)
class Event:
    """One thing that happened. ``word`` is what it says in short and ``tone`` how it looks (a word of a badge).

    ``connection_id`` is None for what concerns the whole account. ``run_id``, ``cause_id``: what it leads to. ``seconds``: how
    long it took.
    """

    kind: str
    at: datetime
    word: str
    tone: str
    text: str = ""
    detail: str = ""
    who: str = ""
    connection_id: int | None = None
    run_id: int | None = None
    cause_id: int | None = None
    seconds: float | None = None
    records: int | None = None


@dataclass(frozen=True)
class Page:
    """Some events, newest first. ``earlier``: where the next page begins; None where nothing is left."""

    events: tuple[Event, ...]
    earlier: Cursor | None
    before: Cursor | None
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class TimelineSubject:
    """An account, or one connection of it."""

    account_id: int
    connection_id: int | None

    def of(self, model: Any, *, whole: bool = False) -> ColumnElement[bool]:
        """Rows of this connection, or of anything in this account; ``whole``: with what concerns the whole account."""
        mine: ColumnElement[bool] = model.account_id == self.account_id
        if self.connection_id is None:
            return mine
        here = model.connection_id == self.connection_id
        return and_(mine, or_(here, model.connection_id.is_(None)) if whole else here)


@dataclass(frozen=True)
class _Source:
    """Where events come from: the rows of a place, by which time and id they are told apart, and how one reads."""

    kind: str
    rows: Callable[[TimelineSubject], Select[Any]]
    at: Any
    id: Any
    event: Callable[[Any], Event]

    def take(
        self, place: TimelineSubject, number: int, before: Cursor | None, most: int
    ) -> Iterator[tuple[Cursor, Event]]:
        """The latest before a place in the timeline."""
        rows = self.rows(place).where(self.at.is_not(None))
        if before is not None:
            # Of two events at one moment, that of the later source comes first.
            earlier = self.at < before.at
            if number == before.source:
                earlier = or_(earlier, and_(self.at == before.at, self.id < before.id))
            elif number < before.source:
                earlier = self.at <= before.at
            rows = rows.where(earlier)
        for row in db.session.scalars(rows.order_by(self.at.desc(), self.id.desc()).limit(most)):
            yield Cursor(getattr(row, self.at.key), number, row.id), self.event(row)


def read(
    account_id: int,
    connection_id: int | None = None,
    *,
    kinds: Collection[str] = (),
    before: Cursor | None = None,
    most: int = PAGE,
) -> Page:
    """A page of a connection's timeline, or an account's. ``kinds``: only these; all where none is named."""
    place = TimelineSubject(account_id, connection_id)
    found: list[tuple[Cursor, Event]] = []
    for number, source in enumerate(_SOURCES):
        if not kinds or source.kind in kinds:
            found += source.take(place, number, before, most + 1)
    found.sort(key=lambda pair: pair[0], reverse=True)
    shown = found[:most]
    earlier = shown[-1][0] if len(found) > most else None
    return Page(
        tuple(event for _, event in shown),
        earlier,
        before,
        tuple(kind for kind in KINDS if kind in kinds),
    )


def names(account_id: int) -> dict[int, str]:
    """The account's connections by id, as pages call them, those that are gone included."""
    mine = (
        select(Connection)
        .options(load_only(Connection.name, Connection.connector))
        .where(Connection.account_id == account_id)
    )
    return {row.id: row.title for row in db.session.scalars(mine)}


def _runs(place: TimelineSubject) -> Select[Any]:
    return select(Run).where(place.of(Run)).options(defer(Run.tables))


def _entries(place: TimelineSubject) -> Select[Any]:
    """What the audit trail has beside actions and notes, which stand for themselves."""
    actions = select(Action.audit_id).where(place.of(Action))
    written = and_(AuditEntry.what == NOTE, AuditEntry.result == audit.DONE)
    return select(AuditEntry).where(
        place.of(AuditEntry), AuditEntry.id.not_in(actions), not_(written)
    )


def _health(row: HealthChange) -> Event:
    text = "first seen" if row.was is None else f"after {row.was or 'no status'}"
    return Event(
        HEALTH,
        row.at,
        row.became or "no status",
        row.became_severity,
        text,
        connection_id=row.connection_id,
    )


def _run(row: Run) -> Event:
    assert row.started_at is not None
    text = f"run: {row.meaning}" if row.meaning else "run"
    return Event(
        RUN, row.started_at, row.status or "no status", row.severity, text, row.error, connection_id=row.connection_id,
        run_id=row.id, seconds=row.seconds, records=row.records,
    )  # fmt: skip


def _action(row: Action) -> Event:
    tone, ended = _ENDS.get(row.state, ("busy", "under way"))
    if row.state == "done" and row.is_partial:
        tone, ended = "attention", "done in part"
    detail = ". ".join(part.rstrip(".") for part in (row.why, row.detail) if part)
    text = f"{ended}: {_VERDICTS.get(row.verdict, row.verdict)}" if row.verdict else ended
    return Event(
        ACTION, row.started_at, row.kind.replace("_", " "), tone, text, detail, row.started_by, row.connection_id or None,
        run_id=row.run_id, records=row.records,
    )  # fmt: skip


def _entry(row: AuditEntry) -> Event:
    what = row.what.replace("_", " ").replace(".", " ")
    tone = _RESULTS.get(row.result, "unknown")
    result = row.result if row.times == 1 else f"{row.result} {row.times} times"
    if row.what == SQL:
        # Whether a question failed can say something of a value, as a division by zero does.
        tone, result = "info", "asked"
    return Event(AUDIT, row.at, what, tone, result, row.detail, row.who, row.connection_id)


def _seen(row: Finding) -> Event:
    return Event(
        FINDING, row.first_seen_at, row.title, row.severity, "seen", row.evidence, connection_id=row.connection_id,
        cause_id=row.cause_id,
    )  # fmt: skip


def _recovered(row: Finding) -> Event:
    assert row.recovered_at is not None
    return Event(
        FINDING,
        row.recovered_at,
        row.title,
        "recovered",
        "recovered",
        connection_id=row.connection_id,
        cause_id=row.cause_id,
    )


def _note(row: Note) -> Event:
    return Event(NOTE, row.at, "note", "info", "", row.text, row.who, row.connection_id)


def _webhook(row: WebhookEvent) -> Event:
    often = f"came {row.times} times" if row.times > 1 else ""
    text = ", ".join(part for part in (row.status, row.state, often) if part)
    tone = {"failed": "error", "ignored": "off", "waiting": "busy"}.get(row.state, "info")
    what = row.event.replace("_", " ") or "event"
    return Event(
        WEBHOOK, row.received_at, what, tone, text, row.detail, connection_id=row.connection_id
    )


_ENDS = {
    "done": ("ok", "done"),
    "failed": ("error", "failed"),
    "stuck": ("attention", "stuck"),
    "superseded": ("unknown", "replaced"),
}
_VERDICTS = {"worked": "it worked", "no_effect": "it had no effect", "worse": "it became worse"}
_RESULTS = {
    audit.DONE: "ok",
    audit.FAILED: "error",
    audit.REFUSED: "attention",
    audit.PENDING: "busy",
}
# A cursor has the number of its source: a new source goes to the end.
_SOURCES = (
    _Source(RUN, _runs, Run.started_at, Run.id, _run),
    _Source(
        HEALTH,
        lambda place: select(HealthChange).where(place.of(HealthChange)),
        HealthChange.at,
        HealthChange.id,
        _health,
    ),
    _Source(
        FINDING,
        lambda place: select(Finding).where(place.of(Finding, whole=True)),
        Finding.first_seen_at,
        Finding.id,
        _seen,
    ),
    _Source(
        FINDING,
        lambda place: select(Finding).where(place.of(Finding, whole=True)),
        Finding.recovered_at,
        Finding.id,
        _recovered,
    ),
    _Source(
        ACTION,
        lambda place: select(Action).where(place.of(Action)),
        Action.started_at,
        Action.id,
        _action,
    ),
    _Source(AUDIT, _entries, AuditEntry.at, AuditEntry.id, _entry),
    _Source(
        NOTE, lambda place: select(Note).where(place.of(Note, whole=True)), Note.at, Note.id, _note
    ),
    _Source(
        WEBHOOK,
        lambda place: (
            select(WebhookEvent).where(place.of(WebhookEvent)).options(defer(WebhookEvent.body))
        ),
        WebhookEvent.received_at,
        WebhookEvent.id,
        _webhook,
    ),
)
