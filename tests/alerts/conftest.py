"""Fixtures of alert tests: a receiver, and a worker driven minute by minute."""

from collections.abc import Iterator

import pytest

from dashboard.context import Services
from tests.support.alert_receiver import RECEIVERS, Clockwork, Receiver, receive
from tests.support.clock import Clock


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    """Allow the receiver's address as a destination."""
    return {**store, **RECEIVERS}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Start the receiver that alerts are sent to."""
    with receive() as receiver:
        yield receiver


@pytest.fixture
def worker(services: Services, clock: Clock, receiver: Receiver) -> Clockwork:
    """Return the worker that sends alerts, one minute at a time."""
    return Clockwork(services, clock, receiver)
