"""Fixtures of webhook tests: a console with the secret that events are signed with."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.core.database import db
from dashboard.fleet.models import AccountRefreshState
from dashboard.refresh.schedule import WITH_NEXT_REFRESH
from tests.support.webhook_sender import SECRET


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    return {**store, "peliqan_webhook_secret": SECRET}


@pytest.fixture
def nothing_is_due(app: Flask) -> None:
    """Only accounts that events make due are due for a read."""
    with app.app_context():
        db.session.execute(update(AccountRefreshState).values(due_at=WITH_NEXT_REFRESH))
        db.session.commit()


@pytest.fixture
def context(app: Flask, nothing_is_due: None) -> Iterator[None]:
    """Push the application context; nothing else is due."""
    with app.app_context():
        yield
