"""Whole files in order of time, against the plainest program that could do it: read all, drop, sort."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from engine.core.instants import InstantError, format_instant, parse_instant
from engine.core.model import SECOND
from engine.door import NoSubject, read_event
from engine.errors import CannotRun, EventRejected
from engine.feeds import files as files_module
from engine.feeds.replay import Replay
from engine.feeds.table import CsvMapping

START = parse_instant("2026-03-01T00:00:00Z")
BAD = [b"{broken", b"\xff\xfe", b"17", b'{"type":"t"}', b'{"id":3,"type":"t","user":"u","time":"2026-03-01T00:00:05Z"}']


def line(rng: random.Random, ids: int, span: int) -> bytes:
    """One line of a random feed: mostly events, some without id or subject, some bad in every way, some blank."""
    kind = rng.random()
    if kind < 0.05:
        return rng.choice([b"", b" ", b"\r"])
    if kind < 0.12:
        return rng.choice(BAD)
    time = format_instant(START + rng.randrange(span) * SECOND // 2)
    found: dict[str, Any] = {"id": f"e{rng.randrange(ids)}", "type": "t", "time": time, "user": f"u{rng.randrange(3)}"}
    if kind < 0.2:
        del found["id"]
    elif kind < 0.3:
        found["user"] = None
    elif kind < 0.35:
        found["colour"] = "red"  # a bad record with a time and an id that a good one may have too
    elif kind < 0.38:
        found["time"] = time[:-1]
    return json.dumps(found).encode()


def readable_time(raw: bytes) -> int | None:
    try:
        return parse_instant(json.loads(raw)["time"])
    except (ValueError, TypeError, KeyError, InstantError):
        return None


class Oracle:
    """Everything in memory, one thing after the other."""

    def __init__(self, files: dict[str, list[bytes]], until: int | None) -> None:
        self.events: list[tuple[int, Any]] = []
        self.reasons: Counter[str] = Counter()
        self.duplicate = 0
        self.places: list[tuple[str, int]] = []
        ends = []
        claimed: set[str] = set()
        for name, lines in files.items():
            for number, raw in enumerate(lines, 1):
                time = readable_time(raw)
                unread = until is not None and time is not None and time > until
                if not raw.strip():
                    continue
                try:
                    event = read_event(raw, fallback_id=f"{name}:{number}")
                except EventRejected as error:
                    if isinstance(error, NoSubject) and error.id in claimed:
                        self.duplicate += not unread
                    elif not unread:
                        self.reasons[error.reason] += 1
                        self.places.append((name, number))
                        ends += [error.time] if isinstance(error, NoSubject) else []
                    continue
                if event.id in claimed:
                    self.duplicate += not unread
                    continue
                claimed.add(event.id)
                if not unread:
                    self.events.append((event.time, event))
                    ends.append(event.time)
        self.events.sort(key=lambda pair: pair[0])
        self.end = max(ends, default=None)


def write(folder: Path, name: str, lines: list[bytes], rng: random.Random) -> Path:
    content = b"\n".join(lines) + b"\n" * rng.randrange(2)
    if name.endswith(".gz"):
        content = gzip.compress(content)
    elif name.endswith(".zst"):
        content = zstandard.ZstdCompressor().compress(content)
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("seed", range(150))
def test_against_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Any files with repeats, bad lines and any order give the events, counts, reasons and end the oracle gives.

    Whether everything fits into memory or hardly a record does.

    Semantics: late.simulate
    """
    rng = random.Random(seed)
    monkeypatch.setattr(files_module, "BLOCK", rng.choice([40, 500, 1 << 18]))
    files: dict[str, list[bytes]] = {}
    for n in range(rng.randrange(1, 4)):
        name = f"f{n}.jsonl{rng.choice(['', '', '.gz', '.zst'])}"
        files[name] = [line(rng, rng.choice([5, 40, 10_000]), 30) for _ in range(rng.randrange(60))]
        if rng.random() < 0.3:
            files[name].sort(key=lambda raw: readable_time(raw) or 0)
    until = rng.choice([None, None, START + rng.randrange(16) * SECOND])
    paths = [write(tmp_path, name, lines, rng) for name, lines in files.items()]
    oracle = Oracle(files, until)
    found = Replay(paths, until, bound=rng.choice([1, 700, 1 << 26]))
    chunks = list(found.chunks(rng.choice([1, 7, 1000])))
    assert all(chunks)
    assert [repr(event) for event in itertools.chain(*chunks)] == [repr(event) for _, event in oracle.events]
    assert found.reasons == oracle.reasons
    assert (found.accepted, found.duplicate, found.end) == (len(oracle.events), oracle.duplicate, oracle.end)
    assert found.quarantined == oracle.reasons.total()
    assert found.read == found.accepted + found.duplicate + found.quarantined
    assert [(record.feed, record.position) for record in found.rejected] == sorted(oracle.places)
    assert found.assigned_ids == any(":" in event.id for _, event in oracle.events)


def record(n: int, at: int, **other: Any) -> bytes:
    found = {"id": f"e{n}", "type": "t", "user": "u", "time": format_instant(START + at * SECOND), **other}
    return json.dumps({key: value for key, value in found.items() if value is not ...}).encode()


def replayed(paths: list[Path], until: int | None = None, **other: Any) -> tuple[list[str], Replay]:
    found = Replay(paths, until, **other)
    return [event.id for chunk in found.chunks() for event in chunk], found


def test_order_of_one_instant(tmp_path: Path) -> None:
    """Records of one instant keep the order of (file, line), and files the order in which they were named.

    Semantics: order.key
    """
    for name in "ba":
        lines = [record(n, 5 - n % 2, id=f"{name}{n}") for n in range(6)]
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    ids, _ = replayed([tmp_path / "b.jsonl", tmp_path / "a.jsonl"])
    assert " ".join(ids) == "b1 b3 b5 a1 a3 a5 b0 b2 b4 a0 a2 a4"


def test_first_of_a_repeated_id_stays(tmp_path: Path) -> None:
    """The first in (file, line) order stays, also when the second is earlier in time; it changes nothing.

    Semantics: late.simulate
    """
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([record(1, 50), record(1, 2, data={"x": 1}), record(2, 3), record(1, 99, user=None)]))
    ids, found = replayed([path])
    assert ids == ["e2", "e1"]
    assert (found.read, found.accepted, found.duplicate, found.quarantined) == (4, 2, 2, 0)
    assert found.end == START + 50 * SECOND


def test_quarantine_claims_no_id(tmp_path: Path) -> None:
    """A corrected record sent after a bad one with the same id is taken, as it is by ``run``.

    Semantics: event.quarantine-id
    """
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([record(1, 1, colour=1), record(1, 2, user=None), record(1, 3), record(1, 4)]))
    ids, found = replayed([path])
    assert ids == ["e1"]
    assert found.reasons == {"unknown_key": 1, "no_subject": 1}
    assert found.duplicate == 1
    assert found.end == START + 3 * SECOND


def test_end_counts_records_without_subject(tmp_path: Path) -> None:
    """The clock ends at the last well-formed record, with subject or without; not at a bad one or a repeated one."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([record(1, 1), record(2, 7, user=None), record(3, 9, colour=1), record(1, 8)]))
    _, found = replayed([path])
    assert found.end == START + 7 * SECOND


def test_until_is_inclusive(tmp_path: Path) -> None:
    """Events at ``until`` are read, later ones are not, and are counted nowhere."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([record(3, 3), record(2, 2), record(1, 1), record(9, 3, colour=1), b"{"]))
    ids, found = replayed([path], START + 2 * SECOND)
    assert ids == ["e1", "e2"]
    assert (found.read, found.accepted, found.quarantined) == (3, 2, 1)


def test_assigned_ids(tmp_path: Path) -> None:
    """A record without id is called file:line, by its place in the file, blank lines counted.

    Semantics: event.simulated-id
    """
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" + record(0, 9, id=...) + b"\n\n" + record(0, 2, id=None) + b"\n" + record(7, 3))
    ids, found = replayed([path])
    assert ids == ["a.jsonl:4", "e7", "a.jsonl:2"]
    assert found.assigned_ids
    path.write_bytes(record(1, 1))
    assert not replayed([path])[1].assigned_ids


def test_names(tmp_path: Path) -> None:
    """Ids do not depend on where the files lie; two files of one name are told apart; names can be given."""
    for folder in "xy":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_bytes(record(0, 1, id=...))
    paths = [tmp_path / "x" / "a.jsonl", tmp_path / "y" / "a.jsonl"]
    assert replayed(paths[:1])[0] == ["a.jsonl:1"]
    assert len(set(replayed(paths)[0])) == 2
    assert replayed(paths, names=["x", "y"])[0] == ["x:1", "y:1"]
    assert replayed([paths[0], paths[0]])[0] == [f"{paths[0].as_posix()}:1"]


def test_csv(tmp_path: Path) -> None:
    """CSV rows are ordered with the rest; plain and compressed give the same."""
    text = "n,at,who,x\n" + "".join(f'{n},{format_instant(START + n * 7 % 13 * SECOND)},u,"a\nb"\n' for n in range(20))
    mapping = CsvMapping.of({"id": "n", "type_is": "t", "time": "at", "user": "who"})
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    wanted = [str(n) for n in sorted(range(20), key=lambda n: (n * 7 % 13, n))]
    for name in ("a.csv", "a.csv.gz"):
        assert replayed([tmp_path / name], mapping=mapping)[0] == wanted
    mapping = CsvMapping.of({"type_is": "t", "time": "at", "user": "who"})
    assert replayed([tmp_path / "a.csv"], mapping=mapping)[0][:2] == ["a.csv:2", "a.csv:28"]


def test_rejected_are_limited(tmp_path: Path) -> None:
    """All bad records are counted, the first thousand are kept with line, reason, sentence and bytes."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{\n" * 1500 + record(1, 1))
    ids, found = replayed([path])
    assert ids == ["e1"]
    assert (found.quarantined, found.reasons["json"], len(found.rejected)) == (1500, 1500, 1000)
    first = found.rejected[0]
    assert (first.feed, first.position, first.reason, first.raw) == ("a.jsonl", 1, "json", b"{")
    assert first.message


def test_oversize(tmp_path: Path) -> None:
    """A line that is too long is refused wherever it stands, also when its beginning is blank or looks whole."""
    path = tmp_path / "a.jsonl"
    lines = [
        record(1, 1),
        b" " * 70_000,
        record(2, 2) + b" " * 400_000 + b"x",
        record(3, 3),
        b"y" * 600_000,
        record(4, 0),
    ]
    path.write_bytes(b"\n".join(lines))
    ids, found = replayed([path])
    assert ids == ["e4", "e1", "e3"]
    assert found.reasons == {"oversize": 3}
    assert [record.position for record in found.rejected] == [2, 3, 5]


def test_nothing(tmp_path: Path) -> None:
    """No files or empty files are no events and no end; a missing file is an error that names it."""
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    (tmp_path / "b.jsonl").write_bytes(b"")
    for paths in ([], [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]):
        ids, found = replayed(paths)
        assert ids == []
        assert (found.read, found.end) == (0, None)
    with pytest.raises(CannotRun, match="none"):
        replayed([tmp_path / "none.jsonl"])


def test_file_that_shrinks(tmp_path: Path) -> None:
    """A file cut while it is read is an error, never a silent end."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(record(n, n) for n in range(20_000)))
    chunks = Replay([path]).chunks(10)
    next(chunks)
    path.write_bytes(b"")
    with pytest.raises(CannotRun, match="shorter"):
        list(chunks)


def test_a_pipe_cannot_be_put_in_order(tmp_path: Path) -> None:
    """What can be read once only is refused instead of waited for."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(CannotRun, match=r"pipe\.jsonl is a pipe.*write it to a file"):
        replayed([tmp_path / "pipe.jsonl"])


@pytest.mark.parametrize("shuffled", [False, True])
def test_memory(tmp_path: Path, shuffled: bool) -> None:
    """A feed of thirty times the bound is read within a few times the bound, sorted or not."""
    count, bound = 60_000, 1 << 20
    lines = [record(n, n, data={"text": "x" * 300}) for n in range(count)]
    if shuffled:
        random.Random(1).shuffle(lines)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    del lines
    assert path.stat().st_size > 20 * bound
    tracemalloc.start()
    found = Replay([path], bound=bound)
    total = sum(len(chunk) for chunk in found.chunks(500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == count
    assert peak < 4 * bound + 3_000_000
