"""A migration shortens stored addresses of copies to host, port and database."""

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

AT, SECRET = datetime(2026, 1, 2, tzinfo=UTC), "hush-hush-4711"
PLACES = {
    f"postgresql://user:***@db.example.com:6000/data?password={SECRET}": (
        "postgresql://db.example.com:6000/data"
    ),
    f"postgresql+psycopg://user:***@db.example.com/data?sslmode=require&password={SECRET}": (
        "postgresql://db.example.com:5432/data"
    ),
    f"postgresql://a.example.com:***@b.example.com:5432/db?user=u&password={SECRET}": (
        "postgresql://b.example.com:5432/db"
    ),
    f"postgres://db.example.com/my data?password={SECRET}": (
        "postgresql://db.example.com:5432/my data"
    ),
    f"postgresql:///data?host=db.example.com&password={SECRET}": "postgresql:///data",
    "postgresql://user@[2001:db8::1]/data": "postgresql://[2001:db8::1]:5432/data",
    "sqlite:////srv/copies.db": "sqlite:////srv/copies.db",
    "parquet:///srv/copies": "parquet:///srv/copies",
}


@pytest.mark.parametrize("engine", ["embedded", "servers"])
def test_no_password_of_an_earlier_version_stays(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = ""
    if engine == "servers":
        servers: Servers = request.getfixturevalue("servers")
        servers.postgresql.drop("shown")
        url = servers.postgresql.create("shown")
    app = create_app(make_settings("http://127.0.0.1:1", tmp_path, database_url=url))
    with app.app_context():
        schema.upgrade("0014")
        found = sa.MetaData()
        found.reflect(db.engine, only=["pull_schedule", "audit_entry"])
        schedule, entry = found.tables["pull_schedule"], found.tables["audit_entry"]
        more: dict[str, Any] = {
            "address": b"x",
            "chosen": {},
            "every": 60,
            "full_every": 20,
            "on": True,
            "asked_by": "",
        }
        with db.engine.begin() as connection:
            for id, destination in enumerate(PLACES, 1):
                values = {
                    "id": id,
                    "name": f"n{id}",
                    "place": destination,
                    "created_at": AT,
                    "created_by": "adam@example.com",
                    **more,
                }
                connection.execute(schedule.insert().values(values))
                address = destination.replace(" ", "")
                detail = f"To {address}, unmasked. Accounts: all. 3 tables copied, 0 failed."
                about = {"at": AT, "who": "adam@example.com", "what": "pull", "result": "done"}
                connection.execute(entry.insert().values({**about, "id": id, "detail": detail}))
        upgrade_schema(app)
        with db.engine.connect() as connection:
            shown = list(connection.scalars(sa.select(schedule.c.place).order_by(schedule.c.id)))
            details = list(connection.scalars(sa.select(entry.c.detail).order_by(entry.c.id)))
        db.session.remove()
        db.engine.dispose()
    assert shown == list(PLACES.values())
    assert details == [
        f"To {each.replace(' ', '')}, unmasked. Accounts: all. 3 tables copied, 0 failed."
        for each in PLACES.values()
    ]
    if engine == "servers":
        servers.postgresql.drop("shown")
