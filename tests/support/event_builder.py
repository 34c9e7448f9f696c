"""Functions that send webhook events, process them, and read the result."""

from itertools import count
from typing import Any

from flask import Flask
from sqlalchemy import select

from dashboard.context import Services
from dashboard.core.database import db
from dashboard.fleet import queries
from dashboard.fleet.models import Connection, Run
from dashboard.webhooks import jobs as webhook_jobs
from dashboard.webhooks.models import WebhookEvent
from tests.support.webhook_sender import post

NEW_RUN = 2**62
NEW_RUNS = count(NEW_RUN, 10)


def stored_connection(connection: Any) -> Connection:
    db.session.expire_all()
    row = queries.connection_or_none(connection.account_id, connection.id)
    assert row is not None
    return row


def send_events(app: Flask, *events: dict[str, Any]) -> None:
    client = app.test_client()
    for each in events:
        assert post(client, each).status_code == 204


def process_all(services: Services) -> webhook_jobs.ProcessedEvents:
    found = webhook_jobs.process_all(services.clock, services.settings.dashboard_refresh_interval)
    db.session.expire_all()
    return found


def states() -> list[str]:
    db.session.expire_all()
    return list(db.session.scalars(select(WebhookEvent.state).order_by(WebhookEvent.id)))


def run_of(connection: Any, run_id: int) -> Run | None:
    return db.session.get(Run, (connection.account_id, connection.id, run_id))
