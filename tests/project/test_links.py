"""Documents name only what exists: files, headings, paths, make targets, commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dashboard.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "playbook" / "README.md"])
FOLDERS = (
    "bench",
    "dashboard",
    "deploy",
    "docs",
    "examples",
    "messages",
    "playbook",
    "scripts",
    "static",
    "templates",
    "tests",
)
LONGEST_README, LONGEST_LINE = 200, 100


def text_of(path: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)


def links(path: Path) -> Iterator[tuple[str, str]]:
    """File and heading of each link that leads into the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if not re.match(r"[a-z]+:", target):
            file, _, heading = target.partition("#")
            yield file, heading


def anchors(path: Path) -> set[str]:
    """The headings of a document as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for file, heading in links(document):
        target = (document.parent / file).resolve() if file else document
        assert target.exists(), f"{document.name}: {file}"
        assert not heading or heading in anchors(target), f"{document.name}: {file}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    paths = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text_of(document))
    missing = {path for path in paths if not (ROOT / path).exists()}
    assert not missing, f"{document.name}: {sorted(missing)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_of_make_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.M))
    assert named <= targets, f"{document.name}: {sorted(named - targets)}"


def commands(path: Path) -> Iterator[list[str]]:
    """The words of each ``dashboard …`` that a document shows, in a block or in the text."""
    spans = re.findall(r"`(?:\S+/)?dashboard ([a-z][^`]*)`", path.read_text())
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", path.read_text(), re.M | re.S)
    lines = [
        line
        for block in blocks
        for line in re.findall(r"^(?:[A-Z_]+=\S* )*(?:\S+/)?dashboard ([a-z].*)$", block, re.M)
    ]
    yield from (re.sub(r"\s#.*", "", text).split() for text in [*spans, *lines])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_shows_exists_with_its_options(document: Path) -> None:
    for words in commands(document):
        command: click.Command = main
        while isinstance(command, click.Group) and words:
            found = command.commands.get(words[0])
            assert found, f"{document.name}: dashboard {' '.join(words)}"
            command, words = found, words[1:]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words:
            assert not word.startswith("--") or word.partition("=")[0] in options, (
                f"{document.name}: {command.name} {word}"
            )


def test_every_document_of_docs_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document not in seen:
            seen.add(document)
            waiting += [
                target
                for file, _ in links(document)
                if (target := (document.parent / file).resolve()).suffix == ".md"
            ]
    assert not set(DOCUMENTS) - seen, sorted(path.name for path in set(DOCUMENTS) - seen)


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= LONGEST_README
    assert not [line for line in lines if len(line) > LONGEST_LINE]
