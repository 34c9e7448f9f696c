"""Spans for OpenTelemetry; on if its own variables name a collector.

A span has a route's name, its status and its times, but no address, header or error text. The SDK
reads its variables: OTEL_EXPORTER_OTLP_... for the collector, OTEL_SERVICE_NAME, and
OTEL_TRACES_SAMPLER.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Kind = Literal["server", "client", "consumer"]


class Missing(Exception):
    """A variable turns on a package that is not installed; the text says how to install it."""


class Span:
    """A span; without effect if tracing is off."""

    def __init__(self, found: Any = None) -> None:
        self._found = found

    def name_it(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """Set name and attributes."""
        if self._found is not None:
            self._found.update_name(name)
            self._found.set_attributes(dict(attributes))


_NONE = Span()
_tracer: Any = None
_provider: Any = None


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment turns tracing on."""
    return (
        any(environ.get(name) for name in SWITCHES)
        and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    )


def begin(environ: Mapping[str, str], exporter: "SpanExporter | None" = None) -> None:
    """Start tracing if turned on. ``exporter`` replaces the network in tests.

    Raises:
        Missing: it is turned on, but not installed.
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
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for OpenTelemetry, which is not installed:"
            " pip install 'partner-console[tracing]'"
        ) from None
    _provider = TracerProvider()
    _provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    _tracer = _provider.get_tracer("dashboard")


def end() -> None:
    """Send the collected spans and stop tracing."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


def is_on() -> bool:
    """Return whether tracing is on."""
    return _tracer is not None


@contextmanager
def span(name: str, *, kind: Kind) -> Iterator[Span]:
    """Measure a span, as a child of this thread's current one."""
    if _tracer is None:
        yield _NONE
        return
    from opentelemetry.trace import SpanKind

    # Exceptions are not recorded, since their texts may quote any data; the status shows them.
    with _tracer.start_as_current_span(
        name, kind=SpanKind[kind.upper()], record_exception=False, set_status_on_exception=False
    ) as found:
        yield Span(found)
