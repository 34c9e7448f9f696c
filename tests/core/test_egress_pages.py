"""Pages for administrators when ``DASHBOARD_PLACES`` limits the destinations."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.app import create_app
from dashboard.cli.common import close_store
from dashboard.core import egress
from dashboard.core.database import db
from dashboard.pulls import service as pulls
from dashboard.pulls.models import PullRun
from dashboard.pulls.tasks import run_pull
from tests.support.people import Person
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings

REFUSED = "its operator says where it may"
RULE = {
    "name": "Support",
    "address": "json://hooks.example.com:9/in",
    "severity": "critical",
    "zone": "UTC",
    "sends": ["new"],
}
WAREHOUSE = "postgresql://reader:s3cret@127.0.0.1:1/data"


def test_other_places_can_be_neither_entered_nor_gone_to_any_more(
    app: Flask,
    adam: Person,
    sandbox: Sandbox,
    store: dict[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    schedule = {
        "name": "Nightly",
        "address": f"sqlite:///{tmp_path_factory.mktemp('copies')}/copies.db",
        "every": "60",
        "full_every": "20",
        "accounts": "1002",
    }
    assert adam.post("/pulls", page="/pulls/new", **schedule).status_code == 303
    assert adam.post("/alerts", page="/alerts/new", **RULE).status_code == 303
    strict = create_app(
        make_settings(
            sandbox.url, tmp_path, dashboard_places="slack://, parquet:///srv/copies", **store
        )
    )
    with strict.app_context():
        run_pull(1)
        run = db.session.scalars(select(PullRun)).one()
        assert (run.state, run.error) == (pulls.FAILED, egress.REFUSED)
    other = Person(strict.test_client(), "adam@example.com")
    for path, form, status in (
        ("/pulls", {**schedule, "name": "Other"}, 422),
        ("/alerts", RULE, 400),
    ):
        response = other.post(path, page=f"{path}/new", **form)
        assert response.status_code == status
        assert REFUSED in response.text
    other.post("/accounts/1001/warehouse", address=WAREHOUSE)
    assert REFUSED in other.get("/accounts/1001/sql").text
    close_store(strict)
