"""An outage in the log: lines at its start, while it lasts and at its end, and no others."""

import logging
from threading import Event

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from dashboard.telemetry import outage_log
from tests.support.databases import wait_for


def test_while_an_outage_lasts_it_is_said_again_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    back = Event()

    def request() -> None:
        if not back.is_set():
            raise RedisConnectionError("refused")

    failing = logging.getLogger("failing")
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(
        held := outage_log.Outages({outage_log.REDIS: request}, probe_every=0.01, log_every=0.05)
    )
    try:
        for _ in range(50):
            try:
                request()
            except RedisConnectionError:
                failing.exception("A task failed")
        wait_for(
            lambda: sum("has not answered for" in each for each in caplog.messages) >= 2,
            "it is logged twice more",
        )
        back.set()
        wait_for(lambda: "answers again" in caplog.text, "its end is logged")
    finally:
        caplog.handler.removeFilter(held)
    first, *between, last = caplog.messages
    assert first.startswith("Redis does not answer (ConnectionError).")
    assert all(each.startswith("Redis has not answered for ") for each in between)
    assert last.startswith("Redis answers again after ")
    assert "A task failed" not in caplog.text
