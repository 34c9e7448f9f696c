"""The API on a raw socket and consoles over it, one of each for all tests of a process."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.api_faults.console import Desk, closed, fill, open_desk
from tests.api_faults.server import RawServer
from tests.api_faults.table import BANK, GOOD, PATIENCE, SERVERS, Fault
from tests.support.clock import Clock

# The API timeout in seconds: pages try four times, and there are many.
AT_ONCE = 0.1


@pytest.fixture(scope="session")
def raw_server() -> Iterator[RawServer]:
    made = RawServer({**GOOD, "server": lambda path: SERVERS[f"/{BANK}/" in path]})
    yield made
    made.close()


@dataclass(frozen=True)
class Desks:
    """Two consoles over one store, with a long and a short API timeout."""

    patient: Desk
    impatient: Desk

    def for_fault(self, fault: Fault) -> Desk:
        return self.impatient if fault.impatient else self.patient


@pytest.fixture(scope="session")
def desks(raw_server: RawServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desks]:
    folder, clock = tmp_path_factory.mktemp("faults"), Clock()
    made = Desks(
        *(open_desk(raw_server.url, folder, seconds, clock) for seconds in (PATIENCE, AT_ONCE))
    )
    fill(made.patient)
    made.patient.parts.api.transport.largest = 1 << 20
    for desk in (made.patient, made.impatient):
        desk.sign_in()
    yield made
    for desk in (made.patient, made.impatient):
        closed(desk)


@pytest.fixture
def calm(desks: Desks) -> Iterator[Desks]:
    """The consoles, reset after earlier tests."""
    for desk in (desks.patient, desks.impatient):
        desk.forget()
    return desks
