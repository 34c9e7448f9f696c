"""Values in titles and audit entries of questions in SQL, in errors of their answers and of deliveries, are taken out.

Until then the first line of a statement was its title, the audit trail had the whole of it, and an error what a database said.

Revision ID: 0020
Revises: 0018
"""
import re

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# As in core/sql_text.py when this was written.
TOKENS = re.compile(
    r"""'(?:[^'\\]|''|\\[^'])*+(?:\\'.*|\\?\Z|')
    | --[^\n]*+ | \#[^\n]*+
    | /\*(?:[^*/]|\*(?!/)|/(?!\*))*+(?:\*/|/\*.*|\Z)
    | \$(?<!\w\$)((?!\d)\w*+)\$.*?(?:\$\1\$|\Z)
    | [‘’‚‛“”„‟«»‹›].*
    | \.?\d[\w.]*+
    | "(?:[^"\\]|""|\\[^"])*+(?:\\".*|\\?\Z|")
    | (?P<name>`[^`]*+(?:`|\Z) | [^\W\d][\w.$]*+(?!@))
    | [^\W\d][\w.$]*+@[\w.-]*+""",
    re.VERBOSE | re.DOTALL,
)
ACCOUNTS = re.compile(r"\A\d+ accounts: ")
# "(3 done, 1 failed)", put behind the statement when all answers had come.
STATES = r"done|failed|cancelled|incomplete"
ENDED = re.compile(rf" \((?:\d+ (?:{STATES})(?:, )?)+\)\Z")
RAISED = re.compile(r"\A(The function .{1,500}? raised \w+)\b.*\Z", re.DOTALL)
LOST = "What the database said is not kept."


def upgrade():
    connection = op.get_bind()
    entries = sa.table("audit_entry", sa.column("id"), sa.column("what"), sa.column("detail"))
    questions = sa.table("question", sa.column("id"), sa.column("title"), sa.column("audit_id"))
    names = {}
    found = sa.select(questions.c.id, questions.c.title, entries.c.id.label("entry"), entries.c.detail)
    for id, title, entry, detail in connection.execute(found.join(entries, entries.c.id == questions.c.audit_id)).all():
        if ACCOUNTS.sub("", detail, count=1).startswith(f"“{title}”: "):
            names[entry] = title
        else:
            lines = [line.strip() for line in shortened(title).splitlines()]
            change(connection, questions, id, "title", title, next(filter(None, lines), "SQL"))
    found = sa.select(entries).where(entries.c.what.in_(["sql", "saved query"]))
    for id, what, before in connection.execute(found).all():
        name = saved_name(before) if what == "saved query" else names.get(id)
        change(connection, entries, id, "detail", before, shortened_entry(before, name))
    answers = sa.table("answer", sa.column("state"), sa.column("told"))
    failed = answers.c.state.in_(["failed", "incomplete"]) & (answers.c.told != "")
    connection.execute(sa.update(answers).where(failed).values(told=LOST))
    deliveries = sa.table("delivery", sa.column("id"), sa.column("error"))
    of_function = deliveries.c.error.like("The function %raised%")
    for id, before in connection.execute(sa.select(deliveries).where(of_function)).all():
        change(connection, deliveries, id, "error", before, RAISED.sub(r"\1.", before))
    delivered = sa.select(entries.c.id, entries.c.detail).where(entries.c.detail.like("%The function %raised%"))
    for id, before in connection.execute(delivered).all():
        change(connection, entries, id, "detail", before, re.sub(r"(?s)(The function .{1,500}? raised \w+)\b.*", r"\1.", before))


def downgrade():
    """What was taken out is gone, as it should be."""


def change(connection, table, id, column, before, after):
    if after != before:
        connection.execute(sa.update(table).where(table.c.id == id).values({column: after}))


def saved_name(detail):
    """The name of a saved question: ``“name”: text``, or ``“name” deleted``."""
    found = re.match(r"“(.*?)”(?=: | deleted\Z)", detail, re.DOTALL)
    return found[1] if found else None


def shortened_entry(detail, name):
    """An entry without the statement's values; the count of accounts, the question's name and the end stay."""
    accounts = ACCOUNTS.match(detail)
    front = accounts[0] if accounts else ""
    end = ENDED.search(detail)
    back = end[0] if end else ""
    text = detail[len(front) : len(detail) - len(back)]
    if name is not None and text.startswith(f"“{name}”"):
        quoted = f"“{name}”"
        front, text = front + quoted, text[len(quoted) :]
    return front + shortened(text) + back


def shortened(statement):
    """The statement with a question mark for each string, number, comment and quoted name."""
    return TOKENS.sub(lambda token: token[0] if token["name"] else "?", statement)
