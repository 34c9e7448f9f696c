"""The users of the load test, for Locust: they open lists, search, and read single objects.

Runs in Locust's own virtual environment. Environment variables: ``COOKIE`` is the session's
cookie; ``ACCOUNTS`` is the number of accounts. Account ids begin at 1001; a connection's id begins
with its account's id times 100.
"""

import os
import random

from locust import FastHttpUser, between, task

ACCOUNTS = int(os.environ["ACCOUNTS"])
COOKIE = {"Cookie": os.environ["COOKIE"]}
# A page that calls Peliqan may report that Peliqan does not respond: that is no error here.
LIVE_STATUSES = {200, 502, 503, 504}


class Agent(FastHttpUser):
    """A user who clicks every one to three seconds."""

    wait_time = between(1, 3)

    def _open(self, path: str, name: str, *, live: bool = False) -> None:
        with self.client.get(
            path, name=name, headers=COOKIE, allow_redirects=False, catch_response=True
        ) as response:
            if response.status_code in (LIVE_STATUSES if live else {200}):
                response.success()
            else:
                response.failure(f"{response.status_code}")

    def _account(self) -> int:
        return 1001 + random.randrange(ACCOUNTS)

    @task(4)
    def overview(self) -> None:
        """Open the overview."""
        self._open("/", "overview")

    @task(4)
    def connections(self) -> None:
        """Open the list of connections, filtered, searched or sorted."""
        word = random.choice(
            (
                "severity=error",
                "severity=attention",
                "q=harbour",
                "q=amber",
                "sort=-since",
                "page=7",
            )
        )
        self._open(f"/connections?{word}", "connections")

    @task(2)
    def accounts(self) -> None:
        """Open a page of the list of accounts."""
        self._open(f"/accounts?page={random.randrange(1, 50)}", "accounts")

    @task(3)
    def account(self) -> None:
        """Open one account, and the part of its page that calls Peliqan."""
        id_ = self._account()
        self._open(f"/accounts/{id_}", "account")
        self._open(f"/accounts/{id_}/databases", "account: databases", live=True)

    @task(4)
    def connection(self) -> None:
        """Open one connection."""
        id_ = self._account()
        self._open(
            f"/accounts/{id_}/connections/{id_ * 100 + random.randrange(1, 3):d}",
            "connection",
            live=True,
        )

    @task(2)
    def causes(self) -> None:
        """Open the list of causes."""
        self._open("/causes", "causes")

    @task(1)
    def table(self) -> None:
        """Open a page of rows."""
        self._open("/accounts/1001/tables/10011902?fill=1&per_page=50", "table", live=True)
