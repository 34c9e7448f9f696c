"""The host that is dialled is the host that was checked, however an address is written."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dashboard.core import database_urls
from dashboard.core.egress import AllowedDestination, EgressPolicy, NotAllowed
from dashboard.pulls.destinations.base import DestinationError
from dashboard.pulls.destinations.registry import name_of, open_destination
from dashboard.sql.backends import postgresql
from dashboard.sql.result import Failed, Result

ALLOWED, EVIL = "127.0.0.2", "127.0.0.3"
MINE = EgressPolicy([AllowedDestination.read(f"postgresql://{ALLOWED}")])
SECRET = "hush-hush-4711"
# Pieces of addresses that are combined in any order: all that a parser of addresses may interpret.
PIECES = st.sampled_from([
    "postgresql://", "postgres://", "postgresql+psycopg://", "POSTGRESQL://",
    "postgresql+psycopg2://", "//", "/", "@", ":", "?", "&",
    "#", ",", "\\", "%", "%40", "%2F", "%3A", "%00", "%2C", "[", "]", "[::1]",
    "[::ffff:127.0.0.3]", "%25lo", " ", "\t", "\n", "\x00",
    ALLOWED, EVIL, "127.0.0.2.", "0x7f000003", "2130706435", "127.3", "127。0。0。3", "localhost",
    "5432", ":PORT", "x", "db", "user",
    f"user:{SECRET}", "sslmode=disable", "host=", "hostaddr=", "port=", "dbname=", "user=",
    "password=", "service=", "passfile=",
    "options=", "'", "target_session_attrs=any", "postgresql://127.0.0.3:PORT/db",
])  # fmt: skip
ODD = st.lists(PIECES, min_size=1, max_size=14).map("".join)
# Nearly correct addresses with one odd piece.
NEARLY = st.builds(
    lambda base, at, piece: base[: at % (len(base) + 1)] + piece + base[at % (len(base) + 1) :],
    st.sampled_from(
        [
            f"postgresql://user:{SECRET}@{ALLOWED}:PORT/db",
            f"postgresql://user@{ALLOWED}:PORT/db?sslmode=disable",
        ]
    ),
    st.integers(0, 200),
    st.lists(PIECES, min_size=0, max_size=4).map("".join),
)
WRITTEN = [
    f"postgresql://{ALLOWED}:PORT/x@{EVIL}:PORT/db?user=a&password=b",
    f"postgresql://user@{ALLOWED}:PORT/db?host={ALLOWED}&host={EVIL}",
    f"postgresql://user@{ALLOWED}:PORT/db?host={EVIL}",
    f"postgresql://user@{ALLOWED}:PORT/db?hostaddr={EVIL}",
    f"postgresql://user@{ALLOWED},{EVIL}:PORT/db",
    f"postgresql://user@{ALLOWED}:PORT,{EVIL}:PORT/db",
    f"postgresql://user@{ALLOWED}:PORT/db?passfile=/etc/passwd",
    f"postgresql://user@{ALLOWED}:PORT/db?options=-c%20search_path%3Dx",
    f"postgresql://user@{ALLOWED}:PORT/db?service=other",
    f"postgresql://user@{ALLOWED}:PORT/db?sslmode=disable&sslmode=require",
    f"postgresql://user@{ALLOWED}%2C{EVIL}:PORT/db",
    f"postgresql://user:{SECRET}@{EVIL}@{ALLOWED}:PORT/db",
    f"postgresql://{ALLOWED}\\@{EVIL}:PORT/db",
    "postgresql://user@[fe80::1%25lo]:PORT/db",
    "postgresql:///db?host=" + EVIL,
    "postgresql://user@%2Ftmp/db",
]  # fmt: skip


class Listeners:
    """Listeners on one port of both addresses, which record connections and close them."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        first = socket.create_server((ALLOWED, 0))
        self.port: int = first.getsockname()[1]
        self._all = [first, socket.create_server((EVIL, self.port))]
        for each in self._all:
            threading.Thread(target=self._listen, args=(each,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near:
                    self.dialled.append(listener.getsockname()[0])

    def dialled_addresses(self) -> set[str]:
        """Return the addresses that were connected to since the last call."""
        mine = []
        for each in self._all:
            with socket.socket() as near:
                near.connect(each.getsockname())
                near.settimeout(30)
                mine.append(each.getsockname()[0])
                assert near.recv(1) == b""
        found, self.dialled = self.dialled, []
        for each in mine:
            found.remove(each)
        return set(found)

    def close(self) -> None:
        for each in self._all:
            each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """Replace the fixture of all tests: only ``lookups`` answers look-ups here."""


@pytest.fixture(scope="module")
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.close()


@contextmanager
def lookups() -> Iterator[set[str]]:
    """Record the hosts that are looked up; only addresses of this machine are found."""
    found: set[str] = set()
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **more: Any) -> Any:
        found.add(str(host))
        if str(host) not in {ALLOWED, EVIL, postgresql.LOOPBACK}:
            raise socket.gaierror(socket.EAI_NONAME, "not found")
        return real(host, *args, **more)

    with patch.object(socket, "getaddrinfo", look_up):
        yield found


def copy_to(address: str, policy: EgressPolicy) -> None:
    found = database_urls.read(address)
    policy.ensure(found)
    with open_destination(found):
        pass


def query_at(address: str, policy: EgressPolicy) -> None:
    found = database_urls.read_postgresql(address)
    policy.ensure(found)
    postgresql.run_query(found, "select 1", Result(), lambda _cancel: None)


@pytest.mark.parametrize("dial", [copy_to, query_at])
@pytest.mark.parametrize("address", [*WRITTEN, f"postgresql://user:{SECRET}@{ALLOWED}:PORT/db"])
def test_nobody_is_dialled_but_the_host_that_was_checked(
    listeners: Listeners, dial: Any, address: str
) -> None:
    # Listeners close the connection, so even an allowed address ends with an error.
    with (
        lookups(),
        pytest.raises((database_urls.BadAddress, NotAllowed, DestinationError, Failed)) as refused,
    ):
        dial(address.replace("PORT", str(listeners.port)), MINE)
    assert SECRET not in str(refused.value)
    accepted = address not in WRITTEN
    assert listeners.dialled_addresses() == ({ALLOWED} if accepted else set())


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(address=st.one_of(ODD, NEARLY), limited=st.booleans())
@example(address=WRITTEN[0], limited=True)
def test_any_address_is_refused_or_leads_where_it_was_checked_to_lead(
    listeners: Listeners, address: str, limited: bool
) -> None:
    text = address.replace("PORT", str(listeners.port))
    try:
        found = database_urls.read_postgresql(text)
    except database_urls.BadAddress as error:
        message = str(error)
    else:
        message = ""
    assert SECRET not in message
    if message:
        with pytest.raises(NotAllowed):
            MINE.ensure(text)
        return
    assert SECRET not in found.shown or SECRET in found.database + found.host
    if limited and found.host != ALLOWED:
        with pytest.raises(NotAllowed):
            MINE.ensure(found)
        return
    with patch.dict(
        "os.environ",
        PGHOST=EVIL,
        PGHOSTADDR=EVIL,
        PGPORT="1",
        PGDATABASE="other",
        PGUSER="other",
        PGOPTIONS="-c x=y",
    ):
        for dial in (copy_to, query_at):
            if dial is copy_to and "://" not in text.partition("=")[0]:
                continue
            with lookups() as looked_up, suppress(NotAllowed, DestinationError, Failed):
                dial(text, MINE if limited else EgressPolicy())
            assert looked_up <= {found.host, postgresql.LOOPBACK}
            assert listeners.dialled_addresses() <= {found.host}


@given(
    st.builds(
        database_urls.PostgresAddress,
        host=st.sampled_from(["db.example.com", "127.0.0.2", "2001:db8::1"]),
        port=st.integers(1, 65535),
        database=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
        user=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
        password=st.text(st.characters(exclude_categories=["C", "Z"])),
        sslmode=st.sampled_from([None, *database_urls.SSL_MODES]),
    )
)
def test_libpq_gets_the_parts_and_nothing_else(address: database_urls.PostgresAddress) -> None:
    text = psycopg.conninfo.make_conninfo("", **address.keywords())
    parts = psycopg.conninfo.conninfo_to_dict(text)
    wanted = {**address.keywords(), "port": str(address.port)}
    assert {name: str(value) for name, value in parts.items()} == wanted


def test_a_service_of_the_environment_leads_nowhere_else(
    listeners: Listeners, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text(
        f"[other]\nhost={EVIL}\nhostaddr={EVIL}\nport={listeners.port}\ndbname=other\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGSERVICE", "other")
    for dial in (copy_to, query_at):
        with pytest.raises((DestinationError, Failed)):
            dial(f"postgresql://user@{ALLOWED}:{listeners.port}/db", MINE)
        assert listeners.dialled_addresses() == {ALLOWED}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            f"postgresql://user:{SECRET}@db.example.com/data?sslmode=require",
            "postgresql://db.example.com:5432/data",
        ),
        (
            f"postgres://user:{SECRET}@[2001:db8::1]:6000/data",
            "postgresql://[2001:db8::1]:6000/data",
        ),
        ("sqlite:////srv/copies.db", "sqlite:////srv/copies.db"),
        ("parquet:///srv/copies", "parquet:///srv/copies"),
    ],
)
def test_of_an_address_host_port_and_database_are_shown(address: str, shown: str) -> None:
    assert name_of(address) == shown
