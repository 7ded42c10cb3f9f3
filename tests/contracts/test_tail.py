"""Followed files: renamed, cut, replaced and new ones; across restarts, and whoever still writes to an old one."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.core.model import MINUTE, SECOND
from engine.errors import CannotRun
from engine.feeds import FEEDS
from engine.feeds.files import BLOCK, JsonlFeed
from engine.feeds.trail import Memory
from engine.ports import Feed, Gathering, LiveFeed, Record
from engine.runtime.merge import Merge
from engine.site import Site


def event(n: int, pad: int = 0) -> bytes:
    body = f'{{"id":"e{n}","type":"t","user":"u","time":"2026-03-01T02:00:00Z","data":{{"pad":"{"x" * pad}"}}}}'
    return body.encode()


def lines(first: int, last: int) -> bytes:
    return b"".join(event(n) + b"\n" for n in range(first, last))


def told(records: Sequence[Record]) -> list[str]:
    return [r.event.id if r.event is not None else f"!{r.reason}" for r in records]


def names(first: int, last: int) -> list[str]:
    return [f"e{n}" for n in range(first, last)]


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


class Reader:
    """Reads feeds as the pump does: merged, positions committed after each round; may be started anew."""

    def __init__(self, root: Path, pattern: str = "app.jsonl") -> None:
        seconds = itertools.count()
        self.site = Site(root, notes=Memory(), now=lambda: next(seconds) * SECOND)
        self.pattern = pattern
        self.positions: dict[str, int] = {}
        self.got: list[Record] = []
        self.feeds: list[Feed] = []
        self.start()

    def start(self) -> None:
        """A new process with the positions and the notes of the old one."""
        for feed in self.feeds:
            if isinstance(feed, LiveFeed):
                feed.close()
        self.feeds = JsonlFeed.open({"path": self.pattern}, self.site)

    def read(self, limit: int = 1 << 30, commit: bool = True) -> list[str]:
        """One round; what it gave."""
        merge = Merge(self.feeds, lambda name: self.positions.get(name, 0))
        records = merge.take(limit)
        if commit:
            for record in records:
                assert record.position > self.positions.get(record.feed, 0)
                self.positions[record.feed] = record.position
            self.got += records
        return told(records)


@pytest.fixture(params=[False, True], ids=["running", "restarted"])
def again(request: pytest.FixtureRequest) -> bool:
    """Is the reader started anew after each thing that happens?"""
    return bool(request.param)


def test_grows(tmp_path: Path, again: bool) -> None:
    """What is appended is read; a line that is half written waits for its end."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    assert reader.read() == []
    for n in range(0, 40, 10):
        add(path, lines(n, n + 9) + event(n + 9)[:20])
        assert reader.read() == names(n, n + 9)
        assert reader.read() == []
        add(path, event(n + 9)[20:] + b"\n")
        if again:
            reader.start()
        assert reader.read() == names(n + 9, n + 10)


def test_byte_order_mark(tmp_path: Path, again: bool) -> None:
    """Each file that begins with a mark, also the successor of a renamed one, gives its first record; a line behind
    the beginning that has one does not."""
    reader, path, mark = Reader(tmp_path), tmp_path / "app.jsonl", b"\xef\xbb\xbf"
    for turn in range(2):
        add(path, mark + lines(10 * turn, 10 * turn + 2))
        assert reader.read() == names(10 * turn, 10 * turn + 2)
        if again:
            reader.start()
        add(path, mark + lines(10 * turn + 2, 10 * turn + 4))
        assert reader.read() == ["!json", *names(10 * turn + 3, 10 * turn + 4)]
        path.rename(tmp_path / f"app.jsonl.{turn}")


def test_renamed(tmp_path: Path, again: bool) -> None:
    """A renamed file is read to its end, then its successor, again and again; nothing is lost or repeated."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    for turn in range(5):
        add(path, lines(10 * turn, 10 * turn + 5))
        assert reader.read() == names(10 * turn, 10 * turn + 5)
        add(path, lines(10 * turn + 5, 10 * turn + 9))  # nobody has read these when the file is renamed
        path.rename(tmp_path / f"app.jsonl.{turn}")
        if again:
            reader.start()
        add(path, lines(10 * turn + 9, 10 * turn + 10))
        assert reader.read() == names(10 * turn + 5, 10 * turn + 10)
        assert reader.read() == []
    assert told(reader.got) == names(0, 50)


def test_still_written_to(tmp_path: Path, again: bool) -> None:
    """A writer that goes on in the renamed file for a while loses nothing, not even half a line."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    add(path, lines(0, 3) + event(3)[:30])
    reader.read()
    old = path.rename(tmp_path / "app.jsonl.1")
    add(path, lines(10, 13))
    assert reader.read() == names(10, 13)
    if again:
        reader.start()
    add(old, event(3)[30:] + b"\n" + lines(4, 6))
    assert reader.read() == names(3, 6)
    add(old, lines(6, 7))
    add(path, lines(13, 15))
    assert sorted(reader.read()) == sorted([*names(6, 7), *names(13, 15)])
    if again:
        reader.start()
    add(path, lines(15, 16))
    assert reader.read() == names(15, 16)
    assert reader.read() == []


def test_copied_and_cut(tmp_path: Path, again: bool) -> None:
    """copytruncate: what was not read before the cut is read in the copy, then the file from its new beginning."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    for turn in range(3):
        add(path, lines(20 * turn, 20 * turn + 5))
        assert reader.read() == names(20 * turn, 20 * turn + 5)
        add(path, lines(20 * turn + 5, 20 * turn + 8))
        shutil.copy(path, tmp_path / f"app.jsonl.{turn}")
        os.truncate(path, 0)
        add(path, lines(20 * turn + 8, 20 * turn + 19))  # longer than before: its size alone tells nothing
        if again:
            reader.start()
        assert reader.read() == names(20 * turn + 5, 20 * turn + 19)
        add(path, lines(20 * turn + 19, 20 * turn + 20))
        assert reader.read() == names(20 * turn + 19, 20 * turn + 20)
        (tmp_path / f"app.jsonl.{turn}").unlink()


def test_cut_without_a_copy(tmp_path: Path) -> None:
    """A file that was cut and has no copy goes on from its new beginning, and the feed says what may be missing."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    add(path, lines(0, 5))
    reader.read()
    path.write_bytes(lines(5, 7))
    assert reader.read() == names(5, 7)
    (feed,) = reader.feeds
    assert isinstance(feed, LiveFeed)
    assert "was cut" in feed.lag().says


def test_removed_while_down(tmp_path: Path) -> None:
    """A file that went while nobody looked is missed aloud; its successor is read from the beginning."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    add(path, lines(0, 5))
    reader.read()
    path.unlink()
    add(path, lines(5, 9))  # often with the very same inode
    reader.start()
    assert reader.read() == names(5, 9)
    (feed,) = reader.feeds
    assert isinstance(feed, LiveFeed)
    assert "not to be found" in feed.lag().says


def test_last_words(tmp_path: Path) -> None:
    """A line without a newline in a file that is given up is a record too: an event, or one for quarantine."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    ends = [event(1), event(3)[:25], b"", b"", b""]
    for turn, end in enumerate(ends):
        add(path, lines(10 * turn + 10, 10 * turn + 12) + end)
        reader.read()
        path.rename(tmp_path / f"app.jsonl.{turn}")
    add(path, lines(60, 61))
    reader.read()
    assert sorted(told(reader.got)) == sorted(
        ["e1", "!json", "e60", *(f"e{n}" for turn in range(5) for n in (10 * turn + 10, 10 * turn + 11))]
    )


def test_gone_for_good(tmp_path: Path) -> None:
    """The rest of a file that was removed is read when it does not grow any more."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    add(path, lines(0, 2) + event(2))
    assert reader.read() == names(0, 2)
    path.unlink()
    add(path, lines(3, 4))
    assert reader.read() == names(3, 4)
    assert reader.read() + reader.read() == names(2, 3)


def test_uncommitted_is_read_again(tmp_path: Path, again: bool) -> None:
    """What was read over a rename and not committed is read again, whatever happened meanwhile."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    add(path, lines(0, 3))
    assert reader.read(2) == names(0, 2)
    path.rename(tmp_path / "app.jsonl.1")
    add(path, lines(3, 6))
    assert reader.read(commit=False) == names(2, 6)
    path.rename(tmp_path / "app.jsonl.2")
    add(path, lines(6, 8))
    if again:
        reader.start()
    assert reader.read(commit=False) == names(2, 8)
    assert reader.read(3) == names(2, 5)
    assert reader.read() == names(5, 8)


def test_pattern(tmp_path: Path, again: bool) -> None:
    """Semantics: feed.followed — new files of a pattern join; one that only got another name is read to its end."""
    reader = Reader(tmp_path, "logs/*.jsonl")
    assert reader.read() == []
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "app.jsonl"
    add(path, lines(0, 3))
    add(tmp_path / "logs" / "other.jsonl", lines(100, 102))
    assert sorted(reader.read()) == sorted([*names(0, 3), *names(100, 102)])
    add(path, lines(3, 5))
    path.rename(tmp_path / "logs" / "app-01.jsonl")
    if again:
        reader.start()
    assert reader.read() == names(3, 5)
    add(path, lines(5, 7))
    if again:
        reader.start()
    assert reader.read() == names(5, 7)
    path.rename(tmp_path / "logs" / "app-02.jsonl")
    add(tmp_path / "logs" / "app-02.jsonl", lines(7, 8))
    add(tmp_path / "logs" / "app-03.jsonl", lines(200, 201))
    if again:
        reader.start()
    assert sorted(reader.read()) == sorted([*names(7, 8), *names(200, 201)])
    assert reader.read() == []
    assert reader.positions.keys() == {"file:logs/app.jsonl", "file:logs/other.jsonl", "file:logs/app-03.jsonl"}


def test_sleeping_files_wake_up(tmp_path: Path) -> None:
    """Files that have been quiet are not held open, and are read on when they grow or are renamed."""
    reader = Reader(tmp_path, "*.jsonl")
    newest = 0

    def now() -> int:
        return newest + 6 * MINUTE

    reader.site = replace(reader.site, now=now)
    reader.start()
    for n in range(20):
        add(tmp_path / f"f{n}.jsonl", lines(n, n + 1))
    newest = max(path.stat().st_mtime_ns for path in tmp_path.iterdir()) // 1000
    held = open_files(tmp_path)
    assert sorted(reader.read(commit=False)) == sorted(names(0, 20))
    assert open_files(tmp_path) == held
    assert sorted(reader.read()) == sorted(names(0, 20)), "what was given up is read again, asleep or not"
    assert reader.read() == []
    assert open_files(tmp_path) == held
    add(tmp_path / "f3.jsonl", lines(50, 51))
    (tmp_path / "f4.jsonl").rename(tmp_path / "g4.jsonl")
    add(tmp_path / "f4.jsonl", lines(60, 61))
    newest += 2_000_000
    assert sorted(reader.read()) == ["e50", "e60"]


def open_files(folder: Path) -> int:
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(str(folder))
        except FileNotFoundError:
            continue
    return found


def test_until_idle_then_the_daemon(tmp_path: Path) -> None:
    """Positions of ``run --until-idle`` hold in the daemon, and the daemon's in a later ``run --until-idle``."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    live = reader.site
    add(path, lines(0, 3))
    reader.site = replace(live, final=True)
    reader.start()
    assert reader.read() == names(0, 3)
    reader.site = live
    add(path, lines(3, 5))
    reader.start()
    assert reader.read() == names(3, 5)
    path.rename(tmp_path / "app.jsonl.1")
    add(path, lines(5, 7) + event(7))
    reader.site = replace(live, final=True)
    reader.start()
    assert reader.read() == names(5, 8)  # nothing is waited for now, not even a newline


def test_until_idle_alone(tmp_path: Path) -> None:
    """Where no daemon has followed a file, one that became shorter is still refused by ``run --until-idle``."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    reader.site = replace(reader.site, final=True)
    add(path, lines(0, 3))
    reader.start()
    reader.read()
    path.write_bytes(lines(3, 4))
    reader.start()
    with pytest.raises(CannotRun, match="shorter"):
        reader.read()


def test_long_and_blank_lines(tmp_path: Path) -> None:
    """Lines longer than a block, blank ones and oversize ones are read as in a whole file."""
    reader, path = Reader(tmp_path), tmp_path / "app.jsonl"
    content = b"\n\n" + lines(0, 2) + b"  \n" + b"x" * (2 * BLOCK) + b"\n" + lines(2, 4) + b"y" * (2 * BLOCK)
    add(path, content)
    assert reader.read() == ["e0", "e1", "!oversize", "e2", "e3"]
    assert reader.read() == []
    add(path, b"\n\n")
    path.rename(tmp_path / "app.jsonl.1")
    add(path, b"\n\n")
    assert reader.read() == ["!oversize"]
    add(path, lines(4, 5))
    assert reader.read() == ["e4"]


def test_nothing_held_by_the_rest(tmp_path: Path) -> None:
    """Compressed files and tables of a pattern are read beside those that are followed."""
    import gzip

    (tmp_path / "old.jsonl.gz").write_bytes(gzip.compress(lines(0, 2)))
    reader = Reader(tmp_path, "*.jsonl*")
    add(tmp_path / "app.jsonl", lines(2, 4))
    assert sorted(reader.read()) == names(0, 4)
    assert reader.read() == []
    (feed,) = reader.feeds
    assert isinstance(feed, Gathering)
    assert [it.name for it in feed.members()] == ["file:app.jsonl", "file:old.jsonl.gz"]


def actions(seed: int, path: Path) -> Iterator[str]:
    """Things that happen to a log, in an order the seed chooses."""
    chance = random.Random(seed)
    written, turn, writers = 0, 0, [path]
    for _ in range(60):
        what = chance.choice(["write", "write", "write", "rename", "cut", "read", "part", "restart", "giveup"])
        if what == "write":
            count = chance.randrange(1, 6)
            add(chance.choice(writers[-2:]), lines(written, written + count))
            written += count
        elif what == "rename" and path.exists() and path.stat().st_size:
            yield "giveup"  # nobody can know of a file that came and went between two looks, or was empty all the time
            writers[-1] = path.rename(path.with_name(f"app.jsonl.{turn}"))
            writers.append(path)
            turn += 1
        elif what == "cut" and path.exists() and len(writers) < 2:
            yield "read"  # a copy of what nobody ever saw is a new file
            shutil.copy(path, path.with_name(f"app.jsonl.{turn}"))
            os.truncate(path, 0)
            turn += 1
        else:
            yield what
    yield f"end {written}"


@pytest.mark.parametrize("seed", [*range(40), 56, 89, 2116])
def test_whatever_happens(tmp_path: Path, seed: int) -> None:
    """Semantics: feed.followed — writing, renaming, cutting, restarting, giving up, in any order: each record once."""
    reader = Reader(tmp_path)
    for what in actions(seed, tmp_path / "app.jsonl"):
        if what == "read":
            reader.read()
        elif what == "part":
            reader.read(3)
        elif what == "giveup":
            reader.read(4, commit=False)
        elif what == "restart":
            reader.start()
        elif what.startswith("end"):
            reader.read()
            reader.read()
            assert sorted(told(reader.got)) == sorted(names(0, int(what.split()[1])))


def test_word() -> None:
    """The word ``file`` stands for it in the daemon."""
    assert FEEDS.get("file") is JsonlFeed
