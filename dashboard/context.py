"""The services of an application: settings, clock, API client, queues."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask, current_app

from dashboard import peliqan

if TYPE_CHECKING:
    from dashboard.deliveries.hook import Hook
    from dashboard.findings.playbook import Playbook
    from dashboard.fleet.token_vault import TokenVault
    from dashboard.masking.rule_file import Masks
    from dashboard.refresh.api_outages import DatabaseOutageStore
    from dashboard.settings import Settings
    from dashboard.tasks.queues import TaskQueues

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Services:
    """The shared objects of an application, for its requests and tasks.

    ``clock``: returns aware times in UTC. ``hook``: None if no data hook is set.
    """

    app: Flask
    settings: "Settings"
    clock: Clock
    api: peliqan.Peliqan
    vault: "TokenVault"
    outages: "DatabaseOutageStore"
    queues: "TaskQueues"
    hook: "Hook | None"
    playbook: "Playbook"
    masks: "Masks"


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def services() -> Services:
    """Return the services of the current application."""
    found: Services = current_app.extensions["services"]
    return found
