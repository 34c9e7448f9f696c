"""The accounts and connections of the seed, and those that were added since the start."""

from datetime import datetime
from threading import RLock

from dashboard.sandbox.seed import FIRST_ACCOUNT, Account, Connection, World


class Fleet:
    """A seeded world and the additions to it, behind one lock.

    ``new_connections``: the added connections by id, each with the time of its creation.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.lock = RLock()
        self.new_accounts: dict[int, Account] = {}
        self.new_connections: dict[int, tuple[Connection, datetime]] = {}

    def account(self, account_id: int) -> Account | None:
        """Return the account, computed or provisioned; None where it does not exist."""
        return self.world.account(account_id) or self.new_accounts.get(account_id)

    def by_external_id(self, external_id: str) -> Account | None:
        """Return the account with the partner's id; None where it does not exist."""
        found = self.world.by_external_id(external_id)
        return found or next(
            (each for each in list(self.new_accounts.values()) if each.external_id == external_id),
            None,
        )

    def accounts(self, start: int, count: int) -> list[Account]:
        """Return ``count`` accounts from position ``start``, provisioned ones last."""
        page = list(self.world.accounts(start, count))
        beyond = max(0, start - self.world.size)
        return page + list(self.new_accounts.values())[beyond : beyond + count - len(page)]

    def count_accounts(self) -> int:
        """Return the number of accounts."""
        return self.world.size + len(self.new_accounts)

    def provision(self, external_id: str, name: str, **person: str) -> Account:
        """Return the account with this external id; create it if it does not exist."""
        with self.lock:
            found = self.by_external_id(external_id)
            if found is None:
                position = self.count_accounts()
                found = Account(
                    FIRST_ACCOUNT + position, name or external_id, external_id, position, **person
                )
                self.new_accounts[found.id] = found
            return found

    def connections(self, account_id: int) -> list[Connection]:
        """Return an account's connections, computed and added."""
        computed = (
            list(self.world.connections(account_id)) if self.world.account(account_id) else []
        )
        added = [
            each for each, _ in list(self.new_connections.values()) if each.account_id == account_id
        ]
        return computed + added

    def connection(self, connection_id: int) -> Connection | None:
        """Return the connection; None where it does not exist."""
        added = self.new_connections.get(connection_id)
        return added[0] if added else self.world.connection(connection_id)
