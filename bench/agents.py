"""What an agent does in the console, for Locust: opens lists, searches, looks at a customer, a connection, a table, a cause.

Runs in Locust's own virtual environment. Takes from the environment who is signed in (``COOKIE``) and how many accounts there
are (``ACCOUNTS``), whose ids begin at 1001 and whose connections' at their account's id times a hundred.
"""

import os
import random

from locust import FastHttpUser, between, task

ACCOUNTS = int(os.environ["ACCOUNTS"])
COOKIE = {"Cookie": os.environ["COOKIE"]}
# A page that asks Peliqan may say that it does not answer: that is an answer, too.
SAID = {200, 502, 503, 504}


class Agent(FastHttpUser):
    """Clicks every one to three seconds, as somebody does who reads."""

    wait_time = between(1, 3)

    def _open(self, path: str, name: str, *, live: bool = False) -> None:
        with self.client.get(
            path, name=name, headers=COOKIE, allow_redirects=False, catch_response=True
        ) as answer:
            if answer.status_code in (SAID if live else {200}):
                answer.success()
            else:
                answer.failure(f"{answer.status_code}")

    def _account(self) -> int:
        return 1001 + random.randrange(ACCOUNTS)

    @task(4)
    def overview(self) -> None:
        """Where everybody begins."""
        self._open("/", "overview")

    @task(4)
    def connections(self) -> None:
        """The list, by severity or by a word."""
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
        """The other list."""
        self._open(f"/accounts?page={random.randrange(1, 50)}", "accounts")

    @task(3)
    def account(self) -> None:
        """One customer, and the part of the page that asks Peliqan."""
        id_ = self._account()
        self._open(f"/accounts/{id_}", "account")
        self._open(f"/accounts/{id_}/databases", "account: databases", live=True)

    @task(4)
    def connection(self) -> None:
        """One connection, as it was last seen."""
        id_ = self._account()
        self._open(
            f"/accounts/{id_}/connections/{id_ * 100 + random.randrange(1, 3):d}",
            "connection",
            live=True,
        )

    @task(2)
    def causes(self) -> None:
        """What lies behind it."""
        self._open("/causes", "causes")

    @task(1)
    def table(self) -> None:
        """A page of rows."""
        self._open("/accounts/1001/tables/10011902?fill=1&per_page=50", "table", live=True)
