"""The disk of the store fills up: nothing that was accepted is lost, and there is a reserve to clean up with."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import FILES, Life

import engine
from engine.core.model import HOUR, MINUTE, SECOND, Event
from engine.errors import StoreFull
from engine.runtime.erasure import DELETED
from engine.stores.sql import sqlite_reserve
from engine.stores.sqlite import SqliteStore

USAGE = namedtuple("USAGE", "total used free")


class Disk:
    """A disk of which only a few files take room, and that has no more than it is said to have."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.size = 1 << 30
        monkeypatch.setattr(shutil, "disk_usage", lambda path: USAGE(self.size, self.used, self.free))

    @property
    def used(self) -> int:
        return sum(it.stat().st_size for it in self.root.glob("s.db*") if it.is_file())

    @property
    def free(self) -> int:
        return max(0, self.size - self.used)

    def fill(self) -> None:
        """Somebody else takes all that is left."""
        self.size = self.used

    def fault(self, point: str) -> None:
        """A commit needs a page or two."""
        if point.endswith(".before_commit") and self.free < 8192:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error


def test_a_full_disk_is_cleaned_up_on_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk nothing is decided; verbs, erasures and housekeeping work on the reserve; with room it goes on.

    Failure: disk.full — on the reserve
    """
    disk = Disk(tmp_path, monkeypatch)
    life = Life(tmp_path)
    daemon = life.start(fault=disk.fault)
    store = life.store
    assert store is not None
    reserve = sqlite_reserve.place(tmp_path / "s.db")
    assert reserve.stat().st_blocks * 512 >= sqlite_reserve.SIZE
    assert daemon.state.reserve
    life.say("user.signup", "u1", name="canary-1")
    life.quiet()

    disk.fill()
    life.say("user.signup", "u2")
    assert daemon.try_turn() is False
    assert (reserve.exists(), daemon.state.ready, daemon.state.troubles[0][0]) == (False, False, "store")

    at = life.clocks.now() + SECOND
    request = Event(id="erase:1", type=DELETED, time=at, user="u1", internal=True)
    taken = life.jobs.submit(lambda it: it.ingest([(request, b"")], []))
    for _ in range(4):
        life.clocks.pass_(SECOND)
        assert daemon.try_turn() is False
        assert not daemon.state.ready
    assert taken.result() == (1, 0)
    assert store.erased(["u1"])["u1"] >= at
    assert not [it for it, _ in store.events("u1") if "canary" in str(it.data)]
    assert not store.load(["u2"]), "nothing is decided"

    disk.size += sqlite_reserve.SIZE + sqlite_reserve.MARGIN + (1 << 20)
    life.clocks.pass_(SECOND)
    assert daemon.try_turn() or daemon.state.ready
    life.quiet()
    assert (reserve.exists(), daemon.state.ready, daemon.state.reserve) == (True, True, True)
    life.pass_(2 * HOUR)
    assert [it.detail["text"] for it in life.effects() if it.user == "u2"] == ["hello", "again"]
    assert "u1" not in store.load(["u1"]) or not store.load(["u1"])["u1"].journeys
    assert store.check() == []
    assert daemon.state.counts.get("conflicts", 0) == 0
    life.end()


def test_leaving_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The good-bye to the store is written on the reserve; the next process begins on the full disk and waits."""
    disk = Disk(tmp_path, monkeypatch)
    life = Life(tmp_path)
    life.start(fault=disk.fault)
    life.say("user.signup", "u1")
    life.quiet()
    disk.fill()
    life.end()
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert store.get_meta("daemon") == "", "nobody has to be suspected"
    store.close()
    daemon = life.start(fault=disk.fault)
    assert not daemon.state.reserve
    disk.size += 4 * sqlite_reserve.SIZE
    life.say("user.signup", "u2")
    daemon._house.call()
    life.pass_(MINUTE)
    assert {user for user, _ in life.texts()} == {"u1", "u2"}
    assert daemon.state.reserve
    life.end()


def test_a_job_finds_the_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in over HTTP meets the full disk first: whoever sent it is told, and the daemon knows it, too."""
    disk = Disk(tmp_path, monkeypatch)
    life = Life(tmp_path)
    daemon = life.start(fault=disk.fault)
    disk.fill()
    event = Event(id="e1", type="user.signup", time=life.clocks.now(), user="u1")
    taken = life.jobs.submit(lambda store: store.ingest([(event, b"{}")], []))
    assert daemon.try_turn() is False
    with pytest.raises(StoreFull, match="reserve"):
        taken.result()
    assert daemon.state.troubles[0][0] == "store"
    life.end()


# ---------------------------------------------------------------------- a real disk, a real process

SERVICE = FILES | {
    "drumbeat.yaml": """\
program: full
store: sqlite:///disk/drumbeat.db
feeds: [{http: {port: 0}}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
}
PATIENCE = 60.0
_ROOMS = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def _room() -> list[str] | None:
    """How a process gets a disk of its own here."""
    for way in _ROOMS:
        try:
            if not subprocess.run([*way, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
                return way
        except OSError:
            return None
    return None


class Small:
    """A daemon whose store and log stand on a disk of 48 MiB."""

    def __init__(self, root: Path, way: list[str]) -> None:
        self.root, self.way = root, way
        for name, text in SERVICE.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        self.disk = root / "disk"
        self.disk.mkdir()
        self.keeper = subprocess.Popen(
            [*way, "sh", "-c", f"mount -t tmpfs -o size=48m tmpfs '{self.disk}' && echo up && exec sleep 600"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.keeper.stdout is not None
        assert self.keeper.stdout.readline() == b"up\n"
        self.inside = Path(f"/proc/{self.keeper.pid}/root") / self.disk.relative_to("/")
        self.all = [self.keeper]
        self.daemon: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        more = ["--user", "--preserve-credentials"] if "--user" in self.way else []
        line = "log=$1; shift; exec \"$@\" 2>>\"$log\""
        process = subprocess.Popen(
            ["nsenter", "-t", str(self.keeper.pid), *more, "--mount", "sh", "-c", line, "sh", str(self.disk / "log"),
             sys.executable, "-m", "engine", *words, "--program", str(self.root)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(engine.__file__).parents[1])},
        )  # fmt: skip
        self.all.append(process)
        return process

    def start(self) -> None:
        self.daemon = self.run("run", "--logs", "json")

    def log(self) -> str:
        return (self.inside / "log").read_text(encoding="utf-8", errors="replace")

    def port(self) -> int:
        last = self.log().rpartition("listening: http://127.0.0.1:")[2]
        return int(last.partition("\n")[0])

    def post(self, number: int) -> tuple[int, str | None]:
        row = {"id": f"e{number}", "type": "user.signup", "user": f"u{number}", "time": datetime.now(UTC).isoformat(),
               "data": {"pad": "x" * 4_000}}
        link = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=PATIENCE)
        try:
            link.request("POST", "/v1/events", json.dumps(row), {"content-type": "application/json"})
            answer = link.getresponse()
            answer.read()
            return answer.status, answer.getheader("retry-after")
        finally:
            link.close()

    def ready(self) -> int:
        link = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=PATIENCE)
        try:
            link.request("GET", "/readyz")
            return link.getresponse().status
        finally:
            link.close()

    def fill(self) -> None:
        with (self.inside / "filler").open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                return

    def leave(self) -> int:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(PATIENCE)

    def close(self) -> None:
        for it in reversed(self.all):
            if it.poll() is None:
                it.kill()
                it.wait()
            if it.stdout is not None:
                it.stdout.close()


def until(call: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := call()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
    return found


def test_a_real_disk_fills_up(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Store and log on a full disk: 503 with Retry-After, verbs work, SIGTERM leaves in order, a start waits for room;
    with room everything accepted is decided, and nothing else.

    Failure: disk.full — a real one, and the log's
    """
    way = _room()
    if way is None:
        pytest.skip("no disk of one's own can be had here; the tests above hold on their own")
    small = Small(tmp_path, way)
    try:
        small.start()
        until(lambda: (small.inside / "log").exists() and "at work: " in small.log())
        accepted = [n for n in range(20) if small.post(n)[0] == 202]
        assert len(accepted) == 20
        assert (small.inside / "drumbeat.db.reserve").stat().st_blocks * 512 >= sqlite_reserve.SIZE

        small.fill()
        number, answer = 20, (202, None)
        while answer[0] == 202:  # what the log of the file has room for goes in
            answer = small.post(number)
            accepted += [number] if answer[0] == 202 else []
            number += 1
        assert answer == (503, "5")
        assert not (small.inside / "drumbeat.db.reserve").exists()
        assert until(lambda: small.ready() == 503)
        erase = small.run("users", "erase", "u0")
        assert erase.communicate(timeout=PATIENCE)[0]
        assert erase.returncode == 0
        small.fill()
        assert small.leave() == 0

        small.start()  # the reserve is gone: it waits, and is not ended by anything
        time_up = time.monotonic() + 1.0
        while time.monotonic() < time_up:
            assert small.daemon is not None
            assert small.daemon.poll() is None
            time.sleep(0.05)
        (small.inside / "filler").unlink()
        begun = time.monotonic()
        until(lambda: small.log().count("at work: ") >= 1 and _taken(small, number))
        record_property("seconds", time.monotonic() - begun)
        accepted.append(number)
        assert small.leave() == 0
        shutil.copy(small.inside / "drumbeat.db", tmp_path / "after.db")
        store = SqliteStore.open(tmp_path / "after.db", read_only=True)
        try:
            assert store.check() == []
            assert {it.user for it, _ in store.effects()} >= {f"u{n}" for n in accepted if n}
            assert "u0" in store.erased(["u0"])
        finally:
            store.close()
    finally:
        small.close()


def _taken(small: Small, number: int) -> bool:
    try:
        return small.post(number)[0] == 202
    except (OSError, ValueError):
        return False
