"""Fleets that a test makes up, written as if a pass had read them."""

from datetime import timedelta

from dashboard.peliqan import models
from dashboard.store import snapshot
from dashboard.store.snapshot import Reading, save_readings
from tests.conftest import Clock


def dark_fleet(clock: Clock, connections: int, hours: float = 5, connector: str = "made_up", first: int = 900_000) -> list[int]:
    """Accounts with one connection each that has been dark since the same hour."""
    at = clock()
    ids = list(range(first, first + connections))
    snapshot.save_accounts([models.Account(id=id, name=f"Dark {id}") for id in ids], at)
    began = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    run = {"status": "COMPLETED", "started_at": began, "ended_at": began + timedelta(minutes=1)}
    readings = []
    for id in ids:
        seen = models.Connection(id=id * 10, name="Books", connector=connector, status="OK", run_interval=3600)
        runs = {id * 10: (models.Run(id=id * 100, **run),)}
        readings.append(Reading(id, at, at + timedelta(days=1), (seen,), runs))
    save_readings(readings, {})
    return ids
