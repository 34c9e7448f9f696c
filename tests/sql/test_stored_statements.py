"""A migration removes the values of SQL statements that an earlier version stored in clear."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dashboard.app import create_app
from dashboard.cli.common import upgrade_schema
from dashboard.core import schema
from dashboard.core.database import db
from tests.support.databases import Servers
from tests.support.settings import make_settings

AT, VALUE = datetime(2026, 1, 2, tzinfo=UTC), "zanzibar"
# An audit entry before and after, and the title of its query run before and after, if any.
ENTRIES = [
    ("sql", f"select * from t where a = '{VALUE}' and n = 4711 (1 done)",
     "select * from t where a = ? and n = ? (1 done)",
     f"select * from t where a = '{VALUE}' and n = 4711", "select * from t where a = ? and n = ?"),
    ("sql", f"select $x${VALUE}$x$ -- {VALUE}", "select ? ?", f"select $x${VALUE}", "select ?"),
    ("sql", f"select 'O\\'{VALUE}'", "select ?", f"select 'O\\'{VALUE}'", "select ?"),
    ("sql", "2 accounts: “Since 2026”: select a.b from t"
     f" where x = :who and y = '{VALUE}' (1 done, 1 failed)",
     "2 accounts: “Since 2026”: select a.b from t where x = :who and y = ? (1 done, 1 failed)",
     "Since 2026", "Since 2026"),
    ("saved query", f"“Since 2026”: select '{VALUE}'", "“Since 2026”: select ?", None, None),
    ("saved query", "“Since 2026” deleted", "“Since 2026” deleted", None, None),
    ("delivery", "3 rows of 1 tables handed over."
     f" The function a.b:take raised KeyError in b.py, line 2: {VALUE}",
     "3 rows of 1 tables handed over. The function a.b:take raised KeyError.", None, None),
    ("note", "a note of 4711 'x'", "a note of 4711 'x'", None, None),
]  # fmt: skip


MESSAGE = f'Invalid input syntax for type integer: "{VALUE}".'
RAISED = f"The function a.b:take raised KeyError in b.py, line 2: {VALUE}"


def filled(table: sa.Table, **values: Any) -> Any:
    """Insert a row with these values, and with any value in the other required columns."""
    kinds: dict[type, Any] = {int: 1, bool: False, str: "", bytes: b"x", datetime: AT, float: 0.0}
    for column in table.columns:
        if column.name not in values and not column.nullable:
            values[column.name] = kinds.get(column.type.python_type, {})
    return table.insert().values(values)


def fill(connection: sa.Connection, tables: Mapping[str, sa.Table]) -> None:
    """Insert audit entries, query runs, results and a delivery as the earlier version did."""
    for id, (what, before, _, title, _) in enumerate(ENTRIES, 1):
        entry = {"id": id, "at": AT, "who": "olga@example.com", "what": what, "result": "done"}
        connection.execute(tables["audit_entry"].insert().values({**entry, "detail": before}))
        if title:
            run = {"id": id, "who": "olga@example.com", "text": b"x", "asked_at": AT}
            connection.execute(
                tables["question"].insert().values({**run, "audit_id": id, "title": title})
            )
    connection.execute(filled(tables["account"], id=1, name="Example"))
    for id, state in enumerate(("failed", "incomplete", "done"), 1):
        values = {"id": id, "question_id": 1, "account_id": 1, "state": state, "told": MESSAGE}
        connection.execute(filled(tables["answer"], **values))
    connection.execute(filled(tables["delivery"], id=1, audit_id=7, error=RAISED))


@pytest.mark.parametrize("engine", ["embedded", "servers"])
def test_no_value_of_a_question_stays(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = ""
    if engine == "servers":
        servers: Servers = request.getfixturevalue("servers")
        servers.postgresql.drop("texts")
        url = servers.postgresql.create("texts")
    app = create_app(make_settings("http://127.0.0.1:1", tmp_path, database_url=url))
    with app.app_context():
        schema.upgrade("0018")
        found = sa.MetaData()
        found.reflect(db.engine, only=["account", "answer", "audit_entry", "question", "delivery"])
        entry, question, answer, delivery = (
            found.tables[name] for name in ("audit_entry", "question", "answer", "delivery")
        )
        with db.engine.begin() as connection:
            fill(connection, found.tables)
        upgrade_schema(app)
        with db.engine.connect() as connection:
            details = list(connection.scalars(sa.select(entry.c.detail).order_by(entry.c.id)))
            searched = list(connection.scalars(sa.select(entry.c.words)))
            messages = list(connection.scalars(sa.select(answer.c.told).order_by(answer.c.id)))
            errors = [
                *connection.execute(sa.select(delivery.c.error, delivery.c.error_folded)).one()
            ]
            titles = list(connection.scalars(sa.select(question.c.title).order_by(question.c.id)))
        db.session.remove()
        db.engine.dispose()
    assert details == [after for _, _, after, _, _ in ENTRIES]
    assert titles == [title for *_, title in ENTRIES if title]
    assert messages == ["What the database said is not kept."] * 2 + [MESSAGE]
    assert errors == [
        "The function a.b:take raised KeyError.",
        "the function a.b:take raised keyerror.",
    ]
    assert not any(VALUE in text for text in searched)
    if engine == "servers":
        servers.postgresql.drop("texts")
