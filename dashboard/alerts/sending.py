"""Delivery of alerts through Apprise: Slack, Teams, e-mail, webhooks and 200 more services.

An address is a secret. So the messages of Apprise's logger reach only this module, and only texts
of the console are stored. Apprise is imported inside functions: the import takes 0.1 s and memory
that web processes do not need.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any, Final

from dashboard.alerts import outbox
from dashboard.alerts import rules as alert_rules
from dashboard.alerts.chat_markup import make_message_inert
from dashboard.alerts.limits import LONGEST_ADDRESS, SEND_FOR, SEND_TIMEOUT
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.context import Services
from dashboard.core.connection_guard import only_to
from dashboard.core.database import db
from dashboard.core.egress import ALLOW_ALL, PRIVATE, REFUSED, EgressPolicy, NotAllowed
from dashboard.deliveries.hook import hide_paths_in_logs

# These show or log messages on the worker's machine, read its files or run its programs, so no
# person would read them. The list names them because all other Apprise services go over the
# network. None of those reads ``file://``; plug-in folders are never configured.
LOCAL: Final = frozenset(
    {"syslog", "dbus", "qt", "kde", "glib", "gio", "gnome", "macosx", "windows", "blink1", "vapid"}
)
# Schemes whose host may be shown: in others, the part after :// may be a token.
WITH_HOST: Final = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "apprise", "apprises"}
)
# Apprise's message type, by the last part of a message's key.
TONES: Final = {outbox.NEW: "failure", outbox.RECOVERED: "success"}
UNREADABLE = (
    "The address cannot be read with the SECRET_KEY that is set now. Type it into the rule again."
)
_HTTP = re.compile(r"error=(\d{3})\b")
_STATUS_MEANINGS: Final = {
    "400": "it could not make sense of the message",
    "401": "the address's token or password is not valid any more",
    "403": "the address is not allowed to send there",
    "404": "there is no such place any more",
    "410": "there is no such place any more",
    "413": "the message is too long for it",
    "429": "it has had too many messages",
}


class BadAddress(ValueError):
    """Reason why nothing can be sent to an address: a sentence, without the address."""


def check_address(address: str, policy: EgressPolicy = ALLOW_ALL) -> str:
    """Return the part of an address that may be shown: the service, and its host if not secret.

    Raises:
        BadAddress: Apprise cannot read it, or it leads to the console's own machine.
        NotAllowed: ``places`` does not allow it, or it is in a private network without being named.
    """
    if len(address) > LONGEST_ADDRESS or not address.isprintable():
        raise BadAddress(
            "That is no address: it is too long, or contains characters that no address has."
        )
    if address.partition(":")[0].strip().lower() in LOCAL | {"file"}:
        raise BadAddress(
            "That address leads to a file, a log or the screen of the console's own machine,"
            " not to people."
        )
    server, schema = _server(address)
    if server is None:
        raise BadAddress(
            "Apprise cannot read that address. It begins with a service, as in slack://,"
            " msteams:// or mailto://, and has all of the service's parts;"
            " github.com/caronc/apprise/wiki lists them."
        )
    if (
        LOCAL & {schema, str(server.schema).lower()}
        or not type(server).__module__.startswith("apprise.plugins.")
        or _reads_files(server)
    ):
        raise BadAddress(
            "That address makes the console read files of its own machine, or show something there."
        )
    _ensure_allowed(policy, schema, server)
    host = f" at {server.host}" if schema in WITH_HOST and server.host else ""
    port = f":{server.port}" if host and server.port else ""
    return f"{server.service_name} ({schema}://){host}{port}"


def send_due(services: Services, base: str | None) -> None:
    """Queue new messages and send those that are due, for at most ``SEND_FOR``. Commits.

    The next minute's task continues. After a failure, a rule's other messages wait until then.
    """
    if not outbox.any_rules():
        return
    started = services.clock()
    outbox.give_up_unknown(started)
    outbox.queue_messages(started, base)
    for rule_id in outbox.rules_due(started):
        for message_id in outbox.due(rule_id, started):
            if services.clock() - started > SEND_FOR:
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
    """Send a waiting or given-up message now; return the error, None if it was sent. Commits.

    Raises:
        LookupError: no such message is to be sent, or a worker is sending it.
    """
    message = outbox.lease(message_id, services.clock(), by_hand=True)
    if message is None:
        raise LookupError(message_id)
    rule = alert_rules.rule_or_none(message.rule_id, with_address=True)
    if rule is None:
        raise LookupError(message_id)
    return deliver(services, rule, message)


def send_test(services: Services, rule: AlertRule, user_email: str, base: str | None) -> str | None:
    """Send a test message; return the error, None if it was sent. Commits.

    ``rule``: loaded with its address.
    """
    return deliver(services, rule, outbox.begin_test(rule, user_email, services.clock(), base))


def deliver(services: Services, rule: AlertRule, message: AlertMessage) -> str | None:
    """Send a leased message and record the outcome; return the error, None if sent. Commits."""
    address, message_id = services.vault.decrypt(rule.address), message.id
    subject, body, tone = (
        message.subject,
        message.body,
        TONES.get(message.key.rpartition("/")[2], "info"),
    )
    # Sending takes seconds: no transaction may stay open.
    db.session.rollback()
    error = (
        send(address, subject, body, tone, services.settings.egress_policy)
        if address is not None
        else UNREADABLE
    )
    outbox.finish(message_id, error, services.clock())
    return error


def send(
    address: str, subject: str, body: str, tone: str = "info", policy: EgressPolicy = ALLOW_ALL
) -> str | None:
    """Send a message; return a sentence with the error, None if it was sent.

    ``tone``: Apprise's message type.
    """
    import apprise

    server, schema = _server(address)
    if server is None:
        return "Apprise cannot read the address. Type it into the rule again."
    try:
        _ensure_allowed(policy, schema, server)
    except NotAllowed as error:
        return str(error)
    # The outbox retries, not Apprise; no address may block a worker.
    server.retry = 0
    server.socket_connect_timeout = min(server.socket_connect_timeout, SEND_TIMEOUT)
    server.socket_read_timeout = min(server.socket_read_timeout, SEND_TIMEOUT)
    notifier = apprise.Apprise(asset=_asset())
    notifier.add(server)
    # Apprise converts plain text only for HTML: services that read Markdown would parse it.
    subject, body = make_message_inert(str(server.schema).lower(), subject, body)
    # A plug-in can connect to another host than the address's.
    with (
        _captured_log() as log,
        only_to(partial(policy.allows, schema), partial(policy.names, schema)) as limit,
    ):
        try:
            sent = notifier.notify(
                body, title=subject, notify_type=tone, body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  # plug-ins' errors may quote the address
            log.append(type(error).__name__)
            sent = False
    if sent:
        return None
    if limit.refused:
        return PRIVATE if limit.refused_private else REFUSED
    return _reason(log)


def _ensure_allowed(policy: EgressPolicy, schema: str, server: Any) -> None:
    hosts = _hosts(server)
    policy.ensure_service(schema, hosts, server.port)
    # In many services' addresses an id stands in place of the host: a bare word or number is
    # judged only when it is dialled.
    policy.ensure_public(
        schema, [each for each in hosts if schema in WITH_HOST or not each.isalnum()], server.port
    )


def _hosts(server: Any) -> list[str]:
    """Return the hosts it connects to; an e-mail has the SMTP server's too."""
    return [str(host) for name in ("host", "smtp_host") if (host := getattr(server, name, None))]


def _reason(log: list[str]) -> str:
    """Return a sentence from Apprise's log, without anything that may contain a secret."""
    text = " ".join(log)
    if status := _HTTP.search(text):
        meaning = _STATUS_MEANINGS.get(
            status[1],
            "it is in trouble" if status[1].startswith("5") else "it did not accept the message",
        )
        return f"The place answered {status[1]}: {meaning}."
    if "onnection error" in text or "ocket" in text or "imeout" in text:
        return "No connection to the place came about, or it broke off."
    return "The place did not accept the message, and gave no reason."


def _server(address: str) -> tuple[Any, str]:
    """Return Apprise's plug-in for an address, None if it has none, and the service's scheme.

    The scheme is that of Apprise's parser, since some plug-ins replace it by http.
    """
    import apprise

    with _captured_log():
        try:
            parts = apprise.plugins.url_to_dict(address)  # type: ignore[no-untyped-call]
            schema = str((parts or {}).get("schema", "")).lower()
            server = (
                apprise.Apprise.instantiate(parts, asset=_asset(), suppress_exceptions=True)
                if parts
                else None
            )
        except Exception:  # noqa: BLE001  # a plug-in's errors may contain the address
            return None, ""
    if server is not None:
        # An address could enable redirects with ?redirect=yes; the server would choose the target.
        server.redirects = False
    return server, schema


def _asset() -> Any:
    """Return Apprise's settings: no files, generated keys, external plug-ins or redirects."""
    import apprise

    return apprise.AppriseAsset(
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


def _reads_files(server: Any) -> bool:
    """Return whether an address makes the plug-in read a file, such as a template or a key."""
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


class _LogCapture(logging.Handler):
    """Handler that collects Apprise's log by thread; it contains addresses, so no other may."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Add the message to its thread's list, if that thread captures."""
        if (messages := self.messages.get(get_ident())) is not None:
            messages.append(record.getMessage())


_CAPTURE = _LogCapture()


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect what Apprise logs in this thread, and keep it and request paths out of the log."""
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [_CAPTURE], False
    logger.setLevel(logging.WARNING)
    hide_paths_in_logs()
    messages = _CAPTURE.messages[get_ident()] = []
    try:
        yield messages
    finally:
        _CAPTURE.messages.pop(get_ident(), None)
