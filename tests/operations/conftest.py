"""A pooler before the tests' PostgreSQL, and the console's processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Servers, fast_folder
from tests.support.pgbouncer import PgBouncer
from tests.support.processes import Processes, make_environ
from tests.support.sandbox import Sandbox

# The pooler's server connections a database: far fewer than the console opens to it.
POOL_SIZE = 3


@pytest.fixture(scope="module")
def pooler(servers: Servers) -> Iterator[PgBouncer]:
    """A PgBouncer in transaction mode."""
    folder = Path(tempfile.mkdtemp(prefix="console-pgbouncer-", dir=fast_folder()))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    made = PgBouncer(folder, servers.postgresql, POOL_SIZE)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture
def engine() -> str:
    """The engine: PostgreSQL and Redis."""
    return "servers"


@pytest.fixture
def processes(store: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> Iterator[Processes]:
    """The console's processes over the test's store."""
    found = Processes(make_environ(sandbox.url, tmp_path, **store))
    yield found
    found.end_all()
