"""The playbook's files, and the errors for wrong edits."""

import re
import shutil
from pathlib import Path

import pytest

from dashboard.actions import service as actions
from dashboard.findings.playbook import (
    ACTIONS,
    PLATFORM,
    SECTIONS,
    STEPS,
    PlaybookError,
    read_play,
    read_playbook,
)
from dashboard.findings.rules.definitions import RULES, UNREADABLE

FOLDER = Path(__file__).parent.parent.parent / "playbook"
GOOD = "\n".join(f"## {title}\n\nSomething." for title in SECTIONS)


def play(front: str = 'first_step = "check"\ndont = []', body: str = GOOD) -> str:
    return f"+++\n{front}\n+++\n\n{body}\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the playbook for the test."""
    return Path(shutil.copytree(FOLDER, tmp_path / "playbook"))


@pytest.mark.parametrize("rule", [*(rule.name for rule in RULES), UNREADABLE.name, PLATFORM])
def test_every_rule_has_a_play_with_all_five_sections_and_actions_that_there_are(rule: str) -> None:
    found = read_playbook(FOLDER).plays[rule]
    assert found.title
    assert found.first_step in STEPS
    assert set(found.dont) <= set(ACTIONS)
    assert [section.title for section in found.sections] == list(SECTIONS)
    for section in found.sections:
        assert len(re.sub("<[^>]+>", "", section.html)) > 40, section.title
        assert "<script" not in section.html


def test_the_playbooks_actions_are_those_that_are_written_down() -> None:
    assert set(ACTIONS) == {actions.SYNC, actions.REAUTHORISE, actions.BANK_REFRESH}


def test_a_platform_cause_has_its_own_play_and_a_removed_rule_has_none() -> None:
    book = read_playbook(FOLDER)
    assert book.of("dark", platform=True) is book.plays[PLATFORM]
    assert book.of("late", platform=True) is book.plays["late"]
    assert book.of("of_last_year") is None


def test_html_in_a_file_is_text_and_so_is_what_would_load_or_run_something() -> None:
    hostile = (
        '<script>alert(1)</script> and <b onclick="x">bold</b>,'
        " ![x](https://example.com/x.png), [here](javascript:alert(1))"
    )
    first = read_play("dark", play(body=GOOD.replace("Something.", hostile, 1))).sections[0].html
    assert "<script" not in first
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in first
    assert "<b " not in first
    assert "<img" not in first
    assert 'href="javascript' not in first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# Nothing", "between two lines of +++"),
        (play("first_step = check"), "Invalid value"),
        (play('first_step = "check"'), "dont"),
        (play('first_step = "resync"\ndont = []'), "“resync” is none of sync"),
        (play('first_step = "check"\ndont = ["pray"]'), "“pray” in dont"),
        (play('first_step = "sync"\ndont = ["sync"]'), "stands in dont as well"),
        (play('first_step = "check"\ndont = []\nother = 1'), "other"),
        (play(body=GOOD.replace("## Fixed when", "## Mended when")), "in this order"),
        (play(body=GOOD.replace("## What it means\n\nSomething.\n", "")), "in this order"),
        (play(body=GOOD + "\n\n### More\n\nText."), "“More” is another"),
        (play(body="Text.\n\n" + GOOD), "must begin with a heading"),
        (play(body=GOOD.replace("Something.", "", 1)), "“What it means” is empty"),
    ],
)
def test_a_malformed_file_says_what_is_wrong_with_it(copy: Path, text: str, says: str) -> None:
    (copy / "dark.md").write_text(text)
    with pytest.raises(PlaybookError) as raised:
        read_playbook(copy)
    assert "dark.md" in str(raised.value)
    assert says in str(raised.value)


def test_all_that_is_wrong_with_a_playbook_is_named_at_once(copy: Path) -> None:
    (copy / "late.md").unlink()
    (copy / "noisy.md").write_bytes(b"\xff\xfe")
    (copy / "nosiy.md").write_text("A slip.")
    with pytest.raises(PlaybookError) as raised:
        read_playbook(copy)
    for line in ("late.md is missing", "noisy.md: it is not UTF-8", "nosiy.md belongs to no rule"):
        assert line in str(raised.value)
