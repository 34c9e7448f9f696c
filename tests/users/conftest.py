"""Fixtures of the tests of users."""

import pytest
from flask import Flask

from dashboard.context import Services
from tests.support.restricted_users import add_outsiders


@pytest.fixture
def ids(app: Flask, services: Services) -> dict[str, int]:
    """Return the ids of an outsider's objects, which Olga and Viv do not see."""
    return add_outsiders(app, services.clock())
