"""The commands ``demo`` and ``sandbox``, to try the console without Peliqan.

They are not part of the container.
"""

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import click
from flask import Flask

from dashboard.app import create_app
from dashboard.cli.common import close_store, upgrade_schema
from dashboard.cli.serve import Server, end, free_port, run_console, start_child
from dashboard.context import utc_now
from dashboard.findings.playbook import PlaybookError
from dashboard.masking.rule_file import MasksError
from dashboard.sandbox.scenarios import SCENARIOS, listing
from dashboard.settings import read_settings
from dashboard.telemetry.multiprocess import SHARED, shared_counts, temporary_folder
from dashboard.users import passwords
from dashboard.users import service as users

SCENARIO = click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    metavar="NAME",
    help="What goes wrong, by name; a bit of everything otherwise.",
    callback=lambda _context, _option, name: name or "",
)
LISTED = f"\b\nScenarios:\n{listing()}"


@click.command(epilog=LISTED)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8901, show_default=True)
@click.option("--accounts", default=200, show_default=True, help="How many customers.")
@click.option("--seed", default=1, show_default=True, help="Another seed, another fleet.")
@SCENARIO
@click.option("--latency-ms", default=0.0, show_default=True)
@click.option(
    "--error-rate", default=0.0, show_default=True, help="Share of calls that fail, 0 to 1."
)
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
    """Run the sandbox only: a replacement for Peliqan's API."""
    from dashboard.sandbox.app import create_sandbox
    from dashboard.sandbox.server import serve as serve_sandbox

    try:
        app = create_sandbox(latency_ms=latency_ms, error_rate=error_rate, **fleet)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(
        f"Sandbox on http://{host}:{port} with {fleet['accounts']} accounts. Ctrl-C ends it."
    )
    serve_sandbox(app, host, port)


@click.command(epilog=LISTED)
@click.option(
    "--port",
    default=8900,
    show_default=True,
    help="The console's port; the next free one where it is taken.",
)
@click.option("--accounts", default=200, show_default=True)
@SCENARIO
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Keep the demo's data in this folder; a temporary one otherwise.",
)
def demo(port: int, accounts: int, scenario: str, data: Path | None) -> None:
    """Run sandbox, console and worker together, with three users. Ctrl-C ends all."""
    with temporary_folder("console-demo-") as temporary, shared_counts() as counts:
        _run_demo(port, accounts, scenario, data or temporary, counts)


def _environ(port: int, sandbox_port: int, folder: Path, counts: str) -> dict[str, str]:
    sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    webhook_secret = secrets.token_hex(16)
    return {
        **os.environ,
        "SECRET_KEY": secrets.token_hex(32),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "PELIQAN_API_URL": sandbox_url,
        "PELIQAN_PARTNER_TOKEN": "sandbox-partner-token",
        "PELIQAN_EMBED_SCRIPT_URL": f"{sandbox_url}/embed/v1.3/peliqan-integration.js",
        "PELIQAN_WEBHOOK_SECRET": webhook_secret,
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


def _run_demo(port: int, accounts: int, scenario: str, folder: Path, counts: str) -> None:
    port = free_port(port)
    sandbox_port = free_port(port + 1)
    environ = _environ(port, sandbox_port, folder, counts)
    fleet = [
        f"--webhook-url=http://127.0.0.1:{port}/webhooks/peliqan",
        f"--accounts={accounts}",
        *([f"--scenario={scenario}"] if scenario else []),
    ]
    child = start_child(
        "sandbox", f"--port={sandbox_port}", *fleet, environ=environ, stdout=subprocess.DEVNULL
    )
    try:
        app = create_app(read_settings(environ, Path(os.devnull)))
        sign_ins = _prepare(app)

        def print_addresses() -> None:
            click.echo(f"\n  Partner Console   http://127.0.0.1:{port}")
            click.echo(f"  Sandbox           http://127.0.0.1:{sandbox_port}\n")
            for email, password in sign_ins:
                click.echo(f"  {email:<24} {password}")
            click.echo("\n  The fleet fills within seconds. Ctrl-C ends all of it.")

        server = Server("127.0.0.1", port)
        run_console(app, server, environ=environ, when_ready=print_addresses)
    except (PlaybookError, MasksError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        end(child)


def _prepare(app: Flask) -> list[tuple[str, str]]:
    """Create the schema and a user for each role; return addresses and new passwords. Commits."""
    upgrade_schema(app)
    sign_ins = []
    with app.app_context():
        for role in users.ROLES:
            email, password = f"{role}@example.com", f"{role}-{secrets.token_hex(6)}"
            known = users.find_user(email)
            if known is None:
                users.create_user(email, role, password, utc_now())
            else:
                passwords.set_password(known, password, utc_now())
            sign_ins.append((email, password))
    close_store(app)
    return sign_ins
