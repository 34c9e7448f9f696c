"""A fleet as the API shows it: connections with their latest runs, and which are well."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from tests.support.api_caller import NOON, Caller

CALM = dict.fromkeys(("hubspot", "teamleader", "shopify", "woocommerce"), "HEALTHY")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class ObservedConnection:
    """A connection as the API shows it at some time, with its latest runs, the newest first."""

    at: datetime
    fields: dict[str, Any]
    runs: list[dict[str, Any]]

    @property
    def account_id(self) -> int:
        return int(self.fields["id"]) // 100

    @property
    def status(self) -> str:
        return str(self.fields["health_status"])

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.fields["run_interval"])

    @property
    def ended(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["timestamp_end"]]

    def ago(self, index: int = 0) -> timedelta:
        """Return how long ago one of its runs started."""
        return self.at - datetime.fromisoformat(self.runs[index]["timestamp_start"])

    def split(self, since: timedelta) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return its ended runs that started since then, and those before."""
        after = [
            run
            for run in self.ended
            if datetime.fromisoformat(run["timestamp_start"]) >= self.at - since
        ]
        return after, self.ended[len(after) :]

    def is_calm(self) -> bool:
        """Return whether its status is that of a healthy connection."""
        return self.status == CALM.get(self.fields["server_type"], "OK")

    def is_well(self) -> bool:
        """Return whether nothing is wrong with it."""
        consent = self.fields.get("consent_expires_at")
        return (
            self.is_calm()
            and self.fields["run_interval"] in (900, 3600)
            and self.fields["disable_scheduler"] is False
            and self.fields["target"] == self.account_id * 100
            and (consent is None or datetime.fromisoformat(consent) > self.at + 20 * DAY)
            and len(self.runs) > 0
            and self.ago() < self.interval
            and all(map(went_well, self.ended))
            and all(run["timestamp_end"] for run in self.runs[1:])
            and (bool(self.runs[0]["timestamp_end"]) or self.ago() < timedelta(minutes=5))
        )


def went_well(run: dict[str, Any]) -> bool:
    return run["status"] == "COMPLETED" and error_of(run) is None and loaded(run) > 0


def loaded(run: dict[str, Any]) -> int:
    tables = run["tables"]
    return sum(
        each["records"] for each in (tables.values() if isinstance(tables, dict) else tables)
    )


def error_of(run: dict[str, Any]) -> str | None:
    fields = ("error", "message", "source_error", "status_message")
    return next((str(run[name]) for name in fields if run.get(name)), None)


def observe(api: Caller, accounts: int = 200) -> list[ObservedConnection]:
    """Return every source of every readable account."""
    seen = []
    for account in api.life.accounts(0, accounts):
        response = api.get("servers/", account.id)
        for fields in (response.json or []) if response.status_code == 200 else []:
            if not fields["is_datawarehouse"]:
                runs = api.get(f"servers/{fields['id']}/runs/?per_page=30", account.id).json
                assert runs is not None
                seen.append(ObservedConnection(api.now, fields, runs["data"]))
    return seen


@cache
def staged(
    scenario: str,
    now: datetime = NOON,
    later: timedelta = timedelta(),
    accounts: int = 200,
    seed: int = 1,
) -> list[ObservedConnection]:
    """Return the sources of a scenario, ``later`` after its start."""
    api = Caller(now, scenario=scenario, accounts=accounts, seed=seed)
    api.now += later
    return observe(api, accounts)


def odd(seen: list[ObservedConnection], *connectors: str) -> list[ObservedConnection]:
    """Return the sources with a problem; check that they are of these connectors."""
    found = [each for each in seen if not each.is_well()]
    assert {each.fields["server_type"] for each in found} == set(connectors)
    return found


def of(connector: str, seen: list[ObservedConnection]) -> list[ObservedConnection]:
    return [each for each in seen if each.fields["server_type"] == connector]


def statuses(seen: list[ObservedConnection]) -> Counter[str]:
    return Counter(each.status for each in seen)


def outcomes(seen: list[ObservedConnection]) -> Counter[str]:
    """Count the outcomes of the latest ended runs."""
    return Counter(each.ended[0]["status"] for each in seen)


def check_failing(
    seen: list[ObservedConnection], since: timedelta, status: str, outcome: str, error: str
) -> None:
    """Check that each run since then failed in this way, and each run before succeeded."""
    for each in seen:
        after, before = each.split(since)
        assert (each.status, bool(after)) == (status, True)
        assert all(
            run["status"] == outcome and re.search(error, str(error_of(run))) for run in after
        )
        assert all(map(went_well, before))
