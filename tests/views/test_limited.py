"""Somebody who is to see some customers only: no page, list, count, file or button shows or touches another.

The fleet is filled with names that give themselves away: what a limited person may not see is called Outsider.
"""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import String, cast, func, literal, select, update
from werkzeug.routing import Rule

from dashboard.app import Console
from dashboard.store import actions, bulk, exports, people, questions, scopes, searches, sight
from dashboard.store.counts import recount
from dashboard.store.database import db
from dashboard.store.models import (
    Account,
    AlertRule,
    AuditEntry,
    BulkItem,
    Cause,
    Connection,
    Finding,
    Note,
    PullSchedule,
    Run,
    SavedQuery,
    User,
    WebhookEvent,
)
from tests.conftest import Person, Sandbox, words
from tests.views.test_people import entries

# Accounts 1001 to 1060 are there, cust-00001 to cust-00060.
CHOSEN = "cust-0001*\ncust-0002*\ncust-00003\nnorth-*"
INSIDE = {1003, *range(1010, 1030)}
OUTSIDER = re.compile(r"outsider", re.IGNORECASE)
# Ids in addresses that are of nothing of a customer's, each with what it is; administrators alone have pages of some.
OTHERS = {"query_id": "a saved question", "token_id": "one's own token"}


@pytest.fixture
def engine(either_engine: str) -> str:
    """SQLite and PostgreSQL."""
    return either_engine


@pytest.fixture
def ids(app: Flask, parts: Console, store: dict[str, str]) -> dict[str, int]:
    """Olga and Viv see a few customers. Everything that can be kept of an account is kept of one that they do not see."""
    with app.app_context():
        at = parts.clock()
        db.session.execute(
            update(Account).where(Account.id.not_in(INSIDE)).values(name=literal("Outsider ") + cast(Account.id, String))
        )
        db.session.execute(
            update(Account).where(Account.id.in_(INSIDE)).values(name=literal("Insider ") + cast(Account.id, String))
        )
        db.session.execute(
            update(Connection).where(Connection.account_id.not_in(INSIDE)).values(name="Outsider’s", last_error="of an outsider")
        )
        db.session.execute(update(Finding).where(Finding.account_id.not_in(INSIDE)).values(evidence="An outsider has this."))
        db.session.execute(update(Cause).values(example="An outsider has this."))
        db.session.execute(update(Run).where(Run.account_id.not_in(INSIDE)).values(error="of an outsider"))
        recount()
        shown = select(Connection).where(Connection.is_warehouse.is_(False), Connection.account_id.not_in(INSIDE))
        connection = db.session.scalars(shown.order_by(Connection.account_id, Connection.id)).first()
        assert connection is not None
        account_id, connection_id = place = connection.account_id, connection.id
        mine = select(Cause.id).where(
            ~select(Finding.id).where(Finding.cause_id == Cause.id, Finding.account_id.in_(INSIDE)).exists()
        )
        cause_id = db.session.scalar(mine.limit(1))
        unsettled = select(Finding.cause_id).where(Finding.recovered_at.is_(None))
        theirs, others = unsettled.where(Finding.account_id.in_(INSIDE)), unsettled.where(Finding.account_id.not_in(INSIDE))
        shared = db.session.scalar(select(Cause.id).where(Cause.id.in_(theirs), Cause.id.in_(others)).limit(1))
        finding = db.session.scalars(select(Finding).where(Finding.account_id.not_in(INSIDE)).limit(1)).one()
        run = Run(
            account_id=account_id, connection_id=connection_id, id=990_001, status="ERROR", started_at=at, error="of an outsider"
        )
        notes = [
            Note(account_id=account_id, at=at, who="adam@example.com", text="Outsider’s note"),
            Note(account_id=account_id, connection_id=connection_id, at=at, who="adam@example.com", text="Outsider’s note"),
            Note(cause_id=shared, at=at, who="adam@example.com", text="Outsider called about this"),
            Note(cause_id=cause_id, at=at, who="adam@example.com", text="Outsider called about this"),
        ]
        event = WebhookEvent(
            key="outsider",
            received_at=at,
            event="outsider",
            account_id=account_id,
            connection_id=connection_id,
            body="{}",
            state="done",
        )
        entry = AuditEntry(at=at, who="adam@example.com", what="note", result="done", account_id=account_id, detail="Outsider")
        whole = AuditEntry(at=at, who="adam@example.com", what="outsider", result="done", detail="Outsider")
        query = SavedQuery(name="all", text="select 1", parameters={}, who="adam@example.com", at=at)
        db.session.add_all([run, *notes, event, entry, whole, query])
        db.session.commit()
        action, _ = actions.begin(actions.REAUTHORISE, connection, "adam@example.com", at, why="Outsider waits")
        action.state, action.url = actions.WAITING, "https://login.example.com/outsider"
        db.session.commit()
        actions.settle(
            actions.begin(actions.SYNC, connection, "adam@example.com", at, why="Outsider asked")[0], "done", at, "Outsider"
        )
        job = bulk.open_job("sync", [place], place, "adam@example.com", "for Outsider", 1, at)
        olga = people.find_user("olga@example.com")
        assert olga is not None
        # Hers from before she was limited.
        question = questions.ask(olga, "of Outsider", b"x", [account_id], "of Outsider", at)
        export = exports.open_export(olga, account_id, 1, "Outsider’s table", "csv", {}, [], [], "Outsider’s table", at)
        search = searches.begin("olga@example.com", connection, b"x", at)
        found = {
            "account_id": account_id, "connection_id": connection_id, "cause_id": cause_id, "finding_id": finding.id,
            "action_id": action.id, "job_id": job.id, "question_id": question.id,
            "answer_id": questions.answers(question.id)[0].id, "export_id": export.id, "search_id": search.id,
            "note_id": notes[0].id, "run_id": 990_001, "database_id": 1, "table_id": 1, "row_id": 1, "event_id": event.id,
            "query_id": query.id, "shared": shared,
        }  # fmt: skip
        for name in ("olga@example.com", "viv@example.com"):
            user = people.find_user(name)
            assert user is not None
            scopes.limit(user, scopes.read(CHOSEN))
        assert all(found.values()), found
        return found


def path_of(rule: Rule, ids: dict[str, int]) -> str | None:
    """The rule's path with an outsider's ids; None where it asks for none of them."""
    if not rule.arguments or not rule.arguments <= ids.keys() or rule.arguments <= OTHERS.keys():
        return None
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids[found[1]]), rule.rule)


def rules(app: Flask, method: str, *roles: str) -> Iterator[Rule]:
    for rule in app.url_map.iter_rules():
        role = app.view_functions[rule.endpoint].__dict__.get("role")
        if rule.endpoint != "static" and method in (rule.methods or ()) and role in roles:
            yield rule


def counts(app: Flask) -> dict[str, int]:
    with app.app_context():
        return {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0 for table in db.metadata.sorted_tables
        }


def test_every_address_with_an_outsiders_id_is_a_404(app: Flask, ids: dict[str, int], olga: Person) -> None:
    asked = set()
    for rule in rules(app, "GET", "viewer", "operator"):
        path = path_of(rule, ids)
        if path is None:
            assert not rule.arguments or rule.arguments <= OTHERS.keys(), rule.rule
            continue
        for headers in ({}, {"HX-Request": "true"}):
            answer = olga.client.get(path, headers=headers)
            assert answer.status_code == 404, path
            assert not OUTSIDER.search(answer.text), path
        asked.add(rule.endpoint)
    assert len(asked) > 40


def test_every_button_of_an_outsiders_is_a_404_and_does_nothing(
    app: Flask, ids: dict[str, int], olga: Person, sandbox: Sandbox
) -> None:
    token, before, asked = olga.token(), counts(app), set()
    fields = {
        "csrf_token": token, "text": "select 1", "why": "because I may", "do": "take", "value": "outsider", "reason": "none",
        "days": "1", "connector": "exact_online", "format": "csv", "seen": "done", "column": "a", "language": "en",
    }  # fmt: skip
    for rule in rules(app, "POST", "viewer", "operator"):
        path = path_of(rule, ids)
        if path is None:
            assert not rule.arguments or rule.arguments <= OTHERS.keys(), rule.rule
            continue
        answer = olga.client.post(path, data=fields)
        assert answer.status_code == 404, path
        assert not OUTSIDER.search(answer.text), path
        asked.add(rule.endpoint)
    assert len(asked) > 25
    assert counts(app) == before
    assert sandbox.state()["syncs"] == {}


@pytest.mark.parametrize("name", ["viv", "olga"])
def test_no_list_and_no_page_names_an_outsider(
    request: pytest.FixtureRequest, app: Flask, ids: dict[str, int], name: str
) -> None:
    person: Person = request.getfixturevalue(name)
    outside = re.compile(r"(?:/accounts/|cust-0)(?!1003\b|10[12]\d\b|0003\b|00[12]\d\b)\d+")
    asked = 0
    for rule in rules(app, "GET", "viewer", "operator"):
        if rule.arguments - OTHERS.keys():
            continue
        for args in (
            "",
            "?per_page=200",
            "?q=outsider&per_page=200",
            "?account=1001",
            "?state=recovered",
            "?external_id=cust-00001",
        ):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(ids.get(found[1], 1)), rule.rule) + args
            answer = person.client.get(path)
            assert answer.status_code in {200, 302, 400, 403, 404}, path
            said = answer.text.replace("q=outsider", "").replace('value="outsider"', "").replace("“outsider”", "")
            said = said.replace('placeholder="cust-00001"', "")
            said = said.replace("cust-00001", "") if "external_id" in args else said
            assert not OUTSIDER.search(said), (path, said[max(0, OUTSIDER.search(said).start() - 200) :][:400])  # type: ignore[union-attr]
            assert not outside.search(said), (path, outside.search(said))
            asked += answer.status_code == 200
    assert asked > (130 if name == "olga" else 100)


def test_a_token_shows_a_script_no_more_than_its_owner_sees(app: Flask, ids: dict[str, int], viv: Person) -> None:
    shown = viv.post("/me/tokens", name="report")
    token = re.search(r"pc_[\w-]{40,}", shown.text)
    assert token is not None
    script: FlaskClient = app.test_client()
    bearer = {"Authorization": f"Bearer {token.group()}"}
    assert {item["account_id"] for item in script.get("/accounts.json?per_page=200", headers=bearer).json["items"]} == INSIDE
    for path in (
        "/connections.json?per_page=200",
        "/findings.json?per_page=200",
        "/accounts.csv",
        "/receipts.json",
        "/bulk.json",
    ):
        answer = script.get(path, headers=bearer)
        assert answer.status_code == 200
        assert not OUTSIDER.search(answer.text), path
    assert script.get(f"/bulk/{ids['job_id']}.json", headers=bearer).status_code == 404
    assert script.get(f"/accounts/{ids['account_id']}/tables/1.json", headers=bearer).status_code == 404


def test_whatever_is_counted_counts_what_they_see(app: Flask, ids: dict[str, int], viv: Person, adam: Person) -> None:
    with app.app_context():
        mine = (Connection.account_id.in_(INSIDE), Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))
        connections = db.session.scalar(select(func.count()).select_from(Connection).where(*mine)) or 0
        behind = {
            row[0]: (row[1], row[2])
            for row in db.session.execute(
                select(Finding.cause_id, func.count(Finding.connection_id), func.count(Finding.account_id.distinct()))
                .where(Finding.account_id.in_(INSIDE), Finding.recovered_at.is_(None))
                .group_by(Finding.cause_id)
            )
        }
    assert viv.json("/connections.json")["total"] == connections
    assert adam.json("/connections.json")["total"] > connections
    assert viv.json("/accounts.json")["total"] == len(INSIDE)
    assert f"{len(INSIDE)} of {len(INSIDE)} accounts read" in words(viv.get("/"))
    cards = [int(card.text) for card in viv.get("/").select(".severity-count")]
    assert (sum(cards), cards[0] > 0) == (connections, True)
    shown = {item["id"]: (item["connections"], item["accounts"]) for item in viv.json("/causes.json?per_page=200")["items"]}
    assert shown == behind
    everybody = {item["id"]: item["accounts"] for item in adam.json("/causes.json?per_page=200")["items"]}
    assert any(everybody[id] > accounts for id, (_, accounts) in shown.items())
    assert sum(item["connections"] for item in viv.json("/accounts.json?per_page=200")["items"]) == connections


def test_what_is_remembered_for_one_is_not_shown_to_another(app: Flask, ids: dict[str, int], viv: Person, adam: Person) -> None:
    for _ in range(2):
        everything, some = adam.json("/accounts.json")["total"], viv.json("/accounts.json")["total"]
        assert (everything, some) == (60, len(INSIDE))
    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        scopes.limit(user, scopes.read("cust-00003"))
    assert viv.json("/accounts.json")["total"] == 1
    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        scopes.limit(user, None)
    assert viv.json("/accounts.json")["total"] == 60


def test_what_concerns_others_too_is_not_theirs_to_silence_or_take(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person
) -> None:
    shared = ids["shared"]
    assert olga.client.get(f"/causes/{shared}").status_code == 200
    for what, fields in (("suppress", {"reason": "known", "days": "1"}), ("wake", {}), ("owner", {"do": "take"})):
        answer = olga.post(f"/causes/{shared}/{what}", **fields)
        assert answer.status_code == 403
        assert "customers that you do not see" in answer.text
    assert adam.json("/causes.json?per_page=200&state=suppressed")["items"] == []
    # Her own note she sees; what others wrote may speak of others.
    olga.post(f"/causes/{shared}/notes", text="I asked about it")
    page = words(olga.get(f"/causes/{shared}"))
    assert "I asked about it" in page
    assert "called about this" not in page


def test_a_bulk_job_reaches_nobody_else(app: Flask, ids: dict[str, int], olga: Person, sandbox: Sandbox) -> None:
    outsider = f"{ids['account_id']}-{ids['connection_id']}"
    page = olga.client.get(f"/bulk/new?kind=sync&which=ticked&c={outsider}")
    assert "0 connections" in page.text or "Nothing" in page.text
    begun = olga.post("/bulk", kind="sync", which="ticked", c=outsider, first=outsider, why="to try", seen="x")
    assert begun.status_code in {400, 409}
    assert sandbox.state()["syncs"] == {}
    answer = olga.post("/queries/1/ask", seen="60")
    assert "Other accounts fit by now" in answer.text


def test_a_colleagues_job_on_their_customers_alone_is_theirs_to_cancel(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, parts: Console
) -> None:
    with app.app_context():
        shown = select(Connection.account_id, Connection.id).where(Connection.is_warehouse.is_(False))
        mine = db.session.execute(shown.where(Connection.account_id.in_(INSIDE)).limit(2)).all()
        places = [(row.account_id, row.id) for row in mine]
        both = [*places, (ids["account_id"], ids["connection_id"])]
        job = bulk.open_job("sync", places, places[0], "adam@example.com", "theirs", 1, parts.clock())
        mixed = bulk.open_job("sync", both, places[0], "adam@example.com", "theirs and others", 1, parts.clock())
        number, other = job.id, mixed.id
    assert olga.post(f"/bulk/{number}/cancel").status_code == 303
    assert "2 not begun" in entries(adam, what="bulk_sync", result="done")[0]["detail"]  # type: ignore[operator]
    assert olga.post(f"/bulk/{other}/cancel").status_code == 404
    assert adam.json(f"/bulk/{other}.json")["total"] == 3


def test_no_widget_is_had_for_another_customer_and_none_is_made(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    for external_id in ("cust-00001", "cust-99999", "CUST-00003"):
        assert olga.post("/embed/token", external_id=external_id, create="yes").status_code == 404
        assert olga.post("/embed/connected", external_id=external_id, server_id="5").status_code == 404
        assert olga.client.get(f"/embed?external_id={external_id}").status_code == 404
    assert not entries(adam, what="create_account")
    assert olga.post("/embed/token", external_id="cust-00003").status_code == 200


def test_what_they_do_to_their_own_leaves_the_fleets_counts_as_they_are(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, parts: Console
) -> None:
    def counted() -> tuple[object, ...]:
        causes = adam.json("/causes.json?per_page=200")["items"]
        with app.app_context():
            by_kind = db.session.execute(
                db.text("SELECT severity, sum(connections) FROM connection_count GROUP BY severity ORDER BY 1")
            ).all()
        return [(each["id"], each["connections"], each["accounts"], each["state"]) for each in causes], [
            tuple(row) for row in by_kind
        ]

    assert adam.post(f"/causes/{ids['cause_id']}/suppress", reason="known", days="1").status_code == 303
    spared = adam.json("/findings.json?state=suppressed")["total"]
    assert spared
    before = counted()
    with app.app_context():
        mine = db.session.scalars(
            select(Connection).where(Connection.account_id == 1011, Connection.is_warehouse.is_(False))
        ).first()
        assert mine is not None
        path = f"/accounts/1011/connections/{mine.id}"
        own = select(Finding.id).where(Finding.account_id.in_(INSIDE), Finding.recovered_at.is_(None))
        finding_id = db.session.scalar(own.limit(1))
    assert olga.post(f"{path}/check").status_code == 303
    assert olga.post(f"/findings/{finding_id}/suppress", reason="known", days="1").status_code == 303
    assert olga.post(f"/findings/{finding_id}/wake").status_code == 303
    assert olga.post(f"{path}/sync").status_code == 303
    assert counted() == before
    # What others are spared stays so.
    assert adam.json("/findings.json?state=suppressed")["total"] == spared


def test_a_cause_that_leaves_their_customers_stays_with_the_others(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    with app.app_context():
        well = (
            ~select(Finding.id)
            .where(
                Finding.account_id == Connection.account_id,
                Finding.connection_id == Connection.id,
                Finding.recovered_at.is_(None),
            )
            .exists()
        )
        shown = select(Connection).where(Connection.is_warehouse.is_(False), Connection.is_target.is_(False), well)
        connector = db.session.scalar(
            select(Connection.connector)
            .where(
                Connection.account_id.in_(INSIDE),
                Connection.connector.in_(
                    shown.where(Connection.account_id.not_in(INSIDE)).with_only_columns(Connection.connector)
                ),
                well,
                Connection.is_warehouse.is_(False),
            )
            .limit(1)
        )
        shown = shown.where(Connection.connector == connector).limit(1)
        mine = db.session.scalars(shown.where(Connection.account_id.in_(INSIDE))).one()
        theirs = db.session.scalars(shown.where(Connection.account_id.not_in(INSIDE))).one()
        paths = [f"/accounts/{each.account_id}/connections/{each.id}/check" for each in (mine, theirs)]
        number = mine.id
        for each in (mine, theirs):
            sandbox.set(each.id, health_status="DISABLED")

    def off() -> dict[str, object]:
        found = adam.json(f"/causes.json?rule=disabled&connector={connector}&state=new")["items"]
        return {each["text"]: each["accounts"] for each in found}

    before = off()
    for path in paths:
        assert adam.post(path).status_code == 303
    assert sum(off().values()) == sum(before.values()) + 2  # type: ignore[arg-type]
    sandbox.set(number, health_status=None)
    assert olga.post(paths[0]).status_code == 303
    assert sum(off().values()) == sum(before.values()) + 1  # type: ignore[arg-type]


def test_an_administrator_says_who_sees_what_and_it_is_written_down(app: Flask, viv: Person, adam: Person) -> None:
    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        path = f"/users/{user.id}"
    for wrong in ("", "*", "a*b", "x" * 300):
        assert adam.post(f"{path}/customers", which="some", customers=wrong).status_code == 400
    assert viv.json("/accounts.json")["total"] == 60
    assert adam.post(f"{path}/customers", which="some", customers="cust-0001*, cust-00003, cust-0002*").status_code == 303
    assert viv.json("/accounts.json")["total"] == len(INSIDE)
    page = adam.get(path)
    assert "21 now" in words(page)
    assert "cust-00003\ncust-0001*\ncust-0002*" in page.select_one("textarea").text  # type: ignore[union-attr]
    assert entries(adam, what="change_customers")[0]["detail"] == "viv@example.com: cust-00003, cust-0001*, cust-0002*"
    assert "some customers" in words(adam.get("/users"))
    assert viv.post(f"{path}/customers", which="all").status_code == 403
    # To see nobody is possible, too: a customer to come.
    assert adam.post(f"{path}/customers", which="some", customers="nobody-yet").status_code == 303
    assert viv.json("/connections.json")["total"] == 0
    assert viv.client.get("/").status_code == 200
    assert adam.post(f"{path}/customers", which="all").status_code == 303
    assert viv.json("/accounts.json")["total"] == 60


def test_capitals_and_signs_of_patterns_in_an_id_are_taken_as_they_are(app: Flask, adam: Person, viv: Person) -> None:
    with app.app_context():
        for number, name in ((1001, "CUST-00003"), (1002, "cust_00003"), (1004, "cust%"), (1005, None)):
            db.session.execute(update(Account).where(Account.id == number).values(external_id=name))
        recount()
        user = people.find_user("viv@example.com")
        assert user is not None
        scopes.limit(user, scopes.read("cust-00003*\ncust_*\n%*"))
    assert {item["account_id"] for item in viv.json("/accounts.json")["items"]} == {1002, 1003}


def test_administrators_see_all_and_so_does_whoever_becomes_one(app: Flask, ids: dict[str, int], adam: Person) -> None:
    with app.app_context():
        user = people.find_user("adam@example.com")
        assert user is not None
        scopes.limit(user, scopes.read("cust-00003"))
    assert adam.json("/accounts.json")["total"] == 60


def test_every_table_of_the_store_is_open_shut_or_told_by_an_account(app: Flask) -> None:
    """A new table that is none of these shows a limited person nothing: say here what it is."""
    declared = sight.OPEN | sight.SHUT | sight.SEEN.keys()
    for table in db.metadata.sorted_tables:
        assert table.name in declared or "account_id" in table.columns, table.name
    assert not sight.OPEN & sight.SEEN.keys()
    assert not [name for name in sight.OPEN if name in db.metadata.tables and "account_id" in db.metadata.tables[name].columns]
    assert {mapper.class_ for mapper in User.registry.mappers if mapper.class_ in (AlertRule, PullSchedule)} == {
        AlertRule,
        PullSchedule,
    }


def test_a_query_that_nobody_wrote_for_it_is_limited_all_the_same(app: Flask, ids: dict[str, int]) -> None:
    """Columns alone, a table behind WHERE only, aliases, outer joins, subqueries, Core, and objects by their key."""
    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        sight.look_as(user)
        other = db.aliased(Account)
        assert set(db.session.scalars(select(Account.id))) == INSIDE
        assert set(db.session.scalars(select(Account.__table__.c.id))) == INSIDE
        assert set(db.session.scalars(select(other.id).join(Account, Account.id == other.id))) == INSIDE
        assert db.session.scalar(select(func.count()).where(Finding.account_id == ids["account_id"])) == 0
        assert db.session.scalar(select(select(Run.id).where(Run.id == 990_001).exists())) in {False}
        joined = select(Account.id, BulkItem.id).outerjoin(BulkItem, BulkItem.account_id == Account.id)
        assert {row[0] for row in db.session.execute(joined)} == INSIDE
        assert db.session.get(Account, ids["account_id"]) is None
        assert db.session.get(Account, 1003) is not None
        assert db.session.scalars(select(Account.id).union_all(select(Connection.account_id))).all()
        found = select(Account.id).cte("found")
        assert set(db.session.scalars(select(found.c.id))) == INSIDE
        with sight.everything():
            assert db.session.scalar(select(func.count()).select_from(Account)) == 60
        assert db.session.scalar(select(func.count()).select_from(Account)) == len(INSIDE)
        db.session.commit()
        assert db.session.scalar(select(func.count()).select_from(Account)) == len(INSIDE)
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Account)) == 60
