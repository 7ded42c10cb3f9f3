"""Spans as OpenTelemetry has them; imported when somebody watches, and by nobody else.

Rule: an exporter that hangs or fails holds nothing up: it has a thread and a queue of its own, what does not fit is
dropped, and at the end it gets a few seconds.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread
from types import TracebackType

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from engine.ports import Batch, Outgoing, Sent
from engine.runtime.masking import Mask
from engine.runtime.tracing import Span, Tracer

GRACE = 3.0
"""Seconds in which the last spans may still go out when the daemon leaves."""

MOST_KEYS = 20
"""Effects that a span names; ``drumbeat.messages`` says how many there are."""

_log = logging.getLogger(__name__)


class Recorded(Span):
    """A span of the library."""

    def __init__(self, tracer: trace.Tracer, name: str, mask: Mask) -> None:
        self._span = tracer.start_span(f"drumbeat.{name}")
        self._mask = mask
        self._kept = True

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        context.detach(self._token)
        if kind is not None:  # its name alone: what it says may be about people
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, kind.__name__))
        if self._kept or kind is not None:
            self._span.end()

    def note(self, **facts: int | str) -> None:
        self._span.set_attributes({f"drumbeat.{name}": fact for name, fact in facts.items()})

    def batch(self, batch: Batch) -> None:
        users = {event.user for event, _ in batch.events}
        wakes = sum(state.id not in users for state in batch.states)
        self.note(
            events=len(batch.events), wakes=wakes, effects=len(batch.effects), quarantined=len(batch.rejected)
        )  # fmt: skip

    def messages(self, items: Sequence[Outgoing]) -> None:
        self.note(messages=len(items))
        self._span.set_attribute("drumbeat.effect_keys", [self._mask(item.key) for item in items[:MOST_KEYS]])

    def answers(self, answers: Sequence[Sent]) -> None:
        went = sum(answer.ok for answer in answers)
        doubtful = sum(answer.unknown for answer in answers)
        self.note(sent=went, unknown=doubtful, failed=len(answers) - went - doubtful)

    def forget(self) -> None:
        self._kept = False  # what never ends is never exported


class _Complaints(logging.Handler):
    """What the library has to say, in our log and its form: each thing once, for a collector that is down is met again
    every few seconds."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = f"{record.name} {record.msg}"
        if kind not in self._told:
            self._told.add(kind)
            _log.warning("traces, said once: %s", record.getMessage())


@contextmanager
def _complaining() -> Iterator[None]:
    library, handler = logging.getLogger("opentelemetry"), _Complaints()
    before = library.propagate
    library.addHandler(handler)
    library.propagate = False
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.propagate = before


def tracer_of(provider: TracerProvider, mask: Mask) -> Tracer:
    """Makes spans of a provider."""
    tracer = provider.get_tracer("drumbeat")
    return lambda name: Recorded(tracer, name, mask)


@contextmanager
def exporting(exporter: str, environ: Mapping[str, str], mask: Mask) -> Iterator[Tracer]:
    """A tracer whose spans go out, to ``otlp`` or ``console``. The library reads the rest from ``OTEL_*``."""
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": "drumbeat"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    with _complaining():
        provider.add_span_processor(BatchSpanProcessor(_exporter(exporter, environ)))
        try:
            yield tracer_of(provider, mask)
        finally:
            last = Thread(target=provider.shutdown, name="last-spans", daemon=True)
            last.start()
            last.join(GRACE)


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environ[name] for name in names if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is %r: traces go out as http/protobuf all the same", protocol[:40])
    return OTLPSpanExporter()
