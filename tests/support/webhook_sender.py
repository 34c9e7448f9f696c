"""Peliqan's side of its webhooks, for tests."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

SECRET = "between the two of us"
ADDRESS = "/webhooks/peliqan"


def made(
    connection: Any, event: str, run_id: int | None = None, status: str = "", **other: Any
) -> dict[str, Any]:
    """Return a body as Peliqan sends it; ``other`` replaces or adds fields."""
    return {
        "event": event,
        "event_id": str(uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "account_id": connection.account_id,
        "server_id": connection.id,
        "pipeline_run_id": run_id,
        "status": status,
        **other,
    }


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(client: FlaskClient, event: Any, **headers: str) -> TestResponse:
    """Send an event (bytes as they are), signed unless ``headers`` are given."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return client.post(ADDRESS, data=body, headers=headers or {"X-Peliqan-Signature": sign(body)})
