"""The filters, sorts and searches that Baserow supports for a column, and their values.

``OFFERED`` lists the filters by the column's type; formulas and lookups go by the type of their
result. Source: recorded from Baserow 1.35.3 for every field type
(``tests/data/baserow/filters-and-sorts-live.txt``). Filters that were not recorded are from its
source (``view_filters.py``, ``array_view_filters.py``).

A filter is left out if the server refuses it, ignores it, or compares something other than the
value that the console shows. "contains" on a date, for example, compares the display text, and
"empty" on a list also matches lists of blank items. A type that is not in ``OFFERED`` has no
filters, since a wrong guess can return every row without an error.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from dashboard import peliqan
from dashboard.listing.query import BadQuery


class Kind(NamedTuple):
    """A filter as the form shows it.

    ``takes``: the type of its value, one of "text", "number", "date", "boolean", "choice" and "id";
    empty if it takes no value. ``family``: its group in the form's menu.
    """

    words: str
    takes: str
    family: str


# By Baserow's name of the filter, in the order of the form's menu.
KINDS: Final[Mapping[str, Kind]] = {
    "contains": Kind("contains", "text", "Text"),
    "contains_not": Kind("does not contain", "text", "Text"),
    "equal": Kind("is", "text", "Text"),
    "not_equal": Kind("is not", "text", "Text"),
    "higher_than": Kind("is more than", "number", "Number"),
    "lower_than": Kind("is less than", "number", "Number"),
    "date_is": Kind("is on", "date", "Day"),
    "date_is_after": Kind("is after", "date", "Day"),
    "date_is_before": Kind("is before", "date", "Day"),
    "boolean": Kind("is", "boolean", "Yes or no"),
    "single_select_equal": Kind("is the choice", "choice", "Choice"),
    "single_select_not_equal": Kind("is not the choice", "choice", "Choice"),
    "multiple_select_has": Kind("has the choice", "choice", "Choice"),
    "multiple_select_has_not": Kind("does not have the choice", "choice", "Choice"),
    "link_row_has": Kind("links to the row with the id", "id", "Linked rows"),
    "link_row_contains": Kind("links to a row whose title contains", "text", "Linked rows"),
    "link_row_not_contains": Kind("links to no row whose title contains", "text", "Linked rows"),
    "user_is": Kind("is the user with the id", "id", "People"),
    "user_is_not": Kind("is not the user with the id", "id", "People"),
    "multiple_collaborators_has": Kind("has the user with the id", "id", "People"),
    "multiple_collaborators_has_not": Kind("does not have the user with the id", "id", "People"),
    "has_value_equal": Kind("has an item that is", "text", "List"),
    "has_not_value_equal": Kind("has no item that is", "text", "List"),
    "has_value_contains": Kind("has an item that contains", "text", "List"),
    "has_not_value_contains": Kind("has no item that contains", "text", "List"),
    "has_date_equal": Kind("has a day that is", "date", "List"),
    "has_date_after": Kind("has a day after", "date", "List"),
    "has_date_before": Kind("has a day before", "date", "List"),
    "empty": Kind("is empty", "", "Anything"),
    "not_empty": Kind("is not empty", "", "Anything"),
}

_EMPTY: Final = ("empty", "not_empty")
_TEXT: Final = ("contains", "contains_not", "equal", "not_equal", *_EMPTY)
_COMPARED: Final = ("equal", "not_equal", "higher_than", "lower_than")
_DAY: Final = ("date_is", "date_is_after", "date_is_before", *_EMPTY)
_CHOICE: Final = (
    "contains",
    "contains_not",
    "single_select_equal",
    "single_select_not_equal",
    *_EMPTY,
)
_CHOICES: Final = (
    "contains",
    "contains_not",
    "multiple_select_has",
    "multiple_select_has_not",
    *_EMPTY,
)
_USER: Final = ("user_is", "user_is_not")
_LIST: Final = ("has_value_contains", "has_not_value_contains")
_TEXT_LIST: Final = ("has_value_equal", "has_not_value_equal", *_LIST)
# By the key from ``type_of``; the likeliest filter first.
OFFERED: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("text", "long_text", "url", "email", "phone_number"), _TEXT),
    **dict.fromkeys(("formula text", "formula char", "formula url"), _TEXT),
    "uuid": ("equal", "not_equal"),
    "number": (*_COMPARED, *_EMPTY),
    "rating": (*_COMPARED, *_EMPTY),
    "autonumber": _COMPARED,
    "formula number": (*_COMPARED, "contains", "contains_not", *_EMPTY),
    "duration": (*_COMPARED, *_EMPTY),
    # Without "equal": the server rounds the compared value to the formula's format, but the
    # formula's own value can be finer.
    "formula duration": ("higher_than", "lower_than", *_EMPTY),
    **dict.fromkeys(("boolean", "formula boolean"), ("boolean",)),
    **dict.fromkeys(("date", "last_modified", "created_on", "formula date"), _DAY),
    **dict.fromkeys(("created_by", "last_modified_by"), _USER),
    **dict.fromkeys(("single_select", "formula single_select"), _CHOICE),
    **dict.fromkeys(("multiple_select", "formula multiple_select"), _CHOICES),
    "multiple_collaborators": (
        "multiple_collaborators_has",
        "multiple_collaborators_has_not",
        *_EMPTY,
    ),
    "link_row": ("link_row_has", *_EMPTY),
    "link_row to text": ("link_row_contains", "link_row_not_contains", "link_row_has", *_EMPTY),
    **dict.fromkeys(("file", "password"), _EMPTY),
    **dict.fromkeys(("array text", "array char", "array url"), _TEXT_LIST),
    "array number": ("has_value_equal", "has_not_value_equal"),
    "array date": ("has_date_equal", "has_date_after", "has_date_before"),
    "array single_select": _LIST,
}
# The filters that a masked column keeps: those that compare a complete value, and the two on
# emptiness. Negations are left out, since several in one request would test several values.
_EXACT: Final = frozenset({"equal", "boolean", "single_select_equal", "date_is", "user_is"})
_NO_SORT: Final = frozenset(
    {
        *("file", "password", "json"),
        *(
            "formula link",
            "formula button",
            "formula single_file",
            "formula multiple_select",
            "formula invalid",
        ),
        *("array link", "array button", "array single_file", "array multiple_select"),
    }
)
# A search in other columns alone returns every row. Recorded for boolean columns; Baserow's source
# has no search for the other types.
_SEARCHED: Final = frozenset(
    {
        *(
            "text",
            "long_text",
            "url",
            "email",
            "phone_number",
            "uuid",
            "number",
            "rating",
            "autonumber",
        ),
        *(
            "date",
            "last_modified",
            "created_on",
            "created_by",
            "last_modified_by",
            "single_select",
            "multiple_select",
        ),
        *("formula text", "formula char", "formula url", "formula number", "formula date"),
        *("formula single_select", "formula multiple_select"),
    }
)
# The search covers these types, but the server refuses "contains" for them (recorded).
_NOT_CONTAINED: Final = frozenset({"uuid", "rating", "created_by", "last_modified_by"})
# Baserow's filter for several choices, by its filter for one.
_OF_SEVERAL: Final[Mapping[str, str]] = {
    "single_select_equal": "single_select_is_any_of",
    "single_select_not_equal": "single_select_is_none_of",
}
_COMPARES_VALUE: Final = frozenset({*_COMPARED, "has_value_equal", "has_not_value_equal"})
_COMPARED_AS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("number", "formula number", "array number"), "number"),
    **dict.fromkeys(("rating", "autonumber"), "whole"),
    **dict.fromkeys(("duration", "formula duration"), "duration"),
}
# Baserow reads a column's ``[...]`` in order_by as a type of sort (source: ``parse_order_string``).
_SORT_TYPE: Final = re.compile(r"\[[^\[\]\n]*\]")
# Baserow's filter parser does not find these names, or reserves them (source:
# ``filter_by_fields_object``).
_RESERVED_NAMES: Final = frozenset({"field_created_on", "field_updated_on", "field_id"})
# Seconds of the smallest unit of a duration's format, to which the server rounds a compared value.
_UNITS: Final[Mapping[str, Decimal]] = {
    **dict.fromkeys(("h:mm", "d h:mm", "d h mm"), Decimal(60)),
    "d h": Decimal(3600),
    "h:mm:ss.s": Decimal("0.1"),
    "h:mm:ss.ss": Decimal("0.01"),
    "h:mm:ss.sss": Decimal("0.001"),
}
# Above every number that a formula can result in (50 digits), and below NaN, which PostgreSQL
# sorts above all numbers.
_ABOVE_ALL: Final = "1" + "0" * 60
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# The longest duration that the server can hold (Python's ``timedelta``), in seconds.
_LONGEST: Final = Decimal(999_999_999 * 86_400)


def type_of(column: peliqan.Column) -> str:
    """Return the key of a column in ``OFFERED``: its type, "formula <result>" or "array <item>"."""
    if column.formula_type == "array":
        return f"array {column.array_formula_type}"
    if column.formula_type:
        return f"formula {column.formula_type}"
    if column.type in {"count", "rollup"}:
        return "formula number"
    if (
        column.type == "link_row"
        and column.linked is not None
        and OFFERED.get(type_of(column.linked)) == _TEXT
    ):
        return "link_row to text"
    return column.type


def kinds_of(column: peliqan.Column, *, masked: bool = False) -> tuple[str, ...]:
    """Return the filters that a column supports, the likeliest first.

    ``masked``: the user sees the column masked, so only exact values and emptiness are offered.
    "is on" is then left out for columns of times, since a day is only a part of a time.
    """
    if column.name in _RESERVED_NAMES or "\n" in column.name:
        return ()
    offered = OFFERED.get(type_of(column), ())
    if not masked:
        return offered
    refused = {"date_is"} if column.has_time else set()
    return tuple(kind for kind in offered if kind in {*_EXACT, *_EMPTY} - refused)


def key_of(column: peliqan.Column, *, masked: bool = False) -> str:
    """Return a key that columns with the same ``kinds_of`` share, for the form's menu."""
    return " | ".join(kinds_of(column, masked=True)) if masked else type_of(column)


def can_sort(column: peliqan.Column) -> bool:
    """Return whether the server can sort by a column.

    A column of an unknown type counts as sortable, as most types are.
    """
    if type_of(column) in _NO_SORT or _SORT_TYPE.search(column.name):
        return False
    return column.linked is None or type_of(column.linked) not in _NO_SORT


def search_filter(column: peliqan.Column, text: str, *, masked: bool) -> dict[str, str]:
    """Return the filter that matches what a search matches in a column, as query parameters.

    Empty if there is none. A masked column is compared with the complete text; any other column
    has to contain the text. Baserow's "contains" and its search both use the field's display text
    (source), but it refuses "contains" for the types in ``_NOT_CONTAINED``.
    """
    if not can_search(column) or not kinds_of(column):
        return {}
    if not masked and type_of(column) not in _NOT_CONTAINED:
        return {name_of(column, "contains"): text}
    kind = next(
        (each for each in kinds_of(column, masked=True) if each in _EXACT - {"user_is"}), None
    )
    if kind is None or (type_of(column) == "uuid" and not _UUID.fullmatch(text)):
        return {}
    try:
        return parameters(column, kind, read_value(column, kind, text))
    except BadQuery:
        return {}


def can_search(column: peliqan.Column) -> bool:
    """Return whether the server's search covers a column."""
    return type_of(column) in _SEARCHED


def read_value(column: peliqan.Column, kind: str, value: str, *, masked: bool = False) -> str:
    """Return a filter's value as the address contains it, once it is checked.

    ``masked``: the user sees the column masked, so an error lists none of its choices.

    Raises:
        BadQuery: the server would ignore the value, or compare with another one.
    """
    if not value:
        raise BadQuery(f"The filter on “{column.name[:60]}” has no value.")
    takes = KINDS[kind].takes
    if kind in _COMPARES_VALUE:
        takes = _COMPARED_AS.get(type_of(column), takes)
    refused = f"“{value[:40]}” cannot be compared with “{column.name[:60]}”: it takes"
    if takes == "boolean":
        return _boolean(value, refused)
    if takes == "date":
        return _day(value, refused)
    if takes == "choice":
        _choice_ids(column, value, masked=masked)
    elif takes in {"number", "duration"}:
        _check_number(column, value, takes, refused)
    elif takes in {"whole", "id"}:
        _check_integer(value, takes, refused)
    elif kind in _LIST and set(value) & set("%_\\"):
        raise BadQuery(
            f"{refused} a text without %, _ and \\: in lists Peliqan takes them for placeholders."
        )
    return value


def parameters(column: peliqan.Column, kind: str, value: str) -> dict[str, str]:
    """Return a filter's query parameters for Baserow. ``value``: from ``read_value``."""
    takes = KINDS[kind].takes
    if takes == "date":
        # Recorded: ``UTC?2020-06-06?exact_date``.
        return {name_of(column, kind): f"UTC?{value}?exact_date"}
    if takes == "choice":
        ids = _choice_ids(column, value)
        # Several choices can have the same text, but the filters of one choice take one id.
        if len(ids) > 1:
            kind = _OF_SEVERAL.get(kind, kind)
        return {name_of(column, kind): ",".join(map(str, ids))}
    if kind == "higher_than" and type_of(column) == "formula number":
        return {name_of(column, kind): value, name_of(column, "lower_than"): _ABOVE_ALL}
    return {name_of(column, kind): value}


def name_of(column: peliqan.Column, kind: str) -> str:
    """Return the parameter of a filter, in the console's address and at Baserow."""
    return f"filter__{column.name}__{kind}"


def _check_number(column: peliqan.Column, value: str, takes: str, refused: str) -> None:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        seconds = ", of seconds" if takes == "duration" else ""
        raise BadQuery(f"{refused} a number{seconds}, such as 12.50.")
    unit = _UNITS.get(column.duration_format, Decimal(1))
    if takes == "duration" and (abs(number) > _LONGEST or number % unit):
        raise BadQuery(
            f"{refused} seconds, a multiple of {unit}:"
            f" the column's format is “{column.duration_format}”."
        )


def _check_integer(value: str, takes: str, refused: str) -> None:
    if takes == "whole" and not _WHOLE.fullmatch(value):
        raise BadQuery(f"{refused} a whole number, such as 12.")
    if takes == "id" and not (value.isascii() and value.isdigit() and int(value[:20]) < 2**63):
        raise BadQuery(f"{refused} the id of one row or user, a whole number such as 12.")


def _boolean(value: str, refused: str) -> str:
    if value.lower() not in {"true", "false"}:
        raise BadQuery(f"{refused} true or false.")
    return value.lower()


def _day(value: str, refused: str) -> str:
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise BadQuery(f"{refused} a day, such as 2026-03-31.") from None


def _choice_ids(column: peliqan.Column, value: str, *, masked: bool = False) -> list[int]:
    ids = [option.id for option in column.options if option.value.strip() == value]
    if not ids:
        some = ", ".join(dict.fromkeys(option.value for option in column.options))[:300]
        has = (
            "Its choices are masked for you, as its values are."
            if masked
            else f"It has: {some or 'none'}."
        )
        raise BadQuery(f"“{column.name[:60]}” has no choice “{value[:40]}”. {has}")
    return ids
