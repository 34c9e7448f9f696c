"""Everything about the fleet holds on the embedded pair and on real servers."""

from collections.abc import Iterator

import pytest

from dashboard.context import Services
from tests.support.alert_receiver import RECEIVERS, Clockwork, Receiver, receive
from tests.support.clock import Clock


@pytest.fixture
def store(store: dict[str, str]) -> dict[str, str]:
    """With an operator who names the place where alerts go."""
    return {**store, **RECEIVERS}


@pytest.fixture
def place() -> Iterator[Receiver]:
    """Where alerts go."""
    with receive() as receiver:
        yield receiver


@pytest.fixture
def worker(parts: Services, clock: Clock, place: Receiver) -> Clockwork:
    """Who sends them, a minute at a time."""
    return Clockwork(parts, clock, place)
