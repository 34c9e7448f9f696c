"""Commands that serve: each binds to loopback unless told otherwise, and ends what it started."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask import Flask

from dashboard.app import Console, create_app, utc_now
from dashboard.cli.shared import begin_telling, close_store, make_current_app, make_current_app_anew, upgrade_schema
from dashboard.data.masks import MasksError
from dashboard.diagnosis.playbook import PlaybookError
from dashboard.sandbox.scenarios import SCENARIOS, listing
from dashboard.settings import read_settings
from dashboard.store import people
from dashboard.telemetry.folder import SHARED, shared_counts, temporary_folder
from dashboard.worker import run_worker

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

DASHBOARD = [sys.executable, "-m", "dashboard"]
SCENARIO = click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    metavar="NAME",
    help="What goes wrong, by name; a bit of everything otherwise.",
    callback=lambda _context, _option, name: name or "",
)
# Browsers open no page on these, whoever listens there (the Fetch standard's "bad ports", from 1024 on).
REFUSED_BY_BROWSERS = frozenset(
    (1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080)
)
LISTED = f"\b\nScenarios:\n{listing()}"


@click.command(epilog=LISTED)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8901, show_default=True)
@click.option("--accounts", default=200, show_default=True, help="How many customers.")
@click.option("--seed", default=1, show_default=True, help="Another seed, another fleet.")
@SCENARIO
@click.option("--latency-ms", default=0.0, show_default=True)
@click.option("--error-rate", default=0.0, show_default=True, help="Share of calls that fail, 0 to 1.")
@click.option("--partner-token", default="sandbox-partner-token", show_default=True)
@click.option("--webhook-url", default="", metavar="URL", help="Where webhooks are posted to.")
@click.option(
    "--webhook-secret",
    default="",
    metavar="SECRET",
    envvar="SANDBOX_WEBHOOK_SECRET",
    show_envvar=True,
    help="What they are signed with.",
)
@click.option(
    "--warehouse-url",
    default="",
    metavar="URL",
    envvar="SANDBOX_WAREHOUSE_URL",
    show_envvar=True,
    help="A PostgreSQL database that answers SQL; SQLite in this process otherwise.",
)
def sandbox(host: str, port: int, latency_ms: float, error_rate: float, **fleet: Any) -> None:
    """The stand-in for Peliqan's API, alone."""
    from dashboard.sandbox.app import create_sandbox
    from dashboard.sandbox.server import serve as serve_sandbox

    try:
        app = create_sandbox(latency_ms=latency_ms, error_rate=error_rate, **fleet)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"Sandbox on http://{host}:{port} with {fleet['accounts']} accounts. Ctrl-C ends it.")
    serve_sandbox(app, host, port)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8900, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--threads", default=16, show_default=True, help="Threads in each.")
@click.option("--no-worker", is_flag=True, help="Without the embedded worker: one runs elsewhere.")
def serve(host: str, port: int, workers: int, threads: int, no_worker: bool) -> None:
    """The console under gunicorn, with an embedded worker."""
    from dashboard.cli.server import has_socket

    if not has_socket():
        refuse_taken_port(host, port)
    with shared_counts():
        app = make_current_app(pages=True)
        begin_telling(app)
        run_console(app, host, port, workers=workers, threads=threads, with_worker=not no_worker, anew=make_current_app_anew)


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
    from dashboard.cli.server import PATIENCE, serve_app

    children: list[subprocess.Popen[bytes]] = []

    def start_worker() -> None:
        if with_worker:
            children.append(subprocess.Popen([*DASHBOARD, "worker", "--exit-with-parent"], env=environ))

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

    serve_app(app, host, port, workers=workers, threads=threads, anew=read_anew, when_ready=ready, on_exit=leave)


@click.command()
@click.option("--threads", default=4, show_default=True)
@click.option("--exit-with-parent", is_flag=True, help="End when the process that started this one is gone.")
@click.option("--metrics-port", type=int, help="Answer /metrics on this port, with what this worker counts.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True)
def worker(threads: int, exit_with_parent: bool, metrics_port: int | None, metrics_host: str) -> None:
    """A worker alone: refreshes the fleet and follows what agents started."""
    app = make_current_app()
    begin_telling(app)
    parts: Console = app.extensions["console"]
    if metrics_port is not None:
        refuse_taken_port(metrics_host, metrics_port)
        # Loaded here, where it is known whether this process counts for itself.
        from dashboard.telemetry import metrics

        metrics.serve(metrics_host, metrics_port, parts.settings.dashboard_metrics_token)
    run_worker(parts, threads, exit_with_parent=exit_with_parent)


@click.command(epilog=LISTED)
@click.option("--port", default=8900, show_default=True, help="The console's port; the next free one where it is taken.")
@click.option("--accounts", default=200, show_default=True)
@SCENARIO
@click.option("--data", type=click.Path(path_type=Path), help="Keep the demo's data in this folder; a temporary one otherwise.")
def demo(port: int, accounts: int, scenario: str, data: Path | None) -> None:
    """Sandbox, console and worker in one go, with three users. Ctrl-C ends all of it."""
    with temporary_folder("console-demo-") as temporary, shared_counts() as counts:
        _run_demo(port, accounts, scenario, data or temporary, counts)


def _run_demo(port: int, accounts: int, scenario: str, folder: Path, counts: str) -> None:
    port = free_port(port)
    sandbox_port = free_port(port + 1)
    environ = {
        **os.environ,
        "SECRET_KEY": secrets.token_hex(32),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "PELIQAN_API_URL": f"http://127.0.0.1:{sandbox_port}",
        "PELIQAN_PARTNER_TOKEN": "sandbox-partner-token",
        "PELIQAN_EMBED_SCRIPT_URL": f"http://127.0.0.1:{sandbox_port}/embed/v1.3/peliqan-integration.js",
        "PELIQAN_WEBHOOK_SECRET": (webhook_secret := secrets.token_hex(16)),
        "SANDBOX_WEBHOOK_SECRET": webhook_secret,
        "DASHBOARD_DATA": str(folder),
        "DASHBOARD_URL": f"http://127.0.0.1:{port}",
        "DASHBOARD_REFRESH_INTERVAL": "60",
        "DASHBOARD_WATCH_INTERVAL": "1",
        "DASHBOARD_API_CONCURRENCY": "8",
        "DASHBOARD_API_RATE": "",
        "DASHBOARD_INSECURE_COOKIES": "yes",
        "DASHBOARD_LOG_LEVEL": "warning",
        SHARED: counts,
    }
    fleet = [
        f"--webhook-url=http://127.0.0.1:{port}/webhooks/peliqan",
        f"--accounts={accounts}",
        *([f"--scenario={scenario}"] if scenario else []),
    ]
    child = subprocess.Popen([*DASHBOARD, "sandbox", f"--port={sandbox_port}", *fleet], env=environ, stdout=subprocess.DEVNULL)
    try:
        app = create_app(read_settings(environ, Path(os.devnull)))
        made = _prepare(app)

        def say() -> None:
            click.echo(f"\n  Partner Console   http://127.0.0.1:{port}\n  Sandbox           http://127.0.0.1:{sandbox_port}\n")
            for email, password in made:
                click.echo(f"  {email:<24} {password}")
            click.echo("\n  The fleet fills within seconds. Ctrl-C ends all of it.")

        run_console(app, "127.0.0.1", port, environ=environ, when_ready=say)
    except (PlaybookError, MasksError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        end(child)


def _prepare(app: Flask) -> list[tuple[str, str]]:
    upgrade_schema(app)
    made = []
    with app.app_context():
        for role in people.ROLES:
            email, password = f"{role}@example.com", f"{role}-{secrets.token_hex(6)}"
            known = people.find_user(email)
            if known is None:
                people.create_user(email, role, password, utc_now())
            else:
                people.set_password(known, password, utc_now())
            made.append((email, password))
    close_store(app)
    return made


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
    ports = (port for port in range(first, min(first + 50, 65536)) if port not in REFUSED_BY_BROWSERS)
    free = next((port for port in ports if _is_free("127.0.0.1", port)), None)
    if free is None:
        raise click.ClickException(f"No port is free from {first} on.")
    if free != first:
        click.echo(f"Port {first} is {'refused by browsers' if first in REFUSED_BY_BROWSERS else 'taken'}; using {free}.")
    return free
