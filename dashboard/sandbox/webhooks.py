"""Events that are posted to one address, as Peliqan's webhooks are (H): what somebody did here since the start, as it happens.

One thread looks a few times a second for what is new, another posts it in that order. Both begin in the process that serves,
since threads do not outlive the fork of a server. Nothing is sent of scheduled runs: there would be thousands.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from dashboard.sandbox.runs import Run
from dashboard.sandbox.seed import Connection
from dashboard.sandbox.simulation import Life

SIGNATURE = "X-Peliqan-Signature"
LOOK_EVERY = 0.2
ANSWER_WITHIN = 5.0
WAITS = (1.0, 2.0, 4.0)
MOST_WAITING = 1000
ADDED, STARTED, OF_RUNS = "connection_added", "pipeline_run_started", "pipeline_run_"


@dataclass(frozen=True, eq=False)
class Target:
    """Where events go, signed with the secret if there is one. What waits for one target is never sent to another."""

    url: str
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        where = urlsplit(self.url)
        if where.scheme not in {"http", "https"} or not where.hostname:
            raise ValueError("The address of webhooks begins with http:// or https://.")


def target_at(url: str, secret: str) -> Target | None:
    """None where there is no address.

    Raises:
        ValueError: it is not one that can be posted to.
    """
    return Target(url, secret) if url else None


def sign(secret: str, body: bytes) -> str:
    """HMAC-SHA256 over the raw body (H), as hexadecimal digits (A)."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def payload(
    connection: Connection, event: str, at: datetime, status: str, run_id: int | None = None
) -> dict[str, Any]:
    """What is posted of an event (A); an event of a connection has no run."""
    return {
        "event": event,
        "event_id": str(uuid4()),
        "timestamp": at.isoformat(),
        "account_id": connection.account_id,
        "connection_id" if connection.fate.other_names else "server_id": connection.id,
        "pipeline_run_id": run_id,
        "status": status,
    }


class Webhooks:
    """Finds events and posts them. ``waits``: the seconds before each further try of a post that failed."""

    def __init__(self, life: Life, url: str = "", secret: str = "") -> None:
        self.life, self.waits = life, WAITS
        self._first = (url, secret)
        self._target = target_at(url, secret)
        self._queue: Queue[tuple[Target, dict[str, Any]]] = Queue(MOST_WAITING)
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._stopped = Event()
        self.sent = self.failed = 0
        # What events were found of, behind life's lock: runs by connection id, connections, and the runs that have not ended.
        self._runs: dict[int, int] = {}
        self._connections = 0
        self._under_way: list[Run] = []

    def configure(self, url: str, secret: str) -> None:
        """Send what happens from now on to another address; an empty one ends it.

        Raises:
            ValueError: it is not one that can be posted to.
        """
        target = target_at(url, secret)
        with self.life.lock:
            self._find()
            self._target = target
        self.start()

    def forget(self) -> None:
        """As at the start, once life has forgotten too: the first address, nothing found or counted; what waits is not sent."""
        with self.life.lock, self._lock:
            self._target = target_at(*self._first)
            self.sent = self.failed = self._connections = 0
            self._runs.clear()
            self._under_way.clear()

    def start(self) -> None:
        """Begin, where there is an address and nothing has begun in this process."""
        if self._target is None or any(thread.is_alive() for thread in self._threads):
            return
        with self._lock:
            if not any(thread.is_alive() for thread in self._threads):
                self._stopped.clear()
                self._threads = [
                    Thread(target=each, daemon=True) for each in (self._look_on, self._post_on)
                ]
                for thread in self._threads:
                    thread.start()

    def close(self) -> None:
        """End both threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def look(self) -> None:
        """Queue the events of what is new since the last look; where too many wait already, they count as failed."""
        with self.life.lock:
            found, target = self._find(), self._target
            if target is None:
                return
            for each in found:
                try:
                    self._queue.put_nowait((target, each))
                except Full:
                    self._count(well=False)

    def _find(self) -> list[dict[str, Any]]:
        """The events since the last time, in their order. Called with life's lock."""
        life, at = self.life, self.life.clock()
        added = list(life.new_connections.values())
        found = [
            payload(each, ADDED, made_at, life.status(each))
            for each, made_at in added[self._connections :]
        ]
        self._connections = len(added)
        for connection_id, touched in life.touched.items():
            begun = touched.runs[self._runs.get(connection_id, 0) :]
            self._runs[connection_id] = len(touched.runs)
            self._under_way += begun
            found += [self._of_run(run, STARTED, run.started_at, "RUNNING") for run in begun]
        for run in [each for each in self._under_way if not each.is_running(at)]:
            self._under_way.remove(run)
            found.append(
                self._of_run(run, OF_RUNS + run.outcome.lower(), run.ends_at or at, run.outcome)
            )
        return sorted(found, key=lambda each: datetime.fromisoformat(each["timestamp"]))

    def _of_run(self, run: Run, event: str, at: datetime, status: str) -> dict[str, Any]:
        connection = self.life.connection(run.connection_id)
        assert connection is not None
        return payload(connection, event, at, status, run.id)

    def send(
        self, event: dict[str, Any], *, times: int = 1, bad_signature: bool = False
    ) -> list[int | None]:
        """Post one event now, as often as asked, and once each: the HTTP statuses, None where no answer came.

        Raises:
            LookupError: there is no address.
        """
        target = self._target
        if target is None:
            raise LookupError
        body = json.dumps(event).encode()
        signature = (
            sign(f"not {target.secret}", body) if bad_signature else _signature(target, body)
        )
        statuses = [_post(target, body, signature) for _ in range(times)]
        for status in statuses:
            self._count(_is_well(status))
        return statuses

    def _look_on(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            self.look()

    def _post_on(self) -> None:
        while not self._stopped.is_set():
            try:
                target, event = self._queue.get(timeout=LOOK_EVERY)
            except Empty:
                continue
            self._deliver(target, json.dumps(event).encode())

    def _deliver(self, target: Target, body: bytes) -> None:
        for wait in (0, *self.waits):
            if self._stopped.wait(wait) or target is not self._target:
                return
            if _is_well(_post(target, body, _signature(target, body))):
                self._count(well=True)
                return
        self._count(well=False)

    def _count(self, well: bool) -> None:
        with self._lock:
            self.sent += well
            self.failed += not well


def _is_well(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _signature(target: Target, body: bytes) -> str | None:
    return sign(target.secret, body) if target.secret else None


def _post(target: Target, body: bytes, signature: str | None) -> int | None:
    headers = {"Content-Type": "application/json", **({SIGNATURE: signature} if signature else {})}
    with requests.Session() as session:
        # No proxy, and no password from the environment.
        session.trust_env = False
        try:
            answer = session.post(
                target.url,
                data=body,
                headers=headers,
                timeout=ANSWER_WITHIN,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException:
            return None
        return answer.status_code
