"""Row-level access: every query of a restricted user is restricted, however it is written."""

import pytest
from flask import Flask
from sqlalchemy import func, select

from dashboard import peliqan
from dashboard.bulk.models import BulkItem
from dashboard.context import Services
from dashboard.core import row_access
from dashboard.core.database import Base, db
from dashboard.core.row_access import EVERYONE, Visibility
from dashboard.findings.models import Finding
from dashboard.fleet.models import Account, Connection, Run
from dashboard.refresh import writer
from dashboard.users import customer_access
from dashboard.users import service as users
from tests.support.restricted_users import INSIDE, add_outsiders

pytestmark = pytest.mark.both_engines


def test_every_model_declares_which_rows_a_restricted_user_sees(app: Flask) -> None:
    """Without a declaration a table shows the rows of visible accounts, or none."""
    for mapper in Base.registry.mappers:
        declared = vars(mapper.class_).get("visibility")
        assert isinstance(declared, Visibility), f"{mapper.class_.__name__} declares no visibility"
        assert declared is not EVERYONE or "account_id" not in mapper.local_table.columns, (
            mapper.class_.__name__
        )


def test_a_query_that_nobody_wrote_for_it_is_limited_all_the_same(
    app: Flask, services: Services
) -> None:
    """Covers columns, tables after WHERE, aliases, outer joins, subqueries, Core, get by key."""
    outsider = add_outsiders(app, services.clock())
    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        row_access.restrict_to(user.id)
        other = db.aliased(Account)
        assert set(db.session.scalars(select(Account.id))) == INSIDE
        assert set(db.session.scalars(select(Account.__table__.c.id))) == INSIDE
        assert (
            set(db.session.scalars(select(other.id).join(Account, Account.id == other.id)))
            == INSIDE
        )
        assert (
            db.session.scalar(
                select(func.count()).where(Finding.account_id == outsider["account_id"])
            )
            == 0
        )
        assert db.session.scalar(select(select(Run.id).where(Run.id == 990_001).exists())) in {
            False
        }
        joined = select(Account.id, BulkItem.id).outerjoin(
            BulkItem, BulkItem.account_id == Account.id
        )
        assert {row[0] for row in db.session.execute(joined)} == INSIDE
        assert db.session.get(Account, outsider["account_id"]) is None
        assert db.session.get(Account, 1003) is not None
        assert db.session.scalars(select(Account.id).union_all(select(Connection.account_id))).all()
        found = select(Account.id).cte("found")
        assert set(db.session.scalars(select(found.c.id))) == INSIDE
        with row_access.unrestricted():
            assert db.session.scalar(select(func.count()).select_from(Account)) == 60
        assert db.session.scalar(select(func.count()).select_from(Account)) == len(INSIDE)
        db.session.commit()
        assert db.session.scalar(select(func.count()).select_from(Account)) == len(INSIDE)
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Account)) == 60


def test_an_account_that_comes_or_gets_another_id_is_seen_by_whom_it_concerns_at_once(
    app: Flask, services: Services
) -> None:
    def seen() -> set[int]:
        with app.app_context():
            user = users.find_user("viv@example.com")
            assert user is not None
            row_access.restrict_to(user.id)
            return set(db.session.scalars(select(Account.id)))

    with app.app_context():
        user = users.find_user("viv@example.com")
        assert user is not None
        customer_access.limit(user, customer_access.read("north-*\ncust-00003"))
    assert seen() == {1003}
    with app.app_context():
        writer.save_accounts(
            [peliqan.Account(id=5001, name="New", external_id="north-1")], services.clock()
        )
        writer.save_accounts(
            [peliqan.Account(id=1003, name="Moved", external_id="south-3")], services.clock()
        )
    assert seen() == {5001}
    with app.app_context():
        writer.save_accounts(
            [peliqan.Account(id=1003, name="Back", external_id="cust-00003")], services.clock()
        )
    assert seen() == {1003, 5001}
