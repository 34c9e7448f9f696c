"""The command ``report``: what changed, as text, Markdown or HTML."""

import re
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

import click

from dashboard.cli.common import make_current_app
from dashboard.context import Services
from dashboard.reports.since import queries as since_report

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_SPAN = re.compile(r"(\d{1,6})([mhd])", re.ASCII)
_WEB_ADDRESS = re.compile(r"https?://[^\s/]+")
TEMPLATES = {"text": "report.txt", "markdown": "report.md", "html": "report.html"}


class Duration(click.ParamType[timedelta]):
    """A command-line duration: 90m, 24h, 7d."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse minutes, hours or days, at least one."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(
                f"“{str(value)[:40]}” is no length of time. Write 90m, 24h or 7d.", param, ctx
            )
        length = int(found[1]) * UNITS[found[2]]
        if not length:
            self.fail("Nothing changes in no time: ask for a minute or more.", param, ctx)
        return length


class Zone(click.ParamType[ZoneInfo]):
    """A command-line time zone, by its name."""

    name = "zone"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ZoneInfo:
        """Return the time zone if it exists."""
        if isinstance(value, ZoneInfo):
            return value
        if str(value) not in available_timezones():
            self.fail(
                f"“{str(value)[:40]}” is no time zone: write it as Europe/Brussels or UTC.",
                param,
                ctx,
            )
        return ZoneInfo(str(value))


@click.command()
@click.option(
    "--since", type=Duration(), default="24h", show_default=True, help="How far back: 90m, 24h, 7d."
)
@click.option(
    "--format", "form", type=click.Choice(list(TEMPLATES)), default="text", show_default=True
)
@click.option(
    "--zone", type=Zone(), default="UTC", show_default=True, help="Time zone of the times in it."
)
@click.option(
    "--url",
    default="",
    help="The console's address, for links that open it; DASHBOARD_URL by default.",
)
def report(since: timedelta, form: str, zone: ZoneInfo, url: str) -> None:
    """Report what is wrong, what changed since then, and how much is known."""
    # Imported here, since its metrics read the environment when they are imported.
    from dashboard.reports.since import views as reports

    app = make_current_app(pages=True)
    current: Services = app.extensions["services"]
    history_days = current.settings.dashboard_keep_history_days
    if since > timedelta(days=history_days):
        raise click.BadParameter(
            f"History goes back {history_days} days (DASHBOARD_KEEP_HISTORY_DAYS).",
            param_hint="--since",
        )
    if url and not _WEB_ADDRESS.match(url):
        raise click.BadParameter("It must begin with https:// or http://.", param_hint="--url")
    url = url or current.settings.dashboard_url or ""
    routes = app.url_map.bind("localhost")

    def address(endpoint: str, number: int) -> str:
        return url.rstrip("/") + routes.build(endpoint, reports.numbers(endpoint, number))

    with app.app_context():
        at = current.clock()
        found = since_report.read(at - since, at)
        click.echo(reports.write(app.jinja_env, TEMPLATES[form], found, zone, address), nl=False)
