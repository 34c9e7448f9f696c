"""A console that knows the secret, in which nothing is due but what events make so."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.core.database import db
from dashboard.fleet.models import AccountCheck
from dashboard.refresh.schedule import WITH_THE_NEXT_PASS
from tests.webhooks import SECRET


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    return {**store, "peliqan_webhook_secret": SECRET}


@pytest.fixture(autouse=True)
def context(app: Flask) -> Iterator[None]:
    """Nothing is due but what events make so."""
    with app.app_context():
        db.session.execute(update(AccountCheck).values(due_at=WITH_THE_NEXT_PASS))
        db.session.commit()
        yield
