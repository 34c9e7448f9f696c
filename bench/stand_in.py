"""The stand-in for Peliqan's API, in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.support.databases import free_port
from tests.support.processes import TOKEN, Processes, answering


class StandIn:
    """A running one: its knobs, and what it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url

    def turn(self, **knobs: Any) -> None:
        """``latency_ms`` and ``run_seconds``."""
        requests.post(
            f"{self.url}/sandbox/control/knobs", json=knobs, timeout=10
        ).raise_for_status()

    def reset(self) -> None:
        """Forget what was called, and every knob."""
        requests.post(f"{self.url}/sandbox/control/reset", timeout=10).raise_for_status()

    def fail_all(self) -> None:
        """Be away: each call is answered with a 503, until ``reset``."""
        requests.post(
            f"{self.url}/sandbox/control/faults", json={"route": "*", "status": 503}, timeout=10
        ).raise_for_status()

    def state(self) -> dict[str, Any]:
        """What was called, and how often."""
        found: dict[str, Any] = requests.get(f"{self.url}/sandbox/control/state", timeout=10).json()
        return found

    def header_of(self, account_id: int) -> dict[str, str]:
        """What a request for this customer's data carries."""
        partner = {"Authorization": f"JWT {TOKEN}"}
        at = f"{self.url}/api/partner/sub-account/identity/?account_id={account_id}"
        return {
            "Authorization": f"JWT {requests.get(at, headers=partner, timeout=30).json()['token']}"
        }

    def calls(self) -> int:
        """All of them."""
        return sum(self.state()["calls"].values())


@contextmanager
def stand_in(accounts: int) -> Iterator[StandIn]:
    """One with so many customers."""
    processes, port = Processes({}), free_port()
    processes.start("sandbox", f"--port={port}", f"--accounts={accounts}")
    try:
        yield StandIn(answering(f"http://127.0.0.1:{port}", "/sandbox/control/state"))
    finally:
        processes.end_all()
