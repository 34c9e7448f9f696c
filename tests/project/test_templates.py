"""Templates can be read: short lines and macros, named parameters, imports downwards only."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from flask import Flask

from dashboard.web import state_labels
from dashboard.web.navigation import ADMIN_NAVIGATION, LINK_NAVIGATION, NAVIGATION

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
MAX_LINE = 120
MAX_FRAGMENT = 80
MAX_PAGE = 160
MAX_MACRO = 30
MAX_DICT = 3
# The levels of the packages, the lowest first, below them the folders that all share. A folder may
# use those of the levels below its own.
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][
    0
]
LEVELS = [["components"], ["errors"], *(each.split(" | ") for each in reversed(LAYERS["layers"]))]
LEVEL_OF = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}

MACRO = re.compile(
    r"(?P<comment>(?:[ \t]*\{#(?:(?!#\}).)*#\}\n)*)[ \t]*\{%-? macro (?P<name>\w+)"
    r"\((?P<params>[^()]*(?:\([^()]*\)[^()]*)*)\).*?endmacro -?%\}",
    re.S,
)
REFERENCE = re.compile(r"\{%-? (?:from|include|import|extends) \"([^\"]+)\"")
SET = re.compile(r"\{%-? set [^%]*?= (\{.*?\})\s*-?%\}", re.S)


def html() -> list[Path]:
    return sorted(TEMPLATES.rglob("*.html"))


def texts() -> list[Path]:
    return sorted(path for path in TEMPLATES.rglob("*") if path.suffix in {".txt", ".md"})


def name_of(path: Path) -> str:
    return path.relative_to(TEMPLATES).as_posix()


def long_lines(text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if len(line) > MAX_LINE]


def long_macros(text: str) -> list[str]:
    return [
        found["name"]
        for found in MACRO.finditer(text)
        if found[0].removeprefix(found["comment"]).count("\n") >= MAX_MACRO
    ]


def macros_without_params(text: str) -> list[str]:
    """Macros with parameters that the comment at their head does not name."""
    missing = []
    for found in MACRO.finditer(text):
        names = re.findall(
            r"(?:^|,)\s*(\w+)", re.sub(r"\"[^\"]*\"|\([^)]*\)|\{[^}]*\}", "", found["params"])
        )
        if names and not _names_all(found["comment"], names):
            missing.append(found["name"])
    return missing


def _names_all(comment: str, names: list[str]) -> bool:
    described = comment.partition("params:")[2]
    return all(re.search(rf"\b{name}\b", described) for name in names)


def head_of(text: str) -> str:
    found = re.match(r"\{#.*?#\}", text, re.S)
    return found[0] if found else ""


def includes_in_with(text: str) -> bool:
    return any("{% include" in body for body in re.findall(r"\{%-? with .*?endwith", text, re.S))


def large_dicts(text: str) -> list[str]:
    return [found for found in SET.findall(text) if found.count(":") > MAX_DICT]


def refers_upwards(name: str, text: str) -> list[str]:
    """Return what a template includes or imports from a folder that is not its own nor lower."""
    own = name.split("/")[0]
    wrong = []
    for other in REFERENCE.findall(text):
        folder = other.split("/")[0]
        if other == "base.html" or folder == own:
            continue
        if LEVEL_OF[folder] >= LEVEL_OF.get(own, len(LEVELS)):
            wrong.append(other)
    return wrong


@pytest.mark.parametrize("path", html(), ids=name_of)
def test_a_template_can_be_read(path: Path) -> None:
    name, text = name_of(path), path.read_text()
    lines = text.count("\n")
    assert long_lines(text) == []
    assert (
        lines <= (MAX_FRAGMENT if path.name.startswith("_") else MAX_PAGE)
        or "macros" in name
        or "/export/" in name
        or name.startswith("components/")
    )
    assert long_macros(text) == []
    assert macros_without_params(text) == []
    assert not includes_in_with(text)
    assert large_dicts(text) == []
    assert refers_upwards(name, text) == []
    if path.name.startswith("_"):
        assert "params" in head_of(text)


@pytest.mark.parametrize("path", texts(), ids=name_of)
def test_a_text_template_has_short_lines_and_names_its_parameters(path: Path) -> None:
    text = path.read_text()
    assert long_lines(text) == []
    assert macros_without_params(text) == []
    assert "params" in head_of(text)


def test_every_folder_of_templates_has_a_level() -> None:
    assert {path.name for path in TEMPLATES.iterdir() if path.is_dir()} <= LEVEL_OF.keys()


def test_every_menu_and_every_button_of_the_tables_leads_to_a_route(app: Flask) -> None:
    endpoints = {item.endpoint for item in (*NAVIGATION, *ADMIN_NAVIGATION, *LINK_NAVIGATION)}
    endpoints |= {button.endpoint for button in state_labels.ACTION_BUTTONS.values()}
    assert endpoints <= set(app.view_functions)


def test_the_tones_of_all_states_are_severities_with_a_label_and_an_icon_of_the_sprite() -> None:
    tables = [
        value
        for name, value in vars(state_labels).items()
        if name.isupper() and isinstance(value, dict)
    ]
    entries = [each for table in tables for each in table.values()]
    tones = {each.tone for each in entries if isinstance(each, state_labels.StateLabel)}
    assert tones <= state_labels.SEVERITY_LABELS.keys()
    sprite = (ROOT / "static/vendor/icons.svg").read_text()
    for icon in {each.icon for each in entries if hasattr(each, "icon")}:
        assert f'id="{icon}"' in sprite, icon


def test_djlint_would_change_nothing() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "djlint", "templates", "--check", "--lint", "--quiet"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_each_check_finds_what_it_is_for() -> None:
    body = "\n".join(["<p>line</p>"] * MAX_MACRO)
    assert long_lines("x" * 121 + "\nshort") == [1]
    assert long_macros(
        f"{{# params: a. #}}\n{{% macro long(a) -%}}\n{body}\n{{%- endmacro %}}"
    ) == ["long"]
    assert long_macros("{% macro short() -%}\n<p></p>\n{%- endmacro %}") == []
    assert macros_without_params(
        "{# Some text. #}\n{% macro bare(one, two=(1, 2)) %}{% endmacro %}"
    ) == ["bare"]
    assert macros_without_params(
        "{# params: one. #}\n{% macro half(one, two={}) %}{% endmacro %}"
    ) == ["half"]
    assert (
        macros_without_params(
            "{# params: one, two (a number). #}\n{% macro whole(one, two=2) %}{% endmacro %}"
        )
        == []
    )
    assert includes_in_with('{% with a = 1 %}<p>{% include "x.html" %}</p>{% endwith %}')
    assert large_dicts('{% set x = {"a": 1, "b": 2, "c": 3, "d": 4} %}')
    assert large_dicts('{% set x = {"a": 1, "b": 2, "c": 3} %}') == []
    assert refers_upwards("causes/x.html", '{% from "bulk/macros.html" import bar %}') == [
        "bulk/macros.html"
    ]
    assert refers_upwards("bulk/x.html", '{% include "tables/_rows.html" %}') == [
        "tables/_rows.html"
    ]
    assert refers_upwards("components/x.html", '{% include "causes/_causes.html" %}') == [
        "causes/_causes.html"
    ]
    assert refers_upwards("bulk/x.html", '{% from "causes/macros.html" import cause_title %}') == []
