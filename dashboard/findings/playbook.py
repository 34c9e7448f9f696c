"""The playbook: what to do about each finding, in Markdown files that a support team edits.

Read once, when the console starts. A file is TOML between two lines of ``+++``, then five sections
of Markdown. HTML in it is shown as text; images are not supported.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError

from dashboard.findings.rules.definitions import BY_NAME

ACTIONS: Final = ("sync", "reauthorise", "saltedge_refresh")
STEPS: Final = (*ACTIONS, "check", "none")
SECTIONS: Final = ("What it means", "How to confirm", "First step", "What not to do", "Fixed when")
# A platform cause needs other steps than a single dark connection.
PLATFORM: Final = "dark_platform"
RULES: Final = (*BY_NAME, PLATFORM)
_FRONT = re.compile(r"\A\+\+\+\n(.*?)^\+\+\+\n(.*)\Z", re.DOTALL | re.MULTILINE)
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).disable("image")


class PlaybookError(Exception):
    """A message that names every file that is missing or invalid, with the reason."""


@dataclass(frozen=True)
class Section:
    """A heading and its text, as HTML that is safe to show."""

    title: str
    html: Markup


@dataclass(frozen=True)
class Play:
    """The playbook's entry for a rule.

    ``first_step``: one of ``STEPS``; ``dont``: those of ``ACTIONS`` to warn of.
    """

    rule: str
    title: str
    first_step: str
    dont: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def first(self) -> Section:
        """The section "First step", which pages show next to the button."""
        return next(section for section in self.sections if section.title == "First step")

    @property
    def rest(self) -> tuple[Section, ...]:
        """All other sections."""
        return tuple(section for section in self.sections if section.title != "First step")


@dataclass(frozen=True)
class Playbook:
    """All plays by rule."""

    plays: Mapping[str, Play]

    def of(self, rule: str, *, platform: bool = False) -> Play | None:
        """Return the play for a rule, or None for a rule that no longer exists.

        ``platform``: the play for platform causes, if the rule has one.
        """
        return self.plays.get(f"{rule}_platform" if platform else rule) or self.plays.get(rule)


class _Front(BaseModel):
    """The settings between the lines of ``+++``. ``title``: only if it differs from the rule's."""

    model_config = ConfigDict(extra="forbid")

    first_step: str
    dont: list[str]
    title: str = ""


def read_playbook(folder: Path) -> Playbook:
    """Return the plays of all rules from the files of a folder.

    Raises:
        PlaybookError: A file is missing, invalid, or belongs to no rule.
    """
    plays: dict[str, Play] = {}
    problems = []
    for rule in RULES:
        try:
            plays[rule] = read_play(rule, (folder / f"{rule}.md").read_text(encoding="utf-8"))
        except FileNotFoundError:
            problems.append(f"  {rule}.md is missing")
        except (OSError, ValueError) as error:
            problems.append(f"  {rule}.md: {_reason(error)}")
    known = {f"{rule}.md" for rule in RULES} | {"README.md"}
    problems += [
        f"  {path.name} belongs to no rule"
        for path in sorted(folder.glob("*.md"))
        if path.name not in known
    ]
    if problems:
        raise PlaybookError(f"The playbook in {folder} needs attention:\n" + "\n".join(problems))
    return Playbook(plays)


@cache
def read_play(rule: str, text: str) -> Play:
    """Return the play of a file's text. Cached by text.

    Raises:
        ValueError: The text is invalid; the message says why.
    """
    matched = _FRONT.match(text.lstrip("\ufeff").replace("\r\n", "\n"))
    if matched is None:
        raise ValueError("it must begin with its settings between two lines of +++")
    front = _Front.model_validate(tomllib.loads(matched[1]))
    if front.first_step not in STEPS:
        raise ValueError(f"first_step “{front.first_step}” is none of {', '.join(STEPS)}")
    for action in front.dont:
        if action not in ACTIONS:
            raise ValueError(f"“{action}” in dont is none of {', '.join(ACTIONS)}")
    if front.first_step in front.dont:
        raise ValueError(f"first_step “{front.first_step}” stands in dont as well")
    title = front.title or (BY_NAME[rule].title if rule in BY_NAME else "")
    if not title:
        raise ValueError("it needs a title")
    return Play(rule, title, front.first_step, tuple(front.dont), _sections(matched[2]))


def _sections(text: str) -> tuple[Section, ...]:
    """Return the sections of the body, split at its headings."""
    found: list[tuple[str, list[Token]]] = []
    tokens = iter(_MARKDOWN.parse(text))
    for token in tokens:
        if token.type == "heading_open":
            if token.tag != "h2":
                heading = next(tokens).content
                raise ValueError(
                    f"its headings begin with ##, and there are five; “{heading}” is another"
                )
            found.append((next(tokens).content, []))
            next(tokens)
        elif not found:
            raise ValueError("its text must begin with a heading")
        else:
            found[-1][1].append(token)
    titles = tuple(title for title, _ in found)
    if titles != SECTIONS:
        raise ValueError(f"its headings must be, in this order: {', '.join(SECTIONS)}")
    for title, inside in found:
        if not inside:
            raise ValueError(f"“{title}” is empty")
    return tuple(Section(title, _html(inside)) for title, inside in found)


def _html(tokens: list[Token]) -> Markup:
    # Safe: the parser escapes HTML in the file and refuses unsafe link schemes.
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))  # noqa: S704


def _reason(error: Exception) -> str:
    """Return the reason in a few words, from whichever library raised the error."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors(include_url=False)
        )
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)
