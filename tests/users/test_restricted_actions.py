"""Actions of restricted users, which have no effect on other customers."""

from flask import Flask
from sqlalchemy import select

from dashboard.bulk import service as bulk
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import Connection
from tests.support.people import Person, entries, path_of, words
from tests.support.restricted_users import INSIDE
from tests.support.sandbox import Sandbox


def test_what_concerns_others_too_is_not_theirs_to_silence_or_take(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person
) -> None:
    shared = ids["shared"]
    assert olga.client.get(f"/causes/{shared}").status_code == 200
    for what, fields in (
        ("suppress", {"reason": "known", "days": "1"}),
        ("wake", {}),
        ("owner", {"do": "take"}),
    ):
        response = olga.post(f"/causes/{shared}/{what}", **fields)
        assert response.status_code == 403
        assert "customers that you do not see" in response.text
    assert adam.json("/causes.json?per_page=200&state=suppressed")["items"] == []
    # She sees her own note only, since notes of others may name other customers.
    olga.post(f"/causes/{shared}/notes", text="I asked about it")
    page = words(olga.get(f"/causes/{shared}"))
    assert "I asked about it" in page
    assert "called about this" not in page


def test_a_bulk_job_reaches_nobody_else(
    app: Flask, ids: dict[str, int], olga: Person, sandbox: Sandbox
) -> None:
    outsider = f"{ids['account_id']}-{ids['connection_id']}"
    page = olga.client.get(f"/bulk/new?kind=sync&which=ticked&c={outsider}")
    assert "0 connections" in page.text or "Nothing" in page.text
    response = olga.post(
        "/bulk", kind="sync", which="ticked", c=outsider, first=outsider, why="to try", seen="x"
    )
    assert response.status_code in {400, 409}
    assert sandbox.state()["syncs"] == {}
    own = olga.post("/queries", name="Of one's own", text="select 1 as one").location
    response = olga.post(f"{own}/ask", seen="60")
    assert "Other accounts fit by now" in response.text


def test_a_colleagues_job_on_their_customers_alone_is_theirs_to_cancel(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, services: Services
) -> None:
    with app.app_context():
        shown = select(Connection.account_id, Connection.id).where(
            Connection.is_warehouse.is_(False)
        )
        mine = db.session.execute(shown.where(Connection.account_id.in_(INSIDE)).limit(2)).all()
        keys = [(row.account_id, row.id) for row in mine]
        both = [*keys, (ids["account_id"], ids["connection_id"])]
        job = bulk.open_job(
            bulk.NewJob("sync", keys, keys[0], "adam@example.com", "theirs", 1),
            services.clock(),
        )
        mixed = bulk.open_job(
            bulk.NewJob("sync", both, keys[0], "adam@example.com", "theirs and others", 1),
            services.clock(),
        )
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
        assert (
            olga.post("/embed/connected", external_id=external_id, server_id="5").status_code == 404
        )
        assert olga.client.get(f"/embed?external_id={external_id}").status_code == 404
    assert not entries(adam, what="create_account")
    assert olga.post("/embed/token", external_id="cust-00003").status_code == 200


def test_what_they_do_to_their_own_leaves_the_fleets_counts_as_they_are(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, services: Services
) -> None:
    def counted() -> tuple[object, ...]:
        causes = adam.json("/causes.json?per_page=200")["items"]
        with app.app_context():
            by_kind = db.session.execute(
                db.text(
                    "SELECT severity, sum(connections) FROM connection_count"
                    " GROUP BY severity ORDER BY 1"
                )
            ).all()
        return [
            (each["id"], each["connections"], each["accounts"], each["state"]) for each in causes
        ], [tuple(row) for row in by_kind]

    assert (
        adam.post(f"/causes/{ids['cause_id']}/suppress", reason="known", days="1").status_code
        == 303
    )
    suppressed = adam.json("/findings.json?state=suppressed")["total"]
    assert suppressed
    before = counted()
    with app.app_context():
        mine = db.session.scalars(
            select(Connection).where(
                Connection.account_id == 1011, Connection.is_warehouse.is_(False)
            )
        ).first()
        assert mine is not None
        path = f"/accounts/1011/connections/{mine.id}"
        own = select(Finding.id).where(
            Finding.account_id.in_(INSIDE), Finding.recovered_at.is_(None)
        )
        finding_id = db.session.scalar(own.limit(1))
    assert olga.post(f"{path}/check").status_code == 303
    assert (
        olga.post(f"/findings/{finding_id}/suppress", reason="known", days="1").status_code == 303
    )
    assert olga.post(f"/findings/{finding_id}/wake").status_code == 303
    assert olga.post(f"{path}/sync").status_code == 303
    assert counted() == before
    # Suppressions of other customers do not change.
    assert adam.json("/findings.json?state=suppressed")["total"] == suppressed


def healthy_pair() -> tuple[Connection, Connection]:
    """Return two connections without findings, of one connector.

    The first is of a customer that the restricted user sees, the second of another.
    """
    healthy = (
        ~select(Finding.id)
        .where(
            Finding.account_id == Connection.account_id,
            Finding.connection_id == Connection.id,
            Finding.recovered_at.is_(None),
        )
        .exists()
    )
    shown = select(Connection).where(
        Connection.is_warehouse.is_(False), Connection.is_target.is_(False), healthy
    )
    inside = shown.where(Connection.account_id.in_(INSIDE))
    outside = shown.where(Connection.account_id.not_in(INSIDE))
    connector = db.session.scalar(
        select(Connection.connector)
        .where(
            Connection.account_id.in_(INSIDE),
            Connection.connector.in_(outside.with_only_columns(Connection.connector)),
            healthy,
            Connection.is_warehouse.is_(False),
        )
        .limit(1)
    )
    first, second = (
        db.session.scalars(query.where(Connection.connector == connector).limit(1)).one()
        for query in (inside, outside)
    )
    return first, second


def test_a_cause_that_leaves_their_customers_stays_with_the_others(
    app: Flask, ids: dict[str, int], olga: Person, adam: Person, sandbox: Sandbox
) -> None:
    with app.app_context():
        pair = healthy_pair()
        connector = pair[0].connector
        paths = [path_of(connection, "/check") for connection in pair]
        connection_ids = [connection.id for connection in pair]
    for connection_id in connection_ids:
        sandbox.set(connection_id, health_status="DISABLED")

    def disabled_causes() -> dict[str, object]:
        found = adam.json(f"/causes.json?rule=disabled&connector={connector}&state=new")["items"]
        return {cause["text"]: cause["accounts"] for cause in found}

    before = disabled_causes()
    for path in paths:
        assert adam.post(path).status_code == 303
    assert sum(disabled_causes().values()) == sum(before.values()) + 2  # type: ignore[arg-type]
    sandbox.set(connection_ids[0], health_status=None)
    assert olga.post(paths[0]).status_code == 303
    assert sum(disabled_causes().values()) == sum(before.values()) + 1  # type: ignore[arg-type]
