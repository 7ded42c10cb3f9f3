"""The Unix socket beside a store: verbs that write while a daemon holds the store, and what else is tried there."""

from __future__ import annotations

import http.client
import json
import socket
import stat
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from api_kit import Answer, Desk, served

from engine.api import unix
from engine.api.calls import CALLS
from engine.api.remote import Link, RemoteStore, open_writer, through_daemon
from engine.cli.main import run
from engine.core.model import Event
from engine.errors import CannotRun, StoreError
from engine.language.compile import compile_program
from engine.language.compiled import Settings
from engine.ports import Rejected, Store
from engine.runtime.clock import SystemClock
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs ``drumbeat WORDS`` in this process: exit code and output."""

    def call(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out + err

    return call


def _post(desk: Desk, verb: str, body: bytes, method: str = "POST") -> Answer:
    """A bare request on the socket."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with unix.short_name(unix.socket_path(desk.path)) as name:
        connection.sock.connect(name)
    try:
        connection.request(method, f"/admin/{verb}", body, {"content-type": "application/json"})
        got = connection.getresponse()
        return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
    finally:
        connection.close()


def _writer(desk: Desk) -> Store:
    return open_writer(Settings(), desk.path.parent)


def _event(id_: str, **more: Any) -> tuple[Event, bytes]:
    return Event(id=id_, type="t", time=1, user="u1", **more), b'{"id": "' + id_.encode() + b'"}'


def test_only_its_owner_may_open_the_socket(tmp_path: Path) -> None:
    """The socket is 0600, answers nothing of the network, and is gone when the daemon is."""
    with served(tmp_path, admin=True) as desk:
        path = unix.socket_path(desk.path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert _post(desk, "../v1/events", b"{}").status == 404
    assert not path.exists()


def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    """A socket nobody listens on is no daemon: verbs open the file, and the next daemon takes the place."""
    (tmp_path / "tea").mkdir()
    path = unix.socket_path(tmp_path / "tea/drumbeat.db")
    with socket.socket(socket.AF_UNIX) as dead, unix.short_name(path) as name:
        dead.bind(name)
    assert Link.find(path) is None
    with served(tmp_path, admin=True):
        assert Link.find(path) is not None
    path.write_text("not a socket")
    assert Link.find(path) is None
    with pytest.raises(CannotRun, match="is in the way of the daemon's socket"), served(tmp_path, admin=True):
        pass
    assert path.read_text() == "not a socket"


def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A store whose path is longer than the system lets a socket's be is served all the same."""
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    with served(deep, admin=True) as desk:
        store = _writer(desk)
        assert store.ingest([_event("e1")], []) == (1, 0)
        store.close()


def test_records_arrive_as_they_were_given(tmp_path: Path) -> None:
    """Exact decimals, great integers, raw bytes that are no UTF-8, changes and marks of an event: all as before."""
    data = {"a": Decimal("12.340"), "b": 10**30, "c": [None, True, "茶\u2028"], "d": {"x": Decimal("1e-9")}}
    event, raw = _event("e1", data=data, internal=True, history=True, changes={"t": (None, Decimal("0.5"))})
    refused = Rejected("f", 7, "utf8", "byte 1 is not UTF-8", b"\xff\x00\x80", 9)
    with served(tmp_path, admin=True) as desk:
        store = _writer(desk)
        assert through_daemon(store)
        assert store.ingest([(event, raw), _event("e2"), _event("e2")], [refused]) == (2, 1)
        assert [it for _, it in store.inbox(0, 10)] == [event, _event("e2")[0]]
        assert str(store.inbox(0, 1)[0][1].data["a"]) == "12.340"
        (kept,) = store.quarantine()
        assert (kept.raw, kept.position, kept.at) == (refused.raw, 7, 9)
        assert store.release([kept.number], [_event("e3")]) == (1, 0)
        assert list(store.quarantine()) == []
        store.settle([])
        store.close()


def test_a_large_batch_goes_in_pieces(tmp_path: Path) -> None:
    """More than one call may carry is several, and the counts are those of all."""
    raw = b"x" * 60_000
    events = [(_event(f"e{n}")[0], raw) for n in range(200)]
    refused = [Rejected("f", n, "json", "no", raw, 1) for n in range(100)]
    with served(tmp_path, admin=True) as desk:
        store = _writer(desk)
        assert store.ingest(events, refused) == (200, 0)
        assert store.ingest(events, []) == (0, 200)
        assert sum(1 for _ in store.quarantine()) == 100
        store.close()


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("commit", b"{}", 404, "verb"),
        ("close", b"{}", 404, "verb"),
        ("__class__", b"{}", 404, "verb"),
        ("set_meta", b'{"name": "secret", "value": "x"}', 404, "verb"),
        ("ingset", b"{}", 404, "verb"),
        ("ingest", b"", 400, "words"),
        ("ingest", b"[]", 400, "words"),
        ("ingest", b'{"events": [], "rejected": [], "more": 1}', 400, "words"),
        ("ingest", b'{"events": [[{"id": 1}, ""]], "rejected": []}', 400, "words"),
        ("release", b'{"numbers": ["1; drop table inbox"], "events": []}', 400, "words"),
        ("release", b"\xff\xfe", 400, "words"),
        ("redrive", b'{"keys": "all"}', 400, "words"),
        ("drop", b'{"keys": []}', 400, "words"),
        ("release_outbox", b'{"place": "here"}', 400, "words"),
        ("import_codes", b'{"pool": "p", "codes": "ABC"}', 400, "words"),
        ("redeem", b'{"id": "r1"}', 400, "words"),
        ("apply", b'{"base": "", "plan": ""}', 400, "words"),
    ],
)
def test_only_the_listed_methods_and_words(tmp_path: Path, verb: str, body: bytes, status: int, code: str) -> None:
    """What is not on the list cannot be called, and words that do not fit change nothing."""
    with served(tmp_path, admin=True) as desk:
        answer = _post(desk, verb, body)
        assert (answer.status, answer.code) == (status, code)
        if verb == "ingset":
            assert answer.json["error"]["hint"] == "did you mean 'ingest'?"
        assert desk.ids() == []
    calls = {"ingest", "release", "settle", "redrive", "drop", "release_outbox", "import_codes", "redeem", "apply"}
    assert set(CALLS) == calls


def test_a_store_that_refuses_is_said_by_the_verb(tmp_path: Path) -> None:
    """An error of the daemon's store is the error of the verb, with its words."""
    with served(tmp_path, admin=True) as desk:
        store = _writer(desk)
        desk.jobs.close()
        with pytest.raises(CannotRun, match="the engine is shutting down"):
            store.ingest([_event("e1")], [])
        store.close()


def test_a_daemon_that_dies_meanwhile_leaves_a_clear_word(tmp_path: Path) -> None:
    """A connection that ends without an answer says that nobody knows, and that trying again is harmless."""
    path = tmp_path / "x.sock"
    listener = unix.listen(path)

    def hang_up() -> None:
        for _ in range(2):
            listener.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    link = Link.find(path)
    assert link is not None
    store = RemoteStore(link, reader=None)  # type: ignore[arg-type]  # nothing is read
    with pytest.raises(CannotRun, match="whether the change was made is not known"):
        store.ingest([_event("e1")], [])
    thread.join()
    listener.close()


def test_without_a_socket_the_writer_is_named(tmp_path: Path) -> None:
    """A process that holds the store and serves no verbs is named, as before."""
    root = tmp_path / "tea"
    with served(tmp_path) as desk, pytest.raises(StoreError, match="is being written by process"):
        open_writer(Settings(), desk.path.parent)
    store = open_writer(Settings(), root)
    assert not through_daemon(store)
    store.close()


def test_verbs_work_while_a_daemon_runs(tmp_path: Path, say: Say) -> None:
    """ingest, trigger, quarantine retry and drop go through the daemon: nobody waits, and nothing is written twice.

    Semantics: store.through-daemon, store.one-writer
    """
    feed = tmp_path / "feed.jsonl"
    with served(tmp_path, admin=True) as desk:
        at = ("--program", desk.path.parent)
        records = [desk.event("e1"), desk.event("e2"), {"broken": True}, {"also": "broken"}]
        feed.write_text("".join(json.dumps(it) + "\n" for it in records), encoding="utf-8")
        code, out = say("ingest", feed, *at)
        assert (code, out.count("2 accepted of 4 read")) == (0, 1)
        assert "the running daemon decides them" in out
        assert "0 accepted of 4 read (2 duplicate, 2 quarantined)" in say("ingest", feed, *at)[1]
        code, out = say("trigger", "by-hand", "--user", "u7", "--id", "t7", *at)
        assert (code, "the running daemon decides it" in out) == (0, True)
        assert "nothing new" in say("trigger", "by-hand", "--user", "u7", "--id", "t7", *at)[1]
        assert desk.ids() == ["e1", "e2", "t7"]
        assert [it[1] for it in desk.quarantined()] == [3, 4, 3, 4]
        assert say("quarantine", "retry", "1", *at)[0] == 1
        assert say("quarantine", "drop", "--reason", "unknown_key", *at) == (0, "dropped     4\n")
        assert desk.quarantined() == []
        store = SqliteStore.open(desk.path, read_only=True)
        assert [event.internal for _, event in store.inbox(0, 10)] == [False, False, True]
        store.close()


def test_tasks_are_done_while_a_daemon_runs(tmp_path: Path, say: Say) -> None:
    """``tasks done`` goes through the daemon, and is heard when the inbox is decided.

    Semantics: store.through-daemon
    """
    root = tmp_path / "tea"
    (root / "playbooks").mkdir(parents=True)
    (root / "playbooks/visit.yaml").write_text(
        "playbook: visit\ntitle: 回访\ntrigger: {event: order.paid}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{task: {assign: amy, title: call, due: 2d, outcomes: [reached, not_reached]}}]\n",
        encoding="utf-8",
    )
    (root / "drumbeat.yaml").write_text("program: tea\nprofile: {city: text | none}\n", encoding="utf-8")

    def decide(store: SqliteStore) -> None:
        found = compile_program(root)
        assert found.plan is not None, found.problems
        Pump(found.plan, store, [], None, SystemClock(), secret=b"x").until_idle()

    with served(tmp_path, admin=True) as desk:
        at = ("--program", root)
        assert desk.send(desk.event("e1")).status == 202
        desk.jobs.submit(decide).result(30)  # type: ignore[arg-type]  # the store is this one
        listed = json.loads(say("tasks", "list", "--format", "json", *at)[1])
        (task,) = listed["tasks"]
        code, out = say("tasks", "done", task["key"], "--outcome", "reached", *at)
        assert (code, "the running daemon decides what follows" in out) == (0, True)
        desk.jobs.submit(decide).result(30)  # type: ignore[arg-type]  # as above
        assert json.loads(say("tasks", "list", "--format", "json", *at)[1])["tasks"] == []
