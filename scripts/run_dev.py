"""The console for development: `make run`. It restarts when a file changes.

Werkzeug's reloader runs this file twice. The first process starts the sandbox and prepares the
database in instance/dev, and then only watches the second one. The second process serves the pages
and starts a worker that ends with it, so a change restarts both. Templates need no restart: Jinja
reads them again. Delete instance/dev to start with an empty database.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from werkzeug.serving import run_simple

from dashboard.users import passwords

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dashboard.cli.common import close_store, make_app, upgrade_schema  # noqa: E402
from dashboard.cli.serve import end, free_port, start_child  # noqa: E402
from dashboard.context import utc_now  # noqa: E402
from dashboard.users import service as users  # noqa: E402

FOLDER = ROOT / "instance" / "dev"
# Set by Werkzeug in the second process.
IS_SERVING = os.environ.get("WERKZEUG_RUN_MAIN") == "true"


def settings(port: int, sandbox_port: int) -> dict[str, str]:
    """Return the environment with the sandbox as Peliqan and a SQLite database of its own."""
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    return {
        **os.environ,
        "SECRET_KEY": _kept_key(),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "PELIQAN_API_URL": sandbox,
        "PELIQAN_PARTNER_TOKEN": "sandbox-partner-token",
        "PELIQAN_EMBED_SCRIPT_URL": f"{sandbox}/embed/v1.3/peliqan-integration.js",
        "DASHBOARD_DATA": str(FOLDER),
        "DASHBOARD_URL": f"http://127.0.0.1:{port}",
        "DASHBOARD_REFRESH_INTERVAL": "60",
        "DASHBOARD_WATCH_INTERVAL": "1",
        "DASHBOARD_INSECURE_COOKIES": "yes",
        "DASHBOARD_LOG_LEVEL": "warning",
    }


def _kept_key() -> str:
    """Return the same key at each start, so that sessions outlive a restart."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = FOLDER / "secret-key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()


def prepare(port: int) -> None:
    """Create or upgrade the database, give each role's user a new password, and print both."""
    app = make_app()
    upgrade_schema(app)
    click.echo(f"\n  Partner Console   http://127.0.0.1:{port}")
    click.echo(f"  Sandbox           {os.environ['PELIQAN_API_URL']}\n")
    with app.app_context():
        for role in users.ROLES:
            email, password = f"{role}@example.com", f"{role}-{secrets.token_hex(4)}"
            user = users.find_user(email)
            if user is None:
                users.create_user(email, role, password, utc_now())
            else:
                passwords.set_password(user, password, utc_now())
            click.echo(f"  {email:<24} {password}")
    close_store(app)
    click.echo("\n  Restarts when a file changes. Ctrl-C ends everything.\n")


def watched_files() -> Iterator[str]:
    """Yield files that are read once at start; Werkzeug watches the modules."""
    for pattern in ("static/*.*", "playbook/*.md", "messages/*.txt", "masks.ini"):
        yield from map(str, ROOT.glob(pattern))


@click.command()
@click.option(
    "--port", default=8900, show_default=True, help="The console's port, or the next free one."
)
@click.option(
    "--accounts", default=50, show_default=True, help="How many customers the sandbox has."
)
@click.option("--scenario", default="", help="What goes wrong: see dashboard sandbox --help.")
def main(port: int, accounts: int, scenario: str) -> None:
    """Serve the console, a worker and the sandbox until Ctrl-C."""
    # As Ctrl-C: what was started here ends, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sandbox: subprocess.Popen[bytes] | None = None
    worker: subprocess.Popen[bytes] | None = None
    if IS_SERVING:
        port = int(os.environ["RUN_DEV_PORT"])
        worker = start_child("worker", "--exit-with-parent")
    else:
        port = free_port(port)
        sandbox_port = free_port(port + 1)
        os.environ.update(settings(port, sandbox_port), RUN_DEV_PORT=str(port))
        chosen = [f"--scenario={scenario}"] if scenario else []
        sandbox = start_child(
            "sandbox", f"--port={sandbox_port}", f"--accounts={accounts}", *chosen,
            f"--webhook-url=http://127.0.0.1:{port}/webhooks/peliqan", stdout=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        if not IS_SERVING:
            prepare(port)
        app = make_app(pages=True)
        app.jinja_env.auto_reload = True
        run_simple(
            "127.0.0.1", port, app, use_reloader=True, threaded=True, extra_files=watched_files()
        )
    finally:
        if worker is not None:
            # Not waited for: it finishes its tasks beside the next worker.
            worker.terminate()
        if sandbox is not None:
            end(sandbox)


if __name__ == "__main__":
    main()
