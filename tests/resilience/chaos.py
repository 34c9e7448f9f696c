"""Users who press buttons, and a killer of the processes behind them at random moments."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread

import requests
from bs4 import BeautifulSoup

from dashboard.fleet.models import ConnectionKey
from tests.support.databases import Server, free_port, wait_for
from tests.support.people import PASSWORD
from tests.support.processes import answering


class Killable:
    """A process of the console with its children: one group, killed together."""

    def __init__(
        self, environ: Mapping[str, str], *command: str, is_up: Callable[[], bool] = lambda: True
    ) -> None:
        self._words, self._environ, self._is_up = (
            [sys.executable, "-m", "dashboard", *command],
            dict(environ),
            is_up,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process = subprocess.Popen(
            self._words,
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._is_up, f"{self._words[3]} is up")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)


class KillableServer:
    """PostgreSQL or Redis of the tests, with the same methods."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def start(self) -> None:
        """Start it again with its data."""
        self._server.start()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._server.process is not None
        self._server.process.kill()
        self._server.process.wait(60)


@dataclass
class Presser:
    """A user who starts syncs one after another and records the responses."""

    url: str
    connections: Sequence[ConnectionKey]
    chance: random.Random
    over: Event
    responses: Counter[str] = field(default_factory=Counter)
    # Requests with a response: their action is stored by then.
    accepted: list[ConnectionKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Once and before any kill, since sign-ins are limited.
        self._session = requests.Session()
        self._token = self._sign_in()

    def run(self) -> None:
        """Start syncs until the end of the test."""
        while not self.over.wait(self.chance.uniform(0.02, 0.1)):
            try:
                self._press()
            except requests.RequestException as error:
                # The web process was killed: the request's outcome is unknown.
                self.responses[type(error).__name__] += 1

    def _sign_in(self) -> str:
        form = {
            "email": "olga@example.com",
            "password": PASSWORD,
            "csrf_token": self._csrf("/login"),
        }
        response = self._session.post(
            f"{self.url}/login", data=form, timeout=20, allow_redirects=False
        )
        assert response.status_code == 302, response.text[:500]
        return self._csrf("/me")

    def _csrf(self, path: str) -> str:
        found = BeautifulSoup(
            self._session.get(self.url + path, timeout=20).text, "html.parser"
        ).select_one("input[name=csrf_token]")
        assert found is not None
        return str(found["value"])

    def _press(self) -> None:
        connection = self.chance.choice(self.connections)
        path = f"/accounts/{connection[0]}/connections/{connection[1]}/sync"
        response = self._session.post(
            self.url + path, data={"csrf_token": self._token}, timeout=30, allow_redirects=False
        )
        self.responses[str(response.status_code)] += 1
        if response.status_code in {302, 303} and "/login" not in response.headers["Location"]:
            self.accepted.append(connection)


def kill_at_random(
    victims: Mapping[str, Killable | KillableServer], times: int, chance: random.Random
) -> Counter[str]:
    """Kill and restart random processes; return the number of kills of each."""
    killed: Counter[str] = Counter()
    pause = Event()
    for _ in range(times):
        pause.wait(chance.uniform(0.1, 1.5))
        name = chance.choice(sorted(victims))
        victims[name].kill()
        victims[name].start()
        killed[name] += 1
    return killed


def services(environ: Mapping[str, str]) -> tuple[str, dict[str, Killable]]:
    """Start a web process and a worker; return the address and both by name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        return bool(answering(url, "/healthz"))

    made = {
        "web": Killable(environ, "serve", "--no-worker", f"--port={port}", is_up=answers),
        "worker": Killable(environ, "worker"),
    }
    for each in made.values():
        each.start()
    return url, made


def pressing(
    url: str, connections: Sequence[ConnectionKey], people: int, seed: int, over: Event
) -> tuple[list[Presser], list[Thread]]:
    """Run this many users, each with its own random numbers."""
    pressers = [Presser(url, connections, random.Random(seed + n), over) for n in range(people)]
    threads = [Thread(target=each.run, name="presser") for each in pressers]
    for thread in threads:
        thread.start()
    return pressers, threads
