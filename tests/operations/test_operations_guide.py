"""docs/operations.md: each command in order, in an empty folder, as an unprivileged user."""

import getpass
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from dashboard.core.schema import newest_version
from tests.operations.systemd import Systemd, ended
from tests.support.databases import free_port, wait_for
from tests.support.nginx import TlsNginx
from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox

HERE = Path(__file__).parent.parent.parent
DOCUMENT = (HERE / "docs" / "operations.md").read_text()
INSTALL, SET_UP, UPGRADE, RESTORE = (
    block.strip().splitlines() for block in re.findall(r"^```sh\n(.+?)^```$", DOCUMENT, re.M | re.S)
)
WITHOUT_PRIVILEGES = (
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
)
PASSWORD = "a long password here"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that ``make release`` writes to ``dist/``."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    subprocess.run(
        [HERE / "scripts" / "make-release", sys.executable, folder],
        cwd=HERE,
        check=True,
        timeout=300,
    )
    return folder


class Machine:
    """An empty folder that replaces a machine: its paths lie in it, and its ports are free."""

    def __init__(self, root: Path, release: Path) -> None:
        self.root, self.port = root, free_port()
        self._ports = {
            "127.0.0.1:8900": f"127.0.0.1:{self.port}",
            "--metrics-port=9101": f"--metrics-port={free_port()}",
        }
        self.dist = root / "dist"
        shutil.copytree(release, self.dist)
        for name in ("opt", "etc/systemd/system", "usr/local/bin", "var/lib"):
            (root / name).mkdir(parents=True)
        self.systemd = Systemd(root / "etc/systemd/system", self.replace_paths, root / "var/lib")

    def replace_paths(self, text: str) -> str:
        """Replace the machine's paths and ports in a command or file."""
        text = re.sub(r"(?<![\w/.])/(opt|etc|var/lib|usr/local)/", rf"{self.root}/\1/", text)
        for theirs, ours in self._ports.items():
            text = text.replace(theirs, ours)
        return text

    def follow(self, lines: list[str]) -> dict[str, str]:
        """Run each line and return the outputs."""
        return {line: self.carry_out(line) for line in lines}

    def carry_out(self, line: str) -> str:
        """Run one command of the document; AssertionError where it fails."""
        match line.split():
            case ["systemctl", *words]:
                self.systemd.run(*words)
            case [
                "useradd",
                "--system",
                "--home-dir",
                "/var/lib/partner-console",
                "--shell",
                "/usr/sbin/nologin",
                "console",
            ]:
                pass
            case ["python3", "-m", "venv", folder]:
                self._make_environment(Path(self.replace_paths(folder)))
            case [pip, "install", "--require-hashes", "-r", file] if pip.endswith("/bin/pip"):
                ensure_satisfied(self.dist / file)
            case ["dashboard", "users", "create", *_]:
                return self.run(line, given=f"{PASSWORD}\n{PASSWORD}\n")
            case _:
                # Only root may give a file to another user.
                return self.run(re.sub(r" (-o console )?-g console\b", "", line))
        return ""

    def run(self, line: str, given: str = "") -> str:
        """Run a command in the folder of the release; return its output."""
        environ = {
            "PATH": f"{self.root}/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            [*WITHOUT_PRIVILEGES, "/bin/sh", "-c", self.replace_paths(line)],
            env=environ,
            cwd=self.dist,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _make_environment(self, folder: Path) -> None:
        """Create an environment with the tests' packages, since nothing is downloaded here."""
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        [packages] = folder.glob("lib/python3*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    def install_wrapper(self) -> None:
        """Adapt the wrapper to this folder and this user."""
        wrapper = self.root / "usr/local/bin/dashboard"
        wrapper.write_text(
            self.replace_paths(wrapper.read_text()).replace(
                "user=console", f"user={getpass.getuser()}"
            )
        )

    def write_settings(self, **settings: str) -> None:
        """Set values in the installed file, and add others."""
        file = self.root / "etc/partner-console.env"
        text = file.read_text()
        for name, value in settings.items():
            text, found = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.M)
            text += "" if found else f'{name}="{value}"\n'
        file.write_text(text)


def ensure_satisfied(lock: Path) -> None:
    """The lock has a hash of every package, and this environment has the locked versions."""
    from importlib.metadata import version

    from packaging.requirements import Requirement

    entries = re.findall(
        r"^([a-z0-9].*?)((?:\s*\\\n\s+--hash=sha256:[0-9a-f]{64})+)", lock.read_text(), re.M
    )
    assert len(entries) == len(re.findall(r"^[a-z0-9]", lock.read_text(), re.M))
    for text, _ in entries:
        needed = Requirement(text.strip())
        if needed.marker is None or needed.marker.evaluate():
            assert version(needed.name) in needed.specifier, text


class Installation:
    """A folder to install the console in, its address, and its database's own address."""

    def __init__(self, settings: dict[str, str], url: str, certificate: Path, direct: str) -> None:
        """``direct``: empty without a pooler in front of the database."""
        self.settings, self.url, self.certificate, self.direct = (
            settings,
            url,
            str(certificate),
            direct,
        )
        self.session = requests.Session()

    def as_the_document_says(self, lines: list[str]) -> list[str]:
        """Pass the database server's own address to the commands that need it."""
        needs = ("dashboard backup", "dashboard restore")
        return [
            f"DATABASE_URL={self.direct} {line}" if self.direct and line.startswith(needs) else line
            for line in lines
        ]

    def get(self, path: str) -> requests.Response:
        """Request a page through nginx, which answers 502 while a socket is closed."""
        return self.session.get(self.url + path, timeout=60, verify=self.certificate)

    def sign_in(self) -> None:
        """Sign in as the first administrator."""
        token = self.get("/login").text.partition('name="csrf_token" value="')[2].partition('"')[0]
        fields = {"csrf_token": token, "email": "you@example.com", "password": PASSWORD}
        headers = {"Referer": f"{self.url}/login"}
        response = self.session.post(
            f"{self.url}/login",
            data=fields,
            headers=headers,
            timeout=60,
            allow_redirects=False,
            verify=self.certificate,
        )
        assert (response.status_code, response.headers["Location"]) == (
            302,
            urlsplit(self.url).path + "/",
        ), response.text


@pytest.fixture
def machine(release: Path, tmp_path: Path) -> Iterator[Machine]:
    """An empty machine."""
    found = Machine(tmp_path / "machine", release)
    with ended(found.systemd):
        yield found


@pytest.fixture(params=["alone at the root", "pooled below a path"])
def installation(
    request: pytest.FixtureRequest, machine: Machine, tmp_path: Path
) -> Iterator[Installation]:
    """SQLite on a host of its own; and PostgreSQL behind PgBouncer, with Redis, below a path."""
    below_path = request.param == "pooled below a path"
    (tmp_path / "nginx").mkdir()
    port = free_port()
    nginx = TlsNginx(
        tmp_path / "nginx", f"http://127.0.0.1:{machine.port}", port, below_path=below_path
    )
    url = f"https://127.0.0.1:{port}{'/console' if below_path else ''}"
    settings = {"DASHBOARD_URL": url, "DASHBOARD_PROXIES": "1"}
    direct = ""
    if below_path:
        servers, pooler = request.getfixturevalue("servers"), request.getfixturevalue("pooler")
        servers.redis.client.flushall()
        direct = servers.postgresql.create("documents")
        settings |= {"DATABASE_URL": pooler.url("documents"), "REDIS_URL": servers.redis.url}
    yield Installation(settings, url, nginx.certificate, direct)
    nginx.stop()
    machine.systemd.end_all()
    if below_path:
        servers.postgresql.drop("documents")


def install(machine: Machine, installation: Installation, sandbox: Sandbox) -> None:
    """Install the console, write its settings, and wait for the first refresh."""
    machine.follow(INSTALL)
    machine.install_wrapper()
    secrets = {
        "SECRET_KEY": "k" * 40,
        "PELIQAN_PARTNER_TOKEN": TOKEN,
        "PELIQAN_API_URL": sandbox.url,
    }
    machine.write_settings(**secrets, **installation.settings)
    outputs = machine.follow(SET_UP)
    assert "database  fine" in outputs["dashboard check"]
    wait_for(lambda: installation.get("/readyz").json()["stale"] is False, "the fleet is read")
    assert "worker    fine" in machine.run("dashboard check worker")


def back_up(machine: Machine, installation: Installation) -> None:
    """Run the backup unit once; the copy is readable by its owner only."""
    if installation.direct:
        (machine.root / "etc/direct.env").write_text(f"DATABASE_URL={installation.direct}\n")
        unit = machine.root / "etc/systemd/system/partner-console-backup.service"
        settings = "EnvironmentFile=/etc/partner-console.env\n"
        unit.write_text(
            unit.read_text().replace(settings, f"{settings}EnvironmentFile=/etc/direct.env\n")
        )
    machine.systemd.run_once("partner-console-backup.service")
    [copy] = (machine.root / "var/lib/partner-console/backups").glob("*.console")
    assert copy.stat().st_mode & 0o777 == 0o600


def test_every_command_of_the_document_works_in_its_order(
    machine: Machine, installation: Installation, sandbox: Sandbox
) -> None:
    install(machine, installation, sandbox)
    installation.sign_in()
    connections = installation.get("/connections.json").json()["total"]
    assert connections > 0

    outputs = machine.follow(installation.as_the_document_says(UPGRADE))
    assert any(
        f"schema {newest_version()}" in output
        for command, output in outputs.items()
        if "dashboard backup" in command
    )
    assert installation.get("/connections.json").json()["total"] == connections

    machine.run(
        "dashboard users create later@example.com --role viewer --password-stdin",
        given=f"{PASSWORD}\n",
    )
    machine.follow(installation.as_the_document_says(RESTORE))
    wait_for(
        lambda: installation.get("/connections.json").status_code == 200,
        "nginx finds the console again",
    )
    assert installation.get("/connections.json").json()["total"] == connections
    assert "later@example.com" not in machine.run("dashboard users list")

    back_up(machine, installation)
    machine.carry_out(
        "systemctl stop partner-console-web.socket partner-console-web partner-console-worker"
    )
