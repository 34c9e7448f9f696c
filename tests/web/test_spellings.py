"""Search finds texts in any spelling, and sorting is the same on every database."""

import re
from collections.abc import Iterator
from typing import Any
from unicodedata import normalize

import pytest
from flask import Flask

from dashboard.app import create_app
from dashboard.core.database import db
from dashboard.core.search_text import refold
from dashboard.core.text import comparable
from dashboard.reports.overview import queries as overview
from dashboard.sql import service as query_runs
from dashboard.web.security import limiter
from tests.support.people import Person
from tests.support.settings import make_settings
from tests.support.spellings import NAMES, SEARCHED, SPELLINGS, fill

# Options of CREATE DATABASE, by its collation: ASCII letters only, or those of a language.
LOCALES = {
    "C": "LOCALE 'C' ENCODING 'UTF8'",
    "en-US": "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8' ENCODING 'UTF8'",
}


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    yield from made(tmp_path_factory, "")


@pytest.fixture(scope="module", params=["SQLite", *LOCALES])
def spelled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """Yield a console with names that databases fold differently; tests do not change it."""
    if request.param == "SQLite":
        yield request.getfixturevalue("on_sqlite")
        return
    servers = request.getfixturevalue("servers")
    name = f"spelled {request.param}"
    yield from made(
        tmp_path_factory, servers.postgresql.create(name, locale=LOCALES[request.param])
    )
    servers.postgresql.drop(name)


def made(folders: pytest.TempPathFactory, url: str) -> Iterator[Flask]:
    app = create_app(
        make_settings("http://127.0.0.1:1", folders.mktemp("spelled"), database_url=url)
    )
    fill(app)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="module")
def adam(spelled: Flask) -> Person:  # Signed in once for all tests.
    return somebody(spelled)


@pytest.fixture(scope="module")
def adam_on_sqlite(on_sqlite: Flask) -> Person:
    return somebody(on_sqlite)


def somebody(app: Flask) -> Person:
    limiter.enabled = False
    if "adam" not in app.extensions:
        app.extensions["adam"] = Person(app.test_client(), "adam@example.com")
    found: Person = app.extensions["adam"]
    return found


def answer(person: Person, path: str, **args: str) -> Any:
    found = person.client.get(f"{path}.json", query_string={"per_page": "200", **args})
    assert found.status_code == 200, f"{path} {args}: {found.text[:300]}"
    return found.json


def lists(app: Flask, person: Person) -> set[str]:
    """Return the paths of all lists: those whose JSON has items and a total."""
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.rule.endswith(".json") and rule.arguments <= {"cause_id", "job_id", "schedule_id"}:
            path = re.sub(r"<[^>]+>", "1", rule.rule).removesuffix(".json")
            if "total" in person.json(f"{path}.json"):
                found.add(path)
    return found


def without_times(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Remove times, since the databases were not filled at the same moment."""
    return [
        {name: value for name, value in item.items() if not re.search(r"\bat$|_at$", name)}
        for item in items
    ]


def sorts(person: Person, path: str) -> list[str]:
    """Return the sorts that a list offers."""
    text = person.client.get(f"{path}.json?sort=by-nothing").text
    return re.findall(r"\w+", text.partition("It can be by: ")[2].partition(".")[0])


def test_every_list_is_among_those_that_are_searched_here(spelled: Flask, adam: Person) -> None:
    assert lists(spelled, adam) == set(SEARCHED)


@pytest.mark.parametrize("path", SEARCHED)
def test_a_list_is_searched_in_any_spelling(adam: Person, path: str) -> None:
    assert answer(adam, path, q="nobody is called so")["total"] == 0
    for index, (tag, count) in enumerate(SEARCHED[path].items()):
        # Every third spelling, starting with another one for each text, and another name for
        # each. The largest lists have all of them below.
        for turn, (spelling, spell) in list(enumerate(SPELLINGS.items(), index))[index % 3 :: 3]:
            name = NAMES[turn % len(NAMES)]
            assert answer(adam, path, q=spell(f"{tag}{name}"))["total"] == count, (
                spelling,
                tag,
                name,
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_lists_and_the_find_box_know_every_spelling_of_every_name(
    adam: Person, spelled: Flask, name: str
) -> None:
    number = 1000 + NAMES.index(name) + 1
    for spell in SPELLINGS.values():
        for path, tag in (("/accounts", "qa"), ("/connections", "qb")):
            found = answer(adam, path, q=spell(f"{tag}{name}"))["items"]
            assert {item["account_id"] for item in found} == {number}, (path, spell(name))
        with spelled.test_request_context():
            assert overview.find(spell(f"qb{name}")).only.id == number  # type: ignore[union-attr]
            assert [each.id for each in overview.find(spell(f"qa{name}")).accounts] == [number]
            assert [each.account_id for each in overview.find(spell(f"qc{name}")).connections] == [
                number
            ]


def test_a_bulk_job_is_for_what_the_list_shows(adam: Person) -> None:
    for number, (spelling, spell) in enumerate(SPELLINGS.items(), 1):
        found = adam.client.get(
            "/bulk/new", query_string={"kind": "sync", "q": spell(f"qc{NAMES[number - 1]}")}
        )
        assert found.status_code == 200
        assert set(re.findall(r'value="(\d+-\d+)"', found.text)) == {f"{1000 + number}-{number}"}, (
            spelling
        )


@pytest.mark.parametrize("path", SEARCHED)
def test_a_filter_takes_its_values_in_any_spelling(adam: Person, path: str) -> None:
    for choice in adam.get(path).select("form.list-filters select"):
        for option in choice.select("option[value]")[1:4]:
            expected = [
                repr(item)
                for item in answer(adam, path, **{choice["name"]: option["value"]})["items"]
            ]
            assert expected, (choice["name"], option)
            for spelling in (
                "in capitals",
                "in small letters",
                "in NFD",
                "in full width",
                "with invisible characters",
            ):
                spell = SPELLINGS[spelling]
                query = {str(choice["name"]): spell(str(option["value"]))}
                found = answer(adam, path, **query)
                assert [repr(item) for item in found["items"]] == expected, (spelling, query)
            page = adam.client.get(
                path, query_string={str(choice["name"]): str(option["value"]).upper()}
            )
            assert f'value="{option["value"]}" selected' in page.text.replace("&#39;", "'")


@pytest.mark.parametrize("path", SEARCHED)
def test_a_list_is_sorted_alike_on_every_database(
    adam: Person, adam_on_sqlite: Person, path: str
) -> None:
    names = sorts(adam, path)
    assert names
    for sort in [each for name in names for each in (name, f"-{name}")]:
        mine, theirs = (
            without_times(answer(person, path, sort=sort)["items"])
            for person in (adam, adam_on_sqlite)
        )
        assert mine == theirs, sort
        if sort.removeprefix("-") in {"name", "email"}:
            shown = [comparable(item[sort.removeprefix("-")]) for item in mine]
            assert shown == sorted(shown, reverse=sort.startswith("-")), sort


def test_a_page_goes_on_where_the_page_before_it_ended(adam: Person) -> None:
    for path in ("/accounts", "/connections", "/alerts"):
        for sort in sorts(adam, path):
            whole = answer(adam, path, sort=sort)["items"]
            pages = [
                answer(adam, path, sort=sort, per_page="7", page=str(page))["items"]
                for page in range(1, -(-len(whole) // 7) + 1)
            ]
            assert [item for page in pages for item in page] == whole, (path, sort)


def test_signs_that_stand_for_others_in_a_pattern_stand_for_themselves(adam: Person) -> None:
    for q in ("%", "_", "\\", "/", "qa%e", "qa_cole", "a%b_c\\d/e"):
        expected = {
            1000 + number
            for number, name in enumerate(NAMES, 1)
            if comparable(q) in comparable(f"qa{name}")
        }
        assert {
            item["account_id"] for item in answer(adam, "/accounts", q=q)["items"]
        } == expected, q


def test_a_search_for_nothing_that_can_be_seen_is_no_search(adam: Person) -> None:
    assert answer(adam, "/accounts", q="\u200b\u00ad")["total"] == len(NAMES)


def test_saved_questions_are_listed_in_order_and_a_name_is_taken_in_any_spelling(
    spelled: Flask,
) -> None:
    with spelled.test_request_context():
        names = [comparable(query.name) for query in query_runs.saved_queries()]
        assert names == sorted(names)
        for spell in SPELLINGS.values():
            for name in NAMES:
                new = query_runs.QueryInput(spell(f"rk{name}"), "select 1", {})
                with pytest.raises(ValueError, match="already"):
                    query_runs.save(None, None, new, None)  # type: ignore[arg-type]
        db.session.rollback()


def test_nothing_here_has_left_a_kept_text_behind(spelled: Flask) -> None:
    with spelled.app_context():
        assert refold() == 0


def test_names_here_are_of_all_kinds() -> None:
    """The names above must differ as the test claims."""
    assert {name for name in NAMES if name.lower() != comparable(name)} >= {
        "Straße",
        "ﬁnance",
        "Ｆｕｌｌ",
        "ｶﾞｰﾃﾞﾝ",
    }
    assert {name for name in NAMES if normalize("NFC", name) != name} >= {
        "Ko\u0308ln",
        "\u212bngström",
    }
