"""Everything about the fleet holds on the embedded pair and on real servers."""

from collections.abc import Iterator

import pytest

from dashboard.app import Console
from tests.alerting import Clockwork, Receiver, receive
from tests.conftest import Clock


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine


@pytest.fixture
def place() -> Iterator[Receiver]:
    """Where alerts go."""
    with receive() as receiver:
        yield receiver


@pytest.fixture
def worker(parts: Console, clock: Clock, place: Receiver) -> Clockwork:
    """Who sends them, a minute at a time."""
    return Clockwork(parts, clock, place)
