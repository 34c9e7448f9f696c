"""The search for personal data in the values of an answer: the same finds as plain patterns, in little time, and never for long at once."""

import random
import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from dashboard.app import ASSETS
from dashboard.data.masks import TOO_LONG, read_masks
from dashboard.data.sql import personal
from dashboard.data.sql.result import Result, ResultColumn

ROWS, CHARACTERS = 10_000, 700
# The shapes as one would write them without a thought for time.
PLAIN = (
    ("e-mail address", re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")),
    ("bank account or card", re.compile(r"\b[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}\b")),
    ("telephone number", re.compile(r"\+\d[\d ()/.-]{7,}\d")),
)
PARTS = [*("@", "a", ".", "be", "BE68", " ", "5390", "0754", "7034", "_", "+32", "2", "( )", "/", "-", "\n", "X", "A1", "ABCD")]


def nothing() -> None:
    return


def test_the_finds_are_those_of_plain_patterns_wherever_a_piece_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    found = set()
    for _ in range(20_000):
        monkeypatch.setattr(personal, "PIECE", chance.choice([1, 3, 10, 30, 1_000]))
        texts = ["".join(chance.choices(PARTS, k=chance.randint(1, 25))) for _ in range(chance.randint(1, 3))]
        wanted = next((name for name, pattern in PLAIN if any(map(pattern.search, texts))), None)
        assert personal.shape_of(texts, nothing) == wanted, texts
        found.add(wanted)
    assert found == {*(name for name, _ in PLAIN), None}


@pytest.mark.parametrize("value", [["a@example.com"], {"to": {"who": ["x", "a@example.com"]}}, {"a@example.com": 1}])
def test_texts_inside_of_lists_and_objects_count(value: object) -> None:
    assert personal.shape_of([1, value], nothing) == "e-mail address"


@pytest.mark.parametrize(
    "text",
    [
        "paid by the customer on time ",
        "a",
        "@",
        "a@",
        "a@b",
        "a@b.",
        "AB12 ",
        "BE68 5390 0754 7034_",
        "+1 ",
        "+1((((((((",
        " ",
        "1",
    ],
)
def test_an_answer_of_ten_thousand_rows_takes_little_time_and_never_long_at_once(text: str) -> None:
    value = (text * CHARACTERS)[:CHARACTERS]
    several = Result([ResultColumn("x")], [[value] for _ in range(ROWS)])
    one = Result([ResultColumn("x")], [[(text * ROWS * CHARACTERS)[: ROWS * CHARACTERS]]])
    for result in (several, one):
        total, longest = times_of(lambda check, result=result: result.masked(read_masks(ASSETS / "masks.ini"), {}, check))
        assert total < 3
        assert longest < 0.1


def times_of(search: Callable[[Callable[[], None]], object]) -> tuple[float, float]:
    """Seconds of this thread's processor time: all of them, and the most between two checks; the better of two runs each."""
    runs = []
    for _ in range(2):
        times = [time.thread_time()]
        search(lambda times=times: times.append(time.thread_time()))
        times.append(time.thread_time())
        runs.append((times[-1] - times[0], max(after - before for before, after in pairwise(times))))
    return min(total for total, _ in runs), min(longest for _, longest in runs)


def test_a_column_whose_name_is_too_long_to_check_is_masked() -> None:
    told = Result([ResultColumn("n" * 1_001), ResultColumn("n" * 1_000)], [["x", "x"]])
    assert told.masked(read_masks(ASSETS / "masks.ini"), {}) == [TOO_LONG, None]
