"""A client of the sandbox's API with the right token, which moves the sandbox's clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dashboard.sandbox.app import create_sandbox

PARTNER = {"Authorization": "JWT sandbox-partner-token"}
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Caller:
    """Calls one sandbox; gets an account's token once and reuses it."""

    def __init__(self, now: datetime = NOON, **options: Any) -> None:
        self.now = now
        self.app = create_sandbox(**{"clock": lambda: self.now, "run_seconds": (5, 5), **options})
        self.life = self.app.extensions["sandbox"].life
        self.hooks = self.app.extensions["sandbox"].webhooks
        self.client: FlaskClient = self.app.test_client()
        self._tokens: dict[int, dict[str, str]] = {}

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def token(self, account_id: int) -> dict[str, str]:
        if account_id not in self._tokens:
            response = self.partner(f"sub-account/identity/?account_id={account_id}")
            assert response.json is not None
            self._tokens[account_id] = {"Authorization": f"JWT {response.json['token']}"}
        return self._tokens[account_id]

    def partner(self, path: str) -> TestResponse:
        return self.client.get(f"/api/partner/{path}", headers=PARTNER)

    def get(self, path: str, account_id: int = 1001) -> TestResponse:
        return self.client.get(f"/api/{path}", headers=self.token(account_id))

    def of(self, connection: Any, path: str = "") -> Any:
        """Return the response of a connection's route: its JSON, or the response if it failed."""
        response = self.get(f"servers/{connection.id}/{path}", connection.account_id)
        return response.json if response.status_code == 200 else response

    def status(self, connection: Any) -> str:
        return str(self.of(connection)["health_status"])

    def control(self, path: str, **fields: Any) -> Any:
        response = self.client.post(f"/sandbox/control/{path}", json=fields)
        assert response.status_code == 200, response.text
        return response.json

    def connections(self) -> Iterator[Any]:
        for account in self.life.accounts(0, 200):
            yield from self.life.connections(account.id)

    def find(self, auth: str | None = None, failure: str | None = None, **wanted: Any) -> Any:
        """Return the first such connection; by default a healthy one without a current run."""
        like = {"placed": None, "flips": False, "stuck": False, "scheduler_off": False, **wanted}
        for each in self.connections():
            if (
                auth in {None, each.connector.auth}
                and (each.failure.name if each.failure else None) == failure
            ):
                resting = not any(run.is_running(self.now) for run in self.life.runs(each, 1))
                if all(getattr(each, name) == value for name, value in like.items()) and (
                    resting or wanted.get("stuck")
                ):
                    return each
        raise LookupError(wanted)
