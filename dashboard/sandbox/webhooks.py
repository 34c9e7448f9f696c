"""Sends an event to one address for each change, as Peliqan's webhooks do (H).

One thread finds new events five times a second, another sends them in that order. Both start in
the process that serves, since threads do not survive the fork of a server. Scheduled runs cause no
events: there would be thousands.
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
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 5.0
WAITS = (1.0, 2.0, 4.0)
MOST_WAITING = 1000
ADDED, STARTED, OF_RUNS = "connection_added", "pipeline_run_started", "pipeline_run_"


@dataclass(frozen=True, eq=False)
class Target:
    """The address for events, and the secret that signs them, if any.

    An event that waits for one target is never sent to another.
    """

    url: str
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        where = urlsplit(self.url)
        if where.scheme not in {"http", "https"} or not where.hostname:
            raise ValueError("The address of webhooks begins with http:// or https://.")


def target_at(url: str, secret: str) -> Target | None:
    """Return a target; None where the address is empty.

    Raises:
        ValueError: the address is not an HTTP address.
    """
    return Target(url, secret) if url else None


def sign(secret: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of the raw body (H), as hexadecimal digits (A)."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def payload(
    connection: Connection, event: str, at: datetime, status: str, run_id: int | None = None
) -> dict[str, Any]:
    """Return the body of an event (A); an event of a connection has no run."""
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
    """Finds events and sends them. ``waits``: seconds before each retry of a failed request."""

    def __init__(self, life: Life, url: str = "", secret: str = "") -> None:
        self.life, self.waits = life, WAITS
        self._first = (url, secret)
        self._target = target_at(url, secret)
        self._queue: Queue[tuple[Target, dict[str, Any]]] = Queue(MOST_WAITING)
        self._lock = Lock()
        self._threads: list[Thread] = []
        self._stopped = Event()
        self.sent = self.failed = 0
        # The events found so far, guarded by the lock of ``life``: the number of runs by
        # connection id, the number of connections, and the unfinished runs.
        self._runs: dict[int, int] = {}
        self._connections = 0
        self._under_way: list[Run] = []

    def configure(self, url: str, secret: str) -> None:
        """Send events from now on to another address; an empty one stops sending.

        Raises:
            ValueError: the address is not an HTTP address.
        """
        target = target_at(url, secret)
        with self.life.lock:
            self._find()
            self._target = target
        self.start()

    def forget(self) -> None:
        """Reset to the start: the first address, no events. Call after ``life.forget``.

        Waiting events are not sent.
        """
        with self.life.lock, self._lock:
            self._target = target_at(*self._first)
            self.sent = self.failed = self._connections = 0
            self._runs.clear()
            self._under_way.clear()

    def start(self) -> None:
        """Start the threads if there is an address and this process has not started them."""
        if self._target is None or any(thread.is_alive() for thread in self._threads):
            return
        with self._lock:
            if not any(thread.is_alive() for thread in self._threads):
                self._stopped.clear()
                self._threads = [
                    Thread(target=each, daemon=True) for each in (self._poll_loop, self._send_loop)
                ]
                for thread in self._threads:
                    thread.start()

    def close(self) -> None:
        """Stop both threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def poll(self) -> None:
        """Queue new events; events that a full queue rejects count as failed."""
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
        """Return the events since the last call, in order. The caller holds ``life.lock``."""
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
        """Send one event ``times`` times, without retries; return the HTTP statuses.

        None as a status: no response.

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

    def _poll_loop(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self.poll()

    def _send_loop(self) -> None:
        while not self._stopped.is_set():
            try:
                target, event = self._queue.get(timeout=POLL_SECONDS)
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
        # Without proxies and passwords from the environment.
        session.trust_env = False
        try:
            response = session.post(
                target.url,
                data=body,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException:
            return None
        return response.status_code
