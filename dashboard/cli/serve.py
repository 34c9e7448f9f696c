"""Commands that serve: each binds to loopback unless told otherwise, and ends what it started."""

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from flask import Flask

from dashboard.cli.common import configure_logging, make_current_app, make_current_app_anew
from dashboard.context import Services
from dashboard.telemetry.multiprocess import shared_counts
from dashboard.worker.consumer import run_worker

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

DASHBOARD = [sys.executable, "-m", "dashboard"]
# Browsers open no page on these, whoever listens there (the Fetch standard's "bad ports", from 1024 on).
REFUSED_BY_BROWSERS = frozenset(
    (
        1719,
        1720,
        1723,
        2049,
        3659,
        4045,
        4190,
        5060,
        5061,
        6000,
        6566,
        *range(6665, 6670),
        6679,
        6697,
        10080,
    )
)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8900, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--threads", default=16, show_default=True, help="Threads in each.")
@click.option("--no-worker", is_flag=True, help="Without the embedded worker: one runs elsewhere.")
def serve(host: str, port: int, workers: int, threads: int, no_worker: bool) -> None:
    """The console under gunicorn, with an embedded worker."""
    from dashboard.cli.gunicorn_server import has_socket

    if not has_socket():
        refuse_taken_port(host, port)
    with shared_counts():
        app = make_current_app(pages=True)
        configure_logging(app)
        run_console(
            app,
            host,
            port,
            workers=workers,
            threads=threads,
            with_worker=not no_worker,
            anew=make_current_app_anew,
        )


def run_console(
    app: Flask,
    host: str,
    port: int,
    *,
    workers: int = 1,
    threads: int = 16,
    with_worker: bool = True,
    environ: dict[str, str] | None = None,
    when_ready: Callable[[], None] = lambda: None,
    anew: Callable[[], Flask | None] = lambda: None,
) -> None:
    """Serve until interrupted; the embedded worker is a child that ends with this process. ``environ`` is the worker's.

    ``anew``: the app as the settings are now, at SIGHUP. The worker is another one then; the old one ends what it has in hand.
    """
    # Loaded here: a worker needs no gunicorn.
    from dashboard.cli.gunicorn_server import PATIENCE, serve_app

    children: list[subprocess.Popen[bytes]] = []

    def start_worker() -> None:
        if with_worker:
            children.append(start_child("worker", "--exit-with-parent", environ=environ))

    def ready(_server: "Arbiter") -> None:
        start_worker()
        when_ready()

    def read_anew() -> Flask | None:
        made = anew()
        if made is not None:
            for child in children:
                child.terminate()
            start_worker()
        return made

    def leave(_server: "Arbiter") -> None:
        for child in children:
            end(child, PATIENCE)

    serve_app(
        app,
        host,
        port,
        workers=workers,
        threads=threads,
        anew=read_anew,
        when_ready=ready,
        on_exit=leave,
    )


@click.command()
@click.option("--threads", default=4, show_default=True)
@click.option(
    "--exit-with-parent", is_flag=True, help="End when the process that started this one is gone."
)
@click.option(
    "--metrics-port", type=int, help="Answer /metrics on this port, with what this worker counts."
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True)
def worker(
    threads: int, exit_with_parent: bool, metrics_port: int | None, metrics_host: str
) -> None:
    """A worker alone: refreshes the fleet and follows what agents started."""
    app = make_current_app()
    configure_logging(app)
    parts: Services = app.extensions["services"]
    if metrics_port is not None:
        refuse_taken_port(metrics_host, metrics_port)
        # Loaded here, where it is known whether this process counts for itself.
        from dashboard.telemetry import metrics

        disk = metrics.Disk(parts.settings.dashboard_data)
        metrics.serve(metrics_host, metrics_port, parts.settings.dashboard_metrics_token, [disk])
    run_worker(parts, threads, exit_with_parent=exit_with_parent)


def start_child(
    *words: str, environ: dict[str, str] | None = None, **more: Any
) -> subprocess.Popen[bytes]:
    """Start another command of the console, which this process ends.

    In a process group of its own: a terminal sends Ctrl-C to all of a group, and the child ends when its parent says so.
    """
    return subprocess.Popen([*DASHBOARD, *words], env=environ, process_group=0, **more)


def end(child: subprocess.Popen[bytes], patience: float = 10) -> None:
    """Ask a process that was started here to end, and insist after so many seconds."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def refuse_taken_port(host: str, port: int) -> None:
    """End with one sentence where the port is taken."""
    if not _is_free(host, port):
        raise click.ClickException(f"Port {port} on {host} is taken. Choose another with --port.")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(first: int) -> int:
    """``first``, or the next port of this machine that is free and that browsers open pages on; says so where it is another.

    Raises:
        click.ClickException: none of the next fifty is.
    """
    ports = (
        port for port in range(first, min(first + 50, 65536)) if port not in REFUSED_BY_BROWSERS
    )
    free = next((port for port in ports if _is_free("127.0.0.1", port)), None)
    if free is None:
        raise click.ClickException(f"No port is free from {first} on.")
    if free != first:
        click.echo(
            f"Port {first} is {'refused by browsers' if first in REFUSED_BY_BROWSERS else 'taken'}; using {free}."
        )
    return free
