"""The commands ``serve`` and ``worker``, and the child processes that they start and stop."""

import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from flask import Flask

from dashboard.cli.common import configure_logging, make_app_for_reload, make_current_app
from dashboard.context import Services
from dashboard.telemetry.multiprocess import shared_counts
from dashboard.worker.consumer import run_worker

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

DASHBOARD = [sys.executable, "-m", "dashboard"]
# Browsers open no page on these ports (the Fetch standard's "bad ports", from 1024 on).
_FIRST_REFUSED = (1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566)
REFUSED_BY_BROWSERS = frozenset((*_FIRST_REFUSED, *range(6665, 6670), 6679, 6697, 10080))


@dataclass(frozen=True)
class Server:
    """How the console is served. ``workers``: processes; ``threads``: threads in each."""

    host: str
    port: int
    workers: int = 1
    threads: int = 16
    with_worker: bool = True


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8900, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--threads", default=16, show_default=True, help="Threads in each.")
@click.option("--no-worker", is_flag=True, help="Without the embedded worker: one runs elsewhere.")
def serve(host: str, port: int, workers: int, threads: int, no_worker: bool) -> None:
    """Serve the console by gunicorn, with an embedded worker."""
    from dashboard.cli.gunicorn_server import has_socket

    if not has_socket():
        refuse_used_port(host, port)
    with shared_counts():
        app = make_current_app(pages=True)
        configure_logging(app)
        server = Server(host, port, workers, threads, with_worker=not no_worker)
        run_console(app, server, make_app=make_app_for_reload)


def run_console(
    app: Flask,
    server: Server,
    *,
    environ: dict[str, str] | None = None,
    when_ready: Callable[[], None] = lambda: None,
    make_app: Callable[[], Flask | None] = lambda: None,
) -> None:
    """Serve until interrupted, with the embedded worker as a child that ends with this process.

    ``environ``: the worker's. ``make_app``: makes the app again at SIGHUP, or returns None to keep
    it. A new app gets a new worker; the old worker finishes its running tasks first.
    """
    # Imported here, since a worker needs no gunicorn.
    from dashboard.cli.gunicorn_server import GunicornServer
    from dashboard.http import conf

    children: list[subprocess.Popen[bytes]] = []

    def start_worker() -> None:
        if server.with_worker:
            children.append(start_child("worker", "--exit-with-parent", environ=environ))

    def on_ready(_arbiter: "Arbiter") -> None:
        start_worker()
        when_ready()

    def reload() -> Flask | None:
        made = make_app()
        if made is not None:
            for child in children:
                child.terminate()
            start_worker()
        return made

    def on_exit(_arbiter: "Arbiter") -> None:
        for child in children:
            end(child, conf.graceful_timeout)

    GunicornServer(
        app,
        reload,
        bind=f"{server.host}:{server.port}",
        workers=server.workers,
        threads=server.threads,
        when_ready=on_ready,
        on_exit=on_exit,
    ).run()


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
    """Run a worker: it refreshes the fleet and carries out the queued work."""
    app = make_current_app()
    configure_logging(app)
    parts: Services = app.extensions["services"]
    if metrics_port is not None:
        refuse_used_port(metrics_host, metrics_port)
        # Imported here, since the environment at import decides where metrics are counted.
        from dashboard.telemetry import process_metrics

        disk = process_metrics.Disk(parts.settings.dashboard_data)
        process_metrics.serve(
            metrics_host, metrics_port, parts.settings.dashboard_metrics_token, [disk]
        )
    run_worker(parts, threads, exit_with_parent=exit_with_parent)


def start_child(
    *words: str, environ: dict[str, str] | None = None, **more: Any
) -> subprocess.Popen[bytes]:
    """Start another command of the console as a child process.

    In its own process group, since a terminal sends Ctrl-C to all processes of a group, and only
    the parent should end the child.
    """
    return subprocess.Popen([*DASHBOARD, *words], env=environ, process_group=0, **more)


def end(child: subprocess.Popen[bytes], timeout: float = 10) -> None:
    """Terminate a child process, and kill it after ``timeout`` seconds."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def refuse_used_port(host: str, port: int) -> None:
    """End the command with a message if the port is taken."""
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
    """Return ``first``, or the next free port that browsers open pages on; print another port.

    Raises:
        click.ClickException: none of the next fifty ports is free.
    """
    ports = (
        port for port in range(first, min(first + 50, 65536)) if port not in REFUSED_BY_BROWSERS
    )
    free = next((port for port in ports if _is_free("127.0.0.1", port)), None)
    if free is None:
        raise click.ClickException(f"No port is free from {first} on.")
    if free != first:
        reason = "refused by browsers" if first in REFUSED_BY_BROWSERS else "taken"
        click.echo(f"Port {first} is {reason}; using {free}.")
    return free
