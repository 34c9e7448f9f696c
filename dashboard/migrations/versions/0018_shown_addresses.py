"""Of PostgreSQL addresses of copies, host, port and database alone stay: a password in their query was kept and shown.

Revision ID: 0018
Revises: 0014
"""
import re

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

ADDRESS = re.compile(r"postgres(?:ql)?(?:\+\w+)?://\S*")


def upgrade():
    connection = op.get_bind()
    for name, column in (("pull_schedule", "place"), ("pull_run", "place"), ("audit_entry", "detail")):
        table = sa.table(name, sa.column("id"), sa.column(column))
        text = table.c[column]
        found = connection.execute(sa.select(table.c.id, text).where(text.like("%postgres%://%"))).all()
        for id, before in found:
            after = shortened(before) if column == "place" else ADDRESS.sub(_in_a_sentence, before)
            if after != before:
                connection.execute(sa.update(table).where(table.c.id == id).values({column: after}))


def downgrade():
    """What was cut off is gone, as it should be."""


def shortened(address):
    """``postgresql://host:port/database`` of an address as SQLAlchemy showed it."""
    place = address.partition("://")[2].partition("?")[0].rpartition("@")[2]
    host, slash, database = place.partition("/")
    port = "" if not host or re.search(r":\d+$", host) else ":5432"
    return f"postgresql://{host}{port}{slash}{database}"


def _in_a_sentence(found):
    # A comma belongs to the sentence: in an address's query it stood as its code.
    address = found[0].rstrip(",.")
    return shortened(address) + found[0][len(address):]
