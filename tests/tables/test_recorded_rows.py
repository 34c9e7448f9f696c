"""All recorded values of a real Baserow server are shown, by the service and the page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from dashboard.context import Services
from dashboard.tables.cells import cell, raw
from tests.support.fault_server import Answer, FaultServer, run
from tests.support.people import Person
from tests.tables.test_pages import EVERYTHING

RECORDED = Path(__file__).parent.parent / "data" / "baserow"
PAGES = sorted(RECORDED.glob("rows-*.json"))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_recorded_value_becomes_a_cell(path: Path) -> None:
    types = {field["name"]: field["type"] for field in read(RECORDED / "fields.json")}
    for row in read(path)["results"]:
        for name, value in row.items():
            found = cell(value, types.get(name, ""))
            assert found.text, name
            assert isinstance(found.short, str)
            assert isinstance(raw(value), str)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_recorded_page_is_shown_whole(
    path: Path, app: Flask, services: Services, adam: Person, viv: Person
) -> None:
    recorded = read(path)
    with run(FaultServer()) as server:
        app.extensions["services"] = replace(services, api=server.client())
        server.say("/api/database/tables/10011900/", Answer({"id": 10011900, "name": "Everything"}))
        server.say("/api/database/fields/table/10011900/", Answer(read(RECORDED / "fields.json")))
        server.say("/api/database/rows/table/10011900/", Answer({**recorded, "count": 100}))
        for person in (adam, viv):
            assert len(person.get(f"{EVERYTHING}?per_page=100").select(".rows tbody tr")) == len(
                recorded["results"]
            )
            assert len(person.json(f"{EVERYTHING}.json?per_page=100")["items"]) == len(
                recorded["results"]
            )
            assert person.client.get(f"{EVERYTHING}.csv?per_page=100").status_code == 200
        for row in recorded["results"][:20]:
            server.say(f"/api/database/rows/table/10011900/{row['id']}/", Answer(row))
            viv.get(f"{EVERYTHING}/rows/{row['id']}")
