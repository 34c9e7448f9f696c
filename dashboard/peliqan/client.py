"""``Peliqan``: the partner's calls, and the way to one customer's."""

from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from typing import Any, Self
from urllib.parse import urlsplit

from requests.adapters import BaseAdapter

from dashboard.peliqan import errors
from dashboard.peliqan.account import AccountApi, MissingRoutes
from dashboard.peliqan.circuit_breaker import CircuitBreaker
from dashboard.peliqan.interfaces import TokenStore
from dashboard.peliqan.models import Account, AccountPage, Token
from dashboard.peliqan.observers import ApiCallObserver
from dashboard.peliqan.rate_limit import RateLimiter
from dashboard.peliqan.responses import parse
from dashboard.peliqan.routes import Route, Routes
from dashboard.peliqan.transport import Call, Transport

MOST_PAGES = 10_000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Peliqan:
    """The API as the partner sees it. Safe to use from many threads."""

    def __init__(
        self,
        base_url: str,
        partner_token: str,
        *,
        tokens: TokenStore,
        routes: Routes | None = None,
        read_timeout: float = 15.0,
        concurrency: int = 8,
        pace: RateLimiter | None = None,
        breaker: CircuitBreaker | None = None,
        retries: int = 3,
        backoff: float = 0.3,
        adapter: BaseAdapter | None = None,
        watch: ApiCallObserver | None = None,
    ) -> None:
        """Times in seconds; ``concurrency`` is how many calls may be out at once; ``adapter`` replaces the network."""
        self._partner_token = partner_token
        # Whether it is the stand-in, or something else on this machine.
        self.is_here = urlsplit(base_url).hostname in LOOPBACK
        self.tokens = tokens
        self.routes = routes or Routes()
        self.missing_routes = MissingRoutes()
        self.transport = Transport(
            base_url,
            read_timeout=read_timeout,
            concurrency=concurrency,
            pace=pace,
            breaker=breaker,
            retries=retries,
            backoff=backoff,
            adapter=adapter,
            watch=watch,
        )
        self.transport.partner_probe = Call(
            self.routes["sub_accounts"], partner_token, query={"page": 1, "per_page": 1}
        )

    @property
    def breaker(self) -> CircuitBreaker:
        """Whether Peliqan answers at all."""
        return self.transport.breaker

    def answers_again(self) -> bool:
        """Whether Peliqan answers, asked by one cheap read also where it is known not to."""
        with suppress(errors.PeliqanError):
            self._send("sub_accounts", query={"page": 1, "per_page": 1}, anyway=True)
        return self.breaker.outage is None

    def check(self) -> bool:
        """Send one cheap read now and return whether Peliqan answers; if it does not, the breaker opens."""
        return self.transport.check()

    def ensure(self, name: str) -> None:
        """Return if Peliqan answers, as far as is known: before something is begun that this route is for.

        Raises:
            errors.Away: it would not be sent.
        """
        self.transport.ensure(self.routes[name])

    def with_tokens(self, tokens: TokenStore) -> Self:
        """The same, over the same connections, with customers' tokens kept elsewhere."""
        twin = copy(self)
        twin.tokens = tokens
        return twin

    def accounts(self, per_page: int = 100) -> Iterator[Account]:
        """Every sub-account, over all pages; raises as ``account_pages`` does."""
        for page in self.account_pages(per_page):
            yield from page

    def account_pages(self, per_page: int = 100) -> Iterator[list[Account]]:
        """Every sub-account, page by page; one that comes twice is given once.

        Raises:
            errors.BrokenAnswer: the pages repeat themselves without end.
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
        """One page: ``{"data", "next"}``, ``{"results", "next"}`` (both seen), or a bare list, which is all there is (D)."""
        data = self._send("sub_accounts", query={"page": page, "per_page": per_page})
        return parse(AccountPage, listing(data, "accounts"), self.routes["sub_accounts"])

    def account(self, external_id: str) -> Account:
        """The sub-account with the partner's own id: by its own route (S), or else from the list of sub-accounts."""

        def by_its_id() -> Account:
            return parse(
                Account,
                self._send("sub_account", query={"external_id": external_id}),
                self.routes["sub_account"],
            )

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

        return self.missing_routes.read("sub_account", by_its_id, listed)

    def account_by_id(self, account_id: int) -> Account:
        """The sub-account with Peliqan's id (S)."""
        return parse(
            Account,
            self._send("sub_account", query={"account_id": account_id}),
            self.routes["sub_account"],
        )

    def integration_token(self, external_id: str, **person: str) -> Token:
        """A token for the embedded widget, good for 30 minutes (D). Provisions an account that does not exist yet.

        ``person``: first_name, last_name, email, company_name.
        """
        return parse(
            Token,
            self._send("integrate", body={"external_id": external_id, **person}),
            self.routes["integrate"],
        )

    def for_account(self, account_id: int) -> AccountApi:
        """One customer's calls. Costs nothing; its token is fetched with the first call."""
        return AccountApi(
            account_id,
            self.transport,
            self.routes,
            self.tokens,
            self._identity,
            self.missing_routes,
        )

    def _identity(self, account_id: int) -> str:
        """A customer's long-lived token (D S): treat it like a password."""
        return parse(
            Token, self._send("identity", query={"account_id": account_id}), self.routes["identity"]
        ).token

    def _send(self, name: str, **request: Any) -> Any:
        route: Route = self.routes[name]
        return self.transport.send(route, self._partner_token, **request)


def listing(data: Any, name: str) -> Any:
    """A list answer in any of its shapes as ``{name: items, "more": bool}``; anything else is left for parsing to refuse."""
    if isinstance(data, list):
        return {name: data, "more": False}
    if isinstance(data, dict):
        items = data["data"] if "data" in data else data.get("results")
        return {name: items, "more": bool(data.get("next"))}
    return data
