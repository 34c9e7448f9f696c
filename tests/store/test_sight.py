"""What a limited person sees of the store, whatever is asked and how."""

from flask import Flask
from sqlalchemy import func, select

from dashboard import peliqan
from dashboard.bulk.models import BulkItem
from dashboard.context import Console
from dashboard.core import row_access as sight
from dashboard.core.database import db
from dashboard.findings.models import Finding
from dashboard.fleet.models import Account, Connection, Run
from dashboard.refresh import writer as snapshot
from dashboard.users import scopes
from dashboard.users import service as people
from tests.limited import INSIDE, add_outsiders


def test_every_table_of_the_store_is_open_shut_or_told_by_an_account(app: Flask) -> None:
    """A new table that is none of these shows a limited person nothing: say here what it is."""
    declared = sight.OPEN | sight.SHUT | sight.SEEN.keys()
    for table in db.metadata.sorted_tables:
        assert table.name in declared or "account_id" in table.columns, table.name
    assert not sight.OPEN & sight.SEEN.keys()
    assert not [name for name in sight.OPEN if name in db.metadata.tables and "account_id" in db.metadata.tables[name].columns]


def test_a_query_that_nobody_wrote_for_it_is_limited_all_the_same(app: Flask, parts: Console) -> None:
    """Columns alone, a table behind WHERE only, aliases, outer joins, subqueries, Core, and objects by their key."""
    outsider = add_outsiders(app, parts.clock())
    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        sight.look_as(user)
        other = db.aliased(Account)
        assert set(db.session.scalars(select(Account.id))) == INSIDE
        assert set(db.session.scalars(select(Account.__table__.c.id))) == INSIDE
        assert set(db.session.scalars(select(other.id).join(Account, Account.id == other.id))) == INSIDE
        assert db.session.scalar(select(func.count()).where(Finding.account_id == outsider["account_id"])) == 0
        assert db.session.scalar(select(select(Run.id).where(Run.id == 990_001).exists())) in {False}
        joined = select(Account.id, BulkItem.id).outerjoin(BulkItem, BulkItem.account_id == Account.id)
        assert {row[0] for row in db.session.execute(joined)} == INSIDE
        assert db.session.get(Account, outsider["account_id"]) is None
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


def test_an_account_that_comes_or_gets_another_id_is_seen_by_whom_it_concerns_at_once(app: Flask, parts: Console) -> None:
    def seen() -> set[int]:
        with app.app_context():
            user = people.find_user("viv@example.com")
            assert user is not None
            sight.look_as(user)
            return set(db.session.scalars(select(Account.id)))

    with app.app_context():
        user = people.find_user("viv@example.com")
        assert user is not None
        scopes.limit(user, scopes.read("north-*\ncust-00003"))
    assert seen() == {1003}
    with app.app_context():
        snapshot.save_accounts([peliqan.Account(id=5001, name="New", external_id="north-1")], parts.clock())
        snapshot.save_accounts([peliqan.Account(id=1003, name="Moved", external_id="south-3")], parts.clock())
    assert seen() == {5001}
    with app.app_context():
        snapshot.save_accounts([peliqan.Account(id=1003, name="Back", external_id="cust-00003")], parts.clock())
    assert seen() == {1003, 5001}
