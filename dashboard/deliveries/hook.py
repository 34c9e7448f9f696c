"""The partner's data hook: a function or an address that receives new connections' tables.

The operator configures it, so its target is trusted. Redirects are not followed, since the target
server chooses where they lead. Both kinds receive the same messages. An address receives them as
JSON, signed like Peliqan's webhooks: HMAC-SHA256 as hexadecimal digits after ``sha256=``. The
signature also covers the time, so that a recorded request cannot be replayed later.
"""

import json
import logging
import os
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from dashboard.core import unreachable
from dashboard.core.error_values import without_values
from dashboard.core.redaction import scrubbed
from dashboard.deliveries.limits import HOOK_TIMEOUT
from dashboard.exports.formats import finite
from dashboard.peliqan.retries import retry_wait
from dashboard.peliqan.webhooks import signature_of
from dashboard.version import VERSION

if TYPE_CHECKING:
    from dashboard.settings import Settings

Message = Mapping[str, Any]
KEY, TIMESTAMP, SIGNATURE = "Idempotency-Key", "X-Console-Timestamp", "X-Console-Signature"
# Bytes read of a response, so that the connection can be reused; the content is ignored.
READ: Final = 64 * 1024
NONE: Final = "No hook is set. Set DASHBOARD_HOOK and start the console and its workers again."
_STATUS_MEANINGS: Final = {
    401: "it does not accept the signature: compare DASHBOARD_HOOK_SECRET with its own",
    403: "it does not accept the signature: compare DASHBOARD_HOOK_SECRET with its own",
    404: "no one accepts parts at that address",
    405: "no one accepts parts at that address",
    410: "no one accepts parts at that address any more",
    413: "a part is too large for it: let it accept bodies of 16 MB",
    429: "it has had too many parts",
}


class HookError(Exception):
    """A message that was not accepted. The text has no secrets.

    ``retry_after``: seconds that the hook wants the console to wait; None if it gave none.
    """

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        self.sentence, self.retry_after = sentence, retry_after
        super().__init__(sentence)


class Hook(Protocol):
    """A data hook. Everybody who signs in may see ``name``."""

    name: str

    def send(self, message: Message) -> None:
        """Send one message; return when it was accepted.

        ``message["key"]`` is the same in each attempt.

        Raises:
            HookError: the hook refused it, or the outcome is unknown.
        """

    def problem(self) -> str | None:
        """Return what is wrong with the hook, found without a message; None if nothing is."""


def open_hook(settings: "Settings", clock: Callable[[], datetime]) -> Hook | None:
    """Return the configured hook; None if the settings name none."""
    if not settings.dashboard_hook:
        return None
    if "://" in settings.dashboard_hook:
        return AddressHook(settings.dashboard_hook, settings.dashboard_hook_secret, clock)
    return FunctionHook(settings.dashboard_hook)


class FunctionHook:
    """Python function, ``module:function``, called in the worker process with each message.

    The message is a dict. An exception means that the message was not accepted.
    """

    def __init__(self, path: str) -> None:
        self.name = path

    def send(self, message: Message) -> None:
        """Call the function with the message."""
        function = self._function()
        try:
            function(dict(message))
        except Exception as error:  # noqa: BLE001  # the partner's code may raise anything
            raised = type(error).__name__
            # The error may quote rows, so values are removed.
            text = f" in {_where(error)}: {scrubbed(without_values(str(error)))}".removesuffix(": ")
        else:
            return
        raise HookError(f"The function {self.name} raised {raised}{text}.")

    def problem(self) -> str | None:
        """Return why the function cannot be imported or called; None if it can."""
        try:
            self._function()
        except HookError as error:
            return error.sentence
        return None

    def _function(self) -> Callable[[dict[str, Any]], object]:
        try:
            found = pkgutil.resolve_name(self.name)
        except Exception as error:  # noqa: BLE001  # the import runs the partner's code
            raised = type(error).__name__
        else:
            if callable(found):
                return found  # type: ignore[no-any-return]
            raise HookError(f"{self.name} is no function.")
        raise HookError(
            f"{self.name} could not be imported ({raised}):"
            " its module has to be on this Python's import path."
        )


class AddressHook:
    """HTTP address that each message is posted to. Thread-safe.

    Uses requests' adapter without a session: see ``peliqan.transport``. The caller retries.
    """

    def __init__(self, url: str, secret: str, clock: Callable[[], datetime]) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        split = urlsplit(url)
        # The path and query may contain secrets, so the name has none of them.
        self.name = f"{split.scheme}://{split.hostname}" + (f":{split.port}" if split.port else "")
        self._proxies = get_environ_proxies(url)
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._adapter = HTTPAdapter(1, 4)

    def send(self, message: Message) -> None:
        """Post the message to the address."""
        body = _encoded(message)
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "User-Agent": f"partner-console/{VERSION}",
            "Content-Type": "application/json",
            KEY: message["key"],
            TIMESTAMP: timestamp,
            SIGNATURE: f"sha256={signature_of(timestamp.encode() + b'.' + body, self._secret)}",
        }
        # Raised outside ``except``: errors of requests and urllib3 contain the address.
        try:
            hide_paths_in_logs()
            request = requests.Request("POST", self._url, headers, data=body).prepare()
            with self._adapter.send(
                request, True, HOOK_TIMEOUT, self._verify, None, self._proxies
            ) as response:
                failure = _refusal(response)
                with suppress(HTTPError, OSError):
                    response.raw.read1(READ)
        except requests.Timeout:
            failure = HookError("The hook did not answer in time.")
        except (requests.RequestException, HTTPError, OSError) as error:
            reason = unreachable.reason(error)
            failure = HookError(
                f"The hook cannot be reached: {reason}."
                if reason
                else "The connection to the hook broke off."
            )
        if failure is not None:
            raise failure

    def problem(self) -> str | None:
        """Return None: only a message would show a problem."""
        return None


def hide_paths_in_logs() -> None:
    """Keep request paths, which may be secrets, out of the log even at level DEBUG."""
    for name in ("urllib3", "requests"):
        if logging.getLogger(name).getEffectiveLevel() < logging.INFO:
            logging.getLogger(name).setLevel(logging.INFO)


def _refusal(response: requests.Response) -> HookError | None:
    status = response.status_code
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return HookError(
            f"The hook answered {status}: it points to another address,"
            " and redirects are not followed."
        )
    meaning = _STATUS_MEANINGS.get(
        status, "it is in trouble" if status >= 500 else "it did not accept the part"
    )
    return HookError(
        f"The hook answered {status}: {meaning}.", retry_wait(response.headers.get("Retry-After"))
    )


def _encoded(message: Message) -> bytes:
    """Return the message as JSON in ASCII, which can also hold lone surrogates.

    JSON has no infinity, so such numbers become texts.
    """
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(finite(message), allow_nan=False, separators=(",", ":")).encode()


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
