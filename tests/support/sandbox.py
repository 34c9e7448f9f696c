"""The sandbox of a test process: its address and its switches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from flask import Flask

from dashboard.sandbox.runs import EPOCH

ACCOUNTS = 60


@dataclass
class Sandbox:
    """A running sandbox: its address, its app and its switches."""

    url: str
    app: Flask

    @property
    def life(self) -> Any:
        return self.app.extensions["sandbox"].life

    def fault(self, route: str, **fault: Any) -> None:
        requests.post(
            f"{self.url}/sandbox/control/faults", json={"route": route, **fault}, timeout=30
        ).raise_for_status()

    def clear(self) -> None:
        requests.delete(f"{self.url}/sandbox/control/faults", timeout=30)

    def set(self, connection_id: int, **state: Any) -> None:
        requests.post(
            f"{self.url}/sandbox/control/connections/{connection_id}", json=state, timeout=30
        ).raise_for_status()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.url}/sandbox/control/state", timeout=30).json()
        return found

    def find(self, **wanted: Any) -> Any:
        """Return the first connection with these properties."""
        return next(self.find_all(**wanted))

    def find_all(self, **wanted: Any) -> Iterator[Any]:
        """Yield every such connection. LookupError at the end."""
        for account in self.life.accounts(0, ACCOUNTS):
            for each in self.life.connections(account.id):
                have = {
                    "auth": each.connector.auth,
                    "failure": each.failure.name if each.failure else None,
                    "placed": each.placed,
                    "flips": each.flips,
                }
                if all(have[key] == value for key, value in wanted.items()):
                    yield each
        raise LookupError(wanted)

    @property
    def healthy(self) -> Any:
        """A connection that stays well, without a run in the next hour: longer than all tests."""
        return next(
            each
            for each in self.find_all(auth="oauth2", failure=None, placed=None, flips=False)
            if self._stays_current(each)
        )

    def _stays_current(self, connection: Any) -> bool:
        # A run only counts if it is over by then.
        rests_from = self.life.rests_from or self.life.clock()
        since = (rests_from - EPOCH).total_seconds() - connection.phase - connection.seconds
        return bool(since % connection.interval + connection.seconds < connection.interval - 3600)
