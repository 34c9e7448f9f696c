"""Fixtures: a console with an identity provider, and changes of the provider's settings."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from tests.support.oidc_provider import Provider
from tests.users.oidc.test_sign_in import app, provider, running

__all__ = ["app", "provider", "running"]


@pytest.fixture
def configure(app: Flask, provider: Provider) -> Callable[..., None]:
    """Change fields of the console's provider, as other settings would."""

    def change(**fields: object) -> None:
        app.extensions["provider"] = replace(app.extensions["provider"], **fields)

    return change
