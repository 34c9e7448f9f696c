"""Metrics: values, access, and the names that the files for Prometheus and Grafana use."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from dashboard.app import create_app
from dashboard.context import Services
from dashboard.refresh.service import refresh_fleet
from dashboard.refresh.tasks import read_due
from dashboard.telemetry import process_metrics
from dashboard.worker import dispatch
from tests.support.clock import Clock
from tests.support.databases import free_port, wait_for
from tests.support.people import Person, path_of
from tests.support.processes import Processes, answering, make_environ, run_here
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

ROOT = Path(__file__).parent.parent.parent
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(page: str) -> Found:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(found: Found, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


def test_requests_go_by_endpoint_and_status_and_never_by_address(
    app: Flask, olga: Person, sandbox: Sandbox
) -> None:
    before = read(olga.client.get("/metrics").text)
    for _ in range(3):
        assert olga.client.get(path_of(sandbox.healthy) + "?q=walks").text
    assert olga.client.get("/nothing/of/the/kind").text
    assert olga.client.get("/accounts/999999").text
    page = olga.client.get("/metrics").text
    after = read(page)

    def more(**labels: str) -> float:
        name = "console_request_seconds_count"
        return value(after, name, **labels) - value(before, name, **labels)

    assert more(endpoint="connections.show", status="200") == 3
    assert more(endpoint="none", status="404") == 1
    assert more(endpoint="accounts.show", status="404") == 1
    for never in ("/accounts", "walks", "nothing", str(sandbox.healthy.account_id), "example.com"):
        assert f'"{never}' not in page
        assert f'{never}"' not in page


def test_calls_go_by_route_and_result(services: Services, app: Flask, sandbox: Sandbox) -> None:
    before = read(process_metrics.page().decode())
    sandbox.fault("sub_accounts", status=401, times=1)
    with app.app_context():
        with pytest.raises(Exception, match="does not accept"):
            services.api.account_page()
        services.api.account_page()
    after = read(process_metrics.page().decode())
    for result in ("ok", "not_authorised"):
        labels = {"route": "sub_accounts", "result": result}
        assert (
            value(after, "console_api_calls_total", **labels)
            - value(before, "console_api_calls_total", **labels)
            == 1
        )
    times = [
        value(each, "console_api_call_seconds_count", route="sub_accounts")
        for each in (before, after)
    ]
    assert times[1] - times[0] == 2


def test_the_fleets_state_is_read_when_somebody_asks(
    app: Flask, services: Services, clock: Clock
) -> None:
    with app.app_context():
        refresh_fleet(services)
        read_due.enqueue()
    clock.move(minutes=10)
    found = read(app.test_client().get("/metrics").text)
    assert 600 <= value(found, "console_snapshot_age_seconds") < 660
    assert value(found, "console_queue_waiting", queue="readings") == 1
    assert value(found, "console_queue_up") == value(found, "console_store_up") == 1
    assert value(found, "console_accounts") == 60
    assert value(found, "console_findings", severity="critical") > 0
    assert value(found, "console_connections", severity="ok") > 0
    assert any(name == "console_build_info" for name, _ in found)
    assert 0 < value(found, "console_disk_free_bytes") < value(found, "console_disk_size_bytes")


def test_a_backup_s_age_is_measured_from_the_last_file_that_was_written(
    app: Flask, sandbox: Sandbox, clock: Clock, store: dict[str, str], tmp_path: Path
) -> None:
    def age() -> float | None:
        return read(app.test_client().get("/metrics").text).get(
            ("console_backup_age_seconds", frozenset())
        )

    environ = make_environ(sandbox.url, tmp_path, **store)
    assert age() is None
    assert run_here(["backup", str(tmp_path / "nowhere" / "kept.console")], environ).returncode == 1
    assert age() is None
    assert run_here(["backup", str(tmp_path / "kept.console")], environ).returncode == 0
    clock.move(hours=37)
    found = age()
    assert found is not None
    assert 37 * 3600 <= found < 37 * 3600 + 120


@pytest.mark.parametrize(
    ("token", "environ", "status"),
    [
        ("", {"REMOTE_ADDR": "127.0.0.1"}, 200),
        ("", {"REMOTE_ADDR": "::1"}, 200),
        ("", {"REMOTE_ADDR": "192.0.2.7"}, 403),
        ("", {"REMOTE_ADDR": ""}, 403),
        ("", {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}, 403),
        ("", {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}, 403),
        ("m" * 32, {"REMOTE_ADDR": "127.0.0.1"}, 403),
        ("m" * 32, {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": "Bearer " + "m" * 32}, 200),
        ("m" * 32, {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": "Bearer " + "n" * 32}, 403),
        ("m" * 32, {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": "Bearer "}, 403),
        ("m" * 32, {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": "Basic " + "m" * 32}, 403),
    ],
)
def test_only_this_machine_or_who_has_the_token_may_read_them(
    sandbox: Sandbox,
    tmp_path: Path,
    filled_store: Path,
    token: str,
    environ: dict[str, str],
    status: int,
) -> None:
    made = create_app(
        make_settings(
            sandbox.url,
            tmp_path,
            database_url=f"sqlite:///{filled_store / 'console.db'}",
            dashboard_metrics_token=token,
        )
    )
    response = made.test_client().get("/metrics", environ_overrides=environ)
    assert response.status_code == status
    assert ("console_build_info" in response.text) is (status == 200)
    assert "m" * 32 not in response.text


def test_all_processes_of_serve_count_as_one_and_a_worker_of_its_own_for_itself(
    store: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    machines = Processes(make_environ(sandbox.url, tmp_path, **store))
    port, own = free_port(), free_port()
    try:
        machines.start("serve", "--workers=2", f"--port={port}")
        url = answering(f"http://127.0.0.1:{port}", "/healthz")
        for _ in range(30):
            requests.get(f"{url}/healthz", headers={"Connection": "close"}, timeout=30)

        def page(url: str) -> Found:
            return read(requests.get(f"{url}/metrics", timeout=30).text)

        wait_for(
            lambda: value(page(url), "console_tasks_total", task="alerts", result="ok") > 0,
            "the worker's tasks count",
        )
        # Each process reports the counts of all: earlier requests, and one more each time.
        counts = [
            value(page(url), "console_request_seconds_count", endpoint="health.alive", status="200")
            for _ in range(6)
        ]
        assert counts == [counts[0]] * 6
        assert counts[0] >= 31
        machines.start("worker", f"--metrics-port={own}")
        worker = f"http://127.0.0.1:{own}"
        answering(worker, "/metrics")
        assert (
            value(
                page(worker), "console_request_seconds_count", endpoint="health.alive", status="200"
            )
            == 0
        )
        assert value(page(worker), "console_disk_free_bytes") > 0
        assert requests.get(f"{worker}/", timeout=30).status_code == 404
    finally:
        machines.end_all()


def named(expressions: list[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\bconsole_[a-z_]+", text)}


def test_every_measurement_that_the_dashboard_or_an_alert_names_is_there(
    olga: Person, sandbox: Sandbox, services: Services, store: dict[str, str], tmp_path: Path
) -> None:
    dashboard = json.loads((ROOT / "deploy/grafana.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules: list[dict[str, Any]] = yaml.safe_load(
        (ROOT / "deploy/prometheus-alerts.yml").read_text()
    )["groups"][0]["rules"]
    olga.client.get("/connections")
    assert (
        run_here(
            ["backup", str(tmp_path / "kept.console")], make_environ(sandbox.url, tmp_path, **store)
        ).returncode
        == 0
    )
    with olga.client.application.app_context():
        services.api.account_page()
        dispatch.start()
    from dashboard.telemetry.task_runs import around_task

    with around_task("tick"):
        pass
    names = {name for name, _ in read(olga.client.get("/metrics").text)}
    assert named(shown) | named([rule["expr"] for rule in rules]) <= names
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
    positions = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(positions) == len(set(positions))


def test_the_folder_of_counts_outlives_what_was_forked_and_not_who_made_it(tmp_path: Path) -> None:
    script = """
import os
from dashboard.telemetry import multiprocess
with multiprocess.shared_counts() as made:
    if not (child := os.fork()):
        raise SystemExit(0)
    os.waitpid(child, 0)
    print(os.environ[multiprocess.SHARED] == made, os.path.isdir(made))
print(os.path.exists(made), multiprocess.SHARED in os.environ)
"""
    environ = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.split() == ["True", "True", "False", "False"]


def test_work_goes_on_where_nothing_can_be_counted(tmp_path: Path) -> None:
    script = """
from dashboard.telemetry import process_metrics as metrics
metrics.task_ended("look", "ok")
metrics.call_ended("rows", "ok", 1)
metrics.request_ended("overview.show", 200, 1)
print("went on")
"""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "gone"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout == "went on\n"


def test_a_process_that_has_only_just_begun_to_count_takes_nothing_from_the_page(
    tmp_path: Path,
) -> None:
    script = """
import os
from pathlib import Path
from dashboard.telemetry import process_metrics as metrics
metrics.task_ended("look", "ok")
(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "counter_1.db").touch()
print(metrics.page().decode())
"""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
    )
    assert value(read(done.stdout), "console_tasks_total", task="look", result="ok") == 1
