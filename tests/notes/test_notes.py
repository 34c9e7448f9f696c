"""Notes and assignees: everybody sees them, operators write them."""

from typing import Any

import pytest

from tests.support.people import Person, path_of, words
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.both_engines


def entries(adam: Person, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = adam.json(f"/audit.json?what={what}")["items"]
    return found


def worst_cause(person: Person) -> str:
    return f"/causes/{person.json('/causes.json')['items'][0]['id']}"


def notes(person: Person, path: str) -> list[str]:
    return [words(each) for each in person.get(path).select("#notes .note")]


def test_a_note_is_seen_by_everybody_who_opens_the_page_with_who_and_when_newest_first(
    olga: Person, adam: Person, viv: Person, sandbox: Sandbox
) -> None:
    for path in ("/accounts/1060", path_of(sandbox.healthy), worst_cause(viv)):
        response = olga.post(f"{path}/notes", text="They moved to another bank.\nCall on Friday.")
        assert (response.status_code, response.location) == (303, f"{path}#notes")
        adam.post(f"{path}/notes", text="Called: all well <b>now</b>.")
        newest, oldest = notes(viv, path)
        assert newest.startswith("adam@example.com")
        assert "just now" in newest
        assert newest.endswith("Called: all well <b>now</b>.")
        assert oldest.startswith("olga@example.com")
        assert (
            viv.get(path).select(".note-text")[1].text
            == "They moved to another bank.\nCall on Friday."
        )
    assert [(each["account_id"], each["connection_id"]) for each in entries(adam, "note")][-1] == (
        1060,
        None,
    )
    assert len(entries(adam, "note")) == 6


def test_what_is_written_of_a_connection_stands_on_its_accounts_page_and_the_other_way_round(
    olga: Person, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    account = f"/accounts/{connection.account_id}"
    olga.post(f"{path_of(connection)}/notes", text="Its key is renewed in May.")
    olga.post(f"{account}/notes", text="Ask for Ann.")
    of_account, of_connection = notes(olga, account), notes(olga, path_of(connection))
    assert ["about the whole account" in each for each in of_connection] == [True, False]
    assert f"about {connection.name}" in of_account[1]
    others = [
        each for each in sandbox.life.connections(connection.account_id) if each.id != connection.id
    ]
    assert all("Its key" not in text for other in others for text in notes(olga, path_of(other)))


def test_the_newest_note_stands_in_the_list_of_causes(olga: Person, viv: Person) -> None:
    path = worst_cause(viv)
    olga.post(f"{path}/notes", text="First thought.")
    olga.post(f"{path}/notes", text="The vendor mends it tonight.")
    row = viv.get("/causes").select_one(f"tr[data-cause-id='{path.rsplit('/', 1)[1]}']")
    assert row is not None
    assert "The vendor mends it tonight." in words(row)
    assert "First thought" not in words(row)


def test_one_deletes_ones_own_notes_an_administrator_any_and_both_stay_in_the_audit_trail(
    olga: Person, adam: Person, viv: Person
) -> None:
    adam.post("/accounts/1001/notes", text="From Adam.")
    olga.post("/accounts/1001/notes", text="From Olga.")
    page = olga.get("/accounts/1001")
    forms = page.select("#notes .note form")
    assert len(forms) == 1
    ids = {words(each).split(" ")[0]: each["data-note-id"] for each in page.select(".note")}
    assert olga.post(f"/accounts/1001/notes/{ids['adam@example.com']}/delete").status_code == 403
    assert olga.post(str(forms[0]["action"])).status_code == 303
    assert len(notes(viv, "/accounts/1001")) == 1
    assert not viv.get("/accounts/1001").select("#notes form")
    olga.post("/accounts/1001/notes", text="Again from Olga.")
    for form in adam.get("/accounts/1001").select("#notes .note form"):
        adam.post(str(form["action"]))
    assert notes(viv, "/accounts/1001") == []
    assert [each["result"] for each in entries(adam, "delete_note")] == [
        "done",
        "done",
        "done",
        "refused",
    ]


def test_a_note_is_deleted_where_it_stands_and_nowhere_else(olga: Person) -> None:
    olga.post("/accounts/1001/notes", text="Here.")
    number = olga.get("/accounts/1001").select(".note")[0]["data-note-id"]
    assert olga.post(f"/accounts/1002/notes/{number}/delete").status_code == 404
    assert olga.post(f"/accounts/1001/notes/{9**25}/delete").status_code == 404
    assert len(notes(olga, "/accounts/1001")) == 1


def test_with_htmx_the_answer_is_the_notes_and_one_that_is_not_kept_comes_back_to_be_mended(
    olga: Person,
) -> None:
    response = olga.post("/accounts/1001/notes", htmx=True, text="Short.")
    assert response.text.lstrip().startswith('<section class="card mt-3" id="notes"')
    assert "Short." in response.text
    long = olga.post("/accounts/1001/notes", htmx=True, text="x" * 2001)
    assert "it can have 2000" in long.text
    assert f">{'x' * 2001}</textarea>" in long.text
    assert "The note is empty" in olga.post("/accounts/1001/notes", htmx=True, text=" \n ").text
    assert "Nothing was kept" in words(
        olga.get(olga.post("/accounts/1001/notes", text="x" * 2001).location.split("#")[0])
    )
    assert len(notes(olga, "/accounts/1001")) == 1


def test_text_that_a_database_would_refuse_is_kept_as_far_as_it_can_be(
    olga: Person, viv: Person
) -> None:
    olga.post("/accounts/1001/notes", text="a\0b 🎈")
    assert "ab 🎈" in notes(viv, "/accounts/1001")[0]


def test_a_viewer_writes_nothing_and_takes_nothing(viv: Person, sandbox: Sandbox) -> None:
    cause = worst_cause(viv)
    for path in (
        "/accounts/1001/notes",
        f"{path_of(sandbox.healthy)}/notes",
        f"{cause}/notes",
        f"{cause}/owner",
        "/accounts/1001/owner",
    ):
        assert viv.post(path, text="x", do="take").status_code == 403, path
    assert not viv.get("/accounts/1001").select("#notes form, #owner form")


def owner(person: Person, path: str) -> str:
    found = person.get(path).select_one("#owner")
    assert found is not None
    return str(found["data-owner"])


def press(person: Person, path: str, label: str) -> int:
    """Return the button of the page."""
    form = next(each for each in person.get(path).select("#owner form") if label in each.text)
    fields = {str(each["name"]): str(each["value"]) for each in form.select("input")}
    return person.client.post(str(form["action"]), data=fields).status_code


def test_who_is_on_it_is_seen_by_others_on_the_page_and_in_the_lists(
    olga: Person, adam: Person, viv: Person, sandbox: Sandbox
) -> None:
    cause, connection = worst_cause(viv), sandbox.healthy
    account = f"/accounts/{connection.account_id}"
    for path in (cause, account):
        assert owner(viv, path) == ""
        assert press(olga, path, "I am on it") == 303
        assert owner(viv, path) == "olga@example.com"
        assert "You are on" in words(olga.get(path))
    assert "olga@example.com is on this account" in words(viv.get(path_of(connection)))
    assert viv.json("/causes.json")["items"][0]["owner"] == "olga@example.com"
    assert any(
        each["owner"] == "olga@example.com"
        for each in viv.json("/accounts.json?per_page=200")["items"]
    )
    assert words(viv.get("/accounts?per_page=200")).count("olga@example.com is on it") == 1
    assert words(viv.get("/causes")).count("olga@example.com is on it") == 1
    for path in (cause, account):
        assert press(olga, path, "Let it go") == 303
        assert owner(viv, path) == ""
    assert (len(entries(adam, "own")), len(entries(adam, "let_go"))) == (2, 2)


def test_somebody_else_may_take_it_over_and_only_the_owner_or_an_administrator_lets_it_go(
    olga: Person, adam: Person, app: Any
) -> None:
    path = worst_cause(olga)
    press(adam, path, "I am on it")
    assert [words(form).strip() for form in olga.get(path).select("#owner form")] == ["Take over"]
    assert olga.post(f"{path}/owner", do="let_go").status_code == 403
    assert owner(olga, path) == "adam@example.com"
    assert press(olga, path, "Take over") == 303
    assert "in place of adam@example.com" in entries(adam, "own")[0]["detail"]
    assert press(adam, path, "Let it go") == 303
    assert olga.post(f"{path}/owner", do="marry").status_code == 400


def test_of_two_who_press_at_once_the_first_has_it_and_the_second_is_told(
    olga: Person, adam: Person
) -> None:
    path = worst_cause(olga)
    olga.post(f"{path}/owner", do="take", instead_of="")
    late = adam.post(f"{path}/owner", htmx=True, do="take", instead_of="")
    assert "olga@example.com is on it since a moment ago." in late.text
    assert owner(olga, path) == "olga@example.com"
    assert len(entries(adam, "own")) == 1
    adam.post(f"{path}/owner", do="take", instead_of="")
    assert "olga@example.com is on it since a moment ago." in words(adam.get(path))


def test_causes_are_filtered_by_who_is_on_them(olga: Person, viv: Person) -> None:
    total = viv.json("/causes.json")["total"]
    press(olga, worst_cause(olga), "I am on it")
    assert [
        olga.json(f"/causes.json?owner={who}")["total"] for who in ("me", "nobody", "others")
    ] == [1, total - 1, 0]
    assert [
        viv.json(f"/causes.json?owner={who}")["total"] for who in ("me", "nobody", "others")
    ] == [0, total - 1, 1]
    shown = [option.text.strip() for option in olga.get("/causes").select("#filter-owner option")]
    assert shown == ["Who is on it: any", "Me (1)", f"Nobody ({total - 1})"]
    assert viv.client.get("/causes?owner=olga").status_code == 400


def test_a_snooze_says_until_when_by_whom_and_why_and_an_operator_ends_it(
    olga: Person, viv: Person, adam: Person
) -> None:
    cause = next(each for each in viv.json("/causes.json?rule=auth_failed")["items"])
    behind = viv.json(f"/causes/{cause['id']}.json")["items"][0]
    path, connection_path = (
        f"/causes/{cause['id']}",
        f"/accounts/{behind['account_id']}/connections/{behind['connection_id']}",
    )

    def listed(state: str = "") -> bool:
        items = viv.json(f"/causes.json?state={state}&rule=auth_failed")["items"]
        return cause["id"] in [each["id"] for each in items]

    assert viv.post(f"{path}/suppress", days="3", reason="Known.").status_code == 403
    for days, reason in (("3", ""), ("2", "Known."), ("²", "Known."), ("", "Known.")):
        assert olga.post(f"{path}/suppress", days=days, reason=reason).status_code == 303
        assert listed()
    assert olga.post(f"{path}/suppress", days="3", reason="The vendor mends it.").status_code == 303
    assert (listed(), listed("suppressed")) == (False, True)
    for page in (path, connection_path):
        assert "by olga@example.com: The vendor mends it." in words(viv.get(page)), page
        assert not viv.get(page).select("form[action$='/wake']")
    assert olga.post(f"{path}/wake").status_code == 303
    assert listed()
    assert [each["who"] for what in ("suppress", "wake") for each in entries(adam, what)] == [
        "olga@example.com"
    ] * 2
