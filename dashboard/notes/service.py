"""What people tell each other: notes on accounts, their connections and causes, and who is on what."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import contains_eager, load_only

from dashboard.core.database import change, db
from dashboard.core.text import clean
from dashboard.findings.models import Cause
from dashboard.fleet.models import Account, Connection
from dashboard.notes.models import Note

LONGEST_NOTE = 2000


class BadNote(ValueError):
    """A sentence: there is nothing in the note, or more than it can hold."""


@dataclass(frozen=True)
class NoteTarget:
    """What a note is about: an account, one of its connections, or a cause. The fields are those of addresses."""

    account_id: int | None = None
    connection_id: int | None = None
    cause_id: int | None = None

    @property
    def args(self) -> dict[str, int]:
        """The ids that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def words(self) -> str:
        """For the audit trail; accounts and connections have columns of their own there."""
        return f"on cause {self.cause_id}" if self.cause_id is not None else ""


def target_of(note: Note) -> NoteTarget:
    """What a note is about."""
    return NoteTarget(note.account_id, note.connection_id, note.cause_id)


def add_note(place: NoteTarget, who: str, text: str, at: datetime) -> Note:
    """Write one. Commits.

    Raises:
        BadNote: it is empty, or longer than 2000 characters.
    """
    text = clean(text.replace("\r\n", "\n")).strip()
    if not text:
        raise BadNote("The note is empty: write what the next person should know.")
    if len(text) > LONGEST_NOTE:
        raise BadNote(
            f"The note has {len(text)} characters; it can have {LONGEST_NOTE}. Nothing was kept."
        )
    note = Note(**place.args, at=at, who=who, text=text)
    db.session.add(note)
    db.session.commit()
    return note


def note_or_none(note_id: int) -> Note | None:
    """One note."""
    return db.session.get(Note, note_id)


def drop_note(note: Note) -> None:
    """Forget it. Commits."""
    db.session.delete(note)
    db.session.commit()


def notes_on(place: NoteTarget, most: int = 200) -> list[Note]:
    """What was written, newest first: of an account with that of its connections, of a connection with that of its account."""
    mine = select(Note).outerjoin(Note.connection)
    mine = mine.options(
        contains_eager(Note.connection).load_only(Connection.name, Connection.connector)
    )
    if place.cause_id is not None:
        mine = mine.where(Note.cause_id == place.cause_id)
    else:
        mine = mine.where(Note.account_id == place.account_id)
        if place.connection_id is not None:
            mine = mine.where(
                (Note.connection_id == place.connection_id) | (Note.connection_id.is_(None))
            )
    return list(db.session.scalars(mine.order_by(Note.at.desc(), Note.id.desc()).limit(most)))


def newest_on_causes(cause_ids: Collection[int]) -> dict[int, Note]:
    """The newest note on each of these causes that has any."""
    newest = select(func.max(Note.id)).where(Note.cause_id.in_(cause_ids)).group_by(Note.cause_id)
    found = (
        select(Note)
        .where(Note.id.in_(newest))
        .options(load_only(Note.cause_id, Note.at, Note.who, Note.text))
    )
    return {note.cause_id: note for note in db.session.scalars(found) if note.cause_id is not None}


def assign(row: Account | Cause, who: str, instead_of: str | None, at: datetime) -> bool:
    """``who`` is on it now, unless somebody else is than they saw (``instead_of``, None for nobody). Commits."""
    model = type(row)
    as_seen = model.owner.is_(None) if instead_of is None else model.owner == instead_of
    taken = change(update(model).where(model.id == row.id, as_seen).values(owner=who, owned_at=at))
    db.session.commit()
    db.session.refresh(row)
    return bool(taken)


def unassign(row: Account | Cause) -> None:
    """Nobody is on it any more. Commits."""
    change(update(type(row)).where(type(row).id == row.id).values(owner=None, owned_at=None))
    db.session.commit()
    db.session.refresh(row)
