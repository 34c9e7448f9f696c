"""Latency, errors and named faults, switchable while the sandbox runs."""

import json
import random
import socket
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from flask import Response, jsonify, request

# "truncated" and the kinds after it change a response after the route has done its work:
# a sync that a route started goes on.
KINDS = (
    "truncated", "html", "wrong_type", "empty", "close", "redirect", "bare_list", "extra_fields",
    "oversized",
)  # fmt: skip
OVERSIZED = 17 * 1024 * 1024
# The number of calls whose times are kept: enough to check a refresh against a rate limit.
REMEMBERED = 100_000


@dataclass
class Fault:
    """A fault of one route; of all routes where ``route`` is ``*``.

    ``times``: how many calls it affects; None: all until it is cleared. ``match``: a part of the
    path. ``delay_ms``: in milliseconds.
    """

    route: str
    match: str = ""
    status: int | None = None
    kind: str | None = None
    delay_ms: float = 0
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int | None = None
    id: int = 0

    @property
    def answers(self) -> bool:
        """Whether the fault is the response itself, so that the route does not run."""
        return self.kind is None and (self.status is not None or self.body is not None)


class Faults:
    """The switches for faults, and counters of calls."""

    def __init__(self, latency_ms: float, error_rate: float, seed: int) -> None:
        self.latency_ms, self.error_rate = latency_ms, error_rate
        self._first = (latency_ms, error_rate, seed)
        self._chance = random.Random(seed)
        self.active: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self._arrived: deque[float] = deque(maxlen=REMEMBERED)
        self._lock = Lock()
        self._last_id = 0

    def add(self, fault: Fault) -> int:
        """Switch a fault on and return its id."""
        with self._lock:
            self._last_id += 1
            fault.id = self._last_id
            self.active.append(fault)
            return fault.id

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self.active.clear()

    def forget(self) -> None:
        """Reset to the start: no faults, no counted calls, the first latency and error rate."""
        self.clear()
        self.calls.clear()
        self._arrived.clear()
        self.latency_ms, self.error_rate, seed = self._first
        self._chance = random.Random(seed)

    def busiest_second(self) -> int:
        """Return the most calls that arrived within any one second."""
        with self._lock:
            times = list(self._arrived)
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def before(self, route: str, path: str) -> tuple[Response | None, Fault | None]:
        """Count the call and apply the delay.

        Return a response that replaces the route's, or a fault to apply to the route's response.
        """
        with self._lock:
            self.calls[route] += 1
            self._arrived.append(time.monotonic())
            fault = next(
                (each for each in self.active if each.route in {route, "*"} and each.match in path),
                None,
            )
            if fault is not None and fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.active.remove(fault)
            unlucky = self._chance.random() < self.error_rate
        wait = self.latency_ms + (fault.delay_ms if fault else 0)
        if wait:
            time.sleep(wait / 1000)
        if fault is not None and fault.answers:
            return _replacement(fault), None
        if unlucky:
            detail = {"error": "ERROR_INTERNAL", "detail": "An error by chance."}
            return _json(detail, 500), None
        return None, fault

    @staticmethod
    def after(fault: Fault, response: Response) -> Response:
        """Return the response with the fault applied."""
        made = _spoiled(fault.kind, response) if fault.kind else response
        if fault.status:
            made.status_code = fault.status
        made.headers.update(fault.headers)
        return made


def _replacement(fault: Fault) -> Response:
    status = fault.status or 200
    content = (
        {"error": f"ERROR_{status}", "detail": "A fault was switched on."}
        if fault.body is None
        else fault.body
    )
    response = _json(content, status)
    response.headers.update(fault.headers)
    return response


def _json(content: Any, status: int) -> Response:
    response = jsonify(content)
    response.status_code = status
    return response


def _spoiled(kind: str, response: Response) -> Response:
    content = response.get_data()
    if kind == "truncated":
        return Response(content[: len(content) // 2], content_type="application/json")
    if kind == "html":
        return Response(
            "<!doctype html><title>Gateway</title><h1>It works!</h1>", content_type="text/html"
        )
    if kind == "empty":
        return Response(b"", content_type="application/json")
    if kind == "wrong_type":
        return jsonify({"id": {"not": "an id"}, "data": 7, "results": 7, "running": "perhaps"})
    if kind == "close":
        return _hung_up()
    if kind == "redirect":
        return Response(b"", status=302, headers={"Location": "http://127.0.0.2/elsewhere"})
    if kind == "oversized":
        return Response(b"[" + b" " * OVERSIZED + b"]", content_type="application/json")
    data = json.loads(content)
    if kind == "bare_list":
        return jsonify(
            data.get("data", data.get("results", data)) if isinstance(data, dict) else data
        )
    return jsonify(_with_extras(data))


def _hung_up() -> Response:
    """Close the connection without a response; a test client without a socket gets a 502."""
    found = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if found is not None:
        found.shutdown(socket.SHUT_RDWR)
    return Response(b"", status=502)


def _with_extras(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            **{key: _with_extras(each) for key, each in value.items()},
            "x_new_field": {"nobody": ["knows", 1]},
        }
    return [_with_extras(each) for each in value] if isinstance(value, list) else value
