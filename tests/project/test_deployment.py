"""The steps of Dockerfile and compose.yaml in an empty folder, with real servers.

Without a container engine.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import yaml

from tests.support.databases import Servers, free_port, wait_for
from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox

HERE = Path(__file__).parents[2]
DOCKERFILE = (HERE / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
IGNORED = [
    line for line in (HERE / ".dockerignore").read_text().split() if not line.startswith("!")
]
OURS = ("migrate", "web", "worker")
TABLE = 10011900


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the Dockerfile's environment from the files that it copies.

    Dependencies are those of the tests. .dockerignore excludes the sandbox.
    """
    assert IGNORED == ["*", "dashboard/sandbox", "**/__pycache__"]
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("image") / "console"
    for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            if name == ".git":
                # tests/project/test_versions.py checks the version.
                continue
            if (HERE / name).is_dir():
                shutil.copytree(
                    HERE / name,
                    source / name,
                    ignore=shutil.ignore_patterns("__pycache__", "sandbox"),
                )
            else:
                shutil.copy(HERE / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    python = made / "bin" / "python"
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    Path(packages.stdout.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*pip, "--no-build-isolation", source], check=True, env=environ)
    return made


class Deployment:
    """Runs the services' commands, each with only the settings in its environment.

    Folders are those of compose.yaml: a named volume is one folder for all services, and each
    service has a file system of its own, as in containers.
    """

    def __init__(self, image: Path, folder: Path, environ: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self.environ = {"PATH": f"{image / 'bin'}:/usr/bin:/bin", **environ}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def local_path(self, service: str, path: str) -> Path:
        """Return the local path for a path in a service's container."""
        volumes = dict(each.split(":")[:2] for each in SERVICES[service].get("volumes", []))
        for name, target in volumes.items():
            if Path(path).is_relative_to(target):
                assert name in COMPOSE["volumes"]
                return self._made(self.folder / "volumes" / name / Path(path).relative_to(target))
        return self._made(self.folder / "containers" / service / path.lstrip("/"))

    def _made(self, path: Path) -> Path:
        """Make the folders of the image, which a new volume starts with."""
        (path if path.suffix == "" else path.parent).mkdir(parents=True, exist_ok=True)
        return path

    def environ_of(self, service: str) -> dict[str, str]:
        [data] = re.findall(r"DASHBOARD_DATA=(\S+)", DOCKERFILE)
        return {**self.environ, "DASHBOARD_DATA": str(self.local_path(service, data))}

    def words(self, service: str) -> list[str]:
        """Return the service's command, on loopback and a free port."""
        words = ["dashboard", *SERVICES[service]["command"]]
        return [
            *(word.replace("0.0.0.0", "127.0.0.1") for word in words),
            *([f"--port={self.port}"] if service == "web" else []),
        ]

    def run(
        self, *words: str, service: str = "web", **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as in a new container of a service."""
        return subprocess.run(
            words,
            env=self.environ_of(service),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **more,
        )

    def start(self, service: str) -> None:
        self.running[service] = subprocess.Popen(
            self.words(service), env=self.environ_of(service), cwd=self.folder
        )

    def is_healthy(self, service: str) -> bool:
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return (
            self.run(
                *(word.replace("8900", str(self.port)) for word in words), service=service
            ).returncode
            == 0
        )

    def come_up(self) -> None:
        assert self.run(*self.words("migrate"), service="migrate").returncode == 0
        for service in ("worker", "web"):
            self.start(service)
        for service in ("web", "worker"):
            wait_for(
                lambda service=service: self.is_healthy(service), f"{service} is healthy", within=60
            )  # type: ignore[misc]

    def end(self) -> None:
        for service, process in self.running.items():
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, service
        self.running.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def deployment(
    image: Path, servers: Servers, sandbox: Sandbox, tmp_path: Path
) -> Iterator[Deployment]:
    servers.redis.client.flushall()
    environ = {
        "SECRET_KEY": "k" * 40,
        "PELIQAN_API_URL": sandbox.url,
        "PELIQAN_PARTNER_TOKEN": TOKEN,
        "DATABASE_URL": servers.postgresql.create("deployed"),
        "REDIS_URL": servers.redis.url,
        # No proxy of the test serves https.
        "DASHBOARD_INSECURE_COOKIES": "yes",
    }
    made = Deployment(image, tmp_path, environ)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()
    servers.postgresql.drop("deployed")


def test_the_deployment_comes_up_in_an_empty_folder_reads_the_fleet_and_ends_when_asked(
    deployment: Deployment,
) -> None:
    refused = deployment.run(*deployment.words("web"))
    assert (refused.returncode, "older schema" in refused.stderr) == (2, True), refused.stderr
    assert not deployment.is_healthy("worker")
    deployment.come_up()
    create_administrator(deployment)
    wait_for(
        lambda: requests.get(f"{deployment.url}/readyz", timeout=30).json()["stale"] is False,
        "the fleet is read",
        within=60,
    )
    assert b"Sign in" in requests.get(f"{deployment.url}/login", timeout=30).content
    deployment.end()


def create_administrator(deployment: Deployment) -> None:
    words = (
        "dashboard",
        "users",
        "create",
        "you@example.com",
        "--role=admin",
        "--own-password",
        "--password-stdin",
    )
    made = deployment.run(*words, input="a long password here\n")
    assert made.returncode == 0, made.stderr


class Browser:
    """Return a signed-in user."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        response = self.post(
            "/login", page="/login", email="you@example.com", password="a long password here"
        )
        assert response.status_code == 302, response.text

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=30)

    def post(self, path: str, page: str = "/me", **fields: str) -> requests.Response:
        token = self.get(page).text.partition('name="csrf_token" value="')[2].partition('"')[0]
        data = {"csrf_token": token, **fields}
        return self.session.post(self.url + path, data=data, timeout=30, allow_redirects=False)


def test_an_export_a_copy_and_a_backup_outlive_the_containers_and_one_can_go_back_a_version(
    deployment: Deployment,
) -> None:
    deployment.come_up()
    create_administrator(deployment)
    browser = Browser(deployment.url)
    response = browser.post(f"/accounts/1001/tables/{TABLE}/exports", format="csv")
    assert response.status_code == 303, response.text
    file = f"{response.headers['Location']}/file"
    wait_for(lambda: browser.get(file).ok, "the web service delivers the worker's file", within=60)
    rows = browser.get(file).text
    copies = deployment.local_path("web", "/data/copies")
    copied = deployment.run(
        "dashboard", "pull", f"--to=parquet://{copies}", "--account=1001", f"--table={TABLE}"
    )
    assert copied.returncode == 0, copied.stderr
    deployment.end()

    backup_file = deployment.local_path("web", "/data/backups/before.console")
    backup = deployment.run("dashboard", "backup", str(backup_file))
    assert backup.returncode == 0, backup.stderr
    # A newer version's migrations have run, and the older image starts again.
    with psycopg.connect(deployment.environ["DATABASE_URL"], autocommit=True) as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    deployment.come_up()
    assert Browser(deployment.url).get(file).text == rows
    assert deployment.local_path("worker", "/data/backups/before.console").stat().st_size > 1000
    assert list(deployment.local_path("worker", "/data/copies").rglob("*.parquet"))
    deployment.end()


def test_the_image_has_what_the_pages_are_made_of(image: Path) -> None:
    for folder in ("templates", "static", "messages", "playbook"):
        ours = {
            path.relative_to(HERE / folder) for path in (HERE / folder).rglob("*") if path.is_file()
        }
        (theirs,) = image.rglob(f"site-packages/dashboard/{folder}")
        assert {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()} == ours


def test_the_image_has_no_stand_in_for_the_api(image: Path) -> None:
    assert not list(image.rglob("site-packages/dashboard/sandbox"))
    result = subprocess.run(
        [image / "bin" / "dashboard", "--help"],
        env={},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    listed = result.stdout
    assert "serve" in listed.split()
    assert {"demo", "sandbox"}.isdisjoint(listed.split())


def test_what_the_image_is_made_from_is_sent_to_its_builder() -> None:
    sent = {
        line.removeprefix("!")
        for line in (HERE / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    }
    assert copied == sent


def test_nothing_runs_as_root_may_write_its_own_code_or_begins_before_what_it_needs() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER console$", last_stage, re.MULTILINE)
    for name in OURS:
        service = SERVICES[name]
        assert "user" not in service
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ("web", "worker"):
        assert (
            SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        )
    for name in ("web", "worker", "postgres", "redis"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES["web"]["ports"] == ["127.0.0.1:8900:8900"]
