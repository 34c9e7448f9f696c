"""A fault server, which sends a test's responses and records the requests."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.fault_server import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    made = FaultServer()
    thread = threading.Thread(
        target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    yield made
    made.stopped.set()
    made.shutdown()
    made.server_close()
    thread.join(5)
