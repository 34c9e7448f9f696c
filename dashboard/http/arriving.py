"""Find where a request ends in the bytes that have arrived, so that no thread waits for the rest of one."""

import re
from enum import Enum, auto
from typing import Final

# Request line and headers together. Browsers keep up to 180 cookies of 4 kB for a domain, of all applications on it.
HEAD_BYTES: Final = 64 * 1024
# As app.py's MAX_CONTENT_LENGTH, and the framing of chunks: what is larger is refused by the application.
BODY_BYTES: Final = 1024 * 1024 + 64 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODING: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9a-f]{1,16})[ \t]*(?:;.*)?", re.IGNORECASE)
# The longest first line of a chunk.
_CHUNK_LINE: Final = 8190


class Stage(Enum):
    """How much of a request has arrived."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    WHOLE = auto()
    TOO_LARGE = auto()


class Arriving:
    """The bytes of a connection's next request, and whatever the client sent behind it.

    Decides only when a thread is taken. What the request means is decided by gunicorn's parser, which reads the same bytes from
    memory: where the two disagree, the parser finds too few bytes or leaves some, and the connection is closed.
    """

    def __init__(self, held: bytes = b"") -> None:
        self._data = bytearray(held)
        self._head = self._end = self._searched = 0
        self._chunked = False
        self.expects_continue = False
        # A body that is too large to be kept: what has come of it is handed over, and the rest is not read as a request.
        self.cut = False

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Keep what was received."""
        self._data += data

    def stage(self) -> Stage:
        """Say how much is there."""
        if not self._data:
            return Stage.NOTHING
        if not self._head:
            self._find_head()
        if (self._head or len(self._data)) > HEAD_BYTES:
            return Stage.TOO_LARGE
        if not self._head:
            return Stage.HEAD
        return Stage.WHOLE if self._has_body() else Stage.BODY

    def has_line(self) -> bool:
        """Whether the request line is there: if not, it is the line that is too long."""
        return self._data.find(b"\r\n", 0, HEAD_BYTES) >= 0

    def take(self) -> bytes:
        """Give out a request that is whole. The rest is ``rest()``."""
        return bytes(self._data[: self._end])

    def rest(self) -> bytes:
        """What the client sent behind the request."""
        return bytes(self._data[self._end :])

    def _find_head(self) -> None:
        at = self._data.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._data)
        if at < 0:
            return
        self._head = self._end = at + 4
        head = bytes(self._data[: self._head])
        self.expects_continue = head.partition(b"\r\n")[0].endswith(b"HTTP/1.1") and bool(_EXPECT.search(head))
        self._chunked = bool(_CODING.search(head))
        length = _LENGTH.search(head)
        if length and not self._chunked:
            self._end += int(length[1])

    def _has_body(self) -> bool:
        whole = self._has_chunks() if self._chunked else len(self._data) >= self._end
        if not whole and max(self._end, len(self._data)) - self._head > BODY_BYTES:
            return self._cut_here()
        return whole

    def _has_chunks(self) -> bool:
        """Go on to the end of the last whole chunk (RFC 9112, section 7.1). What is malformed is whole: the parser refuses it."""
        while True:
            line = self._data.find(b"\r\n", self._end, self._end + _CHUNK_LINE)
            if line < 0:
                return len(self._data) - self._end > _CHUNK_LINE and self._cut_here()
            found = _CHUNK.fullmatch(self._data[self._end : line])
            if not found:
                return self._cut_here()
            size = int(found[1], 16)
            if not size:
                return self._has_trailers(line + 2)
            if len(self._data) < line + 2 + size + 2:
                return False
            self._end = line + 2 + size + 2

    def _has_trailers(self, at: int) -> bool:
        # From the end of the last chunk's own line, which ends the trailers too where there are none.
        end = self._data.find(b"\r\n\r\n", at - 2, at + HEAD_BYTES)
        if end < 0:
            return len(self._data) - at > HEAD_BYTES and self._cut_here()
        self._end = end + 4
        return True

    def _cut_here(self) -> bool:
        self.cut, self._end = True, len(self._data)
        return True
