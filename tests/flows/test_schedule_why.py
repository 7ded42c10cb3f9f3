"""``why`` decides slots again: the effects of the record, the verdicts of the simulation, the words for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import without_disk
from flow_program import lines_of, run, write_feed
from schedule_program import make_schedule_events, write_schedules
from semantics_kit import event

from engine.cli.main import run as command
from engine.core.instants import parse_instant
from engine.core.model import DAY
from engine.insight.replay import course, replay
from engine.language.compiled import Compiled
from engine.ports import Store
from engine.runtime import walk
from engine.runtime.rows import decision_row, effect_row
from engine.runtime.session import Session
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture
def program(tmp_path: Path) -> Compiled:
    return write_schedules(tmp_path)


def fresh() -> Store:
    return MemoryStore(keep_log=False)


def as_stored(store: Store, user: str) -> list[bytes]:
    return sorted(effect_row(effect) for effect, _ in store.effects(user))


@pytest.mark.parametrize("seed", range(2))
def test_each_user_again(program: Compiled, tmp_path: Path, seed: int) -> None:
    """The replay of each user gives its effects, also where slots, wake-ups and told events fall on one instant."""
    write_feed(tmp_path, lines_of(make_schedule_events(seed, 50, users=6)))
    run(program, tmp_path, deliver=False)
    assert program.plan is not None
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    causes = set()
    for state in list(store.subjects()):
        found = course(program.plan, store, state.id, fresh=fresh)
        assert sorted(map(effect_row, found.effects)) == as_stored(store, state.id), state.id
        assert found.unmatched == 0
        assert found.state is not None
        assert (found.state.wake_at, found.state.journeys) == (state.wake_at, state.journeys)
        causes |= {(effect.playbook, found.causes[effect.key].get("wake")) for effect in found.effects}
    store.close()
    assert {("daily", "schedule"), ("own", "schedule"), ("friend", "wait"), ("both", "schedule")} <= causes


def test_verdicts_are_those_of_the_simulation(program: Compiled, tmp_path: Path) -> None:
    """For somebody nobody else tells anything, ``simulate --decisions`` writes the same verdicts, byte for byte."""
    events = [it for it in make_schedule_events(3, 60, users=6) if "friend" not in it["data"]]
    write_feed(tmp_path, lines_of(events))
    run(program, tmp_path, deliver=False)
    out = tmp_path / "decisions.jsonl"
    feed = str(tmp_path / "feed" / "a.jsonl")
    assert command(["simulate", "--program", str(tmp_path), "--events", feed, "--decisions", str(out), "--quiet"]) == 0
    wanted: dict[str, list[bytes]] = {}
    for line in out.read_bytes().splitlines(keepends=True):
        wanted.setdefault(json.loads(line)["user"], []).append(line)
    assert program.plan is not None
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    assert len(wanted) > 3
    for user, lines in wanted.items():
        assert [decision_row(it) for it in replay(program.plan, store, user, fresh=fresh)] == lines
    store.close()


def test_in_the_middle_of_a_walk(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slot is walked, those before the cursor had it and those behind it did not."""
    users = [f"u{n}" for n in range(6)]
    crowd = [event(f"e{n}", "user.signup", "2026-01-02T00:00:00Z", user, city="上海") for n, user in enumerate(users)]
    write_feed(tmp_path, lines_of(crowd))
    run(program, tmp_path, deliver=False)
    assert program.plan is not None
    monkeypatch.setattr(walk, "CHUNK", 4)
    store = SqliteStore.open(tmp_path / "s.db")
    session = Session(program.plan, store, secret=b"")
    while not list(store.effects()):
        assert not session.settle(parse_instant("2026-01-02T02:00:00Z"))
        store.commit(session.batch())
    decided = sorted({effect.user for effect, _ in store.effects()})
    store.close()
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    had = []
    for user in users:
        found = course(program.plan, store, user, fresh=fresh)
        assert found.unmatched == 0
        had.append(any(it.playbook == "daily" for it in found.effects))
    store.close()
    assert decided == users[: len(decided)]
    assert had == [user in decided for user in users]
    assert True in had
    assert False in had


def test_after_a_down_time(program: Compiled, tmp_path: Path) -> None:
    """Slots that were left out because the engine was down are left out of the story too."""
    write_feed(tmp_path, lines_of([event("e", "user.signup", "2026-01-02T00:00:00Z", "u1", city="上海")]))
    run(program, tmp_path, deliver=False)
    assert program.plan is not None
    store = SqliteStore.open(tmp_path / "s.db")
    session = Session(program.plan, store, secret=b"")
    until = parse_instant("2026-01-02T00:00:00Z") + 10 * DAY
    session.missed(until)
    while not session.settle(until):
        store.commit(session.batch())
    store.commit(session.batch())
    assert sum(effect.kind == "message" for effect, _ in store.effects("u1")) == 1
    found = course(program.plan, store, "u1", fresh=fresh)
    store.close()
    assert found.unmatched == 0
    assert sum(it.kind == "message" for it in found.effects) == 1


def test_words(program: Compiled, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People read the audience with the value it saw, the slot as cause, and when the next one is."""
    events = [
        event("1", "user.signup", "2026-01-02T00:00:00Z", "in", city="上海", zone="Asia/Kathmandu"),
        event("2", "user.signup", "2026-01-02T00:00:00Z", "out", city="杭州"),
        event("3", "app.opened", "2026-01-02T12:00:00Z", "in"),
    ]
    write_feed(tmp_path, lines_of(events))
    run(program, tmp_path, deliver=False)

    def why(user: str, playbook: str) -> list[str]:
        store = f"sqlite:///{tmp_path / 's.db'}"
        (tmp_path / "drumbeat.yaml").write_text(
            (tmp_path / "drumbeat.yaml").read_text("utf-8").split("store:")[0] + f"store: {store}\n", "utf-8"
        )
        assert command(["why", "--program", str(tmp_path), "--user", user, "--playbook", playbook]) == 0
        return capsys.readouterr().out.splitlines()

    said = why("out", "daily")
    assert "  skipped at 2026-01-02T02:00:00Z, by time (schedule)" in said
    assert "    false trigger.audience: user.city == '上海'" in said
    assert any("user.city = '杭州'" in line for line in said)
    assert any("needs '上海', has '杭州'" in line for line in said)
    assert "  next slot of its schedule: 2026-01-03T02:00:00Z" in said
    said = why("in", "daily")
    assert "  entered at 2026-01-02T02:00:00Z, by time (schedule)" in said
    assert any("message message[2] planned" in line and "by time (schedule)" in line for line in said)
    assert "  next slot of its schedule: 2026-01-05T03:45:00Z" in why("in", "own")  # Monday, 09:30 in Kathmandu


def test_told_between_two_slots_of_an_instant(program: Compiled, tmp_path: Path) -> None:
    """What a later slot of the instant told somebody, an earlier one of the same instant had not yet seen."""
    books = {
        "playbooks/first.yaml": (
            "playbook: first\ntitle: t\npriority: 90\n"
            "trigger: {schedule: {cron: '0 12 * * *', audience: user.city == '上海'}}\n"
            "entry: {mode: parallel, limit: unlimited}\nsteps: [{points: 5}]\n"
        ),
        "playbooks/second.yaml": (
            "playbook: second\ntitle: t\npriority: 80\n"
            "trigger: {schedule: {cron: '0 12 * * *', audience: user.friend is not none}}\n"
            "entry: {mode: once}\nsteps: [{emit: {type: told, user: '{{ user.friend }}'}}]\n"
        ),
    }
    changed = write_schedules(tmp_path, **books)
    assert changed.plan is not None
    events = [
        event("1", "user.signup", "2026-01-02T03:00:00Z", "a", friend="b"),
        event("2", "user.signup", "2026-01-02T03:00:00Z", "b", city="杭州"),
        event("3", "x", "2026-01-03T05:00:00Z", "a"),
    ]
    write_feed(tmp_path, lines_of(events))
    run(changed, tmp_path, deliver=False)
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    times = [effect.time for effect, _ in store.effects("b") if effect.playbook == "first"]
    assert times == [parse_instant("2026-01-03T04:00:00Z")]  # not on the day it was told
    found = course(changed.plan, store, "b", fresh=fresh)
    store.close()
    assert found.unmatched == 0
    assert [it.time for it in found.effects if it.playbook == "first"] == times
