"""Everything about the store holds on the embedded pair and on real servers."""

from collections.abc import Iterator

import pytest
from flask import Flask

from dashboard.core.search_text import refold


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine


@pytest.fixture(autouse=True)
def every_kept_text_is_that_of_its_row(request: pytest.FixtureRequest) -> Iterator[None]:
    """After whatever a test did, nothing has to be folded anew: all that writes rows keeps their comparable texts."""
    if "app" not in request.fixturenames:
        yield
        return
    app: Flask = request.getfixturevalue("app")
    yield
    with app.app_context():
        assert refold() == 0
