"""Who and what there is: the accounts and connections that the seed made, and those that were added since the start."""

from datetime import datetime
from threading import RLock

from dashboard.sandbox.seed import FIRST_ACCOUNT, Account, Connection, World


class Fleet:
    """A world and what was added to it, behind one lock; ``new_connections`` with the time that each was made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lock = RLock()
        self.new_accounts: dict[int, Account] = {}
        self.new_connections: dict[int, tuple[Connection, datetime]] = {}

    def account(self, account_id: int) -> Account | None:
        """An account, computed or provisioned."""
        return self.world.account(account_id) or self.new_accounts.get(account_id)

    def by_external_id(self, external_id: str) -> Account | None:
        """The same by the partner's id."""
        found = self.world.by_external_id(external_id)
        return found or next(
            (each for each in list(self.new_accounts.values()) if each.external_id == external_id),
            None,
        )

    def accounts(self, start: int, count: int) -> list[Account]:
        """``count`` accounts from position ``start``, provisioned ones last."""
        page = list(self.world.accounts(start, count))
        beyond = max(0, start - self.world.size)
        return page + list(self.new_accounts.values())[beyond : beyond + count - len(page)]

    def count_accounts(self) -> int:
        """How many there are."""
        return self.world.size + len(self.new_accounts)

    def provision(self, external_id: str, name: str, **person: str) -> Account:
        """The account with this external id, made if there is none."""
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
        """An account's connections, computed and added."""
        computed = (
            list(self.world.connections(account_id)) if self.world.account(account_id) else []
        )
        added = [
            each for each, _ in list(self.new_connections.values()) if each.account_id == account_id
        ]
        return computed + added

    def connection(self, connection_id: int) -> Connection | None:
        """One connection."""
        added = self.new_connections.get(connection_id)
        return added[0] if added else self.world.connection(connection_id)
