"""What tests of pages share beside what all tests do."""

import pytest
from flask import Flask

from dashboard.context import Services
from tests.support.restricted_users import add_outsiders


@pytest.fixture
def ids(app: Flask, parts: Services) -> dict[str, int]:
    """The ids of whatever is an outsider's; Olga and Viv do not see them."""
    return add_outsiders(app, parts.clock())
