"""Write docs/configuration.md from `Settings` (dashboard/settings.py): `make docs`."""

import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dashboard.settings import PATH_PREFIX, Settings  # noqa: E402

PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

<!-- `make docs` writes this page from dashboard/settings.py. Do not edit it. -->

The console reads its settings from the environment. It also reads a file `.env` in the working
directory; a variable of the environment overrides the same name there. The console starts only with
valid settings: it names all wrong and missing settings in one message and ends with exit code 2.

`dashboard check` prints each setting that differs from its default. Of a secret it says that it
is set. An unknown name `DASHBOARD_…` or `PELIQAN_PATH_…` stops nothing: `serve` and `worker` log a
warning, and `dashboard check` reports it.

Some further variables are read from the environment alone, not from `.env`: `SENTRY_DSN`,
`SENTRY_ENVIRONMENT` and `SENTRY_RELEASE`, and OpenTelemetry's `OTEL_…`
([operations.md](operations.md#the-log)).
"""
SECTIONS = {
    "Required": ("secret_key", "peliqan_partner_token"),
    "Storage and queue": (
        "database_url", "redis_url", "dashboard_data", "dashboard_keep_history_days",
    ),
    "Peliqan's API": ("peliqan_", "dashboard_api_", "dashboard_refresh_", "dashboard_watch_"),
    "Address and proxies": (
        "dashboard_url", "dashboard_widget_origin", "dashboard_proxies",
        "dashboard_insecure_cookies",
    ),
    "Sign-in": ("dashboard_oidc_", "dashboard_second_factor_roles"),
    "Thresholds of findings": (
        "dashboard_late_", "dashboard_dark_", "dashboard_stuck_", "dashboard_consent_",
        "dashboard_platform_",
    ),
    "Rights and limits": ("dashboard_export_role", "dashboard_bulk_", "dashboard_places"),
    "Data hook": ("dashboard_hook",),
    "Texts and rules of your own": ("dashboard_playbook", "dashboard_masks"),
    "Log and metrics": ("dashboard_log_level", "dashboard_metrics_token"),
}  # fmt: skip
TABLE = "| setting | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
LIMITS = {
    "ge": "≥ {}",
    "gt": "> {}",
    "le": "≤ {}",
    "min_length": "{} characters or more",
    "max_length": "at most {} characters",
}


def section_of(name: str) -> str:
    """Return the heading under which a setting stands.

    Raises:
        KeyError: no section names the setting or the beginning of its name.
    """
    for heading, beginnings in SECTIONS.items():
        if name in beginnings:
            return heading
    for heading, beginnings in SECTIONS.items():
        if name.startswith(
            tuple(each for each in beginnings if each.endswith("_") or each == "dashboard_hook")
        ):
            return heading
    raise KeyError(f"SECTIONS in {Path(__file__).name} has no place for {name}")


def row(name: str, field: FieldInfo) -> str:
    """Return a setting's line of the table."""
    default = (
        "**required**"
        if field.is_required()
        else "–"
        if field.default in (None, "")
        else f"`{field.default}`"
    )
    return f"| `{name.upper()}` | {default} | {allowed(field)} | {field.description} |\n"


def allowed(field: FieldInfo) -> str:
    """Return the limits of a value in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(field.annotation))
    if field.annotation is bool:
        return "`yes`, `no`"
    limits = [
        text.format(getattr(each, limit))
        for each in field.metadata
        for limit, text in LIMITS.items()
        if getattr(each, limit, None) is not None
        and (limit, getattr(each, limit)) != ("min_length", 1)
    ]
    return ", ".join(limits) or "–"


def render() -> str:
    """Return the page."""
    tables = dict.fromkeys(SECTIONS, "")
    for name, field in Settings.model_fields.items():
        if name != "paths":
            tables[section_of(name)] += row(name, field)
    tables["Peliqan's API"] += (
        f"| `{PATH_PREFIX}<NAME>` | – | a path that begins with `/` | Another path for one of the"
        " API's routes; [peliqan-api.md](peliqan-api.md) lists the names and placeholders. |\n"
    )
    return HEAD + "".join(f"\n## {heading}\n\n{TABLE}{rows}" for heading, rows in tables.items())


if __name__ == "__main__":
    PAGE.write_text(render())
