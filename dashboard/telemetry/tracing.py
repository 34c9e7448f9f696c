"""Spans for OpenTelemetry: on where its own variables name a collector, `OTEL_EXPORTER_OTLP_ENDPOINT` above all.

A span has a route's name, its status and its times, and nothing else: no address, no header, no words of an error. Which
collector, by which name, how many of them: OTEL_EXPORTER_OTLP_..., OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, as the SDK reads them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Kind = Literal["server", "client", "consumer"]


class Missing(Exception):
    """A variable asks for something that is not installed: one sentence that says how to install it."""


class Span:
    """What can be said of a span; of none, where nobody collects them."""

    def __init__(self, found: Any = None) -> None:
        self._found = found

    def name_it(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """Its name, and what it had to do with."""
        if self._found is not None:
            self._found.update_name(name)
            self._found.set_attributes(dict(attributes))


_NONE = Span()
_tracer: Any = None
_provider: Any = None


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for spans."""
    return (
        any(environ.get(name) for name in SWITCHES)
        and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    )


def begin(environ: Mapping[str, str], exporter: "SpanExporter | None" = None) -> None:
    """Collect spans from now on, where that is wanted. ``exporter`` replaces the network in tests.

    Raises:
        Missing: it is wanted, but not installed.
    """
    global _tracer, _provider
    if not wanted(environ):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Missing(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for OpenTelemetry, which is not installed: pip install 'partner-console[tracing]'"
        ) from None
    _provider = TracerProvider()
    _provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    _tracer = _provider.get_tracer("dashboard")


def end() -> None:
    """Hand over what was collected, and collect no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def is_on() -> bool:
    """Whether anybody collects spans."""
    return _tracer is not None


@contextmanager
def span(name: str, *, kind: Kind) -> Iterator[Span]:
    """Something that takes time, below whatever else this thread is at."""
    if _tracer is None:
        yield _NONE
        return
    from opentelemetry.trace import SpanKind

    # What an exception says may quote anything: that it was one is told by the status or result.
    with _tracer.start_as_current_span(
        name, kind=SpanKind[kind.upper()], record_exception=False, set_status_on_exception=False
    ) as found:
        yield Span(found)
