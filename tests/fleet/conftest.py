"""Everything about the fleet holds on the embedded pair and on real servers."""

from collections.abc import Iterator

import pytest
from flask import Flask

from dashboard.app import Console
from dashboard.store.folding import refold
from tests.alerting import Clockwork, Receiver, receive
from tests.conftest import Clock


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine


@pytest.fixture(autouse=True)
def every_kept_text_is_that_of_its_row(app: Flask) -> Iterator[None]:
    """After whatever a test did, nothing has to be folded anew: all that writes rows keeps their comparable texts."""
    yield
    with app.app_context():
        assert refold() == 0


@pytest.fixture
def place() -> Iterator[Receiver]:
    """Where alerts go."""
    with receive() as receiver:
        yield receiver


@pytest.fixture
def worker(parts: Console, clock: Clock, place: Receiver) -> Clockwork:
    """Who sends them, a minute at a time."""
    return Clockwork(parts, clock, place)
