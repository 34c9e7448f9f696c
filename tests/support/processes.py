"""The console's own processes, started as an operator starts them, for tests and benchmarks."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import requests
from click.testing import CliRunner

from dashboard.cli import main
from dashboard.cli.serve import end
from tests.support.databases import free_port, wait_for

TOKEN = "sandbox-partner-token"


def make_environ(api_url: str, folder: Path, **settings: object) -> dict[str, str]:
    """Return the environment of a console over the sandbox, with more settings in lower case."""
    return {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": "k" * 40,
        "PELIQAN_API_URL": api_url,
        "PELIQAN_PARTNER_TOKEN": TOKEN,
        "DASHBOARD_DATA": str(folder),
        "DASHBOARD_INSECURE_COOKIES": "yes",
        "DASHBOARD_LOG_LEVEL": "warning",
        **{name.upper(): str(value) for name, value in settings.items()},
    }


def run_here(
    words: Sequence[str], environ: Mapping[str, str], given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, where everything is loaded already."""
    ended = CliRunner().invoke(main, words, input=given, env=environ, catch_exceptions=False)
    return subprocess.CompletedProcess(list(words), ended.exit_code, ended.stdout, ended.stderr)


class Processes:
    """Processes with one environment, stopped together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self, *command: str, module: str = "dashboard", stderr: int | IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command of the console, or a module with its arguments."""
        words = [sys.executable, "-m", module, *command]
        process = subprocess.Popen(
            words, env=self.environ, stdout=subprocess.DEVNULL, stderr=stderr
        )
        self._running.append(process)
        return process

    @property
    def newest(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        return self._running[-1]

    def serve(self, stderr: IO[bytes] | None = None) -> str:
        """Start the console without a worker; return its address once it responds."""
        port = free_port()
        self.start("serve", "--no-worker", f"--port={port}", stderr=stderr)
        return answering(f"http://127.0.0.1:{port}", "/healthz")

    def end_all(self) -> None:
        """Stop all started processes, the newest first."""
        for process in reversed(self._running):
            end(process)


def answering(url: str, path: str) -> str:
    """Return the address once it responds at this path."""

    def answers() -> bool:
        try:
            return requests.get(url + path, timeout=30).ok
        except (requests.ConnectionError, requests.Timeout):
            return False

    wait_for(answers, f"{url} answers")
    return url
