"""Why no connection to another server came about, in words for the person who has to mend it."""

import socket
import ssl

import requests


def reason(error: BaseException) -> str | None:
    """Return why a request of requests' or urllib3's failed, as the end of a sentence; None for what none of these is.

    Nothing of the address is in it, which may hold a secret.
    """
    cause, said = deepest(error), repr(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "TLS could not be agreed on: is it the address of a server that speaks https?"
    if isinstance(cause, socket.gaierror) or "NameResolutionError" in said:
        return "its host name cannot be resolved"
    if isinstance(cause, ConnectionRefusedError) or "Connection refused" in said:
        return "the connection was refused"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return None


def deepest(error: BaseException) -> BaseException:
    """Return the cause behind requests' and urllib3's wrappings; each keeps it in another place."""
    for _ in range(6):
        kept = (getattr(error, "reason", None), getattr(error, "original_error", None), *error.args)
        inner = next((each for each in kept if isinstance(each, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error
