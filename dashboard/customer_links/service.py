"""Links for customers: request them from Peliqan, check them, and poll until they are used.

A link to reauthorise or to refresh a bank is done when the connection is healthy again; an invite,
when the account has the new connection.
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
from dashboard.actions.service import ActionRequest
from dashboard.core.ip_addresses import ip_of, is_private
from dashboard.customer_links import queries as waiting_links
from dashboard.customer_links.limits import GIVE_UP_AFTER
from dashboard.fleet.models import Account, Connection
from dashboard.peliqan.statuses import RunOutcome, Severity, outcome_of_run
from dashboard.refresh import live

# Statuses while a customer follows a link. Peliqan may set RE_AUTHORISING at the request already.
FOLLOWING = ("AUTHORIZING", "RE_AUTHORISING", "RE_AUTHORISED")
# A host name in its plain form. Browsers accept more and rewrite it: %2e, numbers, full-width
# letters.
_NAME = re.compile(
    r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII | re.IGNORECASE
)
# For this time, the status may come from the request alone.
AT_REQUEST, AT_REQUEST_FOR = "RE_AUTHORISING", timedelta(minutes=10)


class UnsafeLink(ValueError):
    """An address that is not safe to show; the message says why, without the address."""


@dataclass(frozen=True)
class SafeLink:
    """A checked address, with the host for the user to read before opening it."""

    url: str
    host: str


def check_link(url: str, *, from_here: bool = True) -> SafeLink:
    """Return the address if it is https to a public named host and hides nothing.

    ``from_here``: the API runs on this machine (the sandbox), so loopback and http are allowed.
    Peliqan's own API has no reason to send a customer into a private network.

    Raises:
        UnsafeLink: The address is not safe; the message is the reason.
    """
    _check_characters(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UnsafeLink("it is no web address") from None
    _check_host(host, from_here=from_here)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise UnsafeLink(f"it is not https but “{parts.scheme[:20]}”")
    if parts.username is not None or parts.password is not None:
        raise UnsafeLink("it has a user name in front of its host")
    return SafeLink(url, parts.netloc)


def _check_characters(url: str) -> None:
    if (
        any(character <= " " or character > "~" or character == "\\" for character in url)
        or len(url) > 8000
    ):
        raise UnsafeLink("the address has characters that no web address has")


def _check_host(host: str, *, from_here: bool) -> None:
    if not host:
        raise UnsafeLink("it names no host")
    number = ip_of(host)
    if number is None and not _NAME.fullmatch(host):
        raise UnsafeLink("its host has characters that no name of one has")
    if not (from_here and _is_loopback(host)) and (
        _is_loopback(host) or (number is not None and is_private(number))
    ):
        raise UnsafeLink("it leads into a private network")


def request_link(
    api: peliqan.Peliqan, kind: str, connection: Connection, request: ActionRequest
) -> Action:
    """Request a link from Peliqan once. Commits.

    Supersedes an earlier link, which may have expired. If a request is in flight, returns its
    action. Errors of the API are not raised: the action's state and detail hold them.

    Raises:
        peliqan.ApiUnavailable: The circuit breaker is open. Nothing was stored or sent.
    """
    at = request.at
    api.ensure(kind)
    earlier = actions.in_flight(connection.account_id, connection.id, kind)
    if earlier is not None and earlier.state == actions.WAITING:
        actions.complete(earlier, "superseded", at, "A newer link was asked for.")
    action, is_new = actions.start_action(
        kind, connection, request.who, at, why=request.why, on_create=request.on_create
    )
    if not is_new:
        return action
    account = api.for_account(connection.account_id)
    send = account.reauthorise if kind == actions.REAUTHORISE else account.saltedge_refresh
    return _send(api, action, lambda: send(connection.id), at, request.interval)


def invite(
    api: peliqan.Peliqan, account: Account, connector: str, who: str, at: datetime, interval: float
) -> Action:
    """Request a link for the customer to connect something new. Otherwise like ``request_link``."""
    api.ensure(actions.INVITE)
    earlier = actions.invite_in_flight(account.id, connector)
    if earlier is not None and earlier.state == actions.WAITING:
        actions.complete(earlier, "superseded", at, "A newer link was asked for.")
    action, is_new = actions.start_invite(account, connector, who, at)
    if not is_new:
        return action
    return _send(api, action, lambda: api.for_account(account.id).invite(connector), at, interval)


def _send(
    api: peliqan.Peliqan,
    action: Action,
    send: Callable[[], peliqan.Link],
    at: datetime,
    interval: float,
) -> Action:
    try:
        action.url = check_link(send().url, from_here=api.is_local).url
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
    """Poll whether the link was used and store the result. Commits. The caller holds the lease."""
    before, action.looked_at = action.looked_at, at
    action.looks += 1
    if action.state == actions.STARTING:
        polling.read_after(api, action, at)
        actions.complete(
            action, "failed", at, "The console was stopped while it asked. Ask for the link again."
        )
        return
    if action.kind == actions.INVITE:
        _poll_invite(action, at, interval)
        return
    try:
        connection = live.read_connection(api, action.account_id, action.connection_id, at)
    except peliqan.PeliqanError as error:
        if at - action.started_at > GIVE_UP_AFTER:
            actions.complete(
                action,
                "failed",
                at,
                f"{error.sentence} It is not known whether the customer followed the link.",
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


def _poll_invite(action: Action, at: datetime, interval: float) -> None:
    """Poll the snapshot for the new connection, which the fleet refresh finds."""
    created = waiting_links.first_connection_since(
        action.account_id, action.connector, action.started_at
    )
    if created is not None:
        action.followed_at = created.first_seen_at
        actions.complete(action, "done", at, f"The customer made the connection {created.title}.")
    elif at - action.started_at > GIVE_UP_AFTER:
        actions.complete(
            action, "failed", at, "The customer connected nothing of it within 24 hours."
        )
    else:
        actions.reschedule(action, next_poll(action, at, interval))


def _followed_at(action: Action, before: datetime | None) -> datetime | None:
    """Return when the customer followed the link, by status changes since the poll ``before``.

    At the first poll and for 10 minutes, RE_AUTHORISING may come from the request itself.
    """
    for change in waiting_links.changes_since(
        action.account_id, action.connection_id, before or action.started_at
    ):
        may_be_ours = before is None or change.at <= action.started_at + AT_REQUEST_FOR
        if change.became in FOLLOWING and not (change.became == AT_REQUEST and may_be_ours):
            return change.at
    return None


def _is_loopback(host: str) -> bool:
    name, number = host.rstrip(".").lower(), ip_of(host)
    return (
        name == "localhost"
        or name.endswith(".localhost")
        or (number is not None and number.is_loopback)
    )
