"""Fixtures that capture the log."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from dashboard.telemetry import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log_lines(app: Flask) -> Iterator[Lines]:
    """Return the JSON lines so far, from level INFO on."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure_logging("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = before
    root.setLevel(level)
