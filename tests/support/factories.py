"""Fleets that a test makes up, stored as a refresh stores them."""

from datetime import timedelta
from typing import Any

from dashboard.peliqan import models
from dashboard.refresh import writer
from dashboard.refresh.writer import AccountFetch, save_readings
from tests.support.clock import Clock


def dark_fleet(
    clock: Clock,
    connections: int,
    hours: float = 5,
    connector: str = "made_up",
    first: int = 900_000,
) -> list[int]:
    """Store accounts with one connection each, without a run since the same hour."""
    at = clock()
    ids = list(range(first, first + connections))
    writer.save_accounts([models.Account(id=id, name=f"Dark {id}") for id in ids], at)
    started_at = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    run = {
        "status": "COMPLETED",
        "started_at": started_at,
        "ended_at": started_at + timedelta(minutes=1),
    }
    readings = []
    for id in ids:
        seen = models.Connection(
            id=id * 10, name="Books", connector=connector, status="OK", run_interval=3600
        )
        runs = {id * 10: (models.Run(id=id * 100, **run),)}
        readings.append(AccountFetch(id, at, at + timedelta(days=1), (seen,), runs))
    save_readings(readings, {})
    return ids


def refused_fleet(
    clock: Clock,
    connections: int,
    error: str = "401 invalid_grant",
    connector: str = "made_up",
    first: int = 800_000,
    status: str = "ERROR",
) -> list[int]:
    """Store accounts with one connection each, whose latest run has this status and error.

    Without an error the run is COMPLETED.
    """
    at = clock()
    ids = list(range(first, first + connections))
    writer.save_accounts(
        [models.Account(id=id, name=f"Customer {id}", external_id=f"made-{id}") for id in ids], at
    )
    run: dict[str, Any] = {
        "started_at": at - timedelta(minutes=10),
        "ended_at": at - timedelta(minutes=9),
    }
    run |= {"status": status, "error": error} if error else {"status": "COMPLETED"}
    readings = []
    for id in ids:
        seen = models.Connection(
            id=id * 10,
            name="Books",
            connector=connector,
            status="ERROR" if error else "OK",
            run_interval=3600,
        )
        runs = {id * 10: (models.Run(id=id * 10**6 + int(at.timestamp()) % 10**6, **run),)}
        readings.append(AccountFetch(id, at, at + timedelta(days=1), (seen,), runs))
    save_readings(readings, {})
    return ids
