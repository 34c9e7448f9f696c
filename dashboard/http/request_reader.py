"""Finds the end of a request in the received bytes, so that no thread waits for the rest."""

import re
from enum import Enum, auto
from typing import Final

from dashboard.http.limits import BODY_BYTES, HEAD_BYTES

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODING: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9a-f]{1,16})[ \t]*(?:;.*)?", re.IGNORECASE)
# Most bytes of the first line of a chunk.
_CHUNK_LINE: Final = 8190


class Stage(Enum):
    """How much of a request has been received."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()
    LINE_TOO_LONG = auto()
    HEAD_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()
    MALFORMED = auto()


class RequestReader:
    """The bytes of a connection's next request, and what the client sent after it.

    Decides only when a thread is needed. gunicorn's parser interprets the request from the same
    bytes. If both disagree, the parser finds too few bytes or leaves some, and the connection is
    closed.
    """

    def __init__(self, held: bytes = b"") -> None:
        self._data = bytearray(held)
        self._head = self._end = self._searched = 0
        self._chunked = False
        self.expects_continue = False
        # The body exceeds the limit, so the application refuses the request. What follows is the
        # rest of the body and no request.
        self.cut = False

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Append received bytes."""
        self._data += data

    def stage(self) -> Stage:
        """Return how much of the request has been received."""
        if not self._data:
            return Stage.NOTHING
        if not self._head:
            self._find_head()
        if (self._head or len(self._data)) > HEAD_BYTES:
            return (
                Stage.HEAD_TOO_LARGE
                if self._data.find(b"\r\n", 0, HEAD_BYTES) >= 0
                else Stage.LINE_TOO_LONG
            )
        if not self._head:
            return Stage.HEAD
        return self._read_chunks() if self._chunked else self._wait_for_length()

    def complete_request(self) -> bytes:
        """Return the complete request. ``rest()`` returns what follows it."""
        return bytes(self._data[: self._end])

    def rest(self) -> bytes:
        """Return what the client sent after the request."""
        return bytes(self._data[self._end :])

    def _find_head(self) -> None:
        at = self._data.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._data)
        if at < 0:
            return
        self._head = self._end = at + 4
        head = bytes(self._data[: self._head])
        self.expects_continue = head.partition(b"\r\n")[0].endswith(b"HTTP/1.1") and bool(
            _EXPECT.search(head)
        )
        self._chunked = bool(_CODING.search(head))
        length = _LENGTH.search(head)
        if length and not self._chunked:
            self._end += int(length[1])

    def _wait_for_length(self) -> Stage:
        if self._end - self._head > BODY_BYTES:
            self.cut, self._end = True, len(self._data)
        return Stage.COMPLETE if len(self._data) >= self._end else Stage.BODY

    def _read_chunks(self) -> Stage:
        """Advance to the end of the last complete chunk (RFC 9112, section 7.1)."""
        while self._end - self._head <= BODY_BYTES:
            line = self._data.find(b"\r\n", self._end, self._end + _CHUNK_LINE)
            if line < 0:
                return Stage.MALFORMED if len(self._data) - self._end > _CHUNK_LINE else Stage.BODY
            found = _CHUNK.fullmatch(self._data[self._end : line])
            if not found:
                return Stage.MALFORMED
            size = int(found[1], 16)
            if not size:
                return self._read_trailers(line)
            if size > BODY_BYTES:
                break
            if len(self._data) < line + 2 + size + 2:
                return Stage.BODY
            self._end = line + 2 + size + 2
        return Stage.BODY_TOO_LARGE

    def _read_trailers(self, at: int) -> Stage:
        # Without trailers, the line of the last chunk ends them as well.
        end = self._data.find(b"\r\n\r\n", at, at + HEAD_BYTES)
        if end < 0:
            return Stage.BODY_TOO_LARGE if len(self._data) - at > HEAD_BYTES else Stage.BODY
        self._end = end + 4
        return Stage.COMPLETE
