"""Every page over HTTP, as its users see it."""

import csv
import io
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.refresh import service as refresh
from tests.support.clock import Clock
from tests.support.people import Person, path_of, words
from tests.support.sandbox import ACCOUNTS, Sandbox

PAGES = [
    "/",
    "/accounts",
    "/connections",
    "/accounts/1001",
    "/find?q=amber",
    "/me",
    "/accounts/1001/databases/10011",
]
ROWS = "/accounts/1001/tables/10011900"


def refresh_now(app: Flask, services: Services) -> None:
    with app.app_context():
        refresh.refresh_fleet(services)


@pytest.mark.parametrize("path", [*PAGES, ROWS, ROWS + "/rows/3"])
def test_every_page_says_how_much_was_read_and_as_of_when(viv: Person, path: str) -> None:
    text = words(viv.get(path))
    assert f"{ACCOUNTS} of {ACCOUNTS} accounts read" in text
    assert "As of" in text
    assert "UTC" in text


def test_the_overview_counts_every_connection_once(viv: Person) -> None:
    soup = viv.get("/")
    counts = [int(each.text.replace("\u202f", "")) for each in soup.select(".severity-count")]
    assert sum(counts) == viv.json("/connections.json")["total"]


def test_an_outage_is_one_banner_and_what_is_shown_is_dated(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    sandbox.fault("sub_accounts", status=500)
    refresh_now(app, services)
    soup = viv.get("/connections")
    assert len(soup.select(".alert-danger")) == 1
    assert "What you see is the state of" in words(soup)
    assert soup.select("tr[data-connection-id]")


def test_an_unreadable_account_says_why_and_keeps_its_connections(
    viv: Person, app: Flask, services: Services, sandbox: Sandbox
) -> None:
    sandbox.fault(
        "servers", status=403, body={"error": "ERROR_LICENSE", "detail": "Trial over."}, times=1
    )
    refresh_now(app, services)
    listed = viv.json("/accounts.json?readable=no")["items"]
    assert len(listed) == 1
    soup = viv.get(f"/accounts/{listed[0]['account_id']}")
    assert "Trial over." in words(soup)
    assert soup.select("tr[data-connection-id]")
    assert "1 unreadable" in words(viv.get("/"))


def test_pasting_an_id_lands_on_the_page(viv: Person, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    assert viv.client.get(f"/find?q={connection.id}").location == path_of(connection)
    assert viv.client.get("/find?q=1001").location == "/accounts/1001"
    assert viv.client.get("/find?q=CUST-00001").location == "/accounts/1001"
    assert "No account or connection" in words(viv.get("/find?q=nowhere+at+all"))


def test_a_list_is_searched_filtered_sorted_and_paged_by_its_address(viv: Person) -> None:
    errors = viv.json("/connections.json?severity=error&sort=account&per_page=25")
    assert errors["total"] > 0
    assert all(item["severity"] == "error" for item in errors["items"])
    names = [item["account_name"].lower() for item in errors["items"]]
    assert names == sorted(names)
    one = errors["items"][0]
    found = viv.json(f"/connections.json?q={one['external_id']}&connector={one['connector']}")
    assert one["connection_id"] in [item["connection_id"] for item in found["items"]]
    first, second = (
        viv.json(f"/connections.json?per_page=25&sort=name&page={page}")["items"] for page in (1, 2)
    )
    assert not {item["connection_id"] for item in first} & {
        item["connection_id"] for item in second
    }


def test_walking_all_pages_shows_every_connection_once(viv: Person) -> None:
    path, seen = "/connections?per_page=25&sort=-last_success", []
    for _ in range(50):
        soup = viv.get(path)
        seen += [row["data-connection-id"] for row in soup.select("tr[data-connection-id]")]
        following = soup.select_one("a[rel=next]")
        if following is None:
            break
        path = str(following["href"])
        assert "sort=-last_success" in path
    assert len(seen) == len(set(seen)) == viv.json("/connections.json")["total"]


def test_filter_counts_are_what_the_filter_gives(viv: Person) -> None:
    soup = viv.get("/connections")
    for option in soup.select("#filter-status option[value]:not([value=''])")[:4]:
        count = int(option.text.rsplit("(", 1)[1].rstrip(")").replace("\u202f", ""))
        assert viv.json(f"/connections.json?status={option['value']}")["total"] == count


def test_an_empty_result_says_so_and_offers_the_way_back(viv: Person) -> None:
    soup = viv.get("/connections?q=zzzzzz&severity=error")
    assert "Nothing matches" in words(soup)
    assert soup.find("a", string=lambda text: text and "Clear all" in text)


def test_a_fragment_is_the_part_of_the_page_it_replaces(viv: Person) -> None:
    page, part = viv.get("/connections?severity=error"), viv.fragment("/connections?severity=error")
    assert part.html is None
    whole = page.select_one("#list")
    assert whole is not None
    ages = re.compile(r"\d+ (second|minute)s? ago|just now")
    assert ages.sub("", words(part)) == ages.sub("", words(whole))


def test_json_has_its_promised_fields_and_csv_the_same_rows(viv: Person) -> None:
    item = viv.json("/connections.json")["items"][0]
    assert {
        "account_id",
        "account_name",
        "external_id",
        "connection_id",
        "name",
        "connector",
        "status",
        "severity",
        "running",
        "last_run_status",
        "last_success_at",
        "checked_at",
    } <= set(item)
    account = viv.json("/accounts.json")["items"][0]
    assert {
        "account_id",
        "external_id",
        "name",
        "connections",
        "by_severity",
        "readable",
        "checked_at",
    } <= set(account)
    rows = list(csv.DictReader(io.StringIO(viv.client.get("/connections.csv").text)))
    assert len(rows) == viv.json("/connections.json")["total"]


def test_a_cell_that_a_spreadsheet_would_run_is_made_text(viv: Person) -> None:
    names = [
        row["name"] for row in csv.DictReader(io.StringIO(viv.client.get("/accounts.csv").text))
    ]
    assert not [name for name in names if name.startswith(("=", "@", "+", "-"))]
    cells = viv.client.get(ROWS + ".csv").text
    assert "'=1+1" in cells
    assert "'@SUM(A1)" in cells


def test_one_connection_shows_why_it_is_broken_and_the_buttons_that_fit(
    olga: Person, sandbox: Sandbox
) -> None:
    expired = olga.get(path_of(sandbox.find(failure="expired", auth="oauth2")))
    assert "invalid_grant" in words(expired)
    labels = [
        button.text.strip() for button in expired.select("#connection .connection-actions button")
    ]
    assert labels == ["Sync now", "Reauthorise", "Check now"]
    bank = olga.get(path_of(sandbox.find(auth="saltedge")))
    assert [
        button.text.strip() for button in bank.select("#connection .connection-actions button")
    ] == [
        "Sync now",
        "Refresh bank",
        "Check now",
    ]


def test_a_viewer_sees_no_button_that_acts(viv: Person, sandbox: Sandbox) -> None:
    soup = viv.get(path_of(sandbox.healthy))
    assert [
        button.text.strip() for button in soup.select("#connection .connection-actions button")
    ] == ["Check now"]


def test_a_run_has_its_log(viv: Person, sandbox: Sandbox) -> None:
    soup = viv.get(path_of(sandbox.find(failure="expired", auth="oauth2")))
    log = soup.select_one("a.row-link[href*='/runs/']")
    assert log is not None
    assert "exit code 1" in words(viv.get(str(log["href"])))


def test_a_log_that_cannot_be_read_is_said_on_its_page(viv: Person, sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    runs = viv.get(path_of(connection)).select("a.row-link[href*='/runs/']")
    sandbox.fault("run_logs", kind="html")
    assert "could not be read" in words(viv.get(str(runs[0]["href"])))


def test_reading_a_connection_anew_fails_softly(
    viv: Person, clock: Clock, sandbox: Sandbox
) -> None:
    connection = sandbox.healthy
    clock.move(minutes=5)
    assert viv.get(path_of(connection)).select("#connection[hx-trigger^=load]")
    sandbox.fault("server", status=500)
    part = viv.fragment(path_of(connection, "/live"))
    assert "internal error" in words(part)
    assert not part.select("#connection[hx-trigger^=load]")
    sandbox.clear()
    assert "just now" in words(viv.fragment(path_of(connection, "/live")))


def test_rows_are_paged_sorted_and_searched_by_their_address(viv: Person) -> None:
    assert "1 to 25 of 60 rows" in words(viv.get(ROWS + "?per_page=25"))
    assert "51 to 60 of 60 rows" in words(viv.get(ROWS + "?per_page=25&page=3"))
    found = viv.json(ROWS + ".json?q=reversed&sort=-Stars")
    assert (found["total"], found["columns"][0]) == (6, {"name": "Title", "type": "text"})
    stars = [row["Stars"] for row in found["items"]]
    assert stars == sorted(stars, reverse=True)


def test_every_kind_of_value_is_readable(viv: Person) -> None:
    text = words(viv.get(ROWS))
    for shown in (
        "NULL",
        "empty text",
        "yes",
        "no",
        "-99999999999999999999.99",
        "urgent",
        "Customer 1 & Søn",
        "NaN",
        "••••••",
        "+146",
    ):
        assert shown in text, shown
    assert viv.get(ROWS).select("a[href='https://example.com/i/1'][rel~=noopener]")


def test_a_million_rows_have_a_last_page(viv: Person) -> None:
    assert "999 951 to 1 000 000 of 1 000 000 rows" in words(
        viv.get("/accounts/1001/tables/10011902?page=20000")
    )


def test_an_empty_table_says_so(viv: Person) -> None:
    assert "The table is empty" in words(viv.get("/accounts/1001/tables/10011901"))


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ({"status": 500}, 502, "internal error"),
        ({"kind": "html"}, 502, "could not be read"),
        ({"status": 404}, 404, "does not know"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error_with_a_next_step(
    viv: Person, sandbox: Sandbox, fault: dict[str, Any], status: int, says: str
) -> None:
    sandbox.fault("rows", **fault)
    shown = words(viv.get(ROWS, status))
    assert says in shown
    assert ("Try again" in shown) is (status >= 500)


def test_times_are_in_the_viewers_zone_with_the_zone_written_out(viv: Person) -> None:
    viv.client.set_cookie("tz", "Asia/Tokyo")
    soup = viv.get("/")
    assert "JST" in words(soup)
    assert "(Asia/Tokyo)" in str(soup.select_one(".coverage time")["title"])  # type: ignore[index]
    viv.client.set_cookie("tz", "../../etc/passwd")
    assert "UTC" in words(viv.get("/"))


def test_overview_needs_no_call_to_the_api(viv: Person, sandbox: Sandbox) -> None:
    before = sandbox.state()["calls"]
    for path in ("/", "/accounts", "/connections", "/accounts/1001"):
        viv.get(path)
    assert sandbox.state()["calls"] == before


def test_accounts_are_filtered_by_what_their_connections_are(viv: Person) -> None:
    soup = viv.get("/accounts")
    for name in ("connector", "status"):
        option = soup.select(f"#filter-{name} option[value]:not([value=''])")[0]
        count = int(option.text.rsplit("(", 1)[1].rstrip(")").replace("\u202f", ""))
        found = viv.json(f"/accounts.json?{name}={option['value']}&per_page=200")
        assert found["total"] == count
        assert (
            len(
                viv.get(f"/accounts?{name}={option['value']}&per_page=200").select(
                    "tr[data-account-id]"
                )
            )
            == count
        )
        mine = viv.json(f"/connections.json?{name}={option['value']}&per_page=200")["items"]
        assert {item["account_id"] for item in found["items"]} == {
            item["account_id"] for item in mine
        }


@pytest.mark.parametrize("kind", ["bare_list", "extra_fields"])
def test_every_page_works_with_a_server_whose_answers_have_other_shapes(
    olga: Person, app: Flask, services: Services, sandbox: Sandbox, kind: str
) -> None:
    for route in (
        "sub_accounts",
        "servers",
        "server",
        "runs",
        "pipeline_runs",
        "applications",
        "tables",
        "fields",
        "table",
    ):
        sandbox.fault(route, kind=kind)
    refresh_now(app, services)
    connection = sandbox.healthy
    for path in (*PAGES, ROWS, path_of(connection), path_of(connection, "/live")):
        olga.get(path) if not path.endswith("/live") else olga.fragment(path)
    assert olga.json("/connections.json")["total"] > 0


def test_however_many_open_a_connection_at_once_its_live_state_is_asked_for_once(
    olga: Person, services: Services, sandbox: Sandbox, clock: Clock
) -> None:
    connection = sandbox.healthy
    clock.move(minutes=5)
    sandbox.fault("server", delay_ms=300)
    before = sandbox.state()["calls"].get("server", 0)
    clients = [olga.client.application.test_client() for _ in range(8)]
    for client in clients:
        client.set_cookie("console_session", olga.client.get_cookie("console_session").value)
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(
            pool.map(lambda client: client.get(path_of(connection, "/live")).status_code, clients)
        )
    assert answers == [200] * len(clients)
    assert sandbox.state()["calls"]["server"] - before == 1
