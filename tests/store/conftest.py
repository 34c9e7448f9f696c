"""Everything about the store holds on the embedded pair and on real servers."""

import pytest


@pytest.fixture(params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found
