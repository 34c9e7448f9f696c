"""The sandbox in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.support.databases import free_port
from tests.support.processes import TOKEN, Processes, answering


class FakeApi:
    """A running sandbox: its switches and counters."""

    def __init__(self, url: str) -> None:
        self.url = url

    def turn(self, **knobs: Any) -> None:
        """Set ``latency_ms`` and ``run_seconds``."""
        requests.post(
            f"{self.url}/sandbox/control/knobs", json=knobs, timeout=10
        ).raise_for_status()

    def reset(self) -> None:
        """Reset counters and switches."""
        requests.post(f"{self.url}/sandbox/control/reset", timeout=10).raise_for_status()

    def fail_all(self) -> None:
        """Let every call fail with a 503 until ``reset``."""
        requests.post(
            f"{self.url}/sandbox/control/faults", json={"route": "*", "status": 503}, timeout=10
        ).raise_for_status()

    def state(self) -> dict[str, Any]:
        """Return the counters of calls."""
        found: dict[str, Any] = requests.get(f"{self.url}/sandbox/control/state", timeout=10).json()
        return found

    def header_of(self, account_id: int) -> dict[str, str]:
        """Return the Authorization header for a customer's data."""
        partner = {"Authorization": f"JWT {TOKEN}"}
        at = f"{self.url}/api/partner/sub-account/identity/?account_id={account_id}"
        return {
            "Authorization": f"JWT {requests.get(at, headers=partner, timeout=30).json()['token']}"
        }

    def calls(self) -> int:
        """Return the number of all calls."""
        return sum(self.state()["calls"].values())


@contextmanager
def fake_api(accounts: int) -> Iterator[FakeApi]:
    """Run a sandbox with this many customers."""
    processes, port = Processes({}), free_port()
    processes.start("sandbox", f"--port={port}", f"--accounts={accounts}")
    try:
        yield FakeApi(answering(f"http://127.0.0.1:{port}", "/sandbox/control/state"))
    finally:
        processes.end_all()
