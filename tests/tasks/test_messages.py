"""Queue messages of other writers, who have access to the queue's file or to Redis."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import BadSignature

from dashboard.actions.tasks import poll_action
from dashboard.context import Services
from dashboard.tasks.serializer import SignedMessages

pytestmark = pytest.mark.both_engines


OLD, NEW = "o" * 40, "n" * 40


class Bait:
    """Object that creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_what_another_put_into_the_queue_is_never_unpickled(
    services: Services, tmp_path: Path
) -> None:
    caught, jobs = tmp_path / "caught", services.queues["jobs"]
    jobs.storage.enqueue(pickle.dumps(Bait(caught)))
    with pytest.raises(BadSignature):
        jobs.dequeue()
    jobs.storage.enqueue(SignedMessages([NEW]).serialize(Bait(caught)))
    with pytest.raises(BadSignature):
        jobs.dequeue()
    assert not caught.exists()
    # Neither blocks later messages.
    assert jobs.dequeue() is None
    services.queues.enqueue(poll_action, 7)
    assert jobs.dequeue().args == (7,)


def test_messages_outlive_a_change_of_keys() -> None:
    waiting = SignedMessages([OLD]).serialize(("look", 7))
    assert SignedMessages([NEW, OLD]).deserialize(waiting) == ("look", 7)
    assert SignedMessages([OLD, NEW]).deserialize(SignedMessages([NEW, OLD]).serialize(1)) == 1
    with pytest.raises(BadSignature):
        SignedMessages([NEW]).deserialize(waiting)
