"""The API on a raw socket and consoles over it, one of each for all tests of a process."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.api_faults.consoles import FaultConsole, closed, fill, open_console
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
class Consoles:
    """Two consoles over one store, with a long and a short API timeout."""

    patient: FaultConsole
    impatient: FaultConsole

    def for_fault(self, fault: Fault) -> FaultConsole:
        return self.impatient if fault.impatient else self.patient


@pytest.fixture(scope="session")
def consoles(raw_server: RawServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consoles]:
    folder, clock = tmp_path_factory.mktemp("faults"), Clock()
    made = Consoles(
        *(open_console(raw_server.url, folder, seconds, clock) for seconds in (PATIENCE, AT_ONCE))
    )
    fill(made.patient)
    made.patient.services.api.transport.largest = 1 << 20
    for console in (made.patient, made.impatient):
        console.sign_in()
    yield made
    for console in (made.patient, made.impatient):
        closed(console)


@pytest.fixture
def reset_consoles(consoles: Consoles) -> Iterator[Consoles]:
    """The consoles, reset after earlier tests."""
    for console in (consoles.patient, consoles.impatient):
        console.forget()
    return consoles
