"""``drumbeat run``: what it reports, refuses and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run as drumbeat
from engine.core.instants import format_instant
from engine.runtime.clock import SystemClock
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: tiny
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never}}
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello
trigger: {signup: true}
entry: once
steps: [{message: {template: hello, via: box, purpose: service}}]
""",
    "templates/hello.box.j2": "hello {{ user.id }}",
}

LINES = [
    {"id": "a", "type": "user.signup", "user": "u1", "time": "2024-01-01T00:00:00Z"},
    {"id": "b", "type": "user.signup", "user": "u2", "time": "2024-01-03T00:00:00Z"},
    {"id": "a", "type": "user.signup", "user": "u3", "time": "2024-01-03T00:00:00Z"},
    {"id": "c", "type": "user.signup", "user": "u4", "time": "2024-01-01T23:00:00Z"},
    {"id": "d", "type": "user.signup", "time": "2024-01-03T00:00:00Z"},
]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A program of one playbook, with a feed that holds two people, a copy, a late event and a bad record."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """A verb on that program: (exit code, standard output, standard error)."""

    def verb(*words: str) -> tuple[int, str, str]:
        code = drumbeat([*words, "--program", str(root)])
        out, err = capsys.readouterr()
        return code, out, err

    return verb


def sent(root: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (root / "out" / "box.jsonl").read_text().splitlines()]


def test_result_as_json(root: Path, call: Call) -> None:
    """One JSON object tells what was read, refused and sent; bad records never change the exit code."""
    code, out, err = call("run", "--until-idle", "--format", "json")
    result: dict[str, Any] = json.loads(out)
    assert (code, err) == (0, "")
    assert result["events"] == {
        "read": 5,
        "accepted": 3,
        "duplicate": 1,
        "quarantined": 1,
        "late": 1,
        "reasons": {"no_subject": 1},
    }
    assert result["deliveries"] == {"sent": 2}
    assert result["conflicts"] == 0
    assert sent(root) == ["hello u1", "hello u2"]


def test_result_as_text(call: Call) -> None:
    """The text names the counts and every reason; the second run says that there was nothing to do."""
    code, out, _ = call("run", "--until-idle")
    assert code == 0
    for words in ("3 accepted of 5 read", "1 duplicate", "no_subject 1", "1 late", "2 sent"):
        assert words in out
    assert call("run", "--until-idle")[1].startswith("nothing new")


def test_strict(call: Call) -> None:
    """With --strict quarantined or repeated records give exit code 1."""
    assert call("run", "--until-idle", "--strict")[0] == 1
    assert call("run", "--until-idle", "--strict")[0] == 0


@pytest.mark.parametrize(
    "verb", [["run", "--until-idle"], ["ingest", "{root}/feed/a.jsonl"], ["quarantine", "drop", "1"]]
)
def test_second_writer(root: Path, call: Call, verb: list[str]) -> None:
    """While one process writes the store, a second one leaves with exit code 3 and says who it is waiting for.

    Semantics: store.one-writer
    """
    store = SqliteStore.open(root / "drumbeat.db")
    try:
        code, out, err = call(*(word.format(root=root) for word in verb))
    finally:
        store.close()
    assert (code, out) == (3, "")
    assert f"is being written by process {os.getpid()}" in err
    assert "Traceback" not in err


def test_reading_beside_a_writer(root: Path, call: Call) -> None:
    """Quarantine can be looked at while a daemon runs."""
    assert call("run", "--until-idle")[0] == 0
    store = SqliteStore.open(root / "drumbeat.db")
    try:
        code, out, _ = call("quarantine", "list")
    finally:
        store.close()
    assert code == 0
    assert "no_subject" in out


@pytest.mark.parametrize("verb", [["run", "--until-idle"], ["quarantine", "list"]])
def test_newer_store(root: Path, call: Call, verb: list[str]) -> None:
    """A store written by a newer Drumbeat is refused with exit code 3 and left as it was."""
    SqliteStore.open(root / "drumbeat.db").close()
    db = sqlite3.connect(root / "drumbeat.db")
    with db:
        db.execute("insert into migration values (99, 'from_the_future', 'x')")
    db.close()
    before = (root / "drumbeat.db").read_bytes()
    code, out, err = call(*verb)
    assert (code, out) == (3, "")
    assert "schema 99" in err
    assert "newer Drumbeat" in err
    assert (root / "drumbeat.db").read_bytes() == before


def test_killed_run_leaves_no_lock(root: Path, call: Call) -> None:
    """After SIGKILL the lock file names a dead process and holds nobody up; the rest of the work is done."""
    child = os.fork()
    if child == 0:
        SqliteStore.commit = lambda self, batch: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        drumbeat(["run", "--until-idle", "--program", str(root), "--quiet"])
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert (root / "drumbeat.db.lock").read_text().split()[0] == str(child)
    code, _, _ = call("run", "--until-idle")
    assert code == 0
    assert sent(root) == ["hello u1", "hello u2"]


def test_not_a_store(root: Path, call: Call) -> None:
    """A file that is no store is refused with exit code 3 and left as it was."""
    (root / "drumbeat.db").write_text("my thesis")
    code, _, err = call("run", "--until-idle")
    assert code == 3
    assert "is not an SQLite database" in err
    assert (root / "drumbeat.db").read_text() == "my thesis"


def test_invalid_program(root: Path, call: Call) -> None:
    """An invalid program is exit code 1, its problems shown, and no store is made."""
    (root / "playbooks" / "hello.yaml").write_text("playbook: hello\ntitle: x\n")
    code, _, err = call("run", "--until-idle")
    assert code == 1
    assert "hello.yaml" in err
    assert not (root / "drumbeat.db").exists()


def test_shrunken_feed(root: Path, call: Call) -> None:
    """A feed file that became shorter is named, with exit code 3: positions belong to names."""
    assert call("run", "--until-idle")[0] == 0
    (root / "feed" / "a.jsonl").write_text("")
    code, _, err = call("run", "--until-idle")
    assert code == 3
    assert "a.jsonl is shorter" in err


def test_another_store(root: Path, call: Call) -> None:
    """--store works on another file."""
    assert call("run", "--until-idle", "--store", "sqlite:///copy.db")[0] == 0
    assert (root / "copy.db").exists()
    assert not (root / "drumbeat.db").exists()


def test_one_code_in_two_pools(root: Path, call: Call) -> None:
    """A coupon code that two pools would give is refused before anything runs, with the code and the other pool."""
    (root / "lists").mkdir()
    (root / "lists" / "a.csv").write_text("A1\nA2\n")
    (root / "lists" / "b.csv").write_text("B1\nA2\n")
    (root / "playbooks" / "catalog").mkdir()
    pool = "  %s: {title: x, codes: {file: lists/%s.csv}, limits: {per_user: 1, total: 2}}\n"
    pools = pool % ("a", "a") + pool % ("b", "b")
    (root / "playbooks" / "catalog" / "c.yaml").write_text("coupons:\n" + pools)
    code, _, err = call("run", "--until-idle")
    assert code == 1
    assert "code 'A2' stands in the pool 'a' too" in err
    assert not (root / "drumbeat.db").exists()


def test_webhooks_without_a_channel(root: Path, call: Call) -> None:
    """A webhook step and no channel that takes it: ``run`` refuses and says how to go on; with one it delivers."""
    book = FILES["playbooks/hello.yaml"].replace("steps: [", "steps: [{webhook: {url: 'https://127.0.0.1/x'}}, ")
    (root / "playbooks" / "hello.yaml").write_text(book, encoding="utf-8")
    code, _, err = call("run", "--until-idle")
    assert code == 3
    assert "playbook 'hello' has a webhook step, and no channel of the program takes webhooks" in err
    assert 'channels: {webhook: {via: webhook, secret: "${WEBHOOK_SECRET}"}}' in err
    program = FILES["drumbeat.yaml"].replace("box.jsonl}}", "box.jsonl}, webhook: {via: file, path: out/w.jsonl}}")
    (root / "drumbeat.yaml").write_text(program, encoding="utf-8")
    assert call("run", "--until-idle")[0] == 0
    assert [json.loads(line)["kind"] for line in (root / "out" / "w.jsonl").read_text().splitlines()] == ["webhook"] * 2
    program = program.replace("{via: file, path: out/w.jsonl}", "{via: webhook}")
    (root / "drumbeat.yaml").write_text(program, encoding="utf-8")
    code, out, _ = call("run", "--until-idle", "--store", "sqlite:///second.db")
    assert code == 0
    assert "2 dead" in out  # nothing is sent to this machine itself


@pytest.mark.parametrize(("way", "rate"), [("--until-idle", "4/s"), ("--once", "1/h")])
def test_a_host_is_held_to_what_the_program_says(root: Path, call: Call, way: str, rate: str) -> None:
    """`hosts:` of the program file reaches those who send: a backlog waits for it, and a daemon that was asked to do
    what is due leaves the rest, which the next one need not wait for.

    Semantics: outbox.hosts
    """
    came: list[str] = []
    now = format_instant(SystemClock().now())

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *more: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    url, port = f"http://127.0.0.1:{server.server_port}/x", server.server_port
    book = FILES["playbooks/hello.yaml"].replace("steps: [", f"steps: [{{webhook: {{url: '{url}'}}}}, ")
    (root / "playbooks" / "hello.yaml").write_text(book, encoding="utf-8")
    hook = f"box.jsonl}}, webhook: {{via: webhook, allow_http: true, allow_private: true, ports: [{port}]}}}}"
    hosts = f"hosts: {{127.0.0.1: {{rate: {rate}, concurrency: 1}}}}\n"
    program = FILES["drumbeat.yaml"].replace("box.jsonl}}", hook) + hosts
    people = [{"id": f"p{number}", "type": "user.signup", "user": f"p{number}", "time": now} for number in range(6)]
    (root / "feed" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in people), encoding="utf-8")
    (root / "drumbeat.yaml").write_text(program, encoding="utf-8")
    begun = time.monotonic()
    try:
        for number in range(1 if way == "--until-idle" else 3):
            assert call("run", way)[0] == 0
            assert len(came) == (6 if way == "--until-idle" else number + 1)
    finally:
        server.shutdown()
        server.server_close()
    assert way == "--once" or time.monotonic() - begun > 5 / 4, "one at first, then one each quarter of a second"
