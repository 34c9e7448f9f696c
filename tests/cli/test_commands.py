"""The commands, as an operator types them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.cli.serve import free_port
from dashboard.cli.store_checks import sharing_problem
from tests.support.databases import wait_for
from tests.support.processes import Processes, make_environ, run_here
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environ(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    return make_environ(sandbox.url, tmp_path / "data", dashboard_api_timeout=3)


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Run a command."""
    return lambda *words, given="", **more: run_here(words, {**environ, **more}, given)


@pytest.fixture
def start(environ: dict[str, str]) -> Run:
    """Run a command as a process, as from an operator's shell."""

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "dashboard", *words]
        return subprocess.run(
            line, capture_output=True, text=True, timeout=60, env={**environ, **more}, check=False
        )

    return command


def test_a_pass_says_what_it_read_and_its_exit_code_says_how_well(
    run: Run, sandbox: Sandbox
) -> None:
    old = run("refresh")
    assert old.returncode == 2
    assert "dashboard db upgrade" in old.stderr
    assert run("db", "upgrade").returncode == 0
    well = run("refresh")
    assert (well.returncode, well.stdout) == (0, "60 of 60 accounts read.\n")
    sandbox.fault("servers", status=403, times=1)
    partly = run("refresh", "--json")
    assert partly.returncode == 1
    assert len(json.loads(partly.stdout)["unreadable"]) == 1
    sandbox.fault("sub_accounts", status=500)
    assert run("refresh").returncode == 2
    sandbox.clear()
    assert run("refresh", "--account", "1001").returncode == 0
    assert "does not know" in run("refresh", "--account", "7").stderr


def test_somebody_at_the_command_line_asks_though_peliqan_is_known_not_to_answer(
    run: Run, sandbox: Sandbox
) -> None:
    assert run("db", "upgrade").returncode == 0
    assert run("refresh").returncode == 0
    sandbox.fault("servers", status=500)
    assert run("refresh").returncode == 2
    sandbox.fault("sub_accounts", status=500)
    result = run("check", "API")
    assert result.returncode == 1
    assert "Peliqan does not answer. Every try since" in result.stdout
    sandbox.clear()
    assert run("check", "API").returncode == 0
    assert run("refresh").stdout == "60 of 60 accounts read.\n"


def test_what_serves_no_pages_loads_none_of_what_they_need(tmp_path: Path) -> None:
    environ = make_environ("http://127.0.0.1:1", tmp_path)
    loaded = (
        "import sys; from dashboard.cli.common import make_app; make_app(); print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", loaded],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "dashboard.worker.dispatch" in result.stdout.split()
    assert {"dashboard.blueprints", "flask_wtf", "gunicorn"}.isdisjoint(result.stdout.split())


def test_people_are_made_listed_and_shut_out(run: Run) -> None:
    def users(*words: str, password: str) -> subprocess.CompletedProcess[str]:
        return run("users", *words, "--password-stdin", given=f"{password}\n")

    run("db", "upgrade")
    created = users(
        "create", "Ada@Example.com", "--role", "operator", password="a long enough password"
    )
    assert created.returncode == 0, created.stderr
    assert run("users", "list").stdout == "ada@example.com\toperator\tpassword to be changed\n"
    refused = users("create", "b@example.com", "--role", "viewer", password="short")
    assert "12 characters" in refused.stderr
    changed = users("set-password", "ada@example.com", password="another long password")
    assert changed.returncode == 0
    own = ("create", "own@example.com", "--role", "viewer", "--own-password")
    assert users(*own, password="a long enough password").returncode == 0
    assert (
        run("users", "list").stdout
        == "ada@example.com\toperator\tpassword to be changed\nown@example.com\tviewer\n"
    )
    own = ("set-password", "ada@example.com", "--own-password")
    assert users(*own, password="a third long password").returncode == 0
    assert run("users", "list").stdout.startswith("ada@example.com\toperator\n")
    assert run("users", "disable", "ada@example.com").returncode == 0
    assert "disabled" in run("users", "list").stdout
    assert "no user" in run("users", "disable", "nobody@example.com").stderr


def test_check_says_in_words_what_is_wrong(run: Run) -> None:
    result = run("check", PELIQAN_PARTNER_TOKEN="wrong")
    assert result.returncode == 1
    assert "dashboard db upgrade" in result.stdout
    assert "does not accept the console's token" in result.stdout
    result = run(
        "check", REDIS_URL="redis://127.0.0.1:1/0", DATABASE_URL="postgresql://127.0.0.1:1/none"
    )
    assert result.returncode == 1
    assert "check DATABASE_URL" in result.stdout
    assert "check REDIS_URL" in result.stdout
    run("db", "upgrade")
    check_healthy(run)
    check_tls_remarks(run)


def check_healthy(run: Run) -> None:
    """Everything works; the settings are listed without secrets."""
    result = run(
        "check",
        DASHBOARD_METRICS_TOKEN="hunter2-metrics",
        SENTRY_DSN="https://public@sentry.example.com/1",
    )
    assert result.returncode == 0, result.stdout
    for line in (
        "database  fine",
        "API       fine",
        "Redis     fine",
        "data      fine",
        "Sentry    fine",
    ):
        assert line in result.stdout
    assert "  DASHBOARD_METRICS_TOKEN is set\n" in result.stdout
    assert "  PELIQAN_PARTNER_TOKEN is set\n" in result.stdout
    assert "  DASHBOARD_API_TIMEOUT = 3.0\n" in result.stdout
    assert (
        "note      PELIQAN_WEBHOOK_SECRET is empty: whoever knows the address can post events."
        in result.stdout
    )
    assert "without TLS" not in result.stdout
    assert "DASHBOARD_PROXIES" not in result.stdout
    for secret in ("hunter2", "sandbox-partner-token", "kkkk"):
        assert secret not in result.stdout


def check_tls_remarks(run: Run) -> None:
    """Remarks on TLS in front of the console, and to servers on other machines."""
    url = {"DASHBOARD_URL": "https://console.example.com"}
    assert (
        "note      DASHBOARD_PROXIES is 0, and DASHBOARD_URL is https"
        in run("check", "data", **url).stdout
    )
    assert "DASHBOARD_PROXIES is 0" not in run("check", "data", **url, DASHBOARD_PROXIES="1").stdout
    away = {
        "REDIS_URL": "redis://:hunter2@queue.example.com/0",
        "DATABASE_URL": "postgresql://c:hunter2@store.example.com/c",
    }
    noted = run("check", "data", **away).stdout
    assert "note      DATABASE_URL leads to store.example.com without TLS" in noted
    assert "note      REDIS_URL leads to queue.example.com without TLS" in noted
    assert "hunter2" not in noted
    away = {
        "REDIS_URL": "rediss://queue.example.com/0",
        "DATABASE_URL": "postgresql://c@store.example.com/c?sslmode=require",
    }
    assert "without TLS" not in run("check", "data", **away).stdout


def test_check_says_whether_the_hook_can_be_imported(run: Run) -> None:
    run("db", "upgrade")
    result = run("check", DASHBOARD_HOOK="no_such_module:take")
    assert result.returncode == 1
    assert "no_such_module:take could not be imported (ModuleNotFoundError)" in result.stdout
    assert "hook      fine" in run("check", DASHBOARD_HOOK="json:loads").stdout
    assert "hook" not in run("check").stdout


def test_the_report_is_text_markdown_or_html_of_the_same(run: Run) -> None:
    assert run("report").returncode == 2
    run("db", "upgrade")
    empty = run("report")
    assert (empty.returncode, empty.stderr) == (0, "")
    assert "No pass over the fleet is complete yet: 0 of 0 accounts read." in empty.stdout
    run("refresh")
    text, markdown, html = (
        run("report", "--since", "90m", "--format", form).stdout
        for form in ("text", "markdown", "html")
    )
    for report in (text, markdown, html):
        assert "60 of 60 accounts read." in report
        assert "(1 h 30 min)" in report
        assert "Access is refused: exact" in report
        assert "/causes/" in report
    assert "\n- NEW. Critical: " in text
    assert markdown.startswith("# Connections of all customers, ")
    assert html.startswith("<!doctype html>")
    linked = run(
        "report", "--since", "7d", "--url", "https://console.example.com/", "--zone", "Asia/Tokyo"
    ).stdout
    assert "  https://console.example.com/causes/" in linked
    assert " JST" in linked
    own = run("report", DASHBOARD_URL="https://example.com/console").stdout
    assert "  https://example.com/console/causes/" in own


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--since", "yesterday"], "“yesterday” is no length of time. Write 90m, 24h or 7d."),
        (["--since", "0h"], "ask for a minute or more"),
        (["--since", "-3h"], "is no length of time"),
        (["--since", "1.5h"], "is no length of time"),
        (["--since", "400d"], "History goes back 90 days (DASHBOARD_KEEP_HISTORY_DAYS)."),
        (["--zone", "Middle/Earth"], "is no time zone: write it as Europe/Brussels or UTC."),
        (["--url", "console.example.com"], "It must begin with https:// or http://."),
        (["--format", "pdf"], "'pdf' is not one of"),
    ],
)
def test_what_a_report_cannot_read_is_one_sentence(run: Run, words: list[str], says: str) -> None:
    run("db", "upgrade")
    result = run("report", *words)
    assert result.returncode == 2
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_missing_settings_are_one_message_and_no_traceback(start: Run) -> None:
    result = start("serve", "--port", "0", SECRET_KEY="", PELIQAN_PARTNER_TOKEN="")
    assert result.returncode == 2
    assert "SECRET_KEY: is missing" in result.stderr
    assert "PELIQAN_PARTNER_TOKEN: is missing" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_playbook_that_cannot_be_read_is_one_message_that_names_the_files(
    start: Run, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(Path(__file__).parents[2] / "playbook", tmp_path / "own"))
    (own / "dark.md").write_text("Nothing.")
    (own / "late.md").unlink()
    for command in (("check",), ("serve", "--port", "0")):
        result = start(*command, DASHBOARD_PLAYBOOK=str(own))
        assert result.returncode == 2
        assert "dark.md: it must begin with its settings" in result.stderr
        assert "late.md is missing" in result.stderr
        assert "Traceback" not in result.stderr


def test_no_port_is_chosen_on_which_browsers_open_no_page() -> None:
    assert free_port(6665) >= 6670


def test_a_taken_port_is_one_sentence(start: Run, sandbox: Sandbox) -> None:
    result = start("serve", "--port", sandbox.url.rsplit(":", 1)[1])
    assert result.returncode == 1
    assert "is taken" in result.stderr
    result = start("sandbox", "--port", sandbox.url.rsplit(":", 1)[1])
    assert result.returncode == 1
    assert "cannot listen" in result.stderr


def test_sqlite_on_a_network_file_system_is_refused_with_the_reason(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nfiles:/share {tmp_path / 'shared'} nfs4 rw 0 0\n")
    local, shared = (
        make_settings("https://example.com", tmp_path / name) for name in ("own", "shared")
    )
    assert sharing_problem(local, mounts) is None
    assert "network file system (nfs4)" in str(sharing_problem(shared, mounts))
    elsewhere = shared.model_copy(update={"database_url": "postgresql+psycopg://localhost/console"})
    assert sharing_problem(elsewhere, mounts) is None


def test_a_variable_that_is_no_setting_is_said_and_stops_nothing(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    """Kubernetes sets the first for a service named dashboard; newer versions know the last."""
    of_the_platform = {
        "DASHBOARD_PORT": "tcp://10.0.0.7:8900",
        "DASHBOARD_PORT_8900_TCP_ADDR": "10.0.0.7",
        "DASHBOARD_SERVICE_HOST": "10.0.0.7",
        "SCRIPT_NAME": "/elsewhere",
    }
    others = {
        "DASHBOARD_OF_NEXT_YEAR": "hunter2",
        "DASHBOARD_REFRESH_INTERVALL": "60",
        "PELIQAN_PATH_OF_NEXT_YEAR": "/hunter2",
    }
    unknown = {**of_the_platform, **others}
    assert run("db", "upgrade", **unknown).returncode == 0
    result = run("check", "database", "data", **unknown)
    assert result.returncode == 0, result.stdout
    for name in unknown:
        assert f"note      {name}: this version has no such setting" in result.stdout
    assert "hunter2" not in result.stdout
    processes, log = Processes({**environ, **unknown}), tmp_path / "log"
    try:
        with log.open("ab") as lines:
            processes.serve(stderr=lines)
            processes.start("worker", stderr=lines)
            wait_for(
                lambda: all(log.read_text().count(f"{name}: this version") >= 2 for name in others),
                "both have logged it",
            )
    finally:
        processes.end_all()
    assert "hunter2" not in log.read_text()
