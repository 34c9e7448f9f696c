"""Reauthorise and bank refresh: ask Peliqan for a link, check it, show it, and wait until the connection is well again."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from dashboard import peliqan
from dashboard.fleet import live
from dashboard.fleet.pace import next_look
from dashboard.fleet.refresh import OUTAGE
from dashboard.peliqan.vocabulary import Severity
from dashboard.store import actions
from dashboard.store.models import Action, Connection

GIVE_UP_AFTER = timedelta(hours=24)


class UnsafeLink(ValueError):
    """An address that the console does not hand to a person; the message says why, without the address."""


@dataclass(frozen=True)
class SafeLink:
    """A checked address, with the host that a person should read before opening it."""

    url: str
    host: str


def check_link(url: str) -> SafeLink:
    """https to a named host; http only on this machine; nothing that disguises where it leads.

    Raises:
        UnsafeLink: with the reason.
    """
    if any(character <= " " or character > "~" or character == "\\" for character in url) or len(url) > 8000:
        raise UnsafeLink("the address has characters that no web address has")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UnsafeLink("it is no web address") from None
    if not host:
        raise UnsafeLink("it names no host")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UnsafeLink(f"it is not https but “{parts.scheme[:20]}”")
    if parts.username is not None or parts.password is not None:
        raise UnsafeLink("it has a user name in front of its host")
    return SafeLink(url, parts.netloc)


def ask(
    api: peliqan.Peliqan,
    kind: str,
    connection: Connection,
    who: str,
    at: datetime,
    interval: float,
    why: str = "",
    along: Callable[[Action], None] | None = None,
) -> Action:
    """Ask Peliqan for the link, once. A link given earlier is superseded: it may have run out. ``along``: see ``actions.begin``.

    Never raises for what the API does: the action's state and detail say it.
    """
    earlier = actions.in_flight(connection.account_id, connection.id, kind)
    if earlier is not None and earlier.state == actions.WAITING:
        actions.settle(earlier, "superseded", at, "A newer link was asked for.")
    action, is_new = actions.begin(kind, connection, who, at, why=why, along=along)
    if not is_new:
        return action
    account = api.for_account(connection.account_id)
    try:
        answer = (account.reauthorise if kind == actions.REAUTHORISE else account.saltedge_refresh)(connection.id)
        action.url = check_link(answer.url).url
    except peliqan.PeliqanError as error:
        if not isinstance(error, OUTAGE):
            live.read_after(api, action, at)
        actions.settle(action, "failed", at, error.explained)
    except UnsafeLink as error:
        live.read_after(api, action, at)
        actions.settle(action, "failed", at, f"Peliqan gave an address that is not safe to open: {error}.")
    else:
        action.state = actions.WAITING
        actions.put_off(action, next_look(action, at, interval))
    return action


def look(api: peliqan.Peliqan, action: Action, at: datetime, interval: float) -> None:
    """Whether the connection is well again since the link was given. The caller holds the action's lease."""
    action.looks += 1
    action.looked_at = at
    if action.state == actions.STARTING:
        live.read_after(api, action, at)
        actions.settle(action, "failed", at, "The console was stopped while it asked. Ask for the link again.")
        return
    try:
        connection = live.read_connection(api, action.account_id, action.connection_id, at)
    except peliqan.PeliqanError as error:
        if at - action.started_at > GIVE_UP_AFTER:
            actions.settle(action, "failed", at, f"{error.sentence} Whether anybody followed the link cannot be told.")
            return
        action.detail = f"{error.sentence} Looking again."
        actions.put_off(action, next_look(action, at, interval))
        return
    action.detail = ""
    moved = connection.status_since >= action.started_at
    if connection.severity == Severity.OK and moved:
        actions.settle(action, "done", at, f"The connection is {connection.status} again.")
    elif at - action.started_at > GIVE_UP_AFTER:
        actions.settle(action, "failed", at, "Nobody followed the link within 24 hours.")
    else:
        actions.put_off(action, next_look(action, at, interval))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
