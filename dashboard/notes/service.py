"""Notes on accounts, connections and causes, and assignees of accounts and causes."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import contains_eager, load_only

from dashboard.core.database import change, db
from dashboard.core.text import clean
from dashboard.findings.models import Cause
from dashboard.fleet.models import Account, Connection
from dashboard.notes.limits import LONGEST_NOTE
from dashboard.notes.models import Note


class BadNote(ValueError):
    """An empty or too long note; the message is a sentence for the user."""


@dataclass(frozen=True)
class NoteTarget:
    """What a note is about: an account, one of its connections, or a cause."""

    account_id: int | None = None
    connection_id: int | None = None
    cause_id: int | None = None

    @property
    def args(self) -> dict[str, int]:
        """The ids that are set, by their name in addresses."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def words(self) -> str:
        """Text for the audit trail, which has columns for accounts and connections only."""
        return f"on cause {self.cause_id}" if self.cause_id is not None else ""


def target_of(note: Note) -> NoteTarget:
    """Return what a note is about."""
    return NoteTarget(note.account_id, note.connection_id, note.cause_id)


def add_note(target: NoteTarget, who: str, text: str, at: datetime) -> Note:
    """Add a note. Commits.

    Raises:
        BadNote: The text is empty or longer than 2000 characters.
    """
    text = clean(text.replace("\r\n", "\n")).strip()
    if not text:
        raise BadNote("The note is empty: write what the next person should know.")
    if len(text) > LONGEST_NOTE:
        raise BadNote(
            f"The note has {len(text)} characters; it can have {LONGEST_NOTE}. Nothing was kept."
        )
    note = Note(**target.args, at=at, who=who, text=text)
    db.session.add(note)
    db.session.commit()
    return note


def note_or_none(note_id: int) -> Note | None:
    """Return one note."""
    return db.session.get(Note, note_id)


def delete_note(note: Note) -> None:
    """Delete a note. Commits."""
    db.session.delete(note)
    db.session.commit()


def notes_on(target: NoteTarget, most: int = 200) -> list[Note]:
    """Return the newest notes on a target.

    An account's notes include those on its connections; a connection's, those on its account.
    """
    mine = select(Note).outerjoin(Note.connection)
    mine = mine.options(
        contains_eager(Note.connection).load_only(Connection.name, Connection.connector)
    )
    if target.cause_id is not None:
        mine = mine.where(Note.cause_id == target.cause_id)
    else:
        mine = mine.where(Note.account_id == target.account_id)
        if target.connection_id is not None:
            mine = mine.where(
                (Note.connection_id == target.connection_id) | (Note.connection_id.is_(None))
            )
    return list(db.session.scalars(mine.order_by(Note.at.desc(), Note.id.desc()).limit(most)))


def newest_on_causes(cause_ids: Collection[int]) -> dict[int, Note]:
    """Return the newest note on each of these causes, by cause id."""
    newest = select(func.max(Note.id)).where(Note.cause_id.in_(cause_ids)).group_by(Note.cause_id)
    found = (
        select(Note)
        .where(Note.id.in_(newest))
        .options(load_only(Note.cause_id, Note.at, Note.who, Note.text))
    )
    return {note.cause_id: note for note in db.session.scalars(found) if note.cause_id is not None}


def assign(row: Account | Cause, who: str, instead_of: str | None, at: datetime) -> bool:
    """Assign an account or cause to a user. Commits.

    Returns False if the assignee is no longer ``instead_of``, the one the user saw (None: nobody).
    """
    model = type(row)
    as_seen = model.owner.is_(None) if instead_of is None else model.owner == instead_of
    assigned = change(
        update(model).where(model.id == row.id, as_seen).values(owner=who, owned_at=at)
    )
    db.session.commit()
    db.session.refresh(row)
    return bool(assigned)


def unassign(row: Account | Cause) -> None:
    """Remove the assignee. Commits."""
    change(update(type(row)).where(type(row).id == row.id).values(owner=None, owned_at=None))
    db.session.commit()
    db.session.refresh(row)
