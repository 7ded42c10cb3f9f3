"""What a daemon does beside its work: forget what is old, look after its file, write it anew after an erasure."""

from __future__ import annotations

import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import BASE, FILES, Life

from engine.core.model import DAY, HOUR, MINUTE
from engine.runtime import daemon as daemon_module
from engine.runtime import housekeeping
from engine.stores.sqlite import SqliteStore

CANARY = "canary-1357"
KEPT = "retention: {events: 30d, ids: 40d, decisions: 30d, quarantine: 7d}\n"


def life(root: Path, keys: str = KEPT, **files: str) -> Life:
    return Life(root, {**FILES, "drumbeat.yaml": FILES["drumbeat.yaml"] + keys, **files})


def rounds(life: Life, microseconds: int, step: int = HOUR) -> None:
    """Time goes by, with an alarm at each step."""
    left = microseconds
    while left > 0:
        life.clocks.pass_(step)
        assert life.daemon is not None
        life.daemon._house.call()
        life.quiet()
        left -= step


def check(store: SqliteStore | None) -> None:
    assert store is not None
    assert store.check() == []


def test_a_year_goes_by(tmp_path: Path) -> None:
    """The daemon forgets day by day what is older than the program says; what it decides does not change by it.

    Semantics: retention.forgets, event.remembered-configurable
    """
    lives = []
    for name, keys in (("kept", ""), ("forgotten", KEPT)):
        (tmp_path / name).mkdir()
        one = life(tmp_path / name, keys)
        lives.append(one)
        one.start()
        for day in range(60):
            one.say("user.signup", f"u{day % 20}", id_=f"s{day}")
            with (one.root / "feed/b.jsonl").open("a") as feed:
                feed.write("{broken\n")
            one.quiet()
            rounds(one, DAY, 6 * HOUR)
    kept, forgotten = (it.store for it in lives)
    assert kept is not None
    assert forgotten is not None
    assert lives[0].sent() == lives[1].sent()
    assert [it.key for it, _ in kept.effects()] == [it.key for it, _ in forgotten.effects()]
    assert kept.counts() == forgotten.counts()
    assert [sum(1 for _ in it.events("u0")) for it in (kept, forgotten)] == [3, 1]
    ids = [f"s{day}" for day in range(60)]
    assert kept.known(ids) == set(ids)
    assert forgotten.known(ids) == {f"s{day}" for day in range(20, 60)}
    assert [sum(1 for _ in it.quarantine()) for it in (kept, forgotten)] == [60, 7]
    assert lives[1].daemon is not None
    assert lives[1].daemon.state.counts["forgotten.ids"] == 20
    for one in lives:
        check(one.store)
        one.end()


def test_much_is_forgotten_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is much goes a piece a turn, and new events are decided between the pieces."""
    monkeypatch.setattr(housekeeping, "PIECE", 200)
    one = life(tmp_path)
    daemon = one.start()
    for n in range(1_000):
        one.say("page.seen", f"u{n}")
    one.quiet()
    one.clocks.pass_(31 * DAY)
    daemon._last_turn = one.clocks.wall
    daemon._house.call()
    turns = 0
    while daemon.turn():
        turns += 1
        if turns == 2:
            one.say("user.signup", "new")
    assert turns >= 5
    assert one.texts() == [("new", "hello")]
    assert 800 <= daemon.state.counts["forgotten.events"] <= 1_000
    check(one.store)
    one.end()


def test_nothing_goes_by_a_doubtful_clock(tmp_path: Path) -> None:
    """While a jump of the machine's clock is not believed, nothing is forgotten."""
    one = life(tmp_path)
    daemon = one.start()
    for n in range(3):
        one.say("page.seen", f"u{n}")
        one.quiet()
    one.clocks.jump(365 * DAY)
    one.clocks.pass_(MINUTE)
    daemon._house.call()
    one.quiet()
    assert daemon.state.status == "paused"
    assert daemon.state.counts.get("forgotten.events", 0) == 0
    one.end()


def erased(one: Life) -> Any:
    """A daemon that has just erased somebody."""
    daemon = one.start()
    one.say("user.signup", "u1", name=CANARY)
    one.quiet()
    one.clocks.pass_(MINUTE)
    one.say("user.deleted", "u1")
    one.quiet()
    assert one.store is not None
    assert one.store.unscrubbed()
    return daemon


def held(root: Path) -> bool:
    return CANARY.encode() in b"".join(it.read_bytes() for it in root.glob("s.db*"))


def test_the_file_is_written_anew_after_an_erasure(tmp_path: Path) -> None:
    """A small file is written anew in the next round: no byte of the erased is left, and nothing else changes.

    Semantics: erasure.records — by housekeeping
    """
    one = life(tmp_path)
    daemon = erased(one)
    assert held(tmp_path)
    rounds(one, HOUR)
    assert not held(tmp_path)
    assert one.store is not None
    assert not one.store.unscrubbed()
    assert daemon.state.counts["scrubs"] == 1
    rounds(one, 3 * HOUR)
    assert daemon.state.counts["scrubs"] == 1
    check(one.store)
    one.end()


def test_a_large_file_waits_for_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger file is written anew only in the small hours of the program's zone, and only where there is room."""
    monkeypatch.setattr(housekeeping, "SMALL", 0)
    one = life(tmp_path, KEPT + "timezone: Asia/Shanghai\n")  # it begins at eight in the morning there
    daemon = erased(one)
    assert BASE % DAY == 0
    rounds(one, 18 * HOUR)
    assert daemon.state.counts.get("scrubs", 0) == 0
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, housekeeping.RESERVE))
        rounds(one, HOUR)
    assert daemon.state.counts.get("scrubs", 0) == 0
    rounds(one, HOUR)
    assert daemon.state.counts["scrubs"] == 1
    assert not held(tmp_path)
    one.end()


def test_a_reader_in_the_way_is_waited_for(tmp_path: Path) -> None:
    """While somebody reads an old state of the file its log cannot be emptied: the next round does it again."""
    one = life(tmp_path)
    one.start(busy_seconds=0.01)
    one.end()
    daemon = erased(one)
    assert one.store is not None
    one.store._file.run("pragma busy_timeout = 10")
    reader = SqliteStore.open(tmp_path / "s.db", read_only=True)
    with reader._file.snapshot():
        assert reader.clock() > 0
        rounds(one, HOUR)
        assert one.store.unscrubbed()
        assert held(tmp_path)
    reader.close()
    rounds(one, HOUR)
    assert not one.store.unscrubbed()
    assert not held(tmp_path)
    assert daemon.state.counts["scrubs"] == 2
    one.end()


def test_the_disk_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is told; a disk that is nearly full is said once, and stands in the reason until there is room again."""
    one = life(tmp_path)
    daemon = one.start()
    shouts: list[str] = []
    monkeypatch.setattr(daemon.state, "shout", shouts.append)
    rounds(one, MINUTE, MINUTE)
    room = daemon.state.room
    assert room is not None
    assert room.size > 0
    assert room.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(9, 9, 5 << 20))
        rounds(one, 3 * MINUTE, MINUTE)
        assert shouts == ["only 5 MiB are free on the disk of the store: make room"]
        assert daemon.state.reason == "only 5 MiB are free on the disk of the store"
        assert daemon.state.ready
    rounds(one, MINUTE, MINUTE)
    assert daemon.state.reason == ""
    one.end()


def test_the_day_is_counted(tmp_path: Path) -> None:
    """Once a day the store notes, inside and beside, that it went on: an older copy put back is found out."""
    one = life(tmp_path)
    one.start()
    assert one.store is not None
    one.store._file.count_epoch()
    before = int(one.store.get_meta("epoch") or 0)
    rounds(one, 3 * DAY)
    assert int(one.store.get_meta("epoch") or 0) == before + 3
    one.end()


def test_run_once_keeps_house_too(tmp_path: Path) -> None:
    """A daemon that is started by a timetable forgets as well."""
    one = life(tmp_path)
    one.start()
    for n in range(3):
        one.say("page.seen", f"u{n}")
        one.quiet()
    one.end()
    one.clocks.pass_(31 * DAY)
    daemon = one.start()
    daemon.run_once()
    assert daemon.state.counts["forgotten.events"] == 2
    assert one.store is not None
    one.store.close()


def test_the_alarm_rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that runs for good keeps house without being asked."""
    monkeypatch.setattr(daemon_module, "MINUTE_SECONDS", 0.02)
    one = life(tmp_path)
    daemon = one.start()
    until, pause = time.monotonic() + 60, threading.Event()

    def watch() -> None:
        while daemon.state.room is None and time.monotonic() < until:
            pause.wait(0.02)
        daemon.stop()

    watcher = threading.Thread(target=watch)
    watcher.start()
    daemon.run()
    watcher.join()
    assert daemon.state.room is not None
    assert one.store is not None
    one.store.close()
