"""Commands that serve: each binds to loopback unless told otherwise, and ends what it started."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click
import requests
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from dashboard.app import create_app, utc_now
from dashboard.cli.shared import make_current_app, upgrade_schema
from dashboard.settings import Settings, read_settings
from dashboard.store import people
from dashboard.worker import run_worker

DASHBOARD = [sys.executable, "-m", "dashboard"]
STARTS_WITHIN = 20.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8901, show_default=True)
@click.option("--accounts", default=200, show_default=True, help="How many customers.")
@click.option("--seed", default=1, show_default=True, help="Another seed, another fleet.")
@click.option("--latency-ms", default=0.0, show_default=True)
@click.option("--error-rate", default=0.0, show_default=True, help="Share of calls that fail, 0 to 1.")
@click.option("--partner-token", default="sandbox-partner-token", show_default=True)
def sandbox(host: str, port: int, accounts: int, seed: int, latency_ms: float, error_rate: float, partner_token: str) -> None:
    """The stand-in for Peliqan's API, alone."""
    from dashboard.sandbox.app import create_sandbox
    from dashboard.sandbox.server import serve as serve_sandbox

    click.echo(f"Sandbox on http://{host}:{port} with {accounts} accounts. Ctrl-C ends it.")
    serve_sandbox(create_sandbox(accounts, seed, partner_token, latency_ms, error_rate), host, port)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8900, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--threads", default=16, show_default=True, help="Threads in each.")
@click.option("--no-worker", is_flag=True, help="Without the embedded worker: one runs elsewhere.")
def serve(host: str, port: int, workers: int, threads: int, no_worker: bool) -> None:
    """The console under gunicorn, with an embedded worker."""
    refuse_taken_port(host, port)
    app = make_current_app()
    children: list[subprocess.Popen[bytes]] = []

    def start_worker(_server: Arbiter) -> None:
        if not no_worker:
            children.append(subprocess.Popen([*DASHBOARD, "worker", "--exit-with-parent"]))

    def end_worker(_server: Arbiter) -> None:
        for child in children:
            end(child)

    options = {
        "bind": f"{host}:{port}",
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "loglevel": "warning",
        "keepalive": 30,
        "graceful_timeout": 5,
        "control_socket_disable": True,
        "when_ready": start_worker,
        "on_exit": end_worker,
    }
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


@click.command()
@click.option("--port", default=8900, show_default=True, help="The console's port; the next free one where it is taken.")
@click.option("--accounts", default=200, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), help="Keep the demo's data in this folder; a temporary one otherwise.")
def demo(port: int, accounts: int, data: Path | None) -> None:
    """Sandbox, console and worker in one go, with three users. Ctrl-C ends all of it."""
    with tempfile.TemporaryDirectory(prefix="console-demo-") as temporary:
        _run_demo(port, accounts, data or Path(temporary))


def _run_demo(port: int, accounts: int, folder: Path) -> None:
    port, sandbox_port = _free_port(port), _free_port(port + 1)
    address = f"http://127.0.0.1:{port}"
    environ = {
        **os.environ,
        "SECRET_KEY": secrets.token_hex(32),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "PELIQAN_API_URL": f"http://127.0.0.1:{sandbox_port}",
        "PELIQAN_PARTNER_TOKEN": "sandbox-partner-token",
        "PELIQAN_EMBED_SCRIPT_URL": f"http://127.0.0.1:{sandbox_port}/embed/v1.3/peliqan-integration.js",
        "DASHBOARD_DATA": str(folder),
        "DASHBOARD_REFRESH_INTERVAL": "60",
        "DASHBOARD_WATCH_INTERVAL": "1",
        "DASHBOARD_API_CONCURRENCY": "8",
        "DASHBOARD_INSECURE_COOKIES": "yes",
    }
    signal.signal(signal.SIGTERM, _interrupt)
    children = [
        subprocess.Popen(
            [*DASHBOARD, "sandbox", f"--port={sandbox_port}", f"--accounts={accounts}"], env=environ, stdout=subprocess.DEVNULL
        )
    ]
    try:
        people_made = _prepare(read_settings(environ, Path("/nonexistent")))
        children.append(subprocess.Popen([*DASHBOARD, "serve", f"--port={port}"], env=environ, stdout=subprocess.DEVNULL))
        _wait_for(f"{address}/readyz", children)
        click.echo(f"\n  Partner Console   {address}\n  Sandbox           http://127.0.0.1:{sandbox_port}\n")
        for email, password in people_made:
            click.echo(f"  {email:<24} {password}")
        click.echo("\n  The fleet fills within seconds. Ctrl-C ends all of it.")
        while all(child.poll() is None for child in children):
            time.sleep(0.3)
        click.echo("One of the processes ended by itself; the demo ends with it.", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("")
    finally:
        # Ctrl-C in a terminal reached the children as well; a second signal to gunicorn would cut its orderly end short.
        for child in reversed(children):
            end(child)


def _prepare(settings: Settings) -> list[tuple[str, str]]:
    app = create_app(settings)
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
    return made


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_for(url: str, children: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            pass
        if any(child.poll() is not None for child in children):
            break
        time.sleep(0.05)
    raise click.ClickException("The console did not start; its own message is above.")


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


def _free_port(first: int) -> int:
    free = next((port for port in range(first, min(first + 50, 65536)) if _is_free("127.0.0.1", port)), None)
    if free is None:
        raise click.ClickException(f"No port is free from {first} on.")
    if free != first:
        click.echo(f"Port {first} is taken; using {free}.")
    return free
