"""A console that knows a provider, as in ``tests/views/test_provider.py``, and its settings changed by a test."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from tests.provider import Provider
from tests.views.test_provider import app, provider, running

__all__ = ["app", "provider", "running"]


@pytest.fixture
def configure(app: Flask, provider: Provider) -> Callable[..., None]:
    """Change fields of the console's provider, as other settings would have them."""

    def change(**fields: object) -> None:
        app.extensions["provider"] = replace(app.extensions["provider"], **fields)

    return change
