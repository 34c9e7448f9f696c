"""The version of a build, where it is shown, and upgrades to a newer version and back."""

import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from prometheus_client.parser import text_string_to_metric_families

from dashboard.core.schema import newest_version
from dashboard.telemetry import sentry
from dashboard.version import VERSION
from tests.support.people import Person, words
from tests.support.processes import make_environ, run_here
from tests.support.sandbox import Sandbox

HERE = Path(__file__).parents[2]
SOURCES = (
    "pyproject.toml",
    "README.md",
    "wsgi.py",
    "masks.ini",
    "templates",
    "static",
    "playbook",
    "messages",
    "dashboard",
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository of the sources with one commit."""
    folder = tmp_path_factory.mktemp("repository")
    for name in SOURCES:
        if (HERE / name).is_dir():
            shutil.copytree(
                HERE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(HERE / name, folder)
    (folder / ".gitignore").write_text("*.pyc\n")
    in_folder(folder, *GIT, "init", "--quiet")
    commit(folder, "The first")
    return folder


def in_folder(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=120)


def commit(folder: Path, message: str) -> None:
    in_folder(folder, *GIT, "add", "--all")
    in_folder(folder, *GIT, "commit", "--quiet", "--allow-empty", f"--message={message}")


def build(folder: Path, target: Path) -> Path:
    """Build a wheel of the repository."""
    in_folder(
        folder,
        *PIP,
        "wheel",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        f"--wheel-dir={target}",
        ".",
    )
    [wheel] = target.glob("*.whl")
    return wheel


def version_of(wheel: Path) -> Version:
    return Version(wheel.name.split("-")[1])


def test_a_newer_wheel_replaces_an_older_one_as_the_documents_say(
    repository: Path, tmp_path: Path
) -> None:
    wheels = [build(repository, tmp_path / "first")]
    commit(repository, "The second")
    wheels.append(build(repository, tmp_path / "second"))
    in_folder(repository, *GIT, "tag", "v3.1")
    wheels.append(build(repository, tmp_path / "tagged"))
    commit(repository, "After the tag")
    wheels.append(build(repository, tmp_path / "after"))
    versions = [version_of(wheel) for wheel in wheels]
    assert versions == sorted(set(versions))
    assert Version("0.1.0") < versions[0]
    assert str(versions[2]) == "3.1"
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    [packages] = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for wheel in (wheels[0], wheels[1], wheels[3], wheels[1]):
        subprocess.run(
            [*PIP, "--python", python, "install", "--no-index", "--no-deps", wheel],
            check=True,
            timeout=120,
        )
        result = subprocess.run(
            [environment / "bin" / "dashboard", "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split()[-1] == str(version_of(wheel))


def test_pages_metrics_and_the_command_say_the_version_and_the_sign_in_page_does_not(
    viv: Person, mallory: Person
) -> None:
    assert f"Partner Console {VERSION}" in words(viv.get("/"))
    assert VERSION not in mallory.client.get("/login").text
    metrics = text_string_to_metric_families(mallory.client.get("/metrics").text)
    assert {"version": VERSION} in [each.labels for family in metrics for each in family.samples]
    assert run_here(["--version"], {}).stdout.split()[-1] == VERSION


@pytest.mark.parametrize(
    ("set_by_hand", "expected"),
    [({}, f"partner-console@{VERSION}"), ({"SENTRY_RELEASE": "7"}, "7")],
)
def test_a_mistake_goes_to_sentry_with_the_version(
    set_by_hand: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentry_sdk

    initialised: dict[str, Any] = {}
    monkeypatch.setattr(sentry_sdk, "init", lambda **options: initialised.update(options))
    sentry.begin({"SENTRY_DSN": "http://key@127.0.0.1:1/1", **set_by_hand})
    assert initialised["release"] == expected


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Any]:
    environ = make_environ(sandbox.url, tmp_path / "data")
    return lambda *words: run_here(words, environ)


def test_a_store_of_a_newer_version_is_served_and_its_upgrade_has_nothing_to_do(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    assert run("db", "upgrade").stdout == "The database is up to date.\n"
    with sqlite3.connect(tmp_path / "data" / "console.db") as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    again = run("db", "upgrade")
    assert again.returncode == 0, again.stderr
    assert f"a newer version's (schema 9999; this version's is {newest_version()})" in again.stdout
    assert run("refresh").returncode == 0
    assert run("backup", str(tmp_path / "made.console")).returncode == 0
    with sqlite3.connect(tmp_path / "data" / "console.db") as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
