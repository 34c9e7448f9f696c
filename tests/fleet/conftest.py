"""Everything about the fleet holds on the embedded pair and on real servers."""

from collections.abc import Iterator

import pytest

from dashboard.context import Console
from tests.alerting import RECEIVERS, Clockwork, Receiver, receive
from tests.conftest import Clock
from tests.store.conftest import every_kept_text_is_that_of_its_row

# Used for the tests here that have a console; those that open one of their own have a store of their own, too.
__all__ = ["every_kept_text_is_that_of_its_row"]


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine


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
def worker(parts: Console, clock: Clock, place: Receiver) -> Clockwork:
    """Who sends them, a minute at a time."""
    return Clockwork(parts, clock, place)
