"""What breaks the deciding is set aside alone: one event, or one subject's wake-up. Everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from crash_world import World, killer, without_disk
from flow_program import (
    BASE,
    Wall,
    compiled,
    effects_of,
    lines_of,
    make_events,
    picture,
    run,
    simulated,
    write_feed,
    write_program,
)

from engine import wiring
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, Event, State
from engine.errors import InternalError
from engine.language.compiled import Compiled
from engine.runtime.intake import Intake
from engine.runtime.session import Session, slow, slow_wake
from engine.stores import codec
from engine.stores.sqlite import SqliteStore

BATCHES = (1, 7, 500)


class Planted(RuntimeError):
    """A fault of the engine, put there by a test; no DrumbeatError."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(write_program(tmp_path_factory.mktemp("program")))


def plant(monkeypatch: pytest.MonkeyPatch, breaks: Any) -> None:
    """Make ``run`` fail deep inside, after it changed the state: ``breaks(state, event, now)`` says when."""
    real = Session._once

    begin = Session.__init__

    def once(self: Session, state: State, event: Event | None, *rest: Any) -> None:
        real(self, state, event, *rest)
        if isinstance(self.store, SqliteStore) and breaks(state, event, self.clock):
            raise Planted("it broke")

    def without_short_ways(self: Session, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self.quick, self.ways, self.default, self.wake = False, {}, slow, slow_wake

    monkeypatch.setattr(Session, "_once", once)
    monkeypatch.setattr(Session, "__init__", without_short_ways)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("poison", [["e00000"], ["e00007", "e00008", "e00050"], ["e00149"]])
def test_poison_event(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, poison: list[str]
) -> None:
    """Events that break the deciding sit in quarantine with reason and bytes; the rest is as if they had not come.

    Semantics: poison.event
    """
    events = make_events(2, 150)
    wanted = simulated(program, write_feed(tmp_path, lines_of([it for it in events if it["id"] not in poison])))
    plant(monkeypatch, lambda state, event, now: event is not None and event.id in poison)
    root = tmp_path / "run"
    root.mkdir()
    write_feed(root, lines_of(events))
    done = run(program, root, batch=batch)
    if poison != ["e00149"]:  # the last event moves the clock to the end
        assert effects_of(root) == wanted
    found = picture(root)
    assert [it.reason for it in found["quarantine"]] == ["poison"] * len(poison)
    lines = {it["id"]: lines_of([it]).rstrip() for it in events}
    assert [it.raw for it in found["quarantine"]] == [lines[id] for id in poison]
    assert "Planted: it broke" in found["quarantine"][0].message
    assert (done.read, done.accepted, done.quarantined, done.conflicts) == (150, 150 - len(poison), len(poison), 0)
    assert done.reasons == {"poison": len(poison)}
    monkeypatch.undo()
    assert run(program, root).read == 0


@pytest.mark.parametrize("batch", BATCHES)
def test_poison_of_the_inbox(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """An ingested event that breaks the deciding leaves the inbox for quarantine; history stays history there."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines_of(make_events(2, 30)))
    store = SqliteStore.open(tmp_path / "s.db")
    Intake(store, Wall(), history=True).take(wiring.read_records(path))
    store.close()
    plant(monkeypatch, lambda state, event, now: event is not None and event.id == "e00005")
    done = run(program, tmp_path, batch=batch)
    found = picture_of_inbox(tmp_path)
    assert (done.accepted, done.quarantined) == (29, 1)
    assert [(it.feed, it.reason, b'"e00005"' in it.raw) for it in found["quarantine"]] == [
        ("history:inbox", "poison", True)
    ]
    assert found["inbox"] == []


def picture_of_inbox(root: Path) -> dict[str, Any]:
    (root / "feed").mkdir(exist_ok=True)
    return picture(root)


def test_one_in_a_hundred_costs_little(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one poison in a hundred twice as much is decided at most: half the speed is kept, and more.

    Failure: poison.one
    """
    events = make_events(2, 1_000)
    poison = {it["id"] for it in events[50::100]}
    calls = 0

    def breaks(state: State, event: Event | None, now: int) -> bool:
        nonlocal calls
        calls += event is not None and not event.internal
        return event is not None and event.id in poison

    plant(monkeypatch, breaks)
    write_feed(tmp_path, lines_of(events))
    done = run(program, tmp_path, batch=1_000, deliver=False)
    assert done.quarantined == 10
    assert calls <= 2 * len(events)  # what lies behind a fault is decided once more, not all of it


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_that_cannot_be_written(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """An event whose outcome the store cannot write is found by halving the batch.

    Semantics: poison.event
    """
    events = make_events(2, 60)
    events[20] = {**events[20], "type": "user.updated", "data": {"city": "poison"}}
    wanted = simulated(program, write_feed(tmp_path, lines_of([it for it in events if it is not events[20]])))
    real = codec.encode_states

    def encode(states: Sequence[State]) -> bytes:
        if any(it.traits.get("city") == "poison" for it in states):
            raise Planted("cannot be written")
        return real(states)

    monkeypatch.setattr(codec, "encode_states", encode)
    root = tmp_path / "run"
    root.mkdir()
    write_feed(root, lines_of(events))
    run(program, root, batch=batch)
    assert effects_of(root) == wanted
    (kept,) = picture(root)["quarantine"]
    assert (kept.reason, events[20]["id"].encode() in kept.raw) == ("poison", True)


@pytest.mark.parametrize("batch", BATCHES)
def test_an_event_that_can_be_written_alone_is_kept(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """A transaction that cannot be written because of what lies beside an event costs that event nothing.

    Semantics: poison.event
    """
    events = waking()
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    real = codec.encode_states

    def encode(states: Sequence[State]) -> bytes:
        if {"u0", "end"} <= {it.id for it in states}:  # a wake-up and the event that came after it
            raise Planted("cannot be written")
        return real(states)

    monkeypatch.setattr(codec, "encode_states", encode)
    root = tmp_path / "run"
    root.mkdir()
    write_feed(root, lines_of(events))
    run(program, root, batch=batch)
    assert effects_of(root) == wanted
    assert picture(root)["quarantine"] == []


def test_what_is_due_before_an_event_is_not_laid_on_it(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up that cannot be written stops the run with its reason; the events after it stay in the feed."""
    write_feed(tmp_path, lines_of(waking()[:3]))
    run(program, tmp_path)

    def encode(states: Sequence[State]) -> bytes:
        if any(it.id == "u0" for it in states):
            raise Planted("cannot be written")
        return real(states)

    real = codec.encode_states
    monkeypatch.setattr(codec, "encode_states", encode)
    write_feed(tmp_path, lines_of(waking()))
    with pytest.raises(InternalError, match="cannot be written"):
        run(program, tmp_path)
    assert picture(tmp_path)["quarantine"] == []


@pytest.mark.parametrize("batch", BATCHES)
def test_a_limit_of_the_run_is_not_used_up_by_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Deciding a batch again after a fault takes no entry slots of the run a second time."""
    root = write_program(tmp_path / "program")
    path = root / "playbooks" / "welcome.yaml"
    path.write_text(path.read_text().replace("limit: 4/day", "limit: 4/run, on_limit: drop"))
    plant(monkeypatch, lambda state, event, now: event is not None and event.id == "s3")
    signups = [
        {"id": f"s{n}", "type": "user.signup", "user": f"u{n}", "time": format_instant(BASE + n), "data": {}}
        for n in range(8)
    ]
    write_feed(root, lines_of(signups))
    run(compiled(root), root, batch=batch)
    assert {it.user for it in effects_of(root) if it.kind == "message"} == {"u0", "u1", "u2", "u4"}


# -- wake-ups


def waking(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """Three people sign up at one instant; their wake-ups a day later fall due together."""
    signups = [
        {"id": f"s{n}", "type": "user.signup", "user": f"u{n}", "time": format_instant(BASE), "data": {}}
        for n in range(3)
    ]
    end = {"id": "z", "type": "app.opened", "user": "end", "time": format_instant(BASE + 20 * DAY), "data": {}}
    return [*signups, *more, end]


@pytest.mark.parametrize("batch", BATCHES)
def test_poison_wake(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """A wake-up that breaks once is tried a day later; the others at that instant and all events go on at once.

    Semantics: poison.wake
    """
    hello = {"id": "m", "type": "order.paid", "user": "u0", "time": format_instant(BASE + HOUR), "data": {"amount": 1}}
    content = lines_of(waking(hello))
    plant(monkeypatch, lambda state, event, now: event is None and state.id == "u1" and now < BASE + 2 * DAY)
    write_feed(tmp_path, content)
    done = run(program, tmp_path, batch=batch)
    offers = {
        it.user: it.time - BASE for it in effects_of(tmp_path) if it.playbook == "welcome" and it.deliver == "ads"
    }
    assert offers == {"u0": DAY, "u1": 2 * DAY, "u2": DAY}
    found = picture(tmp_path)
    assert [(it.feed, it.reason, b'"u1"' in it.raw) for it in found["quarantine"]] == [("wake", "broken_wake", True)]
    assert (done.accepted, done.quarantined) == (5, 1)
    assert [it.reason for it in found["quarantine"]] == ["broken_wake"]


@pytest.mark.parametrize("batch", BATCHES)
def test_poison_wake_at_the_end(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """A wake-up that breaks when only wake-ups are left is put off too."""
    end = {"id": "y", "type": "app.opened", "user": "end", "time": format_instant(BASE + DAY), "data": {}}
    plant(monkeypatch, lambda state, event, now: event is None and state.id == "u1")
    write_feed(tmp_path, lines_of(waking(end)[:-1]))
    run(program, tmp_path, batch=batch)
    assert [it.reason for it in picture(tmp_path)["quarantine"]] == ["broken_wake"]
    assert {it.user for it in effects_of(tmp_path) if it.deliver == "ads"} == {"u0", "u2"}


def test_a_wake_that_always_breaks(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried ever more rarely, and never stops the others.

    Semantics: poison.wake
    """
    plant(monkeypatch, lambda state, event, now: event is None and state.id == "u1")
    write_feed(tmp_path, lines_of(waking()))
    done = run(program, tmp_path, batch=500)
    assert done.accepted == 4
    assert 2 <= done.quarantined <= 6
    assert {it.user for it in effects_of(tmp_path) if it.deliver == "ads"} >= {"u0", "u2"}


def test_a_wake_nothing_can_put_off(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When putting off does not help, the run stops and names the subject, instead of going round for ever."""
    plant(monkeypatch, lambda state, event, now: event is None and state.id == "u1")
    monkeypatch.setattr(Session, "put_off", lambda self, subject, until: None)
    write_feed(tmp_path, lines_of(waking()))
    with pytest.raises(InternalError, match="'u1' was put off"):
        run(program, tmp_path, batch=500)


def test_killed_while_setting_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any moment while poison is set aside: it is in quarantine once, and everything else is decided once."""
    known = [it["id"] for it in make_events(3, 40) if it["type"] != "page.seen"]
    poison = {known[9], known[10], known[24]}
    plant(monkeypatch, lambda state, event, now: event is not None and event.id in poison)
    world = World(tmp_path, count=40)
    assert [it.reason for it in world.wanted["quarantine"]].count("poison") == 3
    begin = world.passes.index("commit.before_begin") + 1
    for moment in range(begin, len(world.passes), 9):
        with world.folder_for("poison") as root:
            assert world.killed(root, killer(moment))
            world.work(root)
            world.check(root, 1)
