"""Links for customers: ask Peliqan for one, check it, show it, and wait until somebody has followed it.

To reauthorise and to refresh a bank, until the connection is well again; to invite, until the account has the connection.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from dashboard import peliqan
from dashboard.actions import polling
from dashboard.actions import service as actions
from dashboard.actions.models import Action
from dashboard.actions.polling import next_poll
from dashboard.core.hosts import ip_of, is_private
from dashboard.customer_links import queries as waiting_links
from dashboard.fleet.models import Account, Connection
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run
from dashboard.refresh import live

GIVE_UP_AFTER = timedelta(hours=24)
# A status that says that somebody follows a link. That a link was asked for may be all that RE_AUTHORISING says at first.
FOLLOWING = ("AUTHORIZING", "RE_AUTHORISING", "RE_AUTHORISED")
# A name as the web's servers have them. Browsers take more for one, and read it as another: %2e, a number, full-width letters.
_NAME = re.compile(
    r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII | re.IGNORECASE
)
ASKED_ONLY, ASKED_FOR = "RE_AUTHORISING", timedelta(minutes=10)


class UnsafeLink(ValueError):
    """An address that the console does not hand to a person; the message says why, without the address."""


@dataclass(frozen=True)
class SafeLink:
    """A checked address, with the host that a person should read before opening it."""

    url: str
    host: str


def check_link(url: str, *, from_here: bool = True) -> SafeLink:
    """https to a named host; http only on this machine; nothing that disguises where it leads.

    ``from_here``: whether the API that gave it is on this machine itself, as the stand-in is; that of Peliqan's has no reason to
    send a customer's browser to this machine, to theirs or into a network of theirs.

    Raises:
        UnsafeLink: with the reason.
    """
    if (
        any(character <= " " or character > "~" or character == "\\" for character in url)
        or len(url) > 8000
    ):
        raise UnsafeLink("the address has characters that no web address has")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UnsafeLink("it is no web address") from None
    if not host:
        raise UnsafeLink("it names no host")
    number = ip_of(host)
    if number is None and not _NAME.fullmatch(host):
        raise UnsafeLink("its host has characters that no name of one has")
    if not (from_here and _is_loopback(host)) and (
        _is_loopback(host) or (number is not None and is_private(number))
    ):
        raise UnsafeLink("it leads into a private network")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UnsafeLink(f"it is not https but “{parts.scheme[:20]}”")
    if parts.username is not None or parts.password is not None:
        raise UnsafeLink("it has a user name in front of its host")
    return SafeLink(url, parts.netloc)


def request_link(
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

    What the API does to a request that was sent is never raised: the action's state and detail say it.

    Raises:
        peliqan.Away: Peliqan answers nobody just now. Nothing was begun, and the earlier link stays.
    """
    api.ensure(kind)
    earlier = actions.in_flight(connection.account_id, connection.id, kind)
    if earlier is not None and earlier.state == actions.WAITING:
        actions.complete(earlier, "superseded", at, "A newer link was asked for.")
    action, is_new = actions.start_action(kind, connection, who, at, why=why, along=along)
    if not is_new:
        return action
    account = api.for_account(connection.account_id)
    asks = account.reauthorise if kind == actions.REAUTHORISE else account.saltedge_refresh
    return _keep(api, action, lambda: asks(connection.id), at, interval)


def invite(
    api: peliqan.Peliqan, account: Account, connector: str, who: str, at: datetime, interval: float
) -> Action:
    """Ask Peliqan for a link with which the customer connects something new. The rest is as with ``request_link``."""
    api.ensure(actions.INVITE)
    earlier = actions.invite_in_flight(account.id, connector)
    if earlier is not None and earlier.state == actions.WAITING:
        actions.complete(earlier, "superseded", at, "A newer link was asked for.")
    action, is_new = actions.start_invite(account, connector, who, at)
    if not is_new:
        return action
    return _keep(api, action, lambda: api.for_account(account.id).invite(connector), at, interval)


def _keep(
    api: peliqan.Peliqan,
    action: Action,
    asks: Callable[[], peliqan.Link],
    at: datetime,
    interval: float,
) -> Action:
    try:
        action.url = check_link(asks().url, from_here=api.is_local).url
    except peliqan.PeliqanError as error:
        if not isinstance(error, peliqan.OUTAGE):
            polling.read_after(api, action, at)
        actions.complete(action, "failed", at, error.explained)
    except UnsafeLink as error:
        polling.read_after(api, action, at)
        actions.complete(
            action, "failed", at, f"Peliqan gave an address that is not safe to open: {error}."
        )
    else:
        action.state = actions.WAITING
        actions.reschedule(action, next_poll(action, at, interval))
    return action


def poll(api: peliqan.Peliqan, action: Action, at: datetime, interval: float) -> None:
    """Whether the connection is well again since the link was given. The caller holds the action's lease."""
    before, action.looked_at = action.looked_at, at
    action.looks += 1
    if action.state == actions.STARTING:
        polling.read_after(api, action, at)
        actions.complete(
            action, "failed", at, "The console was stopped while it asked. Ask for the link again."
        )
        return
    if action.kind == actions.INVITE:
        _look_for_invited(action, at, interval)
        return
    try:
        connection = live.read_connection(api, action.account_id, action.connection_id, at)
    except peliqan.PeliqanError as error:
        if at - action.started_at > GIVE_UP_AFTER:
            actions.complete(
                action,
                "failed",
                at,
                f"{error.sentence} Whether anybody followed the link cannot be told.",
            )
            return
        action.detail = f"{error.sentence} Looking again."
        actions.reschedule(action, next_poll(action, at, interval))
        return
    action.detail = ""
    action.followed_at = action.followed_at or _followed_at(action, before)
    moved = connection.status_since >= action.started_at
    if connection.severity == Severity.OK and moved:
        actions.complete(action, "done", at, f"The connection is {connection.status} again.")
    elif outcome_of_run(connection.status) is RunOutcome.PARTIAL and moved:
        actions.complete(
            action, "done", at, f"The connection loads data again ({connection.status})."
        )
    elif at - action.started_at > GIVE_UP_AFTER:
        actions.complete(action, "failed", at, "Nobody followed the link within 24 hours.")
    else:
        actions.reschedule(action, next_poll(action, at, interval))


def _look_for_invited(action: Action, at: datetime, interval: float) -> None:
    """The passes over the fleet see what a customer connects: nothing more is asked for it."""
    made = waiting_links.first_connection_since(
        action.account_id, action.connector, action.started_at
    )
    if made is not None:
        action.followed_at = made.first_seen_at
        actions.complete(action, "done", at, f"The customer made the connection {made.title}.")
    elif at - action.started_at > GIVE_UP_AFTER:
        actions.complete(
            action, "failed", at, "The customer connected nothing of it within 24 hours."
        )
    else:
        actions.reschedule(action, next_poll(action, at, interval))


def _followed_at(action: Action, before: datetime | None) -> datetime | None:
    """When the customer was seen to follow the link, since the look ``before``: the connection's status says so.

    At the first look, and within ten minutes, RE_AUTHORISING may still be what asking for the link made of it.
    """
    for change in waiting_links.changes_since(
        action.account_id, action.connection_id, before or action.started_at
    ):
        may_be_ours = before is None or change.at <= action.started_at + ASKED_FOR
        if change.became in FOLLOWING and not (change.became == ASKED_ONLY and may_be_ours):
            return change.at
    return None


def _is_loopback(host: str) -> bool:
    name, number = host.rstrip(".").lower(), ip_of(host)
    return (
        name == "localhost"
        or name.endswith(".localhost")
        or (number is not None and number.is_loopback)
    )
