"""Everything about the fleet holds on the embedded pair and on real servers."""

import pytest


@pytest.fixture
def engine(either_engine: str) -> str:
    return either_engine
