"""Spans of the daemon, with the library itself: what is in them, what never is, and that nobody pays unwatched."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from daemon_kit import Life
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engine.channels.file import FileChannel
from engine.errors import StoreError
from engine.runtime import tracing
from engine.runtime.masking import Mask
from engine.runtime.spans import exporting, tracer_of

USER = "person-4711@example.com"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span that ends, in order."""
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with tracing.watched_by(tracer_of(provider, Mask(b"a key"))):
        yield kept
    provider.shutdown()


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def _named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [it for it in spans.get_finished_spans() if it.name == f"drumbeat.{name}"]


def _facts(span: ReadableSpan) -> dict[str, object]:
    return {name.removeprefix("drumbeat."): value for name, value in (span.attributes or {}).items()}


def test_a_turn_as_spans(life: Life, spans: InMemorySpanExporter) -> None:
    """Events decided, their commit inside, a claim and a sending: each is a span with its numbers."""
    life.start()
    life.say("user.signup", USER)
    life.quiet()
    (decided,), (commit,) = _named(spans, "events"), _named(spans, "commit")
    assert commit.parent is not None
    assert commit.parent.span_id == decided.context.span_id
    assert _facts(commit) == {"events": 1, "wakes": 0, "effects": 1, "quarantined": 0}
    (claim,), (sent,) = _named(spans, "claim"), _named(spans, "send")
    assert _facts(claim)["messages"] == 1
    keys = tuple(Mask(b"a key")(it.key) for it in life.effects())
    assert _facts(sent) == {
        "channel": "box", "messages": 1, "effect_keys": keys, "sent": 1, "unknown": 0, "failed": 0,
    }  # fmt: skip
    spans.clear()
    life.pass_(3_600_000_000)
    (woken,) = [it for it in _named(spans, "commit") if _facts(it)["effects"]]
    assert (_facts(woken)["events"], _facts(woken)["wakes"]) == (0, 1)
    assert woken.parent is not None
    assert woken.parent.span_id in {it.context.span_id for it in _named(spans, "wakes")}
    life.end()


def test_rest_makes_no_spans(life: Life, spans: InMemorySpanExporter) -> None:
    """A daemon that has nothing to do says nothing, however long."""
    life.start()
    life.say("user.signup", USER)
    life.quiet()
    spans.clear()
    for _ in range(50):
        life.clocks.pass_(1_000_000)
        life.quiet()
    assert spans.get_finished_spans() == ()
    life.end()


def test_nobody_is_named(life: Life, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """No id of a person, no key of an effect and no word of an error stands in a span, also when a channel breaks.

    Threat: secret.logs — in traces
    """

    def broken(self: FileChannel, items: object) -> None:
        raise ValueError(f"no such mailbox: {USER}")

    monkeypatch.setattr(FileChannel, "send", broken)
    life.start()
    life.say("user.signup", USER)
    life.quiet()
    text = "".join(it.to_json() for it in spans.get_finished_spans())
    assert USER not in text
    assert "mailbox" not in text
    assert not any(it.key in text for it in life.effects())
    (sent,) = _named(spans, "send")
    assert (sent.status.is_ok, sent.status.description, sent.events) == (False, "ValueError", ())
    life.end()


def test_a_commit_that_fails(life: Life, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be written is a span that failed."""
    daemon = life.start()
    life.say("user.signup", USER)
    assert life.store is not None

    def full(batch: object) -> int:
        raise StoreError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(life.store, "commit", full)
        daemon.try_turn()
    (commit,) = _named(spans, "commit")
    assert commit.status.description == "StoreError"
    life.end()


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "shop"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, None),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, None),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, None),
    ],
)
def test_who_watches(environ: dict[str, str], found: str | None) -> None:
    """The usual variables say whether traces are sent, and where to."""
    assert tracing.exporter_of(environ) == found


def test_off_is_nothing() -> None:
    """Watched by nobody, every span is the same empty one."""
    assert tracing.span("events") is tracing.span("commit") is tracing.NOBODY
    with tracing.tracing({}, b"key"):
        assert tracing.span("send") is tracing.NOBODY


# A process of its own

RUN = "import sys; from engine.cli.main import run; code = run(['run', '--until-idle', '--program', sys.argv[1]])\n"
LOADED = RUN + "print('opentelemetry' in sys.modules); sys.exit(code)"


def _run(root: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    (root / "feed" / "a.jsonl").write_text(
        json.dumps({"id": "1", "type": "user.signup", "user": USER, "time": "2026-03-02T00:00:00Z", "data": {}}) + "\n"
    )
    inherited = {name: it for name, it in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", LOADED, str(root)], capture_output=True, text=True, timeout=60, check=False,
        env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), "NO_PROXY": "127.0.0.1", **environ},
    )  # fmt: skip


def test_the_library_stays_out(life: Life) -> None:
    """Without ``OTEL_*`` the library is not imported."""
    done = _run(life.root)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "False"), done.stderr


def test_spans_arrive(life: Life) -> None:
    """With an endpoint, a collector gets the spans of the whole run before the process is gone, and nobody's name."""
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        done = _run(life.root, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "True"), done.stderr
    found = [group for body in bodies for group in ExportTraceServiceRequest.FromString(body).resource_spans]
    services = {it.value.string_value for one in found for it in one.resource.attributes if it.key == "service.name"}
    names = {span.name for one in found for scope in one.scope_spans for span in scope.spans}
    assert services == {"drumbeat"}
    assert names == {"drumbeat.events", "drumbeat.commit", "drumbeat.claim", "drumbeat.send"}
    assert not any(USER.encode() in body for body in bodies)


def test_nobody_at_the_endpoint(life: Life) -> None:
    """A collector that is not there holds nobody up and breaks nothing."""
    done = _run(life.root, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "traces, said once: " in done.stderr


def test_the_library_complains_once(caplog: pytest.LogCaptureFixture) -> None:
    """What the library says stands in our log, in its form, and each thing once."""
    library = logging.getLogger("opentelemetry.exporter.somewhere")
    with exporting("console", {}, Mask(b"a key")), caplog.at_level(logging.WARNING):
        for seconds in (1, 2, 4):
            library.warning("no way to the collector, again in %d s", seconds)
        library.warning("the queue is full")
    assert [(it.name, it.getMessage()) for it in caplog.records] == [
        ("engine.runtime.spans", "traces, said once: no way to the collector, again in 1 s"),
        ("engine.runtime.spans", "traces, said once: the queue is full"),
    ]
    assert logging.getLogger("opentelemetry").propagate
