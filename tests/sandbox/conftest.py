"""A sandbox whose clock a test moves, and one that sends webhooks to a receiver."""

from collections.abc import Iterator

import pytest

from tests.support.api_caller import Caller
from tests.support.webhook_target import SECRET, Receiver, posting, receiving


@pytest.fixture
def api() -> Caller:
    return Caller()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def hooked(receiver: Receiver) -> Iterator[Caller]:
    with posting(webhook_url=receiver.url, webhook_secret=SECRET) as made:
        yield made
