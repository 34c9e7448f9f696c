"""Accounts and connections as pure functions of a seed and their number; nothing is stored."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from dashboard.sandbox.company_names import (
    CONNECTION_PURPOSES,
    COUNTRIES,
    FIRST_WORDS,
    GIVEN_NAMES,
    LEGAL_FORMS,
    ODD_NAMES,
    SECOND_WORDS,
)
from dashboard.sandbox.connectors import CONNECTORS, FAULTY_DATA, PLACED, Connector, Failure

FIRST_ACCOUNT = 1001
INTERVALS = (900, 3600, 3600, 21600, 86400)
STUCK_AT = 131
FLIPPING_INTERVAL = 900


@dataclass(frozen=True)
class Account:
    """A sub-account. ``position`` counts from 0; provisioned accounts follow the computed ones."""

    id: int
    name: str
    external_id: str
    position: int
    first_name: str = "Robin"
    last_name: str = "Example"
    email: str = ""
    country: str = "BE"


@dataclass(frozen=True)
class Fate:
    """The effects of a scenario on a connection over time.

    ``fails_from``, ``fails_until``: when its failure holds; None as the end: for good.
    ``rests_from``: from then on no scheduled run starts, whatever the schedule says.
    ``empty_from``: runs that start from then on load nothing.
    ``extra_run``: the start of a run that was started by hand.
    ``target``: the id of the connection that it loads into; None: the account's data warehouse.
    ``rows_until``: the newest row in its tables is from then, whatever its runs say.
    ``shrinks_at``: from then on its tables have six tenths of their rows.
    ``is_target``: other connections may load into it.
    ``other_names``: the API describes it with the second of the known field names.
    ``data_fault``: one of ``tables.DATA_FAULTS``.
    """

    fails_from: datetime | None = None
    fails_until: datetime | None = None
    rests_from: datetime | None = None
    empty_from: datetime | None = None
    extra_run: datetime | None = None
    target: int | None = None
    rows_until: datetime | None = None
    shrinks_at: datetime | None = None
    is_target: bool = False
    other_names: bool = False
    data_fault: str = ""


@dataclass(frozen=True)
class Connection:
    """A connection as the seed made it; ``simulation`` has the changes since.

    ``interval``, ``phase``, ``seconds`` (the duration of a run) and ``failing_for`` are seconds.
    ``placed``: a status that it has whatever its runs say. ``flips``: it fails intermittently, in
    every third half hour. ``stuck``: its newest run never ended.
    """

    id: int
    account_id: int
    name: str
    connector: Connector
    interval: int
    scheduler_off: bool
    phase: int
    seconds: int
    failure: Failure | None
    failing_for: int
    placed: str | None
    flips: bool
    stuck: bool = False
    fate: Fate = Fate()


class World:
    """The fleet of a seed. ``quiet``: nothing goes wrong by chance."""

    quiet = False

    def __init__(self, accounts: int, seed: int) -> None:
        self.size, self.seed = accounts, seed
        # Cached per world: callers request a page of accounts and its connections repeatedly.
        self.connections = lru_cache(4096)(self._connections)

    def number(self, *parts: object) -> int:
        """Return a number that depends on the seed and the parts only."""
        text = ":".join(map(str, (self.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def account(self, account_id: int) -> Account | None:
        """Return the account if the seed made it; None otherwise."""
        position = account_id - FIRST_ACCOUNT
        if not 0 <= position < self.size:
            return None
        return Account(
            account_id,
            self._name(position),
            f"cust-{position + 1:05d}",
            position,
            first_name=GIVEN_NAMES[self.number("given", position) % len(GIVEN_NAMES)],
            email=f"owner{position + 1}@example.com",
            country=COUNTRIES[self.number("country", position) % len(COUNTRIES)],
        )

    def accounts(self, start: int, count: int) -> Iterator[Account]:
        """Yield ``count`` accounts from position ``start``."""
        for position in range(start, min(start + count, self.size)):
            account = self.account(FIRST_ACCOUNT + position)
            assert account is not None
            yield account

    def by_external_id(self, external_id: str) -> Account | None:
        """Return the account with this external id, which contains its number."""
        digits = external_id.removeprefix("cust-")
        account = (
            self.account(FIRST_ACCOUNT + int(digits) - 1)
            if digits.isascii() and digits.isdigit()
            else None
        )
        return account if account is not None and account.external_id == external_id else None

    def connection(self, connection_id: int) -> Connection | None:
        """Return the connection if the seed made it; None otherwise."""
        account_id, position = divmod(connection_id, 100)
        if self.account(account_id) is None or position < 1:
            return None
        return next(
            (each for each in self.connections(account_id) if each.id == connection_id), None
        )

    def is_readable(self, account_id: int) -> bool:
        """Return whether the account's own token is accepted."""
        return True

    def _name(self, position: int) -> str:
        if position % 23 == 5:
            return ODD_NAMES[(position // 23) % len(ODD_NAMES)]
        first, second = (
            FIRST_WORDS[position % len(FIRST_WORDS)],
            SECOND_WORDS[self.number("second", position) % len(SECOND_WORDS)],
        )
        return f"{first} {second} {LEGAL_FORMS[self.number('legal', position) % len(LEGAL_FORMS)]}"

    def _connections(self, account_id: int) -> tuple[Connection, ...]:
        return tuple(
            self.source(account_id, position) for position in range(1, self.count(account_id) + 1)
        )

    def count(self, account_id: int) -> int:
        """Return the number of the account's seeded connections: 2 to 5, 3.5 on average."""
        return 2 + self.number("count", account_id) % 4

    def source(self, account_id: int, position: int) -> Connection:
        """Return connection ``position`` (1 to 5) of an account, even beyond its ``count``."""

        def chance(what: str, out_of: int) -> int:
            return self.number(what, account_id, position) % out_of

        connector = self.connector(account_id, position)
        interval = INTERVALS[chance("interval", len(INTERVALS))]
        spot = (account_id - FIRST_ACCOUNT) % 200
        placed = PLACED.get(spot) if position == 1 else None
        stuck = position == 1 and spot == STUCK_AT
        failure = _drawn_failure(connector, chance("failure", 100))
        flips = failure is None and placed is None and not stuck and chance("flips", 60) == 0
        if flips:
            interval = FLIPPING_INTERVAL
        return Connection(
            id=account_id * 100 + position,
            account_id=account_id,
            name=f"{connector.title} {CONNECTION_PURPOSES[position - 1]}",
            connector=connector,
            interval=interval,
            scheduler_off=chance("scheduler", 40) == 0 and not (flips or stuck),
            phase=chance("phase", interval),
            seconds=15 + chance("seconds", 200),
            failure=None if placed or stuck else failure,
            failing_for=3600 + chance("since", 9 * 86400),
            placed=placed,
            flips=flips,
            stuck=stuck,
            fate=Fate(data_fault=FAULTY_DATA.get(spot, "") if position == 1 else ""),
        )

    def connector(self, account_id: int, position: int) -> Connector:
        """Return the connector of connection ``position`` of an account."""
        draw = self.number("connector", account_id, position) % sum(
            each.weight for each in CONNECTORS
        )
        for each in CONNECTORS:
            if draw < each.weight:
                return each
            draw -= each.weight
        raise AssertionError("weights add up")


def _drawn_failure(connector: Connector, draw: int) -> Failure | None:
    """Return the failure of a draw from 0 to 99; None: the connection does not fail."""
    for failure, percent in connector.failures:
        if draw < percent:
            return failure
        draw -= percent
    return None
