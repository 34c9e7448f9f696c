"""The part of systemd that the console's units use, run as processes of this user."""

import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.cli.serve import end


def read_unit(text: str) -> dict[str, list[str]]:
    """Return a unit's values by name, of all sections."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, is_one, value = line.partition("=")
        if is_one and not line.startswith("#"):
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def read_environment(text: str) -> dict[str, str]:
    """Read an EnvironmentFile: comment lines and quoted values (systemd.exec(5))."""
    lines = (
        line.partition("=")
        for line in text.splitlines()
        if line and not line.startswith(("#", ";"))
    )
    return {name: re.sub(r"""^(["'])(.*)\1$""", r"\2", value) for name, _, value in lines}


class Systemd:
    """Starts and stops the services of a folder of units."""

    def __init__(self, units: Path, replace_paths: Callable[[str], str], state: Path) -> None:
        """``replace_paths`` maps a unit's paths to this machine; ``state`` replaces /var/lib."""
        self._units, self._replace_paths, self._state = units, replace_paths, state
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._sockets: dict[str, socket.socket] = {}
        self.log = units / "log"

    def run(self, verb: str, *words: str) -> None:
        """Run ``systemctl`` with the verbs that the documents use."""
        names = [word for word in words if not word.startswith("--")]
        for name in names if verb != "daemon-reload" else []:
            unit = name if "." in name else f"{name}.service"
            assert (self._units / unit).exists(), f"{unit} is no unit"
            if verb in {"stop", "restart"}:
                self._stop(unit)
            if verb in {"start", "restart", "enable"}:
                self._start(unit)

    def run_once(self, name: str) -> None:
        """Run a oneshot service and what it starts afterwards, as its timer does."""
        unit = self._read(name)
        assert unit["Type"] == ["oneshot"]
        for words in (*unit["ExecStart"], *unit.get("ExecStartPost", ())):
            subprocess.run(
                self._words(words),
                env=self._environ(unit),
                cwd=self._folder(unit),
                check=True,
                timeout=120,
            )

    def end_all(self) -> None:
        """Stop everything that runs, whatever its exit code."""
        for process in self.running.values():
            end(process, 40)
        for each in self._sockets.values():
            each.close()

    def _read(self, unit: str) -> dict[str, list[str]]:
        return read_unit(self._replace_paths((self._units / unit).read_text()))

    def _start(self, name: str) -> None:
        unit = self._read(name)
        if name.endswith(".socket"):
            host, _, port = unit["ListenStream"][0].rpartition(":")
            self._sockets[name.removesuffix(".socket")] = socket.create_server(
                (host, int(port)), backlog=int(unit["Backlog"][0])
            )
        elif name.endswith(".timer"):
            assert unit["OnCalendar"]
            assert self._read(f"{name.removesuffix('.timer')}.service")["ExecStart"]
        else:
            assert unit["User"] == unit["Group"] == ["console"]
            held = self._sockets.get(name.removesuffix(".service"))
            words, files = self._words(unit["ExecStart"][0]), []
            if held is not None:
                files = [held.fileno()]
                words = [
                    "/bin/bash",
                    "-c",
                    f'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&{files[0]}',
                    "serve",
                    *words,
                ]
            with self.log.open("ab") as log:
                self.running[name] = subprocess.Popen(
                    words,
                    env=self._environ(unit),
                    cwd=self._folder(unit),
                    pass_fds=files,
                    stdout=log,
                    stderr=log,
                )

    def _stop(self, name: str) -> None:
        if name.endswith(".socket"):
            self._sockets.pop(name.removesuffix(".socket")).close()
        elif name in self.running:
            process = self.running.pop(name)
            process.terminate()
            assert process.wait(float(self._read(name)["TimeoutStopSec"][0])) == 0, name

    def _words(self, command: str) -> list[str]:
        return shlex.split(command.replace("%%", "%"))

    def _environ(self, unit: dict[str, list[str]]) -> dict[str, str]:
        found = {"PATH": "/usr/bin:/bin"}
        for file in unit["EnvironmentFile"]:
            found |= read_environment(Path(file).read_text())
        return found

    def _folder(self, unit: dict[str, list[str]]) -> Path:
        for name in unit["StateDirectory"][0].split():
            (self._state / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        return Path(unit["WorkingDirectory"][0])


@contextmanager
def ended(systemd: Systemd) -> Iterator[Systemd]:
    """Stop all started processes at the end of the block."""
    try:
        yield systemd
    finally:
        systemd.end_all()
