"""The same console by gunicorn and by Flask's development server."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import free_port
from tests.support.processes import Processes, answering, make_environ, run_here
from tests.support.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
WAYS = {
    "gunicorn": ("gunicorn", "wsgi:app", "--bind=127.0.0.1:{port}"),
    "flask": ("flask", "--app", "wsgi", "run", "--port={port}"),
}


def words_for(way: str, port: int) -> list[str]:
    """Return the module to run and its arguments."""
    return [word.format(port=port) for word in WAYS[way]]


@pytest.mark.parametrize("way", WAYS)
def test_it_serves_the_console_with_the_settings_of_the_environment(
    way: str, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = make_environ(sandbox.url, tmp_path)
    assert run_here(["db", "upgrade"], environ).returncode == 0
    monkeypatch.chdir(ROOT)
    processes, port = Processes(environ), free_port()
    module, *arguments = words_for(way, port)
    try:
        processes.start(*arguments, module=module, stderr=subprocess.DEVNULL)
        url = answering(f"http://127.0.0.1:{port}", "/healthz")
        assert answering(url, "/login") == url
    finally:
        processes.end_all()


@pytest.mark.parametrize("way", WAYS)
def test_missing_settings_give_the_one_message_and_end_the_process(
    way: str, tmp_path: Path
) -> None:
    environ = make_environ("http://127.0.0.1:1", tmp_path)
    del environ["SECRET_KEY"], environ["PELIQAN_PARTNER_TOKEN"]
    ended = run_way(way, environ)
    assert ended.returncode not in {0, None}
    assert "Settings need attention" in ended.stderr
    assert "SECRET_KEY: is missing" in ended.stderr
    assert "PELIQAN_PARTNER_TOKEN: is missing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Settings need attention") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_database_that_was_never_upgraded_is_said_in_a_sentence(way: str, tmp_path: Path) -> None:
    ended = run_way(way, make_environ("http://127.0.0.1:1", tmp_path))
    assert ended.returncode != 0
    assert "run dashboard db upgrade" in ended.stderr
    assert "Traceback" not in ended.stderr


def run_way(way: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *words_for(way, free_port())]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, env=environ, cwd=ROOT, check=False
    )
