"""Scripts and stylesheets can be read: header, short lines, one statement or declaration a line."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"
SCRIPTS = sorted((ROOT / "static").glob("*.js"))
STYLESHEETS = sorted((ROOT / "static").glob("*.css"))
MAX_LINE = 100

STRING = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`")
LINE_COMMENT = re.compile(r"^\s*(//|/?\*).*$")
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.S)
# A selector or at-rule that opens a block, one declaration, a part of a list, or a closing brace.
CSS_LINE = re.compile(r"[^{};]+\{|[\w-]+:[^{};]+;|[^{};]+,|\}")
CONTROL = re.compile(r"(\} )?(if|else|for|while|do|switch|try|catch|finally)\b")


def header_of(text: str) -> str:
    """Return the comment that a file begins with."""
    found = re.match(r"(?://.*\n)+|/\*.*?\*/", text, re.S if text.startswith("/*") else 0)
    return found[0] if found else ""


def pages_that_load(name: str) -> list[str]:
    return [
        path.relative_to(TEMPLATES).as_posix()
        for path in sorted(TEMPLATES.rglob("*.html"))
        if f"filename='{name}'" in path.read_text()
    ]


def long_lines(text: str) -> list[int]:
    return [number for number, line in enumerate(text.splitlines(), 1) if len(line) > MAX_LINE]


def crowded_statements(script: str) -> list[str]:
    """Return lines with two statements, or with a control statement without an open brace."""
    crowded = []
    for line in script.splitlines():
        if LINE_COMMENT.match(line):
            continue
        code = STRING.sub('""', line).strip()
        two = re.search(r";\s*\S", code) and not code.startswith("for (")
        no_block = CONTROL.match(code) and not code.endswith(("{", "("))
        if two or no_block:
            crowded.append(line)
    return crowded


def crowded_declarations(stylesheet: str) -> list[str]:
    """Return lines that are not one selector, one declaration or one brace."""
    code = STRING.sub('""', BLOCK_COMMENT.sub("", stylesheet))
    return [
        line for line in code.splitlines() if line.strip() and not CSS_LINE.fullmatch(line.strip())
    ]


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLESHEETS], ids=lambda path: path.name)
def test_a_static_file_has_short_lines_and_a_header_that_names_the_pages(path: Path) -> None:
    text = path.read_text()
    pages = pages_that_load(path.name)
    assert pages
    assert [page for page in pages if page not in header_of(text)] == []
    assert long_lines(text) == []
    assert "\t" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_one_statement_a_line_and_braces_around_every_body(path: Path) -> None:
    assert crowded_statements(path.read_text()) == []


@pytest.mark.parametrize("path", STYLESHEETS, ids=lambda path: path.name)
def test_a_stylesheet_has_one_declaration_a_line(path: Path) -> None:
    assert crowded_declarations(path.read_text()) == []


def test_the_contents_of_a_file_are_its_sections() -> None:
    for path in (*SCRIPTS, *STYLESHEETS):
        text = path.read_text()
        header = header_of(text)
        listed = re.findall(r"^\W*(\d+\. .+)$", header.partition("Contents")[2], re.M)
        sections = re.findall(r"^ *(?://|/\*) (\d+\. .+)$", text.removeprefix(header), re.M)
        assert sections == listed, path.name


def test_each_check_finds_what_it_is_for() -> None:
    assert header_of("// One.\n// Two.\ncode();\n") == "// One.\n// Two.\n"
    assert header_of("/* One\n   two. */\na {\n}\n") == "/* One\n   two. */"
    assert header_of("code();\n// One.\n") == ""
    assert long_lines("x" * 101 + "\nshort") == [1]
    assert crowded_statements("  a(); b();") == ["  a(); b();"]
    assert crowded_statements("if (a) return;") == ["if (a) return;"]
    assert crowded_statements("} else b();") == ["} else b();"]
    assert crowded_statements("const f = () => { a(); };") == ["const f = () => { a(); };"]
    assert crowded_statements("if (a) {\n  say('b; c'); \n}\nfor (;;) {\n}\n// a; b") == []
    assert crowded_declarations("a { b: c; }") == ["a { b: c; }"]
    assert crowded_declarations("a {\n  b: c; d: e;\n}") == ["  b: c; d: e;"]
    assert crowded_declarations('a,\nb:hover {\n  content: "; }";\n}\n/* c: d; e: f; */') == []
