"""A console that knows a provider, as in ``tests/users/oidc/test_sign_in.py``, and its settings changed by a test."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from tests.support.oidc_provider import Provider
from tests.users.oidc.test_sign_in import app, provider, running

__all__ = ["app", "provider", "running"]


@pytest.fixture
def configure(app: Flask, provider: Provider) -> Callable[..., None]:
    """Change fields of the console's provider, as other settings would have them."""

    def change(**fields: object) -> None:
        app.extensions["provider"] = replace(app.extensions["provider"], **fields)

    return change
