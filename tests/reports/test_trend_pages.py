"""The trend of 30 days: the table, and its alternate formats."""

import csv
import io
from datetime import timedelta

from flask import Flask
from sqlalchemy import delete

from dashboard.core.database import db
from dashboard.fleet import hourly_counts
from dashboard.fleet.models import SEVERITIES, HourlyConnectionCount
from tests.support.clock import Clock
from tests.support.people import Person, words


def note(app: Flask, clock: Clock, days: int, **counts: int) -> None:
    hour = (clock() - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    with app.app_context():
        for severity, count in counts.items():
            db.session.merge(HourlyConnectionCount(hour=hour, severity=severity, connections=count))
        db.session.commit()


def test_the_table_has_a_row_a_day_and_its_twins_say_the_same(
    viv: Person, app: Flask, clock: Clock
) -> None:
    with app.app_context():
        # The test's database was filled in real time, perhaps before midnight.
        db.session.execute(delete(HourlyConnectionCount))
        hourly_counts.save_hourly_counts(clock())
        db.session.commit()
    note(app, clock, 3, error=4, ok=10)
    soup = viv.get("/trend")
    rows = soup.select("#trend-table tbody tr")
    assert len(rows) == 4
    today = viv.json("/connections.json")["total"]
    assert rows[0].select("td.text-end")[-1].text == str(today)
    oldest = [cell.text for cell in rows[-1].select("td.text-end")]
    assert oldest == ["4", "0", "0", "0", "0", "10", "14"]
    assert "no pass was complete" in words(rows[1])
    body = viv.json("/trend.json")
    assert [item["error"] for item in body["items"]][:3] == [4, None, None]
    assert body["items"][-1]["connections"] == today
    assert set(body["items"][0]) == {"day", *SEVERITIES, "connections", "noted_at"}
    assert body["zone"] == "UTC"
    listed = list(csv.DictReader(io.StringIO(viv.client.get("/trend.csv").text)))
    assert [row["day"] for row in listed] == [item["day"] for item in body["items"]]
    assert listed[0]["error"] == "4"


def test_before_the_first_pass_the_page_says_what_will_be_there(viv: Person, app: Flask) -> None:
    with app.app_context():
        db.session.execute(db.delete(HourlyConnectionCount))
        db.session.commit()
    soup = viv.get("/trend")
    assert "Nothing is counted yet" in words(soup)
    assert not soup.select("#trend-chart")
    assert viv.json("/trend.json")["items"] == []
    assert viv.client.get("/trend.csv").status_code == 200


def test_the_overview_leads_to_it(viv: Person) -> None:
    assert viv.get("/").select("a[href='/trend']")
