"""An answer's body: read within bounds of size and time, as JSON, as one of ``models``."""

import json
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel, TypeAdapter, ValidationError
from urllib3 import BaseHTTPResponse

from dashboard.peliqan import errors
from dashboard.peliqan.adapter import DeadlineResponse
from dashboard.peliqan.error_mapping import SHOWN_DETAIL, broken
from dashboard.peliqan.routes import Route

PIECE: Final = 64 * 1024
M = TypeVar("M", bound=BaseModel)
V = TypeVar("V")


def read_body(route: Route, response: requests.Response, patience: float, largest: int) -> bytes:
    """The whole body, unpacked. ``patience``: seconds that it may take, however it drips; ``largest``: its bytes.

    Raises:
        errors.PeliqanError: it is larger, or not at an end by then.
    """
    content = bytearray()
    ends = time.monotonic() + patience
    _end_by(response, ends)
    for piece in _pieces(response):
        content += piece
        if len(content) > largest:
            raise broken(route, f"it is larger than {largest >> 20} MB")
        if time.monotonic() > ends:
            raise errors.TimedOut(
                route.name, status=response.status_code, outcome_unknown=route.once
            )
    return bytes(content)


def lines(
    route: Route, response: requests.Response, patience: float, largest: int
) -> Iterator[bytes]:
    """The body by its lines, as they come. ``patience``: seconds that a line may take, however it drips; ``largest``: its bytes.

    Raises:
        errors.PeliqanError: a line is larger, or takes longer.
    """
    rest, ends = bytearray(), time.monotonic() + patience
    _end_by(response, ends)
    for piece in _pieces(response):
        rest += piece
        *whole, last = rest.split(b"\n")
        yield from (bytes(line) for line in whole if line.strip())
        rest = bytearray(last)
        if len(rest) > largest:
            raise broken(route, f"a line of it is larger than {largest >> 20} MB")
        if whole:
            ends = time.monotonic() + patience
            _end_by(response, ends)
        elif time.monotonic() > ends:
            raise errors.TimedOut(route.name, status=response.status_code)
    if rest.strip():
        yield bytes(rest)


def decode(route: Route, content: bytes) -> Any:
    """A body's JSON; None where it is empty.

    Raises:
        errors.BrokenAnswer: it is none.
    """
    if not content.strip():
        return None
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        kind = (
            "it is a web page, not JSON"
            if content.lstrip()[:1] == b"<"
            else "it is no complete JSON"
        )
    raise broken(route, kind)


def parse(model: type[M], data: Any, route: Route) -> M:
    """JSON as a typed answer.

    Raises:
        errors.BrokenAnswer: naming the fields that are missing or of the wrong type, without their values.
    """
    found: M = _typed(_kind(model), data, route)
    return found


def parse_list(model: type[M], data: Any, route: Route) -> list[M]:
    """A JSON list as typed answers; raises as ``parse`` does."""
    return _typed(_list_kind(model), data, route)


@cache
def _kind(model: type[BaseModel]) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@cache
def _list_kind(model: type[BaseModel]) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def _typed(kind: TypeAdapter[V], data: Any, route: Route) -> V:
    # As in ``send``: pydantic's error holds the values, so it must not become the context of ours.
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
    """The body as it arrives, unpacked. requests' own ``iter_content`` would wait for a whole piece, however slow it is."""
    if not isinstance(response.raw, BaseHTTPResponse):
        yield from response.iter_content(PIECE)
        return
    while piece := response.raw.read1(PIECE, decode_content=True):
        yield piece


def _end_by(response: requests.Response, until: float) -> None:
    """For what drips within a piece, such as a chunk's length: no piece is waited for after this time."""
    if isinstance(answer := getattr(response.raw, "_original_response", None), DeadlineResponse):
        answer.end_by(until)
