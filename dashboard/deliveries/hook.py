"""The partner's hook: a function of theirs, or an address of their own back end, that is handed one message after the other.

Whoever runs the machine names it, so where it leads is trusted; but a redirect is not followed, since it is somebody else who
says where to. Both kinds get the same message. The address gets it as JSON, signed as Peliqan signs its webhooks: HMAC-SHA256,
as hexadecimal digits behind ``sha256=``, here over the time in front of the body, so that what was overheard is of no use later.
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
from dashboard.exports.formats import finite
from dashboard.peliqan.retries import retry_wait
from dashboard.peliqan.webhooks import signature_of
from dashboard.version import VERSION

if TYPE_CHECKING:
    from dashboard.settings import Settings

Message = Mapping[str, Any]
KEY, TIMESTAMP, SIGNATURE = "Idempotency-Key", "X-Console-Timestamp", "X-Console-Signature"
# Seconds to connect, and to wait for each byte of an answer.
TIMEOUT: Final = (5.0, 30.0)
# Read of an answer, so that the connection can be used again; what it says is of no interest.
READ: Final = 64 * 1024
NONE: Final = "No hook is set. Set DASHBOARD_HOOK and start the console and its workers again."
_MEANT: Final = {
    401: "it does not accept the signature: compare DASHBOARD_HOOK_SECRET with its own",
    403: "it does not accept the signature: compare DASHBOARD_HOOK_SECRET with its own",
    404: "nothing takes parts at that address",
    405: "nothing takes parts at that address",
    410: "nothing takes parts at that address any more",
    413: "a part is too large for it: let it take bodies of 16 MB",
    429: "it has had too many parts",
}


class HookError(Exception):
    """A message was not taken. The text is a sentence without secrets; ``retry_after``: seconds that the hook asks to wait."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        self.sentence, self.retry_after = sentence, retry_after
        super().__init__(sentence)


class Hook(Protocol):
    """``name`` may be shown to anybody who signs in."""

    name: str

    def send(self, message: Message) -> None:
        """Hand one message over; returns when it was taken. ``message["key"]`` is the same each time that it is tried.

        Raises:
            HookError: it was not taken, or nobody knows whether.
        """

    def problem(self) -> str | None:
        """What is wrong with it, as far as can be told without handing anything over."""


def open_hook(settings: "Settings", clock: Callable[[], datetime]) -> Hook | None:
    """The hook that the settings name; None where they name none."""
    if not settings.dashboard_hook:
        return None
    if "://" in settings.dashboard_hook:
        return AddressHook(settings.dashboard_hook, settings.dashboard_hook_secret, clock)
    return FunctionHook(settings.dashboard_hook)


class FunctionHook:
    """``module:function``, called in the worker's own process with each message as a dict. An exception means: not taken."""

    def __init__(self, path: str) -> None:
        self.name = path

    def send(self, message: Message) -> None:
        """See ``Hook``."""
        function = self._function()
        try:
            function(dict(message))
        except Exception as error:  # noqa: BLE001  # somebody else's code, which may raise anything
            raised = type(error).__name__
            # It had rows in its hands, and may quote them.
            said = f" in {_where(error)}: {scrubbed(without_values(str(error)))}".removesuffix(": ")
        else:
            return
        raise HookError(f"The function {self.name} raised {raised}{said}.")

    def problem(self) -> str | None:
        """See ``Hook``."""
        try:
            self._function()
        except HookError as error:
            return error.sentence
        return None

    def _function(self) -> Callable[[dict[str, Any]], object]:
        try:
            found = pkgutil.resolve_name(self.name)
        except Exception as error:  # noqa: BLE001  # as above: the module is run by being imported
            raised = type(error).__name__
        else:
            if callable(found):
                return found  # type: ignore[no-any-return]
            raise HookError(f"{self.name} is no function.")
        raise HookError(
            f"{self.name} could not be imported ({raised}): its module has to be where this Python looks for it."
        )


class AddressHook:
    """An address that each message is posted to. Safe to use from many threads.

    Through requests' adapter and not its sessions: see ``peliqan.transport``. Trying again is the caller's.
    """

    def __init__(self, url: str, secret: str, clock: Callable[[], datetime]) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        parts = urlsplit(url)
        # The rest of the address may hold secrets.
        self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._proxies = get_environ_proxies(url)
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._adapter = HTTPAdapter(1, 4)

    def send(self, message: Message) -> None:
        """See ``Hook``."""
        body = _encoded(message)
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "User-Agent": f"partner-console/{VERSION}",
            "Content-Type": "application/json",
            KEY: message["key"],
            TIMESTAMP: timestamp,
            SIGNATURE: f"sha256={signature_of(timestamp.encode() + b'.' + body, self._secret)}",
        }
        # Raised below, outside of ``except``: what requests and urllib3 raise holds the address.
        try:
            keep_paths_from_logs()
            request = requests.Request("POST", self._url, headers, data=body).prepare()
            with self._adapter.send(
                request, True, TIMEOUT, self._verify, None, self._proxies
            ) as response:
                failure = _refusal(response)
                with suppress(HTTPError, OSError):
                    response.raw.read1(READ)
        except requests.Timeout:
            failure = HookError("The hook did not answer in time.")
        except (requests.RequestException, HTTPError, OSError) as error:
            why = unreachable.reason(error)
            failure = HookError(
                f"The hook cannot be reached: {why}."
                if why
                else "The connection to the hook broke off."
            )
        if failure is not None:
            raise failure

    def problem(self) -> str | None:
        """Nothing: to post something would be to hand it over."""
        return None


def keep_paths_from_logs() -> None:
    """What is sent to places that operators name has paths that are secrets; where everything is logged, libraries say them."""
    for name in ("urllib3", "requests"):
        if logging.getLogger(name).getEffectiveLevel() < logging.INFO:
            logging.getLogger(name).setLevel(logging.INFO)


def _refusal(response: requests.Response) -> HookError | None:
    status = response.status_code
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return HookError(
            f"The hook answered {status}: it points to another address, and redirects are not followed."
        )
    meant = _MEANT.get(status, "it is in trouble" if status >= 500 else "it did not take the part")
    return HookError(
        f"The hook answered {status}: {meant}.", retry_wait(response.headers.get("Retry-After"))
    )


def _encoded(message: Message) -> bytes:
    """In ASCII: half of a surrogate pair, which UTF-8 cannot hold, stands as it came. Infinity, which JSON has not, as a text."""
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(finite(message), allow_nan=False, separators=(",", ":")).encode()


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
