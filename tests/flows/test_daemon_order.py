"""The order of the daemon: what stands in the feeds first, then what is due; nobody starves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import BASE, FILES, Life, recompiled

from engine.cli.user import lines as user_lines
from engine.cli.why import lines as why_lines
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, MINUTE, SECOND, Event, State
from engine.core.moment import Moment
from engine.core.slots import Due
from engine.errors import StoreError
from engine.feeds.files import JsonlFeed
from engine.insight.subject import portrait
from engine.insight.why import answer
from engine.ports import Batch, Feed, Lag, Record, Store
from engine.runtime import standing
from engine.runtime.gather import Gather
from engine.runtime.masking import Mask
from engine.runtime.suspects import Suspects
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

WAITING = FILES | {
    "playbooks/hello.yaml": """\
playbook: hello
title: Who does not order within the hour is asked
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
steps:
  - wait_for:
      event: order.paid
      up_to: 1h
      then: [{message: {template: again, via: box, purpose: service}}]
      else: [{message: {template: hello, via: box, purpose: service}}]
""",
}

SLOTS = FILES | {
    "playbooks/daily.yaml": """\
playbook: daily
title: Every hour
trigger: {schedule: {cron: "0 * * * *", audience: user.city == "x"}}
entry: {mode: parallel, limit: unlimited}
steps: [{points: 1}]
""",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
}


def test_an_unread_event_comes_before_what_is_due_after_it(tmp_path: Path) -> None:
    """The daemon was away: an order from before the deadline is read first, and one after it comes too late.

    Semantics: wait-for.deadline — in the daemon too, however late it comes to read the order
    """
    life = Life(tmp_path, WAITING)
    life.start()
    life.say("user.signup", "u1")
    life.say("user.signup", "u2")
    life.quiet()
    life.end()
    life.clocks.pass_(3 * HOUR)
    life.say("order.paid", "u1", ago=2 * HOUR + MINUTE)
    life.say("order.paid", "u2", ago=2 * HOUR - MINUTE)
    life.start()
    life.quiet()
    assert sorted(life.texts()) == [("u1", "again"), ("u2", "hello")]
    life.end()


def test_what_came_late_is_told_with_both_instants(tmp_path: Path) -> None:
    """The daemon was away: `why` shows the due instant and when it was carried out; `user` marks a late event, which
    changed state only, and when it came.

    Semantics: late.told
    """
    life = Life(tmp_path)
    life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.end()
    life.clocks.pass_(3 * HOUR)
    life.say("user.updated", "u1", ago=30 * HOUR, city="x")
    daemon = life.start()
    life.quiet()
    assert life.store is not None
    plan = daemon.program.plan
    said = answer(plan, life.store, "u1", fresh=MemoryStore)
    due, done = format_instant(BASE + HOUR), format_instant(BASE + 3 * HOUR)
    hello = said["playbooks"]["hello"]
    assert (hello["last"]["time"], hello["last"]["carried_out"]) == (due, done)
    assert hello["entry"]["carried_out"] is None
    assert [(it["time"], it["due"]) for it in hello["effects"]] == [(format_instant(BASE), None), (done, due)]
    text = "\n".join(why_lines(said))
    assert f"finished at {due} (due then, carried out at {done}), by time (wait)" in text
    assert f"{done} (due at {due}) message" in text
    seen = portrait(plan, life.store, "u1")
    events = {it["event"]: (it["late"], it["decided"]) for it in seen["timeline"] if "event" in it}
    assert events == {"user.signup": (False, None), "user.updated": (True, done)}
    assert seen["traits"]["city"] == "x"
    assert f"(late, came at {done}: it changed state only)" in "\n".join(user_lines(seen))
    life.end()


def test_a_backlog_is_read_before_what_is_due(tmp_path: Path) -> None:
    """More events stand in the feeds than a piece holds: what is due waits for those before it.

    Semantics: order.visible — however many pieces it takes
    """
    life = Life(tmp_path, WAITING)
    life.start()
    for number in range(7):
        life.say("user.signup", f"u{number}")
    life.quiet()
    life.end()
    life.clocks.pass_(3 * HOUR)
    for number in range(7):
        life.say("order.paid", f"u{number}", ago=2 * HOUR + MINUTE, feed="ab"[number % 2])
    life.start(piece=2)
    life.quiet()
    assert {text for _, text in life.texts()} == {"again"}
    life.end()


def test_new_events_overtake_what_is_due_for_others(tmp_path: Path) -> None:
    """While more is due than a transaction holds, a new user is greeted before all the old ones are; and a user's own
    wake-up still comes before the user's event.

    Semantics: order.fair — nobody starves, and nobody's own order changes
    Failure: wakes.flood
    """
    life = Life(tmp_path)
    life.start(piece=1_000)
    for number in range(900):
        life.say("user.signup", f"u{number:03d}")
    life.quiet()
    life.end()
    life.clocks.pass_(2 * HOUR)
    daemon = life.start(piece=10)
    life.say("user.signup", "new")
    life.say("app.left", "u899")  # exits the journey; but its hour was over before
    daemon.turn()
    texts = life.texts()
    assert ("new", "hello") in texts
    assert ("u899", "again") in texts
    assert sum(text == "again" for _, text in texts) < 900
    life.quiet()
    assert sorted(life.texts()) == sorted([(f"u{n:03d}", text) for n in range(900) for text in ("hello", "again")]
                                          + [("new", "hello")])
    life.end()


def test_slots_between_events(tmp_path: Path) -> None:
    """A slot looks at users as they were when it was its turn: after the events before it, before those behind it."""
    life = Life(tmp_path, SLOTS, at=BASE + 59 * MINUTE)
    life.start()
    life.say("user.signup", "u1", city="x")
    life.quiet()
    life.clocks.pass_(2 * MINUTE)
    life.say("user.signup", "u2", ago=90 * SECOND, city="x")
    life.say("user.updated", "u1", ago=30 * SECOND, city="y")
    life.quiet()
    assert sorted((it.user, it.time) for it in life.effects("points")) == [("u1", BASE + HOUR), ("u2", BASE + HOUR)]
    life.end()


def test_an_event_ahead_of_the_clock_wakes_nobody_early(tmp_path: Path) -> None:
    """An event may lie some minutes ahead: the wake-ups and slots of others wait for their time all the same."""
    life = Life(tmp_path, SLOTS, at=BASE + 57 * MINUTE)
    life.start()
    life.say("user.signup", "u1", city="x", ago=-MINUTE)
    life.say("user.signup", "u2", ago=HOUR - MINUTE)
    life.quiet()
    life.say("user.signup", "u3", ago=-4 * MINUTE)
    life.quiet()
    assert life.effects("points") == []
    assert ("u2", "again") not in life.texts()
    life.pass_(5 * MINUTE)
    assert [it.user for it in life.effects("points")] == ["u1"]
    life.end()


def test_an_outbox_that_is_released(tmp_path: Path) -> None:
    """A store that is held decides and sends nothing; released by a job, what waits goes out without a restart."""
    life = Life(tmp_path)
    life.start()
    assert life.store is not None
    standing.settle_in(life.store, "elsewhere")
    life.end()
    daemon = life.start()
    standing.settle_in(life.store, "here")
    life.end()
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    assert (life.texts(), life.sent()) == ([("u1", "hello")], [])
    assert "may be a copy" in daemon.state.held
    life.jobs.submit(lambda store: standing.release(store, "here"))
    life.quiet()
    assert life.sent() == [("u1", "hello")]
    assert daemon.state.held == ""
    life.end()


def test_a_job_that_changes_subjects(tmp_path: Path) -> None:
    """What a job changed is what the next event is decided on, also where the engine held the subject."""
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()

    def forget(store: Store) -> None:
        state = store.load(["u1"])["u1"]
        state.journeys.clear()
        state.memory.clear()
        state.wake_at = None
        store.commit(
            Batch(
                clock=store.clock(), states=[state], events=[], effects=[], answers=[], resources={}, decisions=[],
                goals=[], rejected=[], positions={},
            )
        )  # fmt: skip

    life.jobs.submit(forget, subjects=True)
    daemon.turn()
    life.say("app.opened", "u1")
    life.pass_(2 * HOUR)
    assert life.texts() == [("u1", "hello")]
    life.end()


@pytest.mark.parametrize(("catch_up", "wanted"), [("last", 1), ("all", 5), ("none", 0)])
def test_slots_missed_while_down(tmp_path: Path, catch_up: str, wanted: int) -> None:
    """What fell into the time the daemon was away is caught up as the trigger says; killed at once, it is not lost.

    Semantics: schedule.catch-up — by the daemon when it starts
    Failure: slots.missed — caught up
    """
    text = SLOTS["playbooks/daily.yaml"].replace('"x"}', f'"x", catch_up: {catch_up}}}')
    life = Life(tmp_path, SLOTS | {"playbooks/daily.yaml": text}, at=BASE + 30 * MINUTE)
    life.start()
    life.say("user.signup", "u1", city="x")
    life.quiet()
    life.pass_(MINUTE)
    life.end()
    life.clocks.pass_(5 * HOUR)
    life.start()
    life.crash()
    daemon = life.start()
    daemon._worker.pump.catch_up(life.clocks.wall)
    life.crash()
    life.start()
    life.quiet()
    assert len(life.effects("points")) == wanted
    life.pass_(HOUR)
    assert len(life.effects("points")) == wanted + 1
    life.end()


def test_slots_that_events_overtook_survive_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several schedules at one instant, walked piece by piece, with events going ahead and crashes between: each
    subject has each of them once."""
    from engine.runtime import walk

    monkeypatch.setattr(walk, "CHUNK", 2)
    second = SLOTS["playbooks/daily.yaml"].replace("playbook: daily", "playbook: second")
    life = Life(tmp_path, SLOTS | {"playbooks/second.yaml": second}, at=BASE + 30 * MINUTE)
    life.start()
    for number in range(9):
        life.say("user.signup", f"u{number}", city="x")
    life.quiet()
    life.clocks.pass_(31 * MINUTE)
    for _ in range(12):
        life.say("app.opened", "u0")
        assert life.daemon is not None
        life.daemon.turn()
        life.clocks.pass_(SECOND)
        life.crash()
        life.start()
    life.quiet()
    points = [(it.playbook, it.user) for it in life.effects("points")]
    assert sorted(points) == [(name, f"u{n}") for name in ("daily", "second") for n in range(9)]
    life.end()


def test_what_one_turn_does_not_read_is_held(tmp_path: Path) -> None:
    """A feed is asked for no more than a piece, and what was held is read again after trouble."""
    life = Life(tmp_path)
    life.start()
    for number in range(5):
        life.say("user.signup", f"u{number}", ago=(5 - number) * SECOND, feed="ab"[number % 2])
    daemon, store = life.daemon, life.store
    assert daemon is not None
    assert store is not None
    gather = Gather(daemon._worker.gather.feeds, store.position, life.clocks.elapsed)
    users = [it.event.user for it in gather.take(2) if it.event]
    assert users == ["u0", "u1"]
    assert gather.frontier(2) == life.clocks.wall - 3 * SECOND
    gather.reset()
    users = [it.event.user for it in gather.take(9, life.clocks.wall - 2 * SECOND) if it.event]
    assert users == ["u0", "u1", "u2", "u3"]
    life.end()


class Growing:
    """A setting behind which there are ever more feeds."""

    name = "growing"

    def __init__(self, root: Path) -> None:
        self.found: dict[str, JsonlFeed] = {}
        self.root = root

    def members(self) -> list[Feed]:
        for path in sorted(self.root.glob("*.jsonl")):
            self.found.setdefault(path.name, JsonlFeed(path, path.name))
        return list(self.found.values())

    def read(self, position: int, limit: int) -> Iterator[Record]:
        return iter(())


def test_feeds_that_join_later(tmp_path: Path) -> None:
    """A feed that stands behind a setting is read from when it is there, each by its own position."""
    life = Life(tmp_path)
    life.start()
    growing = Growing(tmp_path / "feed")
    assert life.store is not None
    gather = Gather([growing], life.store.position, life.clocks.elapsed)
    assert gather.take(9) == []
    for feed in "ab":
        life.say("user.signup", feed, feed=feed)
        assert [(it.feed, it.event.user) for it in gather.take(9) if it.event] == [(f"{feed}.jsonl", feed)]
    assert gather.take(9) == []
    life.end()


class Sulking:
    """A live feed that cannot be told anything."""

    name = "sulking"

    def __init__(self) -> None:
        self.told: list[int] = []
        self.well = False

    def read(self, position: int, limit: int) -> Iterator[Record]:
        event = Event(id=f"s{position + 1}", type="user.signup", time=BASE, user=f"s{position + 1}")
        return iter([Record(self.name, position + 1, b"{}", event)] if position < 3 else [])

    def acknowledge(self, position: int) -> None:
        self.told.append(position)
        if not self.well:
            raise ValueError("not now")

    def lag(self) -> Lag:
        raise ValueError("I do not know")

    def close(self) -> None: ...


def test_a_source_that_cannot_be_told(tmp_path: Path) -> None:
    """A source that breaks when it is told what is committed is told more the next time; its events are decided."""
    life = Life(tmp_path)
    daemon = life.start()
    feed = Sulking()
    daemon._worker.gather.feeds.append(feed)
    daemon.turn()
    daemon.turn()
    assert feed.told == [1, 2]
    assert "ValueError: not now" in daemon._worker.gather.broken["sulking"]
    feed.well = True
    life.clocks.pass_(10 * SECOND)
    life.quiet()
    assert feed.told == [1, 2, 3]
    assert sorted(user for user, _ in life.texts()) == ["s1", "s2", "s3"]
    assert daemon._worker.gather.broken == {}
    assert "sulking" not in daemon.state.feeds, "it cannot say where it stands"
    life.end()


class Failing:
    """A feed that cannot be read until it is well."""

    name = "failing"
    well = False

    def read(self, position: int, limit: int) -> Iterator[Record]:
        if not self.well:
            raise OSError("the disk is gone")
        return iter(())


def test_a_broken_feed_stops_nobody(tmp_path: Path) -> None:
    """A feed that cannot be read is told, left alone for a while, and read again when it is well."""
    life = Life(tmp_path)
    daemon = life.start()
    feed = Failing()
    daemon._worker.gather.feeds.append(feed)
    life.say("user.signup", "u1", feed="b")
    life.quiet()
    assert life.texts() == [("u1", "hello")]
    life.clocks.pass_(2 * SECOND)
    life.quiet()
    assert list(daemon.state.broken_feeds) == ["failing"]
    feed.well = True
    life.say("user.signup", "u2")
    life.clocks.pass_(10 * SECOND)
    life.quiet()
    assert ("u2", "hello") in life.texts()
    assert daemon.state.broken_feeds == {}
    life.end()


# ---------------------------------------------------------------------- trouble with the store


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk ends nothing: the daemon says so, tries again, and decides everything once when there is room.

    Semantics: store.trouble — disk full
    Failure: disk.full — in the daemon
    """
    full = False

    def fault(point: str) -> None:
        if full and point == "commit.clock":
            raise StoreError("database or disk is full")

    life = Life(tmp_path)
    daemon = life.start(fault=fault)
    life.say("user.signup", "u1")
    life.quiet()
    full = True
    life.say("user.signup", "u2")
    for _ in range(3):
        life.clocks.pass_(SECOND)
        assert daemon.try_turn() is False
        assert not daemon.state.ready
        assert daemon.state.troubles[0][0] == "store"
    assert life.texts() == [("u1", "hello")]
    full = False
    while daemon.try_turn():
        pass
    assert daemon.state.ready
    life.pass_(2 * HOUR)
    assert sorted(life.texts()) == [(user, text) for user in ("u1", "u2") for text in ("again", "hello")]
    assert sorted(life.sent()) == sorted(life.texts())
    assert daemon.state.counts["store.errors"] == 3
    assert daemon.state.counts.get("conflicts", 0) == 0
    life.end()


def test_a_foreign_process_holds_the_lock(tmp_path: Path) -> None:
    """Somebody else writes the file: the daemon waits for them, tells it once, and goes on.

    Semantics: store.trouble — locked by another
    Failure: busy.lock
    """
    life = Life(tmp_path)
    daemon = life.start(busy_seconds=0.05)
    life.say("user.signup", "u1")
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("begin immediate")
    for _ in range(5):
        assert daemon.try_turn() is False
        assert "locked" in daemon.state.reason
    other.execute("rollback")
    other.close()
    while daemon.try_turn():
        pass
    assert daemon.state.ready
    assert life.sent() == [("u1", "hello")]
    life.end()


def test_jobs_have_their_turn(tmp_path: Path) -> None:
    """What others ask for is done between two pieces, and what they put in is decided in the same turn."""
    life = Life(tmp_path)
    daemon = life.start()
    event = Event(id="j1", type="user.signup", time=life.clocks.wall, user="u1")
    promise = life.jobs.submit(lambda store: store.ingest([(event, b"")], []))
    daemon.turn()
    assert promise.result() == (1, 0)
    assert life.texts() == [("u1", "hello")]
    life.end()


# ---------------------------------------------------------------------- an event that kills


@pytest.mark.parametrize("others", [3, 150])
def test_an_event_that_kills_the_process(tmp_path: Path, others: int) -> None:
    """It kills three processes; the fourth puts it in quarantine with its bytes and goes on with everybody else.

    Semantics: poison.kills — with the batch, with a part of it, and alone
    Failure: poison.kills
    """
    life = Life(tmp_path)
    for number in range(others):
        life.say("user.signup", f"u{number:03d}")
    life.say("poison", "bad")
    for number in range(others):
        life.say("user.signup", f"v{number:03d}")
    deaths = [_work_in_a_child(life) for _ in range(4)]
    assert deaths == [True, True, True, False]
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    try:
        users = [it.user for it, _ in store.effects() if it.kind == "message"]
        refused = list(store.quarantine())
    finally:
        store.close()
    assert sorted(users) == sorted(f"{side}{n:03d}" for side in "uv" for n in range(others))
    assert [(it.reason, b'"poison"' in it.raw) for it in refused] == [("poison", True)]
    assert _work_in_a_child(life) is False


def test_nobody_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is set aside is told with a short keyed hash of its id, the same each time, another under another key."""
    store = MemoryStore()
    store.set_meta("daemon", "up")
    store.set_meta("daemon.tried", json.dumps({"names": ["event zoe@example.com/1"], "deaths": 2}))
    event = Event(id="zoe@example.com/1", type="x", time=BASE, user="zoe@example.com")
    found = Suspects(store, 10, Mask(b"key")).judge([Record("a", 1, b"raw", event)])
    assert [(it.event, it.reason, it.raw) for it in found] == [(None, "poison", b"raw")]
    (record,) = caplog.records
    assert "zoe" not in record.getMessage() + repr(record.__dict__)
    assert record.__dict__["event"] == Mask(b"key")(event.id) != Mask(b"other")(event.id)
    assert len(record.__dict__["event"]) == 12


@pytest.mark.parametrize("others", [2, 100])
def test_a_wakeup_that_kills_the_process(tmp_path: Path, others: int) -> None:
    """A subject whose wake-up kills three processes is put off, with a word in quarantine; everybody else goes on.

    Semantics: poison.kills — a wake-up likewise
    """
    life = Life(tmp_path)
    life.start(piece=1_000)
    for number in range(others):
        life.say("user.signup", f"u{number:03d}")
    life.say("user.signup", "u0-bad")
    life.quiet()
    life.end()
    life.clocks.pass_(HOUR)
    deaths = [_work_in_a_child(life) for _ in range(5)]
    assert deaths == [True, True, True, False, False]
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    try:
        users = [it.user for it, _ in store.effects() if it.kind == "message" and it.detail["text"] == "again"]
        refused = list(store.quarantine())
    finally:
        store.close()
    assert sorted(users) == [f"u{n:03d}" for n in range(others)]
    assert [(it.reason, b"u0-bad" in it.raw) for it in refused] == [("broken_wake", True)]


@pytest.mark.parametrize("others", [2, 150, 5_100])
def test_a_slot_that_kills_the_process(tmp_path: Path, others: int) -> None:
    """A subject that kills three processes when a slot comes to it is left out of that slot, with a word in quarantine;
    everybody else has it once, the subject itself has the next one, and events meanwhile are not accused.

    Semantics: poison.kills — in the walk of a slot likewise
    Failure: poison.kills — in the walk of a slot
    """
    life = Life(tmp_path, SLOTS, at=BASE + 30 * MINUTE)
    life.start(piece=10_000)
    for number in range(others):
        life.say("user.signup", f"u{number:04d}", city="x")
    bad = f"u{others - 1:04d}"
    life.quiet()
    life.end()
    life.clocks.pass_(MINUTE)
    life.start(piece=10_000)
    life.quiet()
    life.end()
    life.clocks.pass_(30 * MINUTE)
    for number in range(3):
        life.say("app.opened", f"u{number:04d}")
    life.deadly = {bad}
    assert [_work_in_a_child(life) for _ in range(5)] == [True, True, True, False, False]
    life.deadly = set()
    life.start(piece=10_000)
    assert life.store is not None
    assert sorted(it.user or "" for it in life.effects("points")) == [f"u{n:04d}" for n in range(others - 1)]
    (refused,) = life.store.quarantine()
    assert (refused.reason, json.loads(refused.raw)["subject"]) == ("broken_slot", bad)
    assert "died 3 times" in refused.message
    life.pass_(HOUR, step=HOUR)
    assert sum(it.user == bad for it in life.effects("points")) == 1
    assert len(life.effects("points")) == 2 * others - 1
    assert life.store.check() == []
    life.end()


def test_a_storm_is_told_once(tmp_path: Path) -> None:
    """An event that would make thousands of effects is cut in the daemon too: one alert, and work goes on.

    Semantics: storm.bound — in the daemon
    Failure: loops.cut — a storm in the daemon
    """
    send = "{emit: {type: e%d, user: '{{ user.id }}%s'}}"
    storm = {
        f"playbooks/p{n:02d}.yaml": f"playbook: p{n:02d}\ntitle: t\ntrigger: {{event: e{n}}}\n"
        f"entry: {{mode: parallel, limit: unlimited}}\nsteps: [{send % (n + 1, 'a')}, {send % (n + 1, '')}]\n"
        for n in range(16)
    }
    life = Life(tmp_path, FILES | storm)
    daemon = life.start()
    life.say("e0", "u1")
    life.say("user.signup", "u2")
    life.quiet()
    assert len(life.effects("emit")) == 1_000
    assert life.texts() == [("u2", "hello")]
    assert daemon.state.counts["limits"] == 1
    assert life.store is not None
    assert life.store.check() == []
    life.end()


def test_an_honest_crash_accuses_nobody(tmp_path: Path) -> None:
    """Killed for another reason, nobody is set aside, and care ends with the first quiet moment."""
    life = Life(tmp_path)
    life.start()
    for _ in range(5):
        life.say("user.signup", f"u{life.number}")
        life.crash()
        life.start()
    life.quiet()
    assert len(life.texts()) == 5
    assert life.daemon is not None
    assert not life.daemon._suspects.careful
    assert life.store is not None
    assert list(life.store.quarantine()) == []
    life.end()
    life.start()
    assert life.daemon is not None
    assert not life.daemon._suspects.died
    life.end()


def _work_in_a_child(life: Life) -> bool:
    """A daemon in a process of its own until it rests; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            daemon = life.start(piece=1_000)
            session = daemon._worker.pump.session
            plain, wake = session._event, session.wake

            def deadly(event: Event, user: str) -> None:
                if event.type == "poison":
                    os.kill(os.getpid(), signal.SIGKILL)
                plain(event, user)

            def killing(m: Moment, state: State, now: int) -> bool:
                if state.id == "u0-bad":
                    os.kill(os.getpid(), signal.SIGKILL)
                return wake(m, state, now)

            enter = session.enter_at

            def slaying(state: State, due: Due, why: Any) -> None:
                if state.id in life.deadly:
                    os.kill(os.getpid(), signal.SIGKILL)
                enter(state, due, why)

            session._event = deadly  # type: ignore[method-assign]
            session.wake = killing  # what every wake-up of a user asks first
            session.enter_at = slaying  # type: ignore[method-assign]
            life.quiet()
            life.end()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


# ---------------------------------------------------------------------- another program


def test_a_swap_keeps_everybody_on_the_way(tmp_path: Path) -> None:
    """Who is on the way goes on with the version it began with; who comes now begins on the new one.

    Semantics: edit.pinned — over a reload of the daemon
    """
    life = Life(tmp_path)
    daemon = life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.write("playbooks/hello.yaml", FILES["playbooks/hello.yaml"].replace("wait: 1h", "wait: 2h"))
    daemon._built = recompiled(life)
    life.say("user.signup", "u2")
    life.quiet()
    assert daemon.state.counts["reloads"] == 1
    life.pass_(HOUR)
    assert sorted(life.texts()) == [("u1", "again"), ("u1", "hello"), ("u2", "hello")]
    life.pass_(HOUR)
    assert ("u2", "again") in life.texts()
    life.end()


def test_adapters_stay_open_over_a_reload(tmp_path: Path) -> None:
    """Only what has other settings is opened anew; what is not needed any more is closed."""
    life = Life(tmp_path)
    daemon = life.start()
    life.quiet()
    before = daemon._fitted
    life.write("drumbeat.yaml", FILES["drumbeat.yaml"].replace(
        "channels: {box:", "channels: {more: {via: file, path: out/more.jsonl}, box:"
    ).replace(", {file: feed/b.jsonl}", ""))
    daemon._built = recompiled(life)
    life.say("user.signup", "u1")
    life.quiet()
    after = daemon._fitted
    assert after.channels["box"] is before.channels["box"]
    assert after.feeds[0] is before.feeds[0]
    assert (len(after.feeds), set(after.channels)) == (1, {"box", "more"})
    assert life.sent() == [("u1", "hello")]
    life.end()


def test_a_swap_that_fails_leaves_the_old_program(tmp_path: Path) -> None:
    """A new program whose channel cannot be opened is refused, and told; the old one goes on."""
    life = Life(tmp_path)
    daemon = life.start()
    (tmp_path / "blocked").write_text("a file, not a folder")
    text = FILES["drumbeat.yaml"].replace("box: {", "more: {via: file, path: blocked/x.jsonl}, box: {")
    life.write("drumbeat.yaml", text)
    daemon._built = recompiled(life)
    life.say("user.signup", "u1")
    life.quiet()
    life.pass_(DAY)
    assert life.sent() == [("u1", "hello"), ("u1", "again")]
    life.end()
