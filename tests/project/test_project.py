"""Rules of the whole project: vendored files, settings, documents that list them."""

import ast
import hashlib
import importlib.util
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from dashboard.cli.common import upgrade_schema
from dashboard.peliqan.routes import ROUTES
from dashboard.peliqan.statuses import OUTCOME_OF_RUN
from dashboard.settings import Settings, SettingsError, read_settings
from tests.support.settings import GOOD

ROOT = Path(__file__).parents[2]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_what_a_runs_status_means_is_decided_in_one_place() -> None:
    """A module that compares with a status itself could define success differently."""
    for path in (ROOT / "dashboard").rglob("*.py"):
        where = path.relative_to(ROOT / "dashboard")
        if where.parts[0] in {"sandbox", "migrations"} or where == Path("peliqan/statuses.py"):
            continue
        texts = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
        }
        # The event of a started run has its own status.
        named = texts & OUTCOME_OF_RUN.keys() - (
            {"RUNNING"} if where == Path("peliqan/webhooks.py") else set()
        )
        assert not named, f"{where} names {named}; ask statuses.outcome_of_run"
    for path in (ROOT / "templates").rglob("*.html"):
        named = {
            status
            for status in OUTCOME_OF_RUN
            if re.search(rf"[\"']{status}[\"']", path.read_text())
        }
        assert not named, f"{path.name} names {named}"


def test_the_service_knows_no_flask_and_no_database() -> None:
    for path in (ROOT / "dashboard" / "peliqan").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {
            "flask",
            "sqlalchemy",
            "huey",
        }, path


def test_views_and_templates_know_no_address_of_the_api() -> None:
    views = [
        path
        for path in (ROOT / "dashboard").rglob("*.py")
        if "views" in path.relative_to(ROOT).with_suffix("").parts
    ]
    for path in [*views, *(ROOT / "templates").rglob("*.html")]:
        text = path.read_text().replace("POST /api/partner/sub-account/integrate/", "")
        assert "/api/" not in text, path


def test_every_vendored_file_is_what_its_manifest_says() -> None:
    manifest = json.loads((ROOT / "static/vendor/vendor.json").read_text())
    for name, entry in manifest.items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == entry["sha256"], name
        assert entry["version"]
        assert entry["source"]
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "static/vendor").iterdir()} - {
        "static/vendor/vendor.json"
    }
    assert files == {name for name in manifest if name.startswith("static/")}


def test_every_icon_that_a_template_asks_for_is_in_the_sprite() -> None:
    sprite = (ROOT / "static/vendor/icons.svg").read_text()
    for path in (ROOT / "templates").rglob("*.html"):
        for name in re.findall(r"""icon\("([a-z0-9-]+)""", path.read_text()):
            assert f'id="{name}"' in sprite, f"{name} in {path.name}: run `make vendor`"


def test_every_template_compiles_and_every_address_in_it_meets_a_route(app: Flask) -> None:
    endpoints = set(app.view_functions)
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)
        source = (ROOT / "templates" / name).read_text()
        for endpoint in re.findall(r"""url_for\(["']([\w.]+)["']""", source):
            assert endpoint in endpoints, f"{name}: {endpoint}"


def test_wrong_and_missing_settings_are_named_together_without_their_values() -> None:
    wrong = {
        "SECRET_KEY": "hunter2",
        "DASHBOARD_REFRESH_INTERVAL": "soon",
        "PELIQAN_API_URL": "http://api.example.com",
        "DASHBOARD_TYPO": "1",
        "PELIQAN_PATH_SERVERS": "no-slash",
    }
    with pytest.raises(SettingsError) as caught:
        read_settings(wrong, Path("/nonexistent"))
    message = str(caught.value)
    for name in (
        "SECRET_KEY",
        "PELIQAN_PARTNER_TOKEN",
        "DASHBOARD_REFRESH_INTERVAL",
        "PELIQAN_API_URL",
        "DASHBOARD_TYPO",
    ):
        assert name in message
    assert "hunter2" not in message
    with pytest.raises(SettingsError, match="PELIQAN_PATH_SERVERS"):
        read_settings({**GOOD, "PELIQAN_PATH_SERVERS": "no-slash"}, Path("/nonexistent"))


def test_roles_that_need_a_second_factor_are_roles() -> None:
    for value, roles in (
        ("", set()),
        ("admin", {"admin"}),
        (" viewer,operator , admin,", {"viewer", "operator", "admin"}),
    ):
        found = read_settings(
            {**GOOD, "DASHBOARD_SECOND_FACTOR_ROLES": value}, Path("/nonexistent")
        )
        assert found.second_factor_roles == roles
    with pytest.raises(SettingsError, match="DASHBOARD_SECOND_FACTOR_ROLES: must be roles"):
        read_settings(
            {**GOOD, "DASHBOARD_SECOND_FACTOR_ROLES": "admin, king"}, Path("/nonexistent")
        )


def test_sqlite_is_not_shared_by_several_machines() -> None:
    with pytest.raises(SettingsError, match="SQLite is a file on one of them"):
        read_settings({**GOOD, "REDIS_URL": "redis://127.0.0.1/0"}, Path("/nonexistent"))
    together = {
        **GOOD,
        "REDIS_URL": "redis://127.0.0.1/0",
        "DATABASE_URL": "postgresql://127.0.0.1/console",
    }
    assert read_settings(together, Path("/nonexistent")).redis_url


def test_an_env_file_is_read_and_the_environment_goes_over_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "SECRET_KEY="
        + "f" * 40
        + "\nPELIQAN_PARTNER_TOKEN=from-file\nDASHBOARD_API_CONCURRENCY=3\n"
    )
    found = read_settings({"PELIQAN_PARTNER_TOKEN": "from-environment"}, file)
    assert (found.peliqan_partner_token, found.dashboard_api_concurrency) == ("from-environment", 3)
    assert "from-environment" not in repr(found)


def test_the_page_of_settings_is_what_its_script_writes() -> None:
    """If this fails: run ``make docs``."""
    script = ROOT / "scripts" / "write_configuration.py"
    spec = importlib.util.spec_from_file_location("write_configuration", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == module.render()
    for name, field in Settings.model_fields.items():
        assert name == "paths" or f"| `{name.upper()}` |" in page, name
        assert field.description


def test_the_page_of_the_api_lists_every_route_with_its_path_and_source() -> None:
    page = (ROOT / "docs" / "peliqan-api.md").read_text()
    table = page.partition("## Routes")[2].partition("## Facts")[0]
    listed = [line for line in table.splitlines() if line.startswith("| `")]
    assert listed == [
        f"| `{route.name}` | `{route.method} {route.path}` | {route.source} |" for route in ROUTES
    ]


def test_migrations_leave_every_logger_speaking(app: Flask) -> None:
    logger = logging.getLogger("dashboard.speaks")
    upgrade_schema(app)
    assert not logger.disabled


def test_what_serves_and_what_works_does_not_load_what_only_migrations_need() -> None:
    names = [
        "alembic",
        "mako",
        "apprise",
        "pyarrow",
        "flask_admin",
        "prometheus_client",
        "sentry_sdk",
    ]
    loaded = f"import sys, dashboard.cli; print(*(set({names}) & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", loaded],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.strip() == ""


def test_every_file_that_make_check_leaves_out_exists() -> None:
    from tests.conftest import SLOW

    for name in SLOW:
        assert (ROOT / "tests" / name).exists(), f"tests/conftest.py, SLOW: {name}"
