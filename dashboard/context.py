"""What a request or task of the console needs at hand: settings, clock, Peliqan, the queue."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask, current_app

from dashboard import peliqan
from dashboard.core.egress import EVERYWHERE, Places

if TYPE_CHECKING:
    from dashboard.findings.playbook import Playbook
    from dashboard.fleet.token_vault import TokenVault
    from dashboard.masking.rules import Masks
    from dashboard.refresh.outages import StoreNotes
    from dashboard.settings import Settings
    from dashboard.worker.dispatch import Work

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Fleet:
    """What reading needs. ``interval``: seconds between two passes; ``rate``: requests a second, None for no limit; ``places``:
    where else administrators may send it."""

    app: Flask
    api: peliqan.Peliqan
    vault: "TokenVault"
    outages: "StoreNotes"
    clock: Clock
    concurrency: int
    interval: float
    rate: int | None = None
    places: Places = EVERYWHERE


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Console:
    """What a view needs beside the store: ``console()`` gives it."""

    settings: "Settings"
    api: peliqan.Peliqan
    fleet: Fleet
    work: "Work"
    clock: Callable[[], datetime]
    playbook: "Playbook"
    masks: "Masks"


def console() -> Console:
    """The running console's parts."""
    found: Console = current_app.extensions["console"]
    return found
