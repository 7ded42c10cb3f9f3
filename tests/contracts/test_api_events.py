"""``POST /v1/events``: what is taken, what is answered, what stands in the store."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from pathlib import Path

import pytest
from api_kit import JSON, LINES, Answer, served
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from engine.api.engine import Trouble
from engine.api.limits import Limits
from engine.core.model import MINUTE, Event
from engine.runtime.masking import Mask
from engine.runtime.spans import tracer_of
from engine.runtime.tracing import watched_by
from engine.stores import codec
from engine.stores.sqlite import SqliteStore


def test_one_event_is_durable_before_it_is_answered(tmp_path: Path) -> None:
    """202 says what became of the event, and the event stands in the inbox of the store."""
    with served(tmp_path) as desk:
        answer = desk.send(desk.event("e1", data={"amount": 12.50, "名": "茶"}))
        assert answer.status == 202
        assert answer.json == {
            "accepted": 1, "duplicate": 0, "quarantined": 0,
            "records": [{"line": 1, "id": "e1", "status": "accepted"}],
        }  # fmt: skip
        assert desk.ids() == ["e1"]


def test_an_event_over_several_lines_is_one_event(tmp_path: Path) -> None:
    """As ``application/json`` the body is one event, however it is laid out."""
    with served(tmp_path) as desk:
        assert desk.send(json.dumps(desk.event("e1"), indent=2).encode()).json["accepted"] == 1


def test_each_record_of_a_batch_has_its_answer(tmp_path: Path) -> None:
    """Accepted, repeated in the batch, repeated in the store, refused: each line says so, in order, by its number.

    Semantics: event.duplicate, event.missing-id, event.refused
    """
    with served(tmp_path) as desk:
        desk.send(desk.event("old"))
        answer = desk.batch(
            [
                desk.event("a"),
                b"",
                desk.event("a", user="u2"),
                desk.event("old"),
                b"{not json",
                desk.event(None),
                desk.event("future", time=desk.now(6 * MINUTE)),
                desk.event("b", usr="x"),
                desk.event("c"),
            ]
        )
        assert answer.status == 202
        counts = {name: it for name, it in answer.json.items() if name != "records"}
        assert counts == {"accepted": 2, "duplicate": 2, "quarantined": 4}
        rows = [(it["line"], it["id"], it["status"], it.get("reason")) for it in answer.json["records"]]
        assert rows == [
            (1, "a", "accepted", None),
            (3, "a", "duplicate", None),
            (4, "old", "duplicate", None),
            (5, None, "quarantined", "json"),
            (6, None, "quarantined", "no_id"),
            (7, "future", "quarantined", "future"),
            (8, None, "quarantined", "unknown_key"),
            (9, "c", "accepted", None),
        ]
        assert all(it["message"] for it in answer.json["records"] if it["status"] == "quarantined")
        assert desk.ids() == ["old", "a", "c"]
        kept = desk.quarantined()
        assert [it[:3] for it in kept] == [
            ("http", 5, "json"), ("http", 6, "no_id"), ("http", 7, "future"), ("http", 8, "unknown_key"),
        ]  # fmt: skip
        assert kept[0][3] == b"{not json"


def test_given_again_nothing_is_taken_twice(tmp_path: Path) -> None:
    """A sender that saw no answer sends the same again, and each record is a duplicate."""
    with served(tmp_path) as desk:
        records = [desk.event(f"e{n}") for n in range(20)]
        assert desk.batch(records).json["accepted"] == 20
        again = desk.batch(records).json
        assert (again["accepted"], again["duplicate"]) == (0, 20)
        assert len(desk.ids()) == 20


def test_a_feed_forges_nothing(tmp_path: Path) -> None:
    """A record of a type that only verbs and calls may make is an ordinary event: it is never internal."""
    with served(tmp_path) as desk:
        assert desk.send(desk.event("e1", type="playbook.webhook:hook-me")).json["accepted"] == 1
        assert desk.send(desk.event("e2", internal=True)).json["records"][0]["reason"] == "unknown_key"
        store = SqliteStore.open(desk.path, read_only=True)
        assert [event.internal for _, event in store.inbox(0, 10)] == [False]
        store.close()


@pytest.mark.parametrize("given", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_other_content_types_are_refused(tmp_path: Path, given: str) -> None:
    """What a page in a browser can send without being asked is not read; the hint names what is."""
    with served(tmp_path) as desk:
        answer = desk.call("POST", "/v1/events", b"{}", {"content-type": given})
        assert (answer.status, answer.code) == (415, "content_type")
        assert "application/x-ndjson" in answer.json["error"]["hint"]
        assert desk.ids() == []


def test_a_packed_body_is_refused(tmp_path: Path) -> None:
    """Compressed bodies are not read, so nothing can be packed into one."""
    with served(tmp_path) as desk:
        answer = desk.call("POST", "/v1/events", b"\x1f\x8b", {**JSON, "content-encoding": "gzip"})
        assert (answer.status, answer.code) == (415, "compressed")
        assert desk.call("POST", "/v1/events", b"", JSON).code == "empty"
        assert desk.call("POST", "/v1/events", b" \n\r\n \n", LINES).code == "empty"


def test_many_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    """Requests that wait become one transaction; each has its own answer, and each record is there once.

    Semantics: store.through-daemon
    """
    with served(tmp_path) as desk:
        desk.hold.clear()
        answers: list[Answer] = []

        def sender(number: int) -> None:
            answers.append(desk.batch([desk.event(f"s{number}-{n}") for n in range(25)] + [desk.event("shared")]))

        threads = [threading.Thread(target=sender, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        desk.hold.set()
        for thread in threads:
            thread.join()
        assert [it.status for it in answers] == [202] * 12
        assert sum(it.json["accepted"] for it in answers) == 12 * 25 + 1
        assert sum(it.json["duplicate"] for it in answers) == 11
        assert len(desk.ids()) == 12 * 25 + 1


def test_a_full_line_says_so_and_takes_nothing(tmp_path: Path) -> None:
    """When too much waits for its commit the next request is 503 with Retry-After, and may simply come again."""
    with served(tmp_path, limits=Limits(waiting=10, commit=5)) as desk:
        desk.hold.clear()
        answers: dict[int, Answer] = {}
        full = threading.Event()

        def sender(number: int) -> None:
            answers[number] = desk.batch([desk.event(f"{number}-{n}") for n in range(5)])
            if answers[number].status == 503:
                full.set()

        threads = [threading.Thread(target=sender, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        assert full.wait(30), "30 records were let into a line for 10"
        desk.hold.set()
        for thread in threads:
            thread.join()
        taken = sorted(number for number, it in answers.items() if it.status == 202)
        refused = [it for it in answers.values() if it.status != 202]
        assert {(it.status, it.code) for it in refused} == {(503, "busy")}
        assert all(int(it.headers["retry-after"]) >= 1 for it in refused)
        assert sorted(desk.ids()) == [f"{number}-{n}" for number in taken for n in range(5)]


@pytest.mark.parametrize("code", ["draining", "paused", "store"])
def test_an_engine_in_trouble_takes_nothing(tmp_path: Path, code: str) -> None:
    """Draining, a full disk, a store that refuses: 503 with Retry-After, and nothing is written."""
    with served(tmp_path) as desk:
        desk.troubles.append(Trouble(code, "the disk of /var/lib is full"))
        answer = desk.send(desk.event("e1"))
        assert (answer.status, answer.code) == (503, code)
        assert "/var/lib" not in answer.raw.decode()
        assert "/var/lib" in desk.get("/readyz").raw.decode()
        assert answer.headers["retry-after"] == "5"
        desk.troubles.clear()
        assert desk.send(desk.event("e1")).json["accepted"] == 1


def test_an_engine_that_stopped_takes_nothing(tmp_path: Path) -> None:
    """Once the engine accepts no jobs, a request is 503 and not a fault."""
    with served(tmp_path) as desk:
        desk.jobs.close()
        answer = desk.send(desk.event("e1"))
        assert (answer.status, answer.code) == (503, "store")
        assert desk.ids() == []


def test_a_store_that_cannot_write_is_no_ack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the commit fails nothing was acknowledged: 503, and the same request is taken once the store is well."""
    with served(tmp_path) as desk:

        def broken(point: str) -> None:
            if point == "ingest.before_commit":
                raise sqlite3.OperationalError("database or disk is full")

        desk.faults.append(lambda store: setattr(store, "fault", broken))
        desk.jobs.ring()
        with caplog.at_level(logging.WARNING):
            answer = desk.send(desk.event("e1"))
        assert (answer.status, answer.code) == (503, "store")
        assert str(desk.path) not in answer.raw.decode()  # senders are not told where things lie; the log is
        assert "database or disk is full" in caplog.text
        assert desk.ids() == []
        desk.faults.append(lambda store: setattr(store, "fault", lambda point: None))
        assert desk.send(desk.event("e1")).json["accepted"] == 1


def test_one_request_that_breaks_a_commit_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What breaks the shared transaction is found by halving it; only it is refused."""
    with served(tmp_path) as desk:
        desk.hold.clear()
        answers: dict[str, Answer] = {}

        def sender(id_: str) -> None:
            answers[id_] = desk.send(desk.event(id_))

        threads = [threading.Thread(target=sender, args=(id_,)) for id_ in ("a", "poison", "b", "c")]
        real = codec.encode_event

        def encode(event: Event) -> bytes:
            if event.id == "poison":
                raise ValueError("planted")
            return real(event)

        monkeypatch.setattr(codec, "encode_event", encode)
        with caplog.at_level(logging.CRITICAL + 1):
            for thread in threads:
                thread.start()
            desk.hold.set()
            for thread in threads:
                thread.join()
        assert {id_: it.status for id_, it in answers.items()} == {"a": 202, "poison": 500, "b": 202, "c": 202}
        assert answers["poison"].code == "internal"
        assert sorted(desk.ids()) == ["a", "b", "c"]


def test_a_request_is_a_span(tmp_path: Path) -> None:
    """Watched with OpenTelemetry, a request says its feed and what became of its records, and nothing they say."""
    kept, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with watched_by(tracer_of(provider, Mask(b"key"))), served(tmp_path) as desk:
        assert desk.batch([desk.event("e1", user="somebody"), desk.event("e1", user="somebody"), b"{"]).status == 202
        assert desk.send(b"").status == 400
    whole, refused = kept.get_finished_spans()
    assert dict(whole.attributes or {}) == {
        "drumbeat.feed": "http", "drumbeat.accepted": 1, "drumbeat.duplicate": 1, "drumbeat.quarantined": 1,
    }  # fmt: skip
    assert refused.status.description == "Refused"
    provider.shutdown()
