"""Sends alerts through Apprise, which knows Slack, Teams, e-mail, webhooks and some two hundred places more.

An address is a secret: Apprise's own logger is heard here alone, and of what it says only words of ours are kept. Apprise is
imported where it is used: it takes a tenth of a second and memory that pages have no use for.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import get_ident
from typing import Any, Final

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.alerts.chat import make_message_inert
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.core.dialling import only_to
from dashboard.core.egress import ALLOW_ALL, PRIVATE, REFUSED, EgressPolicy, NotAllowed
from dashboard.deliveries.hook import keep_paths_from_logs

# What shows or logs on the machine of the worker, reads files of it or runs its programs, is no place to tell people. The rest of
# Apprise's places are across the network, so these are named and not those. None of Apprise's reads ``file://`` or takes plug-ins
# from elsewhere unless it is told where they are, which the console never does.
LOCAL: Final = frozenset(
    {"syslog", "dbus", "qt", "kde", "glib", "gio", "gnome", "macosx", "windows", "blink1", "vapid"}
)
# Of other places the part behind :// may be a token, so that it is not shown.
WITH_HOST: Final = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "apprise", "apprises"}
)
LONGEST_ADDRESS = 2000
LONGEST_WAIT = 10.0
AT_MOST = timedelta(seconds=45)
# By the last part of a message's key.
TONES: Final = {outbox.NEW: "failure", outbox.RECOVERED: "success"}
UNREADABLE = (
    "The address cannot be read with the SECRET_KEY that is set now. Type it into the rule again."
)
_HTTP = re.compile(r"error=(\d{3})\b")
_MEANT: Final = {
    "400": "it could not make sense of the message",
    "401": "the address's token or password is not valid any more",
    "403": "the address is not allowed to send there",
    "404": "there is no such place any more",
    "410": "there is no such place any more",
    "413": "the message is too long for it",
    "429": "it has had too many messages",
}


class BadAddress(ValueError):
    """A sentence that says why nothing can be sent to an address, without the address."""


def check_address(address: str, places: EgressPolicy = ALLOW_ALL) -> str:
    """What may be shown of an address that Apprise can send to: the place's name, and its host where that is no secret.

    Raises:
        BadAddress: Apprise cannot read it, or it leads to the console's own machine and not to people.
        NotAllowed: it is none of ``places``, or in a private network and not named there.
    """
    if len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise BadAddress(
            "That is no address: it is too long, or has characters that no address has."
        )
    if address.partition(":")[0].strip().lower() in LOCAL | {"file"}:
        raise BadAddress(
            "That address leads to a file, a log or the screen of the console's own machine, not to people."
        )
    server, schema = _server(address)
    if server is None:
        raise BadAddress(
            "Apprise cannot read that address. It begins with a service, as in slack://, msteams:// or mailto://, and has all of"
            " the service's parts; github.com/caronc/apprise/wiki lists them."
        )
    if (
        LOCAL & {schema, str(server.schema).lower()}
        or not type(server).__module__.startswith("apprise.plugins.")
        or _reads_files(server)
    ):
        raise BadAddress(
            "That address has the console read files of its own machine, or show something there."
        )
    _ensure_allowed(places, schema, server)
    host = f" at {server.host}" if schema in WITH_HOST and server.host else ""
    port = f":{server.port}" if host and server.port else ""
    return f"{server.service_name} ({schema}://){host}{port}"


def send_due(services: Services, base: str | None) -> None:
    """Note what is to be told and send what is due, for less than a minute: the rest is the next minute's.

    A place that does not take a message is left alone until then.
    """
    if not outbox.any_rules():
        return
    began = services.clock()
    outbox.give_up_unknown(began)
    outbox.queue_messages(began, base)
    for rule_id in outbox.rules_due(began):
        for message_id in outbox.due(rule_id, began):
            if services.clock() - began > AT_MOST:
                return
            message = outbox.lease(message_id, services.clock())
            rule = alert_rules.rule_or_none(rule_id, with_address=True)
            if (
                message is None
                or rule is None
                or not outbox.is_to_be_sent(message, rule, services.clock(), base)
            ):
                continue
            if deliver(services, rule, message) is not None:
                break


def send_again(services: Services, message_id: int) -> str | None:
    """Send a message now that waits or was given up, because somebody asks for it; the error, None where it was sent.

    Raises:
        LookupError: there is no such message to send, or it is being sent.
    """
    message = outbox.lease(message_id, services.clock(), by_hand=True)
    rule = (
        alert_rules.rule_or_none(message.rule_id, with_address=True)
        if message is not None
        else None
    )
    if message is None or rule is None:
        raise LookupError(message_id)
    return deliver(services, rule, message)


def send_test(services: Services, rule: AlertRule, who: str, base: str | None) -> str | None:
    """Send a message that says that it is a test; the error, None where it was sent. ``rule``: with its address."""
    return deliver(services, rule, outbox.begin_test(rule, who, services.clock(), base))


def deliver(services: Services, rule: AlertRule, message: AlertMessage) -> str | None:
    """Send a message that the caller holds, and write down how it went; the error, None where it was sent."""
    address, message_id = services.vault.decrypt(rule.address), message.id
    subject, body, tone = (
        message.subject,
        message.body,
        TONES.get(message.key.rpartition("/")[2], "info"),
    )
    # No transaction stays open while a place far away takes its time.
    db.session.rollback()
    error = (
        send(address, subject, body, tone, services.settings.places)
        if address is not None
        else UNREADABLE
    )
    outbox.settle(message_id, error, services.clock())
    return error


def send(
    address: str, subject: str, body: str, tone: str = "info", places: EgressPolicy = ALLOW_ALL
) -> str | None:
    """Send a message; a sentence that says why it was not sent, None where it was. ``tone``: Apprise's kind of a message."""
    import apprise

    server, schema = _server(address)
    if server is None:
        return "Apprise cannot read the address. Type it into the rule again."
    try:
        _ensure_allowed(places, schema, server)
    except NotAllowed as error:
        return str(error)
    # Trying again is the console's; and no address keeps a worker waiting.
    server.retry = 0
    server.socket_connect_timeout = min(server.socket_connect_timeout, LONGEST_WAIT)
    server.socket_read_timeout = min(server.socket_read_timeout, LONGEST_WAIT)
    place = apprise.Apprise(asset=_asset())
    place.add(server)
    # Apprise converts plain text for HTML alone, so that it would reach services that read Markdown as Markdown.
    subject, body = make_message_inert(str(server.schema).lower(), subject, body)
    # What a plug-in dials can be another host than the address's.
    with (
        _heard() as said,
        only_to(partial(places.allows, schema), partial(places.names, schema)) as limit,
    ):
        try:
            sent = place.notify(
                body, title=subject, notify_type=tone, body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  # two hundred plug-ins, whose errors may hold the address
            said.append(type(error).__name__)
            sent = False
    if sent:
        return None
    if limit.refused:
        return PRIVATE if limit.refused_private else REFUSED
    return _why(said)


def _ensure_allowed(places: EgressPolicy, schema: str, server: Any) -> None:
    hosts = _hosts(server)
    places.ensure_service(schema, hosts, server.port)
    # In many services' addresses an id stands where others have a host: a number alone says nothing before it is dialled.
    places.ensure_public(
        schema, [each for each in hosts if schema in WITH_HOST or not each.isalnum()], server.port
    )


def _hosts(server: Any) -> list[str]:
    """Whom it asks; an e-mail goes by a server of its own, whatever the address's host."""
    return [str(host) for name in ("host", "smtp_host") if (host := getattr(server, name, None))]


def _why(said: list[str]) -> str:
    """Of what Apprise said, only what cannot hold a secret."""
    whole = " ".join(said)
    if status := _HTTP.search(whole):
        meant = _MEANT.get(
            status[1],
            "it is in trouble" if status[1].startswith("5") else "it did not take the message",
        )
        return f"The place answered {status[1]}: {meant}."
    if "onnection error" in whole or "ocket" in whole or "imeout" in whole:
        return "No connection to the place came about, or it broke off."
    return "The place did not take the message, and did not say why."


def _server(address: str) -> tuple[Any, str]:
    """Apprise's view of an address, and the service's scheme; None where it has none.

    The scheme is that of Apprise's parsing: some plug-ins call theirs http afterwards.
    """
    import apprise

    with _heard():
        try:
            parts = apprise.plugins.url_to_dict(address)  # type: ignore[no-untyped-call]
            schema = str((parts or {}).get("schema", "")).lower()
            server = (
                apprise.Apprise.instantiate(parts, asset=_asset(), suppress_exceptions=True)
                if parts
                else None
            )
        except Exception:  # noqa: BLE001  # as above
            return None, ""
    if server is not None:
        # An address could ask for it with ?redirect=yes, and whoever answers would say where to.
        server.redirects = False
    return server, schema


def _asset() -> Any:
    """Nothing is kept on disk, no keys are made, no plug-in comes from elsewhere; a place does not send messages on."""
    import apprise

    asset = apprise.AppriseAsset(
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        app_id="Partner Console",
        app_desc="Partner Console",
        async_mode=False,
        secure_logging=True,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    return asset


def _reads_files(server: Any) -> bool:
    """Whether an address has a template, a key or the like read from somewhere."""
    import apprise

    inner = [
        value
        for each in vars(server).values()
        if hasattr(each, "__dict__")
        for value in vars(each).values()
    ]
    return any(
        isinstance(each, apprise.AppriseAttachment) and len(each)
        for each in (*vars(server).values(), *inner)
    )


class _Ear(logging.Handler):
    """Hears what Apprise says in each thread; nobody else does, since it says addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it for whoever listens in this thread."""
        if (said := self.said.get(get_ident())) is not None:
            said.append(record.getMessage())


_EAR = _Ear()


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What Apprise says meanwhile in this thread. It reaches no log, nor does what is said below it of paths."""
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [_EAR], False
    logger.setLevel(logging.WARNING)
    keep_paths_from_logs()
    said = _EAR.said[get_ident()] = []
    try:
        yield said
    finally:
        _EAR.said.pop(get_ident(), None)
