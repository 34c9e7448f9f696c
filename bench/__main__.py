"""Measures everything, prints a line as soon as it is known."""

import click

from bench import pages
from tests.engines import run_servers

with run_servers() as servers:
    for figure in pages.measure(servers):
        click.echo(" | ".join(figure.cells))
