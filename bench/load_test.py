"""Fifty users for five minutes on 100,000 connections, with and without Peliqan."""

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.fake_api import fake_api
from bench.fleet import evaluate_findings, fill
from bench.memory import sampled
from bench.passes import LATENCY
from bench.report import Figure
from bench.served import sign_in, site
from dashboard.refresh import passes
from tests.support.databases import Servers, free_port
from tests.support.processes import answering

VERSION: Final = "2.47.0"
AGENTS, SECONDS, CONNECTIONS = 50, 300, 100_000
ACCOUNTS: Final = CONNECTIONS // 4
# From this share of the run on, everything is loaded and every thread has worked.
SETTLED: Final = 0.2


@dataclass(frozen=True)
class Visit:
    """The figures of one Locust run.

    Times in milliseconds; ``held`` is the memory at the end, ``grown`` its growth after the
    warm-up, both in MB.
    """

    p50: float
    p95: float
    requests: int
    failures: int
    grown: float
    held: float


def measure(servers: Servers) -> Iterator[Figure]:
    """Measure on PostgreSQL, with two web processes and a worker."""
    with tempfile.TemporaryDirectory(prefix="locust-") as folder:
        locust = _install(Path(folder) / "venv")
        with fake_api(ACCOUNTS) as api, site(servers, api.url, dashboard_log_level="error") as made:
            fill(made.app, CONNECTIONS)
            evaluate_findings(made.app)
            api.turn(latency_ms=LATENCY * 1000)
            with made.app.app_context():
                # This refresh outlasts the run: as in production, accounts are read all the time.
                passes.start_or_join(datetime.now(UTC))
            port = free_port()
            process = made.start("serve", f"--port={port}", "--workers=2")
            url = answering(f"http://127.0.0.1:{port}", "/healthz")
            cookie = "; ".join(f"{each.name}={each.value}" for each in sign_in(url).cookies)
            usual = _visit(locust, url, cookie, process.pid)
            yield from _figures("", usual)
            api.fail_all()
            without = _visit(locust, url, cookie, process.pid)
            yield from _figures(", without Peliqan", without)
            detail = f"{without.p95:.0f} ms, normally {usual.p95:.0f} ms"
            yield Figure(
                7,
                "p95 without Peliqan, compared with normal",
                without.p95 / usual.p95,
                most=1.5,
                detail=detail,
            )


def _figures(when: str, seen: Visit) -> Iterator[Figure]:
    what = f"{AGENTS} agents, {SECONDS} s, {CONNECTIONS:,} connections{when}"
    yield Figure(7, f"{what}: errors", seen.failures, most=0, detail=f"{seen.requests:,} requests")
    yield Figure(7, f"{what}: p95 (ms)", seen.p95, detail=f"p50 {seen.p50:.0f} ms")
    yield Figure(
        7,
        f"{what}: memory (MB more)",
        seen.grown,
        most=20,
        detail=f"{seen.held:.0f} MB of web processes and worker",
    )


def _visit(locust: Path, url: str, cookie: str, pid: int) -> Visit:
    with tempfile.TemporaryDirectory(prefix="agents-") as folder:
        prefix = Path(folder) / "seen"
        words = [
            "--headless",
            f"--users={AGENTS}",
            "--spawn-rate=10",
            f"--run-time={SECONDS}s",
            f"--host={url}",
            f"--csv={prefix}",
        ]
        environ = {**os.environ, "COOKIE": cookie, "ACCOUNTS": str(ACCOUNTS)}
        environ.pop("PYTHONPATH", None)
        file = Path(__file__).with_name("agents.py")
        with sampled(pid, 1) as held:
            # Locust exits with an error after failed requests; those are counted below.
            subprocess.run(
                [locust, "-f", file, *words, "--only-summary"],
                env=environ,
                capture_output=True,
                timeout=2 * SECONDS + 60,
            )
        with prefix.with_name("seen_stats.csv").open() as lines:
            total = next(line for line in csv.DictReader(lines) if line["Name"] == "Aggregated")
    settled = held[int(len(held) * SETTLED)]
    return Visit(
        float(total["50%"]),
        float(total["95%"]),
        int(total["Request Count"]),
        int(total["Failure Count"]),
        held[-1] - settled,
        held[-1],
    )


def _install(folder: Path) -> Path:
    """Install Locust into a virtual environment of its own; return its program."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [
        str(folder / "bin" / "pip"),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"locust=={VERSION}",
    ]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    return folder / "bin" / "locust"
