"""A running `dashboard demo`."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from dashboard.sandbox.runs import EPOCH

START_WITHIN = 120.0
Enter = Callable[[Page, str], None]


@dataclass(frozen=True)
class Demo:
    """A running demo: its addresses, its passwords by role, its process."""

    url: str
    sandbox: str
    passwords: dict[str, str]
    process: subprocess.Popen[str]
    started_in: float


def is_quiet(life: Any, connection: Any) -> bool:
    """Return whether no scheduled run runs or starts within five minutes.

    The sandbox's schedules use the real time.
    """
    into = ((life.clock() - EPOCH).total_seconds() - connection.phase) % connection.interval
    return bool(connection.seconds < into < connection.interval - 300)


def start_demo(folder: Path, port: int) -> Demo:
    """Start ``dashboard demo`` and read its output."""
    started_at = time.monotonic()
    command = [
        sys.executable,
        "-u",
        "-m",
        "dashboard",
        "demo",
        f"--port={port}",
        "--accounts=200",
        f"--data={folder}",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    printed = ""
    assert process.stdout is not None
    while "Ctrl-C ends" not in printed:
        line = process.stdout.readline()
        assert line, f"the demo ended: {printed}"
        assert time.monotonic() - started_at < START_WITHIN, printed
        printed += line
    url, sandbox = re.findall(r"http://127\.0\.0\.1:\d+", printed)
    return Demo(
        url,
        sandbox,
        dict(re.findall(r"(\w+)@example\.com +(\S+)", printed)),
        process,
        time.monotonic() - started_at,
    )


def end_demo(demo: Demo) -> None:
    """Stop the demo as Ctrl-C does."""
    if demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)
    demo.process.wait(60)
