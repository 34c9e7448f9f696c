"""Rules of imports that the contracts in pyproject.toml cannot express.

docs/architecture.md explains the levels.
"""

import ast
from pathlib import Path

import grimp
import pytest
from grimp import ImportGraph

ROOT = Path(__file__).parents[2]
# Flask's names that work only while a request is handled.
OF_A_REQUEST = {
    "abort",
    "flash",
    "make_response",
    "redirect",
    "render_template",
    "render_template_string",
    "request",
    "session",
    "url_for",
}
# Modules that handle a request beside views, presenters and the package ``web``.
REQUEST_AWARE = {
    "dashboard.customer_links.letters",
    "dashboard.error_pages",
    "dashboard.exports.table_files",
    "dashboard.tables.short_links",
    "dashboard.tables.cells",
    "dashboard.tables.rows",
    "dashboard.users.authentication",
    "dashboard.users.quotas",
    "dashboard.webhooks.receiver",
}
# They connect views with the application and the command line.
ENTRY_POINTS = ("dashboard.app", "dashboard.blueprints", "dashboard.cli.")


@pytest.fixture(scope="module")
def imports() -> ImportGraph:
    """Return the modules that each module imports, without imports for type checkers only."""
    return grimp.build_graph("dashboard", exclude_type_checking_imports=True)


def handles_requests(module: str) -> bool:
    """Return whether a module may use ``request``: by its role or by its name."""
    parts = module.split(".")
    return (
        module in REQUEST_AWARE
        or parts[:2] == ["dashboard", "web"]
        or "views" in parts
        or parts[-1] == "presenters"
    )


def sources() -> dict[str, ast.Module]:
    """Each module of the console by its name; the sandbox is an application of its own."""
    files = [
        path
        for path in (ROOT / "dashboard").rglob("*.py")
        if path.parts[len(ROOT.parts) + 1] not in {"sandbox", "migrations"}
    ]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text()
        )
        for path in files
    }


def test_only_files_for_requests_use_what_a_request_has() -> None:
    for module, tree in sources().items():
        if handles_requests(module):
            continue
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "flask"
            for alias in node.names
        }
        assert not names & OF_A_REQUEST, (
            f"{module} imports {sorted(names & OF_A_REQUEST)} of Flask, which belongs into views"
        )


def test_files_for_requests_are_imported_by_files_for_requests_alone(imports: ImportGraph) -> None:
    for module in sorted(filter(handles_requests, imports.modules)):
        others = {
            importer
            for importer in imports.find_modules_that_directly_import(module)
            if not handles_requests(importer) and not importer.startswith(ENTRY_POINTS)
        }
        assert not others, f"{module} handles requests; {sorted(others)} must not import it"


def test_every_module_that_is_named_for_requests_exists(imports: ImportGraph) -> None:
    assert imports.modules >= REQUEST_AWARE, sorted(REQUEST_AWARE - imports.modules)


def test_tables_import_nothing_that_reads_or_writes_them(imports: ImportGraph) -> None:
    """A ``models.py`` that imports a service would bring the service with every row."""
    # Names of rules and words of statuses, which the tables' constraints and defaults are made of.
    words = {"dashboard.findings.rules.definitions", "dashboard.peliqan.statuses"}
    for module in sorted(imports.modules):
        is_table = module.endswith(".models") and module != "dashboard.models"
        if not is_table or module.startswith(("dashboard.peliqan.", "dashboard.sandbox.")):
            continue
        others = {
            name
            for name in imports.find_modules_directly_imported_by(module) - words
            if not name.startswith("dashboard.core.") and not name.endswith(".models")
        }
        assert not others, f"{module} imports {sorted(others)}"


def test_limits_import_nothing_of_the_console(imports: ImportGraph) -> None:
    """A `limits.py` holds constants alone."""
    for module in sorted(imports.modules):
        if module.endswith(".limits"):
            others = imports.find_modules_directly_imported_by(module)
            assert not others, f"{module} imports {sorted(others)}"


def test_the_application_is_imported_by_commands_alone() -> None:
    """All other modules reach the application by ``context.services()``: an import is a circle."""
    for module, tree in sources().items():
        if module.startswith(ENTRY_POINTS):
            continue
        for node in ast.walk(tree):
            names = (
                {alias.name for alias in node.names}
                if isinstance(node, ast.Import | ast.ImportFrom)
                else set()
            )
            is_application = isinstance(node, ast.ImportFrom) and (
                node.module == "dashboard.app" or (node.module == "dashboard" and "app" in names)
            )
            assert not is_application, f"{module} imports the application"
