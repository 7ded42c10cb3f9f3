"""``drumbeat ingest`` and ``drumbeat quarantine``: the way in, and what is kept at the door."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from engine.cli.main import run as drumbeat
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: tiny
events: {user.signup: {}, order.paid: {}, "*": %s}
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

Call = Callable[..., tuple[int, str, str]]


def line(id: str | None, user: str = "u1", type: str = "user.signup", time: str = "2024-01-01T00:00:00Z") -> bytes:
    record = {"id": id, "type": type, "user": user, "time": time}
    return json.dumps({key: value for key, value in record.items() if value is not None}).encode() + b"\n"


GOOD = line("a") + line("b", "u2")
BAD = (
    GOOD
    + line("a", "u3")
    + b'{"id": "c", "type": NaN}\n\n'
    + b'\xff"\n'
    + line(None)
    + line("e", type="page.seen")
    + line("f", time=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    + line("g", time=(datetime.now(UTC) + timedelta(minutes=3)).isoformat())
)
REASONS = {"future": 1, "nan": 1, "no_id": 1, "unknown_type": 1, "utf8": 1}


def write_program(root: Path, others: str = "closed") -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text % others if name == "drumbeat.yaml" else text, encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_program(tmp_path)
    return tmp_path


@pytest.fixture
def call(root: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Call:
    """A verb on the program: (exit code, standard output, standard error)."""

    def verb(*words: str) -> tuple[int, str, str]:
        code = drumbeat([*words, "--program", str(root)])
        out, err = capsysbinary.readouterr()
        return code, out.decode("utf-8", "backslashreplace"), err.decode()

    return verb


@pytest.fixture
def give(root: Path, call: Call) -> Callable[..., dict[str, Any]]:
    """Take bytes in from a file; the counts."""

    def ingest(content: bytes, *options: str, name: str = "in.jsonl", code: int = 0) -> dict[str, Any]:
        (root / name).write_bytes(content)
        got, out, _ = call("ingest", str(root / name), "--format", "json", *options)
        assert got == code
        result: dict[str, Any] = json.loads(out)["events"]
        return result

    return ingest


def sent(root: Path) -> list[str]:
    path = root / "out" / "box.jsonl"
    return [json.loads(line)["text"] for line in path.read_text().splitlines()] if path.exists() else []


def kept(root: Path) -> list[tuple[str, int, str, bytes]]:
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        return [(it.feed, it.position, it.reason, it.raw) for it in store.quarantine()]
    finally:
        store.close()


@pytest.mark.parametrize("batch", ["1", "2", "2000"])
def test_counts(root: Path, give: Any, batch: str) -> None:
    """Everything read is counted once: accepted, duplicate or quarantined, each of those with its reason."""
    counts = give(BAD, "--batch", batch)
    assert counts == {"read": 9, "accepted": 3, "duplicate": 1, "quarantined": 5, "reasons": REASONS}


def test_quarantine_keeps_the_bytes(root: Path, give: Any) -> None:
    """Each refused record is kept with its feed, its line, the reason and its very bytes.

    Semantics: event.bad-record, event.refused
    """
    give(BAD)
    lines = BAD.split(b"\n")
    found = kept(root)
    assert [(feed, reason) for feed, _, reason, _ in found] == [
        ("ingest:in.jsonl", reason) for reason in ("nan", "utf8", "no_id", "unknown_type", "future")
    ]
    assert [position for _, position, _, _ in found] == [4, 6, 7, 8, 9]
    for _, position, _, raw in found:
        assert raw == lines[position - 1]


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst"])
def test_compressed(root: Path, give: Any, name: str) -> None:
    """Plain and compressed files hold the same records; the last line needs no line break."""
    packed = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}.get(name.split(".")[-1], bytes)
    assert give(packed(BAD.rstrip(b"\n")), name=name)["accepted"] == 3
    assert len(kept(root)) == 5


def test_standard_input(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads standard input, with the same verdicts."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BAD)))
    code, out, _ = call("ingest", "-", "--format", "json")
    assert code == 0
    assert json.loads(out)["events"]["reasons"] == REASONS
    assert {feed for feed, *_ in kept(root)} == {"ingest:stdin"}


def test_several_files(root: Path, call: Call) -> None:
    """Several files and patterns are taken in, in the order given."""
    (root / "b1.jsonl").write_bytes(line("b", "u2"))
    (root / "b2.jsonl").write_bytes(line("c", "u3"))
    (root / "a.jsonl").write_bytes(line("a", "u1"))
    assert call("ingest", str(root / "b*.jsonl"), str(root / "a.jsonl"))[0] == 0
    call("run", "--until-idle")
    assert sent(root) == ["hello u2", "hello u3", "hello u1"]


def test_run_decides_what_was_taken_in(root: Path, call: Call, give: Any) -> None:
    """Ingest decides nothing by itself; the next run does, once."""
    give(GOOD)
    assert sent(root) == []
    code, out, _ = call("run", "--until-idle", "--format", "json")
    assert code == 0
    assert json.loads(out)["events"]["accepted"] == 2
    assert sent(root) == ["hello u1", "hello u2"]
    assert give(GOOD)["duplicate"] == 2
    call("run", "--until-idle")
    assert sent(root) == ["hello u1", "hello u2"]


def test_history(root: Path, call: Call, give: Any) -> None:
    """--history changes state and starts nothing; the same event is not let in a second time.

    Semantics: history.silent
    """
    give(line("a"), "--history")
    call("run", "--until-idle")
    assert sent(root) == []
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    assert store.load(["u1"])["u1"].created_at is not None
    store.close()
    assert give(line("a"))["duplicate"] == 1


def test_text(root: Path, call: Call) -> None:
    """The text tells the counts, the reasons and the next move."""
    (root / "in.jsonl").write_bytes(BAD)
    code, out, err = call("ingest", str(root / "in.jsonl"))
    assert (code, err) == (0, "")
    for words in ("3 accepted of 9 read", "1 duplicate", "5 quarantined", "no_id 1", "run --until-idle"):
        assert words in out
    assert "quarantine list" in out


def test_exit_codes(root: Path, call: Call, give: Any) -> None:
    """--strict: 1 when something was refused or repeated. No such file: 1. No argument, CSV without mapping: 2."""
    assert give(GOOD, "--strict", code=0)["accepted"] == 2
    assert give(GOOD, "--strict", code=1)["duplicate"] == 2
    assert give(b"{\n", "--strict", code=1)["quarantined"] == 1
    assert call("ingest", str(root / "nothing*.jsonl"))[0] == 1
    assert call("ingest")[0] == 2
    (root / "x.csv").write_text("a,b\n1,2\n")
    assert call("ingest", str(root / "x.csv"))[0] == 2


def test_damaged_file(root: Path, call: Call) -> None:
    """A compressed file that breaks off: what could be read is there, the rest is told, exit code 3, no traceback."""
    whole = gzip.compress(b"".join(line(f"i{n}", f"u{os.urandom(8).hex()}") for n in range(3_000)))
    (root / "in.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    code, _, err = call("ingest", str(root / "in.jsonl.gz"), "--batch", "10")
    assert code == 3
    assert "in.jsonl.gz" in err
    assert "Traceback" not in err
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    assert store.inbox(0, 10)
    store.close()


@pytest.mark.parametrize("passes", range(1, 57, 5))
def test_killed(root: Path, call: Call, give: Any, passes: int) -> None:
    """Killed at any moment and given the same file again: every event is there once."""
    content = b"".join(line(f"i{n}", f"u{n}") for n in range(40))
    (root / "in.jsonl").write_bytes(content)
    SqliteStore.open(root / "drumbeat.db").close()
    child = os.fork()
    if child == 0:
        die_at(passes)
        drumbeat(["ingest", str(root / "in.jsonl"), "--program", str(root), "--batch", "5", "--quiet"])
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    counts = give(content)
    assert counts["accepted"] + counts["duplicate"] == 40
    assert counts["duplicate"] % 5 == 0
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    assert [it.id for _, it in store.inbox(0, 100)] == [f"i{n}" for n in range(40)]
    store.close()


def die_at(passes: int) -> None:
    """Make every store opened from now on kill the process at its n-th fault point."""
    left = passes
    real = SqliteStore.open.__func__  # type: ignore[attr-defined]

    def fault(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    SqliteStore.open = classmethod(lambda cls, path, **more: real(cls, path, **{**more, "fault": fault}))  # type: ignore


# -- quarantine


def test_list(call: Call, give: Any) -> None:
    """The list shows number, place, reason and sentence of each record, and how many there are of each reason.

    Semantics: event.quarantine-verbs
    """
    give(BAD)
    code, out, _ = call("quarantine", "list")
    assert code == 0
    assert "3  ingest:in.jsonl:7  no_id: the record has no id" in out
    assert "1 future, 1 nan, 1 no_id, 1 unknown_type, 1 utf8" in out
    _, out, _ = call("quarantine", "list", "--limit", "2", "--format", "json")
    found = json.loads(out)
    assert (found["total"], found["reasons"], len(found["records"])) == (5, REASONS, 2)
    _, out, _ = call("quarantine", "list", "--reason", "utf8", "--format", "json")
    assert [it["number"] for it in json.loads(out)["records"]] == [2]
    assert "3 more" in call("quarantine", "list", "--limit", "2")[1]


def test_empty_list(call: Call, give: Any) -> None:
    """An empty quarantine says so."""
    give(GOOD)
    assert call("quarantine", "list")[1] == "quarantine is empty\n"


def test_show(call: Call, give: Any) -> None:
    """One record is shown with its bytes: harmless on a terminal, exact as base64, exact with --raw.

    Semantics: event.quarantine-verbs
    """
    give(b'{"id": "\x1b[2J\xff"}\n')
    _, out, _ = call("quarantine", "show", "1")
    assert "utf8" in out
    assert "\x1b" not in out
    assert "\\x1b[2J\\xff" in out
    _, out, _ = call("quarantine", "show", "1", "--format", "json")
    assert base64.b64decode(json.loads(out)["raw_base64"]) == b'{"id": "\x1b[2J\xff"}'
    assert call("quarantine", "show", "1", "--raw")[1] == '{"id": "\x1b[2J\\xff"}'
    code, _, err = call("quarantine", "show", "7")
    assert code == 2
    assert "no record 7" in err


def test_retry(root: Path, call: Call, give: Any) -> None:
    """After the program was mended the record is let in and decided; what is still refused stays, exit code 1.

    Semantics: event.quarantine-verbs
    """
    give(line("e", "u9", type="page.seen") + line(None))
    assert call("quarantine", "retry", "1")[0] == 1
    assert len(kept(root)) == 2
    write_program(root, others="open")
    code, out, _ = call("quarantine", "retry", "1", "2", "1", "--format", "json")
    result = json.loads(out)
    assert code == 1
    assert {key: result[key] for key in ("read", "accepted", "duplicate", "quarantined")} == {
        "read": 2,
        "accepted": 1,
        "duplicate": 0,
        "quarantined": 1,
    }
    assert [(it["number"], it["reason"]) for it in result["refused"]] == [(2, "no_id")]
    assert [reason for _, _, reason, _ in kept(root)] == ["no_id"]
    call("run", "--until-idle")
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    assert [it.id for it, _ in store.events("u9")] == ["e"]
    store.close()


def test_retry_by_reason(root: Path, call: Call, give: Any) -> None:
    """All records of one reason are tried again at once, exit code 0 when all are let in."""
    give(b"".join(line(f"e{n}", type="page.seen") for n in range(3)) + b"{\n")
    write_program(root, others="open")
    code, out, _ = call("quarantine", "retry", "--reason", "unknown_type")
    assert code == 0
    assert "3 accepted" in out
    assert [reason for _, _, reason, _ in kept(root)] == ["json"]


def test_retry_of_a_known_id(root: Path, call: Call, give: Any) -> None:
    """A record whose id came in another way meanwhile is counted as a duplicate and leaves quarantine."""
    give(line("e", type="page.seen"))
    write_program(root, others="open")
    give(line("e", "u5"))
    code, out, _ = call("quarantine", "retry", "1", "--format", "json")
    assert (code, json.loads(out)["duplicate"]) == (0, 1)
    assert kept(root) == []


def test_history_stays_history(root: Path, call: Call, give: Any) -> None:
    """A record refused under --history only changes state when it is let in later."""
    give(line("e", type="order.seen") + line("f"), "--history")
    write_program(root, others="open")
    assert call("quarantine", "retry", "1")[0] == 0
    call("run", "--until-idle")
    assert sent(root) == []
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    assert [(it.id, it.history) for it, _ in store.events("u1")] == [("f", True), ("e", True)]
    store.close()


def test_drop(root: Path, call: Call, give: Any) -> None:
    """Dropped records are gone; a number that is not there stops the verb before anything is dropped.

    Semantics: event.quarantine-verbs
    """
    give(BAD)
    code, _, err = call("quarantine", "drop", "1", "99")
    assert code == 2
    assert "99" in err
    assert len(kept(root)) == 5
    assert call("quarantine", "drop", "1", "2")[0] == 0
    assert call("quarantine", "drop", "--reason", "no_id")[1] == "dropped     1\n"
    assert [reason for _, _, reason, _ in kept(root)] == ["unknown_type", "future"]
    assert call("quarantine", "drop")[0] == 2


def test_quarantine_without_a_store(root: Path, call: Call) -> None:
    """Looking makes no store: exit code 3, and the next move."""
    code, _, err = call("quarantine", "list")
    assert code == 3
    assert "there is no store" in err
    assert not (root / "drumbeat.db").exists()
