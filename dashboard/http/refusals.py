"""Responses of the server to requests that are unreadable, too large or too slow."""

from dataclasses import dataclass
from html import escape
from typing import Final

from gunicorn.http.errors import (
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)

from dashboard.http.limits import HEAD_BYTES

_KB: Final = HEAD_BYTES // 1024
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
<p>{detail}</p>
<p>{next_step}</p>
</body>
</html>
"""


@dataclass(frozen=True)
class Refusal:
    """A refusal: what happened, what it means, what to do next. It ends the connection."""

    status: int
    reason: str
    title: str
    detail: str
    next_step: str

    @property
    def answer(self) -> bytes:
        """Return the complete HTTP response."""
        body = PAGE.format(
            title=escape(self.title), detail=escape(self.detail), next_step=escape(self.next_step)
        ).encode()
        head = (
            f"HTTP/1.1 {self.status} {self.reason}\r\n"
            "Connection: close\r\n"
            "Content-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            "Referrer-Policy: same-origin\r\n\r\n"
        )
        return head.encode() + body


_ODD: Final = (
    "If this was a browser, reload the page."
    " If it happens again, tell your administrator what you did."
)
UNREADABLE: Final = Refusal(
    400,
    "Bad Request",
    "That request cannot be read",
    "It does not follow HTTP/1.1, so nothing was done.",
    _ODD,
)
INCOMPLETE: Final = Refusal(
    400,
    "Bad Request",
    "That request is incomplete",
    "The connection ended too early, so nothing was done.",
    "Send it again.",
)
TOO_SLOW: Final = Refusal(
    408,
    "Request Timeout",
    "That request took too long to arrive",
    "The console did not receive all of it in time, so nothing was done.",
    "Check your network, then send it again.",
)
LINE_TOO_LONG: Final = Refusal(
    414,
    "URI Too Long",
    "That address is too long",
    f"The console reads addresses of at most {_KB} kB, so nothing was done.",
    "Shorten the search or the conditions, or start again from the list.",
)
HEAD_TOO_LARGE: Final = Refusal(
    431,
    "Request Header Fields Too Large",
    "Your browser sends too many cookies",
    f"Cookies and other headers of this request are larger than {_KB} kB together,"
    " so it was not read. Cookies of other applications on the same domain are sent here too.",
    "Delete the cookies of this address and of its domain in the settings of your browser,"
    " then load the page again and sign in.",
)
BODY_TOO_LARGE: Final = Refusal(
    413,
    "Content Too Large",
    "That is too much at once",
    "At most a megabyte is taken, so nothing was done.",
    "Send less.",
)
EXPECTATION: Final = Refusal(
    417,
    "Expectation Failed",
    "That request cannot be answered",
    "Its Expect header is not known here.",
    _ODD,
)
FORBIDDEN: Final = Refusal(
    403,
    "Forbidden",
    "That request is refused",
    "It came through a proxy that is not trusted.",
    _ODD,
)
CODING: Final = Refusal(
    501,
    "Not Implemented",
    "That request cannot be read",
    "Its transfer coding is not known here.",
    _ODD,
)
MISTAKE: Final = Refusal(
    500,
    "Internal Server Error",
    "The console made a mistake",
    "The request was not answered.",
    "Try again. If it happens again, tell your administrator when it happened.",
)
_OF_ERRORS: Final[dict[type[Exception], Refusal]] = {
    LimitRequestLine: LINE_TOO_LONG,
    LimitRequestHeaders: HEAD_TOO_LARGE,
    UnsupportedTransferCoding: CODING,
    ExpectationFailed: EXPECTATION,
    ForbiddenProxyRequest: FORBIDDEN,
    NoMoreData: INCOMPLETE,
    ParseException: UNREADABLE,
}


def of_error(error: BaseException) -> Refusal | None:
    """Return the response to a request that gunicorn's parser refused; None for other errors."""
    if isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName):
        # A header that the application set is invalid.
        return None
    return next((refusal for kind, refusal in _OF_ERRORS.items() if isinstance(error, kind)), None)
