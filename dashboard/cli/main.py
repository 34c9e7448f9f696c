"""The group of commands. Each reads the settings only when it runs, so that ``--help`` needs none."""

import sys
from importlib.util import find_spec

import click

from dashboard.cli import checking, keeping, pulling, reporting, serving, upkeep
from dashboard.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
if find_spec("dashboard.sandbox"):
    # Where a partner's console runs, it need not be installed.
    from dashboard.cli import trying

    main.add_command(trying.demo)
    main.add_command(trying.sandbox)

if __name__ == "__main__":
    sys.exit(main())
