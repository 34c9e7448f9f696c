"""Timeline of a connection or an account: its events from eight sources, newest first.

Each source is queried once, for at most one page; the results are merged by time. A ``Cursor``
identifies the last event of a page, so that pages neither overlap nor skip events of equal times.
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
# Kinds to filter by, in the order of the page.
KINDS = (HEALTH, RUN, ACTION, FINDING, NOTE, WEBHOOK, AUDIT)
# Action name of a SQL query run in the audit trail.
SQL = "sql"
PAGE = 50
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class BadCursor(ValueError):
    """A text that is no cursor."""


class Cursor(NamedTuple):
    """Position in the timeline, after one event: time, number of the source, id of the row."""

    at: datetime
    source: int
    id: int

    def __str__(self) -> str:
        # In microseconds, the precision of both databases; a float would round.
        return f"{(self.at - _EPOCH) // _MICROSECOND}-{self.source}-{self.id}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """Return the cursor from its ``str``.

        Raises:
            BadCursor: the text is no cursor.
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
    """One event. ``word``: its short name; ``tone``: its colour, as a badge's.

    ``connection_id``: None if the event concerns the whole account. ``run_id``, ``cause_id``: what
    it links to. ``seconds``: its duration.
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
    """Events of one page, newest first. ``earlier``: cursor of the next page; None at the end."""

    events: tuple[Event, ...]
    earlier: Cursor | None
    before: Cursor | None
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class TimelineSubject:
    """Account or connection whose timeline is shown."""

    account_id: int
    connection_id: int | None

    def of(self, model: Any, *, with_account: bool = False) -> ColumnElement[bool]:
        """Return the condition for this subject's rows.

        ``with_account``: a connection's rows include those that concern its whole account.
        """
        in_account: ColumnElement[bool] = model.account_id == self.account_id
        if self.connection_id is None:
            return in_account
        own = model.connection_id == self.connection_id
        return and_(in_account, or_(own, model.connection_id.is_(None)) if with_account else own)


@dataclass(frozen=True)
class _Source:
    """Source of events: the query of a subject, its time and id columns, and the conversion."""

    kind: str
    rows: Callable[[TimelineSubject], Select[Any]]
    at: Any
    id: Any
    event: Callable[[Any], Event]

    def latest(
        self, subject: TimelineSubject, number: int, before: Cursor | None, most: int
    ) -> Iterator[tuple[Cursor, Event]]:
        """Yield the latest events, or the latest before a cursor; ``number``: this source's."""
        rows = self.rows(subject).where(self.at.is_not(None))
        if before is not None:
            # Of two events at the same time, the one of the source with the higher number is first.
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
    """Return a page of the timeline. ``kinds``: only these; empty means all."""
    subject = TimelineSubject(account_id, connection_id)
    found: list[tuple[Cursor, Event]] = []
    for number, source in enumerate(_SOURCES):
        if not kinds or source.kind in kinds:
            found += source.latest(subject, number, before, most + 1)
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
    """Return the titles of the account's connections by id, also of removed ones."""
    mine = (
        select(Connection)
        .options(load_only(Connection.name, Connection.connector))
        .where(Connection.account_id == account_id)
    )
    return {row.id: row.title for row in db.session.scalars(mine)}


def _runs(subject: TimelineSubject) -> Select[Any]:
    return select(Run).where(subject.of(Run)).options(defer(Run.tables))


def _entries(subject: TimelineSubject) -> Select[Any]:
    """Select audit entries, without those of actions and notes, which are sources too."""
    actions = select(Action.audit_id).where(subject.of(Action))
    written = and_(AuditEntry.what == NOTE, AuditEntry.result == audit.DONE)
    return select(AuditEntry).where(
        subject.of(AuditEntry), AuditEntry.id.not_in(actions), not_(written)
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
        RUN,
        row.started_at,
        row.status or "no status",
        row.severity,
        text,
        row.error,
        connection_id=row.connection_id,
        run_id=row.id,
        seconds=row.seconds,
        records=row.records,
    )


def _action(row: Action) -> Event:
    tone, end = _ENDS.get(row.state, ("busy", "under way"))
    if row.state == "done" and row.is_partial:
        tone, end = "attention", "done in part"
    detail = ". ".join(part.rstrip(".") for part in (row.why, row.detail) if part)
    return Event(
        ACTION,
        row.started_at,
        row.kind.replace("_", " "),
        tone,
        f"{end}: {_OUTCOMES.get(row.verdict, row.verdict)}" if row.verdict else end,
        detail,
        row.started_by,
        row.connection_id or None,
        run_id=row.run_id,
        records=row.records,
    )


def _entry(row: AuditEntry) -> Event:
    what = row.what.replace("_", " ").replace(".", " ")
    tone = _RESULTS.get(row.result, "unknown")
    result = row.result if row.times == 1 else f"{row.result} {row.times} times"
    if row.what == SQL:
        # Whether a query failed may reveal a value, as a division by zero does.
        tone, result = "info", "asked"
    return Event(AUDIT, row.at, what, tone, result, row.detail, row.who, row.connection_id)


def _first_seen(row: Finding) -> Event:
    return Event(
        FINDING,
        row.first_seen_at,
        row.title,
        row.severity,
        "seen",
        row.evidence,
        connection_id=row.connection_id,
        cause_id=row.cause_id,
    )


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
    receipts = f"came {row.times} times" if row.times > 1 else ""
    text = ", ".join(part for part in (row.status, row.state, receipts) if part)
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
_OUTCOMES = {"worked": "it worked", "no_effect": "it had no effect", "worse": "it became worse"}
_RESULTS = {
    audit.DONE: "ok",
    audit.FAILED: "error",
    audit.REFUSED: "attention",
    audit.PENDING: "busy",
}
# A cursor contains the number of its source, so new sources are added at the end.
_SOURCES = (
    _Source(RUN, _runs, Run.started_at, Run.id, _run),
    _Source(
        HEALTH,
        lambda subject: select(HealthChange).where(subject.of(HealthChange)),
        HealthChange.at,
        HealthChange.id,
        _health,
    ),
    _Source(
        FINDING,
        lambda subject: select(Finding).where(subject.of(Finding, with_account=True)),
        Finding.first_seen_at,
        Finding.id,
        _first_seen,
    ),
    _Source(
        FINDING,
        lambda subject: select(Finding).where(subject.of(Finding, with_account=True)),
        Finding.recovered_at,
        Finding.id,
        _recovered,
    ),
    _Source(
        ACTION,
        lambda subject: select(Action).where(subject.of(Action)),
        Action.started_at,
        Action.id,
        _action,
    ),
    _Source(AUDIT, _entries, AuditEntry.at, AuditEntry.id, _entry),
    _Source(
        NOTE,
        lambda subject: select(Note).where(subject.of(Note, with_account=True)),
        Note.at,
        Note.id,
        _note,
    ),
    _Source(
        WEBHOOK,
        lambda subject: (
            select(WebhookEvent).where(subject.of(WebhookEvent)).options(defer(WebhookEvent.body))
        ),
        WebhookEvent.received_at,
        WebhookEvent.id,
        _webhook,
    ),
)
