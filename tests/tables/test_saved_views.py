"""Saved views for queries that are too long for an address, and other long addresses."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask

from dashboard import peliqan
from dashboard.core.database import db
from dashboard.listing.query import BadQuery
from dashboard.tables import saved_views as table_views
from dashboard.tables.models import TableView
from dashboard.tables.query import LONGEST_TREE, read_table_query, reference
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.support.clock import Clock
from tests.support.people import PASSWORD, Person, words
from tests.support.sample_tables import ACCOUNT, TABLE, OwnTable
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


WIDE = "/accounts/1001/tables/10011903"
OWN = f"/accounts/{ACCOUNT}/tables/{TABLE}"
OTHERS = "/accounts/1002/tables/10021010"
HALF = [f"Column {number:03d}" for number in range(1, 201, 2)]
SECRET = "jane.roe@example.com"
# The longest name that Peliqan allows, with characters that take nine each in an address.
LONG_NAME = "表" * 255


def choose(person: Person, path: str, **fields: Any) -> str:
    """Send the form for columns, and return the address to which it redirects."""
    response = person.client.post(path, data={"csrf_token": person.token(), **fields})
    assert response.status_code == 303, response.text[:500]
    return str(response.location)


def pairs(address: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(address).query, keep_blank_values=True)


def link(page: BeautifulSoup, selector: str) -> str:
    found = page.select_one(selector)
    assert isinstance(found, Tag), selector
    return str(found["href"])


def test_the_same_choice_is_one_short_address_for_everybody(
    viv: Person, olga: Person, app: Flask
) -> None:
    mine, theirs = (choose(person, WIDE, column=HALF, sort="-Column 002") for person in (viv, olga))
    assert mine == theirs
    assert [name for name, _ in pairs(mine)] == ["view"]
    assert len(viv.get(mine).select(".rows thead th")) == 101
    with app.app_context():
        assert db.session.query(TableView).count() == 1
    few = choose(viv, WIDE, column=HALF[:2], sort="-Column 002")
    assert pairs(few) == [("sort", "-Column 002"), ("column", HALF[0]), ("column", HALF[1])]
    assert choose(viv, WIDE, column=[f"Column {number:03d}" for number in range(1, 201)]) == WIDE


def test_to_choose_columns_asks_peliqan_for_them_once(viv: Person, sandbox: Sandbox) -> None:
    before = sandbox.state()["calls"].get("fields", 0)
    chosen = choose(viv, WIDE, column=HALF[:2])
    # As htmx follows the redirect of a form.
    viv.fragment(chosen)
    assert sandbox.state()["calls"]["fields"] == before + 1


def test_what_stands_beside_a_view_goes_over_it(viv: Person) -> None:
    view = choose(viv, WIDE, column=HALF, sort="-Column 002", per_page="25")
    page = viv.get(view)
    following = link(page, "a[rel=next]")
    assert ("page", "2") in pairs(following)
    assert len(following) < 200
    sorted_by = viv.get(link(page, ".rows thead a.sort-link"))
    assert sorted_by.select_one("th[aria-sort=ascending]") is not None
    everything = viv.get(
        next(str(each["href"]) for each in page.select("a") if each.text == "All columns")
    )
    assert len(everything.select(".rows thead th")) == 201
    assert viv.get(view + "&sort=").select_one(".rows thead [aria-sort=descending]") is None
    one = viv.json(f"{WIDE}.json?{urlsplit(view).query}&column=Column+002")
    assert [column["name"] for column in one["columns"]] == ["Column 002"]
    assert one["per_page"] == 25


def test_conditions_that_are_too_long_are_kept_and_each_can_be_let_go_of(viv: Person) -> None:
    page, address = viv.get("/accounts/1001/tables/10011900"), "/accounts/1001/tables/10011900"
    for number in range(6):
        form = page.select_one("form.rows-add")
        assert form is not None
        carried: dict[str, Any] = {}
        for field in form.select("input[type=hidden]"):
            carried.setdefault(str(field["name"]), []).append(str(field["value"]))
        kind = ("contains", "contains_not", "equal")[number % 3]
        added = {
            "add_column": ("Title", "Long")[number // 3],
            "add_kind": kind,
            "add_value": f"{number}ä" * 200,
        }
        address = choose(viv, str(form["action"]), **{**carried, **added})
        assert len(address) < 2_000
        page = viv.get(address)
        assert len(page.select(".rows-condition")) == number + 1
    while links := page.select(".rows-condition a"):
        assert len(str(links[0]["href"])) < 2_000
        page = viv.get(str(links[0]["href"]))
        assert len(page.select(".rows-condition")) == len(links) - 1


def test_a_view_opens_with_its_own_table_and_for_those_who_may_see_it(
    viv: Person, adam: Person, app: Flask, clock: Clock
) -> None:
    view = urlsplit(choose(adam, WIDE, column=HALF)).query
    for path in ("/accounts/1001/tables/10011902", OTHERS, WIDE + ".json", WIDE + "/export.csv"):
        expected = 200 if path.startswith(WIDE) else 410
        assert adam.client.get(f"{path}?{view}").status_code == expected, path
    for wrong in ("view=nothing", view[:-1], f"{view}x", "view=" + "a" * 5_000):
        response = adam.client.get(f"{WIDE}?{wrong}")
        assert response.status_code == 410
        assert "are not kept" in words(BeautifulSoup(response.text, "html.parser"))
        assert adam.client.get(f"{WIDE}.json?{wrong}").status_code == 410
    with app.app_context():
        person = users.find_user("viv@example.com")
        assert person is not None
        customer_access.limit(person, customer_access.read("cust-00002"))
    limited = viv.client.get(f"{WIDE}?{view}")
    assert limited.status_code == 404
    assert "Column" not in limited.text
    assert viv.client.get(f"{OTHERS}?{view}").status_code == 410
    with app.app_context():
        customer_access.limit(
            users.find_user("viv@example.com"), customer_access.read("cust-00001")
        )  # type: ignore[arg-type]
    assert viv.client.get(f"{WIDE}?{view}").status_code == 200
    assert choose(viv, WIDE, column=HALF) == f"{WIDE}?{view}"
    assert viv.client.post(OTHERS, data={"csrf_token": viv.token()}).status_code == 404


def test_a_view_that_nobody_opens_for_ninety_days_is_deleted(
    viv: Person, app: Flask, clock: Clock
) -> None:
    view, other = choose(viv, WIDE, column=HALF), choose(viv, WIDE, column=HALF[1:])

    def forget() -> int:
        with app.app_context():
            return table_views.delete_old(clock())

    for days in (60, 60):
        clock.move(days=days)
        viv.post("/login", page="/login", email="viv@example.com", password=PASSWORD)
        viv.get(view)
        forget()
    assert viv.client.get(other).status_code == 410
    assert viv.client.get(view).status_code == 200
    clock.move(days=91)
    assert forget() == 1


def test_a_view_is_encrypted_and_lost_with_its_key(
    viv: Person, app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = choose(viv, WIDE, column=HALF, **{"filter__Column 003__contains": SECRET})
    with app.app_context():
        content = db.session.query(TableView).one().content
        assert SECRET.encode() not in content
        assert b"Column" not in content
        vault = app.extensions["services"].vault
    assert SECRET in words(viv.get(view))
    # While SECRET_KEY has two keys, opening a view encrypts it with the newer one.
    clock.move(hours=25)
    viv.post("/login", page="/login", email="viv@example.com", password=PASSWORD)
    assert SECRET in words(viv.get(view))
    with app.app_context():
        assert db.session.query(TableView).one().content != content
    monkeypatch.setattr(type(vault), "decrypt", lambda *_: None)
    assert viv.client.get(view).status_code == 410
    monkeypatch.undo()
    assert viv.client.get(view).status_code == 200


@pytest.fixture
def own(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnTable]:
    """Yield a table whose columns have the longest possible names."""
    made = OwnTable(
        columns={
            "Name": "text",
            LONG_NAME: "text",
            f"+{LONG_NAME[:254]}": "text",
            "~0123456789abcdef": "text",
        }
    )
    made.install(sandbox, monkeypatch)
    for number in (1, 2):
        made.put(
            number,
            "",
            **{LONG_NAME: f"{number} " + "long " * 200, f"+{LONG_NAME[:254]}": str(3 - number)},
        )
    return made


def test_columns_with_the_longest_names_are_sorted_and_opened_by_short_addresses(
    own: OwnTable, viv: Person
) -> None:
    page = viv.get(OWN)
    heads = page.select(".rows thead a.sort-link")
    assert len(heads) == 4
    for head in heads:
        ascending = viv.get(str(head["href"]))
        (sorted_,) = ascending.select("th[aria-sort=ascending] a")
        assert len(str(sorted_["href"])) < 500
        assert viv.get(str(sorted_["href"])).select("th[aria-sort=descending]")
    cell = link(page, "a.cell-more")
    assert len(cell) < 500
    assert "long long" in words(viv.get(cell))
    condition = {"add_column": LONG_NAME, "add_kind": "contains", "add_value": "2 long"}
    filtered = choose(viv, OWN, sort=f"-{LONG_NAME}", **condition)
    assert len(filtered) < 200
    assert viv.get(filtered).select(".rows tbody tr").__len__() == 1
    for name in ("~0123456789abcdef", f"-{reference(LONG_NAME)}"):
        assert viv.client.get(f"{OWN}.json", query_string={"sort": name}).status_code == 200, name
    assert (
        viv.client.get(f"{OWN}.json", query_string={"sort": "~fedcba9876543210"}).status_code == 400
    )


def test_peliqan_is_asked_for_columns_by_the_shorter_list_or_for_all() -> None:
    columns = [
        peliqan.Column(name=f"{number:03d} {'x' * 56}", type="text", id=number)
        for number in range(300)
    ]
    names = [column.name for column in columns]
    for chosen, included, excluded in (
        (names[:2], 2, 0),
        (names[1:], 0, 1),
        (names[:150], 0, 0),
        ([], 0, 0),
    ):
        query = read_table_query(
            {"filter__" + names[299] + "__contains": "a"}, chosen, columns, masked=()
        )
        sent = query.upstream(columns)
        # The filtered columns are included as well.
        assert len(sent["include"]) == included + (1 if included else 0)
        assert len(sent.get("exclude", ())) == excluded
        assert names[299] not in sent.get("exclude", ())
        assert len(quote(",".join([*sent["include"], *sent.get("exclude", ())]))) <= LONGEST_TREE
    with pytest.raises(BadQuery, match="150 of 300 columns are too many to name"):
        read_table_query({"q": "a"}, names[:150], columns, masked=())


@pytest.mark.parametrize(
    "path",
    ["/connections", "/accounts", "/audit", "/users", "/causes", "/findings", "/receipts", "/bulk"],
)
def test_a_filter_of_a_list_has_a_length_that_fits_an_address(adam: Person, path: str) -> None:
    names = {str(select["name"]) for select in adam.get(path).select("form.list-filters select")}
    for name in names | {"connector"} & names:
        response = adam.client.get(path, query_string={name: "x" * 255})
        assert response.status_code == 400, name
        assert "too long to filter by" in response.text or "is no" in response.text
    assert "at most 200 characters" in words(adam.get(f"{path}?q={'x' * 201}", 400))


def test_where_to_go_after_signing_in_fits_an_address_and_its_path_stays(
    app: Flask, mallory: Person
) -> None:
    for query, is_complete in (
        ("q=" + "x" * 900, True),
        (urlencode({"q": "表" * 110}), True),
        ("q=" + "x" * 9_000, False),
    ):
        target = f"/connections?{query}"
        response = mallory.client.get(target)
        assert len(response.location) < 2_000
        page = BeautifulSoup(mallory.client.get(response.location).text, "html.parser")
        field = page.select_one("input[name=next]")
        assert field is not None
        assert field["value"] == (target if is_complete else "/connections")
        htmx = mallory.client.get(
            "/", headers={"HX-Request": "true", "HX-Current-URL": f"http://localhost{target}"}
        )
        assert len(htmx.headers["HX-Redirect"]) < 2_000
        given = mallory.client.get("/login", query_string={"next": target})
        assert (
            len(
                str(
                    BeautifulSoup(given.text, "html.parser").select_one("input[name=next]")["value"]
                )
            )
            < 2_000
        )  # type: ignore[index]
    assert mallory.client.get("/" + "x" * 5_000).status_code in {302, 404}


def test_hundreds_of_ticked_connections_are_posted(olga: Person) -> None:
    page = olga.get("/connections?per_page=200")
    boxes = [str(box["value"]) for box in page.select("input[name=c]")]
    assert len(boxes) > 100
    form = page.select_one("form#many")
    assert form is not None
    assert form["method"] == "post"
    fields = {"csrf_token": olga.token(), "kind": "sync", "which": "ticked", "c": boxes}
    response = olga.client.post(str(form["action"]), data=fields)
    assert response.status_code == 200
    confirm = BeautifulSoup(response.text, "html.parser")
    carried = [str(field["value"]) for field in confirm.select("form.bulk-form input[name=c]")]
    assert carried == boxes
    assert confirm.select_one("form.bulk-form")["method"] == "post"  # type: ignore[index]


def test_connectors_to_offer_in_the_widget_fit_an_address(olga: Person) -> None:
    assert olga.client.get("/embed", query_string={"connectors": "x" * 500}).status_code == 200
    assert "too many" in words(olga.get("/embed?connectors=" + ",".join(["odoo"] * 300), 400))
