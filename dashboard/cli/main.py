"""The group of commands. Each reads the settings only when it runs, so that ``--help`` needs none."""

import errno
import sqlite3
import sys
from importlib.util import find_spec
from typing import Any

import click
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from dashboard.cli import backup as keeping
from dashboard.cli import check as checking
from dashboard.cli import identities
from dashboard.cli import manage as upkeep
from dashboard.cli import pull as pulling
from dashboard.cli import report as reporting
from dashboard.cli import serve as serving
from dashboard.cli.common import own_words
from dashboard.version import VERSION

# What a full, read-only or foreign disk answers; Python's search for a temporary folder says ENOENT of all of them.
OF_THE_DISK = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
}


class Commands(click.Group):
    """A group whose commands end with one sentence, and exit code 1, where database, queue or disk cannot be used."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named.

        Raises:
            ClickException: a database, a queue or a file cannot be used, as it says.
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
            if error.errno not in OF_THE_DISK:
                raise
            file = f"{error.filename} " if error.filename else ""
            raise click.ClickException(
                f"A file cannot be used ({file}{error.strerror}): make room, or give it to this user."
            ) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION)
def main() -> None:
    """Partner Console: every customer's data connections, why one is broken, and the button that fixes it."""


for command in (
    serving.serve,
    serving.worker,
    upkeep.refresh,
    upkeep.users,
    upkeep.database,
    checking.check,
    keeping.backup,
    keeping.restore,
    reporting.report,
    pulling.pull,
):
    main.add_command(command)
for command in (identities.hand_over, identities.move_issuer):
    upkeep.users.add_command(command)
if find_spec("dashboard.sandbox"):
    # Where a partner's console runs, it need not be installed.
    from dashboard.cli import demo

    main.add_command(demo.demo)
    main.add_command(demo.sandbox)

if __name__ == "__main__":
    sys.exit(main())
