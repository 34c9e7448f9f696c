"""Names in Baserow's comma-separated parameters survive quoting and splitting."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dashboard import peliqan
from dashboard.sandbox.query import _split
from tests.support.fault_server import Answer, FaultServer

ROWS = "/api/database/rows/table/3/"
PIECES = st.sampled_from(
    [
        ",",
        '"',
        '""',
        "\\",
        "-",
        "+",
        " ",
        "'",
        "a",
        "Ünï",
        "😀",
        "ا",
        "[x]",
        "\t",
        "\n",
        "\r",
        "%",
        "&",
        "=",
    ]
)
# Baserow trims names, and refuses empty ones and NUL.
NAMES = (
    st.lists(
        PIECES | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
        min_size=1,
        max_size=12,
    )
    .map("".join)
    .filter(lambda name: name == name.strip() != "")
)


def split(text: str) -> list[str]:
    """Split as Baserow does: as csv with a backslash as escape character, in explicit states."""
    items, item, state, escaped = [], "", "start", False
    for character in text:
        if escaped:
            item, escaped = item + character, False
        elif state == "closed" and character == '"':
            item, state = item + '"', "quoted"
        elif character == "\\" and state != "closed":
            escaped, state = True, "plain" if state == "start" else state
        elif character == '"' and state in {"start", "quoted"}:
            state = "quoted" if state == "start" else "closed"
        elif character == "," and state != "quoted":
            items.append(item)
            item, state = "", "start"
        else:
            item, state = item + character, state if state == "quoted" else "plain"
    return [*items, item] if text else []


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('A,"B , C",D', ["A", "B , C", "D"]),
        ('A,\\"B,C', ["A", '"B', "C"]),
        # Recorded: "The field -"Name was not found in the table."
        ('-"Name, with comma"', ['-"Name', ' with comma"']),
        ('"-Name, with comma"', ["-Name, with comma"]),
        ('Title,"Quote "" dot . slash / 😀"', ["Title", 'Quote " dot . slash / 😀']),
        ('a"b', ['a"b']),
        ("a,,b", ["a", "", "b"]),
        ("", []),
    ],
)
def test_the_sandbox_splits_as_the_server_was_seen_to_split(text: str, items: list[str]) -> None:
    assert split(text) == items
    assert _split(text) == items


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES.filter(lambda piece: piece not in {"\n", "\r"}), max_size=20).map("".join))
def test_the_sandbox_splits_any_text_as_the_states_of_the_servers_reader_do(text: str) -> None:
    if not text.endswith("\\"):
        assert _split(text) == split(text)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(NAMES, min_size=1, max_size=4), sign=st.sampled_from(["-", "+"]))
@example(names=["Last, first"], sign="-")
@example(names=['a"b', "back\\slash", '-\\,"'], sign="-")
@example(names=["-Minus", "+Plus"], sign="+")
def test_names_arrive_as_they_are_whatever_is_in_them(
    server: FaultServer, names: list[str], sign: str
) -> None:
    server.say(ROWS, Answer({"count": 0, "results": []}))
    account = server.client().for_account(1)
    account.rows(3, peliqan.RowQuery(order_by=f"{sign}{names[0]}", include=names))
    sent = server.requests[-1].query
    assert split(sent["include"][0]) == names
    assert split(sent["order_by"][0]) == [f"{sign}{names[0]}"]


@pytest.mark.parametrize("name", ["Name", "Full name", "العنوان", "it's", "-x"])
def test_a_plain_name_is_sent_without_quotes(server: FaultServer, name: str) -> None:
    server.say(ROWS, Answer({"count": 0, "results": []}))
    server.client().for_account(1).rows(3, peliqan.RowQuery(order_by=name, include=[name, "b"]))
    assert (server.requests[-1].query["order_by"], server.requests[-1].query["include"]) == (
        [name],
        [f"{name},b"],
    )
