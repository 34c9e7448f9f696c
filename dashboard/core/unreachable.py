"""Why a connection to a server failed, in words for the person who has to fix it."""

import socket
import ssl

import requests


def reason(error: BaseException) -> str | None:
    """Return why a request of ``requests`` or ``urllib3`` failed, as the end of a sentence.

    None for other errors. The text contains nothing of the address, which may hold a secret.
    """
    cause, shown = root_cause(error), repr(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return "TLS could not be agreed on: is it the address of a server that speaks https?"
    if isinstance(cause, socket.gaierror) or "NameResolutionError" in shown:
        return "its host name cannot be resolved"
    if isinstance(cause, ConnectionRefusedError) or "Connection refused" in shown:
        return "the connection was refused"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return None


def root_cause(error: BaseException) -> BaseException:
    """Return the innermost cause of an error of ``requests`` or ``urllib3``.

    Their wrappers store the cause in different attributes.
    """
    for _ in range(6):
        inner_errors = (
            getattr(error, "reason", None),
            getattr(error, "original_error", None),
            *error.args,
        )
        inner = next((each for each in inner_errors if isinstance(each, BaseException)), None)

        if inner is None:
            break
        error = inner
    return error
