"""Spans: which piece of work took how long, for whoever watches the daemon with OpenTelemetry.

Rule 1: watched by nobody, a piece of work asks one function and is handed the same empty span, once a piece, never
once an event. The library is not even imported.
Rule 2: a span holds numbers and words of the program. Keys of effects stand in it as keyed hashes; people, addresses
and what errors say never do.
Rule 3: whether anybody watches is said by the ``OTEL_*`` variables, as for every program. What is wrong with them is
logged, and stops nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from engine.ports import Batch, Channel, Outgoing, Sent
from engine.runtime.masking import Mask

_log = logging.getLogger(__name__)


class Span:
    """One piece of work; this one is watched by nobody."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The piece is done, or broke."""

    def note(self, **facts: int | str) -> None:
        """Numbers, and words of the program."""

    def batch(self, batch: Batch) -> None:
        """The transaction it commits."""

    def messages(self, items: Sequence[Outgoing]) -> None:
        """The messages it is about."""

    def answers(self, answers: Sequence[Sent]) -> None:
        """What a channel says of them."""

    def forget(self) -> None:
        """Nothing happened: nobody needs to hear of it."""


NOBODY = Span()

Tracer = Callable[[str], Span]


def _unwatched(name: str) -> Span:
    return NOBODY


_tracer: Tracer = _unwatched


def span(name: str) -> Span:
    """A span for the piece of work of a ``with`` block."""
    return _tracer(name)


def send(channel: Channel, items: Sequence[Outgoing], carry: Callable[[], Sequence[Sent]]) -> Sequence[Sent]:
    """Have a channel send messages, in a span; ``carry`` does it."""
    with span("send") as it:
        it.note(channel=channel.name)
        it.messages(items)
        answers = carry()
        it.answers(answers)
        return answers


@contextmanager
def watched_by(tracer: Tracer) -> Iterator[None]:
    """Spans are made by a tracer for a while."""
    global _tracer  # one process is watched by one library, as it has one log
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


@contextmanager
def tracing(environ: Mapping[str, str], secret: bytes) -> Iterator[None]:
    """Send spans where the environment says, for a while.

    Parameters
    ----------
    environ: the environment; without ``OTEL_*`` nothing happens.
    secret: key of the hashes that stand for effects.
    """
    exporter = exporter_of(environ)
    if exporter is None:
        yield
        return
    try:
        from engine.runtime.spans import exporting
    except ImportError:
        _log.warning("OTEL_* asks for traces, and the library is missing: pip install 'drumbeat[otel]'")
        yield
        return
    with exporting(exporter, environ, Mask(secret)) as tracer, watched_by(tracer):
        yield


def exporter_of(environ: Mapping[str, str]) -> str | None:
    """Where spans go: ``otlp``, ``console``, or None for nowhere."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    wanted = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if wanted in ("otlp", "console"):
        return wanted
    if wanted == "none":
        return None
    if wanted:
        _log.warning("OTEL_TRACES_EXPORTER is %r: there are otlp, console and none; no traces are sent", wanted[:40])
        return None
    named = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return "otlp" if any(environ.get(name) for name in named) else None
