"""``Peliqan``: the partner's calls, and access to one customer's calls."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, Self
from urllib.parse import urlsplit

from dashboard.peliqan import errors
from dashboard.peliqan.account import AccountApi, MissingRoutes
from dashboard.peliqan.circuit_breaker import CircuitBreaker
from dashboard.peliqan.interfaces import TokenStore
from dashboard.peliqan.models import Account, AccountPage, Token
from dashboard.peliqan.responses import parse
from dashboard.peliqan.routes import Routes
from dashboard.peliqan.transport import Call, ClientOptions, Transport

MOST_PAGES = 10_000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Peliqan:
    """The API for the partner. Thread-safe."""

    def __init__(
        self,
        base_url: str,
        partner_token: str,
        *,
        tokens: TokenStore,
        routes: Routes | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        self._partner_token = partner_token
        # The server is on this machine, as the sandbox is.
        self.is_local = urlsplit(base_url).hostname in LOOPBACK
        self.tokens = tokens
        self.routes = routes or Routes()
        self.missing_routes = MissingRoutes()
        self.transport = Transport(base_url, options)
        self.transport.partner_probe = Call(
            self.routes["sub_accounts"], partner_token, query={"page": 1, "per_page": 1}
        )

    @property
    def breaker(self) -> CircuitBreaker:
        """The circuit breaker, which knows whether Peliqan answers at all."""
        return self.transport.breaker

    def answers_again(self) -> bool:
        """Send one cheap read, also during an outage, and return whether Peliqan answers."""
        with suppress(errors.PeliqanError):
            self._send("sub_accounts", {"page": 1, "per_page": 1}, force=True)
        return self.breaker.outage is None

    def check(self) -> bool:
        """Send a probe and return whether Peliqan answers; if it does not, the breaker opens."""
        return self.transport.check()

    def ensure(self, name: str) -> None:
        """Check that no outage is known, before work that ends with a request of this route.

        Raises:
            errors.ApiUnavailable: the request would not be sent.
        """
        self.transport.ensure(self.routes[name])

    def with_tokens(self, tokens: TokenStore) -> Self:
        """Return a client with another token store that shares the connections of this one."""
        other = copy(self)
        other.tokens = tokens
        return other

    def accounts(self, per_page: int = 100) -> Iterator[Account]:
        """Yield every sub-account of all pages. Raises as ``account_pages`` does."""
        for page in self.account_pages(per_page):
            yield from page

    def account_pages(self, per_page: int = 100) -> Iterator[list[Account]]:
        """Yield the sub-accounts page by page, each id once.

        Raises:
            errors.BrokenAnswer: the pages repeat without end.
        """
        seen: set[int] = set()
        for number in range(1, MOST_PAGES + 1):
            page = self.account_page(number, per_page)
            new = {account.id: account for account in page.accounts if account.id not in seen}
            seen |= new.keys()
            yield list(new.values())
            if not page.more:
                return
            if not new:
                break
        raise errors.BrokenAnswer("sub_accounts", note="its pages repeat themselves")

    def account_page(self, page: int = 1, per_page: int = 100) -> AccountPage:
        """Return one page of sub-accounts.

        Accepts ``{"data", "next"}``, ``{"results", "next"}`` (both seen), and a bare list, which
        is complete (D).
        """
        data = self._send("sub_accounts", {"page": page, "per_page": per_page})
        return parse(AccountPage, listing(data, "accounts"), self.routes["sub_accounts"])

    def account(self, external_id: str) -> Account:
        """Return the sub-account with the partner's own id: by its route (S), or from the list."""

        def by_id() -> Account:
            data = self._send("sub_account", {"external_id": external_id})
            return parse(Account, data, self.routes["sub_account"])

        def listed() -> Account:
            found = next(
                (each for each in self.accounts() if each.external_id == external_id), None
            )
            if found is None:
                raise errors.NotFound(
                    "sub_accounts",
                    status=404,
                    note="no sub-account in the list has this external id",
                )
            return found

        return self.missing_routes.read("sub_account", by_id, listed)

    def account_by_id(self, account_id: int) -> Account:
        """Return the sub-account with Peliqan's id (S)."""
        data = self._send("sub_account", {"account_id": account_id})
        return parse(Account, data, self.routes["sub_account"])

    def integration_token(self, external_id: str, **person: str) -> Token:
        """Return a token for the embedded widget, valid for 30 minutes (D).

        Creates the account if it does not exist. ``person``: first_name, last_name, email,
        company_name.
        """
        route = self.routes["integrate"]
        call = Call(route, self._partner_token, body={"external_id": external_id, **person})
        return parse(Token, self.transport.send(call), route)

    def for_account(self, account_id: int) -> AccountApi:
        """Return the calls of one customer. Sends nothing; the first call fetches the token."""
        return AccountApi(
            account_id,
            self.transport,
            self.routes,
            self.tokens,
            self._identity,
            self.missing_routes,
        )

    def _identity(self, account_id: int) -> str:
        """Return a customer's long-lived token (D S): a secret like a password."""
        data = self._send("identity", {"account_id": account_id})
        return parse(Token, data, self.routes["identity"]).token

    def _send(self, name: str, query: Mapping[str, Any], *, force: bool = False) -> Any:
        call = Call(self.routes[name], self._partner_token, query=query)
        return self.transport.send(call, force=force)


def listing(data: Any, name: str) -> Any:
    """Return a list answer of any shape as ``{name: items, "more": bool}``.

    Returns anything else unchanged, so that parsing refuses it.
    """
    if isinstance(data, list):
        return {name: data, "more": False}
    if isinstance(data, dict):
        items = data["data"] if "data" in data else data.get("results")
        return {name: items, "more": bool(data.get("next"))}
    return data
