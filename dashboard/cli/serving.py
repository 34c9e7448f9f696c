"""Commands that serve: each binds to loopback unless told otherwise, and ends what it started."""

import gc
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from dashboard.app import create_app, utc_now
from dashboard.cli.shared import close_store, make_current_app, upgrade_schema
from dashboard.data.masks import MasksError
from dashboard.diagnosis.playbook import PlaybookError
from dashboard.sandbox.scenarios import SCENARIOS, listing
from dashboard.settings import read_settings
from dashboard.store import people
from dashboard.worker import run_worker

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
    refuse_taken_port(host, port)
    run_console(make_current_app(), host, port, workers=workers, threads=threads, with_worker=not no_worker)


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
) -> None:
    """Serve until interrupted; the embedded worker is a child that ends with this process. ``environ`` is the worker's."""
    children: list[subprocess.Popen[bytes]] = []

    def ready(_server: Arbiter) -> None:
        if with_worker:
            children.append(subprocess.Popen([*DASHBOARD, "worker", "--exit-with-parent"], env=environ))
        when_ready()

    def leave(_server: Arbiter) -> None:
        for child in children:
            end(child)

    serve_app(app, host, port, workers=workers, threads=threads, when_ready=ready, on_exit=leave)


def serve_app(app: Flask, host: str, port: int, *, workers: int = 1, threads: int = 16, **hooks: Any) -> None:
    """An app under gunicorn, in threads. ``hooks``: gunicorn's server hooks."""
    options = {
        "bind": f"{host}:{port}",
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "loglevel": "warning",
        "keepalive": 30,
        # The boxes ticked on a whole page of a list stand in the address.
        "limit_request_line": 8190,
        "graceful_timeout": 5,
        "control_socket_disable": True,
        **hooks,
    }
    # What was loaded stays: to look through all of it for garbage again and again is a quarter of a page of two thousand cells.
    gc.freeze()
    _Server(app, options).run()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, app: Any, options: dict[str, Any]) -> None:
        self.app, self.options = app, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self.app


@click.command()
@click.option("--threads", default=4, show_default=True)
@click.option("--exit-with-parent", is_flag=True, help="End when the process that started this one is gone.")
def worker(threads: int, exit_with_parent: bool) -> None:
    """A worker alone: refreshes the fleet and follows what agents started."""
    run_worker(make_current_app().extensions["console"], threads, exit_with_parent=exit_with_parent)


@click.command(epilog=LISTED)
@click.option("--port", default=8900, show_default=True, help="The console's port; the next free one where it is taken.")
@click.option("--accounts", default=200, show_default=True)
@SCENARIO
@click.option("--data", type=click.Path(path_type=Path), help="Keep the demo's data in this folder; a temporary one otherwise.")
def demo(port: int, accounts: int, scenario: str, data: Path | None) -> None:
    """Sandbox, console and worker in one go, with three users. Ctrl-C ends all of it."""
    with tempfile.TemporaryDirectory(prefix="console-demo-") as temporary:
        _run_demo(port, accounts, scenario, data or Path(temporary))


def _run_demo(port: int, accounts: int, scenario: str, folder: Path) -> None:
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


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a process that was started here to end, and insist after ten seconds."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(10)
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
