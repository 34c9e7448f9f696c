"""Read an answer's body within limits of size and time, and parse it as one of ``models``."""

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel, TypeAdapter, ValidationError
from urllib3 import BaseHTTPResponse

from dashboard.peliqan.adapter import Shutdown, time_limit
from dashboard.peliqan.error_mapping import SHOWN_DETAIL, broken
from dashboard.peliqan.routes import Route

PIECE: Final = 64 * 1024
M = TypeVar("M", bound=BaseModel)
V = TypeVar("V")


def read_body(route: Route, response: requests.Response, seconds: float, largest: int) -> bytes:
    """Return the complete body, decompressed; it may take ``seconds`` and ``largest`` bytes.

    Raises:
        errors.BrokenAnswer: the body is larger.
        HTTPError: it takes longer, or its connection is lost.
    """
    content = bytearray()
    with time_limit(_shutdown(response), seconds):
        for piece in _pieces(response):
            content += piece
            if len(content) > largest:
                raise broken(route, f"it is larger than {largest >> 20} MB")
    return bytes(content)


def lines(
    route: Route, response: requests.Response, seconds: float, largest: int
) -> Iterator[bytes]:
    """Yield the body's lines as they arrive; each may take ``seconds`` and ``largest`` bytes.

    Raises:
        errors.BrokenAnswer: a line is larger.
        HTTPError: it takes longer, or its connection is lost.
    """
    rest, ends = bytearray(), time.monotonic() + seconds
    pieces = _pieces(response)
    while True:
        with time_limit(_shutdown(response), ends - time.monotonic()):
            piece = next(pieces, None)
        if piece is None:
            break
        rest += piece
        *complete, last = rest.split(b"\n")
        yield from (bytes(line) for line in complete if line.strip())
        rest = bytearray(last)
        if len(rest) > largest:
            raise broken(route, f"a line of it is larger than {largest >> 20} MB")
        if complete:
            ends = time.monotonic() + seconds
    if rest.strip():
        yield bytes(rest)


def decode(route: Route, content: bytes) -> Any:
    """Return a body's JSON; None if it is empty.

    Raises:
        errors.BrokenAnswer: the body is not JSON.
    """
    if not content.strip():
        return None
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        is_page = content.lstrip()[:1] == b"<"
    # Raised outside of ``except``: the caught error holds the body.
    raise broken(route, "it is a web page, not JSON" if is_page else "it is no complete JSON")


def parse(model: type[M], data: Any, route: Route) -> M:
    """Return JSON as a typed answer.

    Raises:
        errors.BrokenAnswer: names the fields that are missing or mistyped, without their values.
    """
    found: M = _typed(_kind(model), data, route)
    return found


def parse_list(model: type[M], data: Any, route: Route) -> list[M]:
    """Return a JSON list as typed answers. Raises as ``parse`` does."""
    return _typed(_list_kind(model), data, route)


@cache
def _kind(model: type[BaseModel]) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@cache
def _list_kind(model: type[BaseModel]) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _typed(kind: TypeAdapter[V], data: Any, route: Route) -> V:
    # Raised outside of ``except``: pydantic's error holds the values and must not be the context.
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        what = "; ".join(
            f"field {'.'.join(map(str, each['loc'])) or '(all)'}: {each['msg']}"
            for each in found[:3]
        )
    except RecursionError:
        what = "it is nested too deeply"
    raise broken(route, what[:SHOWN_DETAIL])


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, decompressed.

    ``iter_content`` of requests would wait for a full piece, however slowly that comes.
    """
    if not isinstance(response.raw, BaseHTTPResponse):
        yield from response.iter_content(PIECE)
        return
    while piece := response.raw.read1(PIECE, decode_content=True):
        yield piece


def _shutdown(response: requests.Response) -> Shutdown | None:
    """Return what ends the reading of a body."""
    return response.raw.shutdown if isinstance(response.raw, BaseHTTPResponse) else None
