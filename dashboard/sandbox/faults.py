"""Latency, errors and named faults, switchable while the sandbox runs: how tests and people make it misbehave."""

import json
import random
import socket
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from flask import Response, jsonify, request

# "truncated" and the kinds after it spoil an answer whose work was done: a sync behind it has started.
KINDS = (
    "truncated", "html", "wrong_type", "empty", "close", "redirect", "bare_list", "extra_fields", "oversized",
)  # fmt: skip
OVERSIZED = 17 * 1024 * 1024
# Of so many calls the times are known: enough for a pass at a limit.
REMEMBERED = 100_000


@dataclass
class Fault:
    """What goes wrong at one route (``*``: at all). ``times`` None: until it is cleared. ``match``: part of the path."""

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
        """Whether it answers itself, so that the route's work is never done."""
        return self.kind is None and (self.status is not None or self.body is not None)


class Faults:
    """The knobs, and a count of what was called."""

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
        """Switch a fault on; its id."""
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
        """As at the start: no faults, no calls counted, the first knobs."""
        self.clear()
        self.calls.clear()
        self._arrived.clear()
        self.latency_ms, self.error_rate, seed = self._first
        self._chance = random.Random(seed)

    def busiest_second(self) -> int:
        """The most calls that arrived within any one second."""
        with self._lock:
            times = list(self._arrived)
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def before(self, route: str, path: str) -> tuple[Response | None, Fault | None]:
        """Count the call and wait; an answer if it fails outright, and the fault to apply to the answer if not."""
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
            return _own_answer(fault), None
        if unlucky:
            return _answer({"error": "ERROR_INTERNAL", "detail": "An error by chance."}, 500), None
        return None, fault

    @staticmethod
    def after(fault: Fault, response: Response) -> Response:
        """The answer as the fault spoils it."""
        made = _spoiled(fault.kind, response) if fault.kind else response
        if fault.status:
            made.status_code = fault.status
        made.headers.update(fault.headers)
        return made


def _own_answer(fault: Fault) -> Response:
    status = fault.status or 200
    told = (
        {"error": f"ERROR_{status}", "detail": "A fault was switched on."}
        if fault.body is None
        else fault.body
    )
    response = _answer(told, status)
    response.headers.update(fault.headers)
    return response


def _answer(told: Any, status: int) -> Response:
    response = jsonify(told)
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
    told = json.loads(content)
    if kind == "bare_list":
        return jsonify(
            told.get("data", told.get("results", told)) if isinstance(told, dict) else told
        )
    return jsonify(_with_extras(told))


def _hung_up() -> Response:
    """Close the connection before the answer; where there is none (a test client), a bare 502."""
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
