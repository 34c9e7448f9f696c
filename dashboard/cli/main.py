"""The ``dashboard`` command. Subcommands read the settings; ``--help`` needs none."""

import errno
import sqlite3
import sys
from importlib.util import find_spec
from typing import Any

import click
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.cli import backup, check, db, identity_providers, pull, refresh, report, serve, users
from dashboard.cli.store_checks import own_words
from dashboard.version import VERSION

# Errors of a full, read-only or inaccessible disk; Python's search for a temporary folder reports
# ENOENT for each of them.
DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
}


class Commands(click.Group):
    """Commands that end with a message and exit code 1 if database, queue or disk fail."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command.

        Raises:
            ClickException: a database, a queue or a file cannot be used.
        """
        try:
            return super().invoke(ctx)
        except SQLAlchemyError as error:
            raise click.ClickException(
                f"The database cannot be used ({own_words(error)}): run dashboard check."
            ) from None
        except (RedisError, sqlite3.Error) as error:
            raise click.ClickException(
                f"The work queue cannot be used ({own_words(error)}): run dashboard check."
            ) from None
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            file = f"{error.filename} " if error.filename else ""
            raise click.ClickException(
                f"A file cannot be used ({file}{error.strerror}):"
                " make room, or give it to this user."
            ) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def main() -> None:
    """Partner Console: every customer's data connections, why one is broken, and how to fix it."""


for command in (
    serve.serve,
    serve.worker,
    refresh.refresh,
    users.users,
    db.database,
    check.check,
    backup.backup,
    backup.restore,
    report.report,
    pull.pull,
):
    main.add_command(command)
for command in (identity_providers.hand_over, identity_providers.move_issuer):
    users.users.add_command(command)
if find_spec("dashboard.sandbox"):
    # The sandbox is not installed in production.
    from dashboard.cli import demo

    main.add_command(demo.demo)
    main.add_command(demo.sandbox)

if __name__ == "__main__":
    sys.exit(main())
