"""Helpers for tests of deliveries: a new connection, its rows, and a worker's steps."""

import json
from typing import Any

from sqlalchemy import select

from dashboard import peliqan
from dashboard.audit.models import AuditEntry
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.deliveries import service as deliveries
from dashboard.deliveries.models import Delivery
from dashboard.deliveries.tasks import deliver
from tests.support.clock import Clock
from tests.support.sandbox import Sandbox
from tests.support.webhook_target import Receiver

# The address for tables of new connections; nothing listens there.
HOOK = {
    "dashboard_hook": "http://127.0.0.1:9/hook",
    "dashboard_hook_secret": "what a hook's posts are signed with",
}

SECRET = "a secret of the hook's"
CONNECTOR = "shopify"
AUDITED = ("deliver", "send_delivery", "cancel_delivery")


def account_without(sandbox: Sandbox, connector: str = CONNECTOR) -> int:
    """Return an account without a connection of the connector, whose tables are then unique."""
    for account in sandbox.life.accounts(1, 50):
        if sandbox.life.world.is_readable(account.id) and all(
            each.connector.name != connector for each in sandbox.life.connections(account.id)
        ):
            return int(account.id)
    raise LookupError(connector)


def connect(sandbox: Sandbox, first_run: str | None = None) -> Any:
    """Add a connection as the widget does; its first run ends at once, by default successfully."""
    account_id = account_without(sandbox)
    if first_run is not None:
        connections = sandbox.life.connections(account_id)
        number = 1 + max((each.id % 100 for each in connections), default=0)
        sandbox.life.touch(account_id * 100 + number).next_run = first_run
    return sandbox.life.add_connection(account_id, CONNECTOR, "New shop")


def tables_at_peliqan(services: Services, connection: Any) -> dict[str, list[Any]]:
    """Return the ids of all rows of the connection's tables, in order."""
    api, found = services.api.for_account(connection.account_id), {}
    for database in api.databases():
        for table in api.tables(database.id):
            if table.name.startswith(f"{connection.connector.name}_"):
                count = api.rows(table.id, peliqan.RowQuery(size=1)).count
                pages = (
                    api.rows(table.id, peliqan.RowQuery(page=page, size=200)).rows
                    for page in range(1, count // 200 + 2)
                )
                found[table.name] = [row["id"] for rows in pages for row in rows]
    return found


def received_rows(messages: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the row ids that a receiver has of each table if it deduplicates by key."""
    by_key = {message["key"]: message for message in messages}
    found: dict[str, list[Any]] = {}
    for message in by_key.values():
        if not message["complete"]:
            found.setdefault(message["table"]["name"], []).extend(
                row["id"] for row in message["rows"]
            )
    return found


def keys(receiver: Receiver) -> list[str]:
    """Return the keys of the posts, in the order of arrival."""
    return [json.loads(body)["key"] for _, body in receiver.posts]


def work(services: Services) -> None:
    """Process the due deliveries as workers do."""
    for delivery_id in deliveries.due(services.clock()):
        deliver(delivery_id)
    db.session.expire_all()


def work_after(services: Services, clock: Clock, **later: float) -> None:
    """Move the clock, then process the due deliveries."""
    clock.move(**later)
    work(services)


def all_deliveries() -> list[Delivery]:
    db.session.expire_all()
    return list(db.session.scalars(select(Delivery).order_by(Delivery.id)))


def the_delivery() -> Delivery:
    (found,) = all_deliveries()
    return found


def audited() -> list[tuple[str, str, str]]:
    """Return action, user and result of each audit entry of deliveries."""
    db.session.expire_all()
    found = db.session.scalars(
        select(AuditEntry).where(AuditEntry.what.in_(AUDITED)).order_by(AuditEntry.id)
    )
    return [(each.what, each.who, each.result) for each in found]
