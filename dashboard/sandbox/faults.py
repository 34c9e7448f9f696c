"""Latency, errors and named faults, switchable while the sandbox runs: how tests and people make it misbehave."""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from flask import Response, jsonify

KINDS = ("truncated", "html", "wrong_type", "empty", "bare_list", "extra_fields", "redirect", "oversized")
OVERSIZED = 17 * 1024 * 1024


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


class Faults:
    """The knobs, and a count of what was called."""

    def __init__(self, latency_ms: float, error_rate: float, seed: int) -> None:
        self.latency_ms, self.error_rate = latency_ms, error_rate
        self._chance = random.Random(seed)
        self.active: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self._lock = Lock()

    def before(self, route: str, path: str) -> tuple[Response | None, Fault | None]:
        """Count the call and wait; an answer if it fails outright, and the fault to apply to the answer if not."""
        with self._lock:
            self.calls[route] += 1
            fault = next((each for each in self.active if each.route in {route, "*"} and each.match in path), None)
            if fault is not None and fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.active.remove(fault)
            unlucky = self._chance.random() < self.error_rate
        wait = self.latency_ms + (fault.delay_ms if fault else 0)
        if wait:
            time.sleep(wait / 1000)
        if fault is not None and fault.status is not None and fault.kind is None:
            body = (
                fault.body if fault.body is not None else {"error": f"ERROR_{fault.status}", "detail": "A fault was switched on."}
            )
            response = jsonify(body)
            response.status_code = fault.status
            response.headers.update(fault.headers)
            return response, None
        if unlucky and route != "control":
            response = jsonify(error="ERROR_INTERNAL", detail="An error by chance.")
            response.status_code = 500
            return response, None
        return None, fault

    @staticmethod
    def after(fault: Fault, response: Response) -> Response:
        """The answer as the fault spoils it."""
        if fault.kind is None:
            return response
        content = response.get_data()
        made: Response
        if fault.kind == "truncated":
            made = Response(content[: len(content) // 2], content_type="application/json")
        elif fault.kind == "html":
            made = Response("<!doctype html><title>Gateway</title><h1>It works!</h1>", content_type="text/html")
        elif fault.kind == "empty":
            made = Response(b"", content_type="application/json")
        elif fault.kind == "wrong_type":
            made = jsonify({"id": {"not": "an id"}, "data": 7, "results": 7, "running": "perhaps"})
        elif fault.kind == "redirect":
            made = Response(b"", status=302, headers={"Location": "http://127.0.0.2/elsewhere"})
        elif fault.kind == "oversized":
            made = Response(b"[" + b" " * OVERSIZED + b"]", content_type="application/json")
        elif fault.kind == "bare_list":
            body = json.loads(content)
            made = jsonify(body.get("data", body.get("results", body)) if isinstance(body, dict) else body)
        else:
            made = jsonify(_with_extras(json.loads(content)))
        if fault.kind != "redirect":
            made.status_code = fault.status or response.status_code
        made.headers.update(fault.headers)
        return made


def _with_extras(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _with_extras(each) for key, each in value.items()}, "x_new_field": {"nobody": ["knows", 1]}}
    return [_with_extras(each) for each in value] if isinstance(value, list) else value
