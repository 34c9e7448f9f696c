"""Sentry and OpenTelemetry: off by default, and nothing confidential is sent."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from dashboard.telemetry import sentry, tracing
from tests.support.people import Person
from tests.support.processes import make_environ
from tests.support.sandbox import Sandbox

DSN = "https://public@sentry.example.com/1"
SECRETS = ("hunter2", "sessionid-value", "Somebody", "olga@example.com", "walks", "customer-token")


class Kept(Transport):
    """A transport of Sentry that stores what would be sent."""

    sent: list[dict[str, Any]]

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        type(self).sent = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.extend(
            item.payload.json for item in envelope.items if item.payload.json is not None
        )


@pytest.fixture
def sent() -> Iterator[list[dict[str, Any]]]:
    sentry.begin({"SENTRY_DSN": DSN}, Kept)
    yield Kept.sent
    sentry.end()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.begin({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, exporter)
    yield exporter
    tracing.end()


def test_a_mistake_goes_to_sentry_by_its_place_and_id_alone(
    sent: list[dict[str, Any]], app: Flask, olga: Person
) -> None:
    def breaks() -> str:
        password = "hunter2"  # pragma: allowlist secret
        raise RuntimeError(
            f"no postgresql://console:{password}@db.example.com/"
            " for Authorization: JWT customer-token1"
        )

    breaks.__dict__["role"] = "viewer"
    app.view_functions["trend.show"] = breaks
    headers = {
        "X-Request-ID": "to-sentry-1",
        "X-Other": "sessionid-value",
        "Referer": "https://x/?n=Somebody",
    }
    assert olga.client.get("/trend?q=walks", headers=headers).status_code == 500
    (event,) = sent
    (error,) = event["exception"]["values"]
    assert error["type"] == "RuntimeError"
    assert error["value"].startswith("no postgresql://")
    assert error["stacktrace"]["frames"][-1]["function"] == "breaks"
    assert event["tags"] == {"request_id": "to-sentry-1"}
    for secret in SECRETS:
        assert secret not in json.dumps(event), secret
    assert not event.keys() & {
        "request",
        "user",
        "breadcrumbs",
        "contexts",
        "extra",
        "modules",
        "server_name",
        "threads",
    }


def test_what_goes_well_goes_nowhere(sent: list[dict[str, Any]], olga: Person) -> None:
    assert olga.client.get("/connections").status_code == 200
    assert olga.client.get("/accounts/999999").status_code == 404
    assert sent == []


def test_spans_name_routes_and_results_and_nothing_else(
    spans: InMemorySpanExporter, olga: Person, sandbox: Sandbox
) -> None:
    sandbox.fault("applications", status=500)
    olga.client.get(
        "/accounts/1001/databases/1?q=walks", headers={"Referer": "https://x/?n=Somebody"}
    )
    tracing._provider.force_flush()
    *_, request = [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]
    calls = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert request.name.startswith("GET tables.")
    assert dict(request.attributes or {})["http.response.status_code"] == 502
    assert (
        "Peliqan applications",
        {"peliqan.route": "applications", "peliqan.result": "server_error"},
    ) in [(call.name, dict(call.attributes or {})) for call in calls]
    assert all(call.parent.span_id == request.context.span_id for call in calls)
    for span in (*calls, request):
        assert not span.events
        for secret in (*SECRETS, "1001", "/accounts"):
            assert secret not in f"{span.name} {dict(span.attributes or {})}"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SENTRY_DSN": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_without_their_variables_both_are_off(environ: dict[str, str]) -> None:
    assert not sentry.wanted(environ)
    assert not tracing.wanted(environ)
    sentry.begin(environ)
    tracing.begin(environ)
    assert tracing._tracer is None


@pytest.mark.parametrize(
    ("variable", "module", "extra"),
    [
        ("SENTRY_DSN", "sentry_sdk", "sentry"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry.exporter", "tracing"),
    ],
)
def test_a_variable_whose_extra_is_not_installed_is_refused_with_a_sentence(
    sandbox: Sandbox, tmp_path: Path, filled_store: Path, variable: str, module: str, extra: str
) -> None:
    environ = {
        **make_environ(
            sandbox.url, tmp_path, database_url=f"sqlite:///{filled_store / 'console.db'}"
        ),
        variable: DSN,
    }
    script = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = ['worker'];"
        " from dashboard.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert f"pip install 'partner-console[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
