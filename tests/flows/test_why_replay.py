"""Explaining is deciding again: the replay of a user gives the effects the run decided for it, and its verdicts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import wiring
from engine.cli.main import run
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR
from engine.insight.replay import course, replay
from engine.language.compile import compile_program
from engine.ports import Store
from engine.runtime.rows import decision_row, effect_row
from engine.stores.memory import MemoryStore

PARALLEL = {"mode": "parallel", "limit": "unlimited"}
BASE = parse_instant("2026-01-01T00:00:00Z")

BOOKS: list[dict[str, Any]] = [
    {
        "playbook": "welcome",
        "trigger": {"signup": True},
        "entry": {"mode": "once", "limit": "3/day"},
        "holdout": {"percent": 20},
        "goal": {"event": "order.paid", "within": "5d", "then": "continue"},
        "steps": [
            {"coupon": {"pool": "few", "on_exhausted": "skip"}, "id": "gift"},
            {"message": {"template": "x", "via": "box", "purpose": "marketing"}, "if": "steps.gift is not none"},
            {"wait_for": {"event": "order.paid", "up_to": "3d", "then": [{"points": {"add": 5}}], "else": "stop"}},
            {"emit": {"type": "thanked", "user": "u1"}},
        ],
    },
    {
        "playbook": "idle",
        "trigger": {"inactivity": "3d", "activity": ["order.paid"]},
        "when": 'count("order.paid") >= 2 and user.tier != "none"',
        "entry": {"mode": "single", "again_after": "2d"},
        "steps": [{"wait": "1d"}, {"invite": {"groups": ["club"], "match": "first", "on_full": "skip"}, "id": "seat"}],
    },
    {
        "playbook": "up",
        "trigger": {"tier_change": {"ladder": "level"}},
        "entry": PARALLEL,
        "steps": [{"badge": "star"}, {"points": {"add": 10}}],
    },
    {
        "playbook": "fans",
        "trigger": {"segment": {"enters": "busy"}},
        "entry": {"mode": "queue", "limit": "unlimited"},
        "exit": [{"leaves": "busy"}],
        "steps": [{"wait": "2d"}, {"tag": {"add": ["fan"]}}],
    },
    {
        "playbook": "thanks",
        "trigger": {"event": "thanked"},
        "entry": {"mode": "restart", "limit": "unlimited"},
        "steps": [{"points": {"add": 1}}, {"wait": "1d"}, {"points": {"take": 4}}],
    },
]

CATALOG: dict[str, Any] = {
    "segments": {"busy": {"if": 'count("order.paid", within="2d") >= 2'}},
    "tiers": {"level": {"metric": 'sum("order.paid", "amount", within="4d")', "levels": {"none": 0, "gold": 60}}},
    "badges": {"star": {"title": "t", "once": True}},
    "points": {"main": {"title": "t"}},
    "coupons": {
        "few": {
            "title": "t",
            "value": {"off": 5},
            "codes": {"generate": "F"},
            "valid_for": "7d",
            "limits": {"per_user": 1, "total": 6},
        }
    },
    "groups": {
        "club": {"title": "t", "hold": "1d", "rooms": [{"id": "r1", "link": "https://x.example/1", "capacity": 2}]}
    },
}


def write_program(folder: Path, books: Iterable[dict[str, Any]]) -> Path:
    """A program with an open policy, a file channel and a feed file."""
    (folder / "playbooks" / "catalog").mkdir(parents=True, exist_ok=True)
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / "x.box.j2").write_text("hi {{ user.id }}", encoding="utf-8")
    consent = dict.fromkeys(("marketing", "community", "service", "transactional"), "none")
    caps = [{"purpose": "marketing", "max": 1, "per": "2d"}]
    head = {
        "program": "t",
        "channels": {"box": {"via": "file", "path": "out.jsonl"}},
        "feeds": [{"file": "feed.jsonl"}],
        "policies": {"default": {"consent": consent, "quiet_hours": "never", "caps": caps}},
    }
    documents = {"drumbeat.yaml": head, "playbooks/catalog/all.yaml": CATALOG}
    for book in books:
        documents[f"playbooks/{book['playbook']}.yaml"] = {"playbook": book["playbook"], "title": "t", **book}
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder


def feed(rng: random.Random, users: int, days: int, step: int) -> list[dict[str, Any]]:
    """Sign-ups and orders on a grid, so that many things happen at the same instants."""
    rows = []
    for number in range(users):
        when = BASE + rng.randrange(2) * DAY
        rows.append((when, {"type": "user.signup", "user": f"u{number}", "data": {}}))
        for _ in range(rng.randrange(1, 9)):
            at = when + rng.randrange(days * DAY // step) * step
            rows.append((at, {"type": "order.paid", "user": f"u{number}", "data": {"amount": rng.choice([5, 30, 70])}}))
    rows.sort(key=lambda it: it[0])
    return [{"id": f"e{place}", "time": format_instant(at), **row} for place, (at, row) in enumerate(rows)]


def append(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """More lines at the end of the feed file."""
    with (folder / "feed.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def fresh() -> Store:
    """An empty store in memory."""
    return MemoryStore(keep_log=False)


def opened(folder: Path) -> tuple[Any, Store]:
    """The plan of a program and its store, to be read."""
    found = compile_program(folder)
    assert found.plan is not None, [it.message for it in found.problems]
    return found.plan, wiring.open_store(found.settings, folder, read_only=True)


def go(folder: Path) -> None:
    """One run until idle."""
    assert run(["run", "--until-idle", "--program", str(folder), "--quiet"]) == 0


def as_stored(store: Store, user: str) -> list[bytes]:
    """The effects on record, as rows."""
    return sorted(effect_row(effect) for effect, _ in store.effects(user))


@pytest.mark.parametrize("step", [DAY, DAY // 2, HOUR])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_replay_of_each_user_decides_the_effects_on_record(tmp_path: Path, seed: int, step: int) -> None:
    """Every kind of trigger and step, scarce units, tiers, segments and events from other users, with many ties.

    Semantics: order.paths
    """
    folder = write_program(tmp_path, BOOKS)
    append(folder, feed(random.Random(seed), 12, 14, step))
    go(folder)
    plan, store = opened(folder)
    kinds: set[str] = set()
    for state in list(store.subjects()):
        found = course(plan, store, state.id, fresh=fresh)
        assert sorted(map(effect_row, found.effects)) == as_stored(store, state.id), state.id
        assert found.unmatched == 0
        assert found.state is not None
        assert found.state.wake_at == state.wake_at
        kinds.update(effect.kind for effect in found.effects)
    store.close()
    assert kinds == {"message", "coupon", "invite", "points", "badge", "tier", "tag", "emit"}


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_several_runs_with_late_events_between_them_are_replayed_as_they_were_decided(
    tmp_path: Path, seed: int
) -> None:
    """A run ends by firing the wake-ups of its last instant, so later events of that instant come after them."""
    rng = random.Random(seed)
    folder = write_program(tmp_path, BOOKS)
    rows = feed(rng, 8, 10, DAY)
    late = [rows.pop(rng.randrange(len(rows) // 2)) for _ in range(6)]
    third = len(rows) // 3
    for part in (rows[:third], rows[third : 2 * third], late, rows[2 * third :]):
        append(folder, part)
        go(folder)
    plan, store = opened(folder)
    for state in list(store.subjects()):
        found = course(plan, store, state.id, fresh=fresh)
        assert sorted(map(effect_row, found.effects)) == as_stored(store, state.id), state.id
    store.close()


def test_verdicts_are_those_of_the_simulation(tmp_path: Path) -> None:
    """``simulate --decisions`` over the same feed writes the same verdicts, byte for byte."""
    folder = write_program(tmp_path, BOOKS)
    append(folder, feed(random.Random(7), 10, 12, DAY))
    go(folder)
    out = tmp_path / "decisions.jsonl"
    args = ["simulate", "--program", str(folder), "--events", str(folder / "feed.jsonl"), "--decisions", str(out)]
    assert run([*args, "--quiet"]) == 0
    wanted: dict[str, list[bytes]] = {}
    for line in out.read_bytes().splitlines(keepends=True):
        wanted.setdefault(json.loads(line)["user"], []).append(line)
    plan, store = opened(folder)
    for user, lines in wanted.items():
        assert [decision_row(it) for it in replay(plan, store, user, fresh=fresh)] == lines
    store.close()


def test_until_cuts_the_story_at_an_instant(tmp_path: Path) -> None:
    """Nothing after the instant is decided, and what came before is as in the whole story."""
    folder = write_program(tmp_path, BOOKS)
    append(folder, feed(random.Random(8), 6, 12, DAY))
    go(folder)
    plan, store = opened(folder)
    middle = BASE + 5 * DAY
    for state in list(store.subjects()):
        whole = replay(plan, store, state.id, fresh=fresh)
        part = replay(plan, store, state.id, middle, fresh=fresh)
        assert list(map(decision_row, part)) == [decision_row(it) for it in whole if it.time <= middle]
    store.close()


def test_a_storm_is_cut_where_it_was_cut(tmp_path: Path) -> None:
    """An event that made a thousand effects, most of them for others: of its own subject those on record are decided
    again and no more; of others, to whom it came on many ways, it is counted what cannot be known.

    Semantics: storm.bound — why says so too
    """
    send = "{{{{ user.id }}}}{}"
    books = [
        {
            "playbook": f"p{n:02d}",
            "trigger": {"event": f"e{n}"},
            "entry": PARALLEL,
            "steps": [{"emit": {"type": f"e{n + 1}", "user": send.format(it)}} for it in ("a", "")],
        }
        for n in range(16)
    ]
    folder = write_program(tmp_path, books)
    rows = [("1", "e0", "10:00"), ("2", "e15", "10:01"), ("3", "e3", "10:02")]
    append(folder, [{"id": i, "type": t, "user": "u", "time": f"2026-03-01T{at}:00Z", "data": {}} for i, t, at in rows])
    go(folder)
    plan, store = opened(folder)
    found = course(plan, store, "u", fresh=fresh)
    assert [it.verdict for it in found.decisions].count("error") == 2
    assert sorted(map(effect_row, found.effects)) == as_stored(store, "u")
    assert (found.unmatched, course(plan, store, "ua", fresh=fresh).unmatched > 0) == (0, True)
    store.close()


def test_a_playbook_published_later_is_not_said_to_have_acted_before(tmp_path: Path) -> None:
    """What happened before the first run with it, it did not see; the plan itself is left as it was."""
    folder = write_program(tmp_path, BOOKS[:1])
    append(folder, feed(random.Random(9), 4, 6, DAY))
    go(folder)
    late = {
        "playbook": "order",
        "trigger": {"event": "order.paid"},
        "when": "event.amount > 1",
        "entry": PARALLEL,
        "steps": [{"points": {"add": 1}}],
    }
    write_program(folder, [BOOKS[0], late])
    order = {"id": "z", "type": "order.paid", "user": "u0", "time": "2026-03-01T00:00:00Z", "data": {"amount": 2}}
    append(folder, [order])
    go(folder)
    plan, store = opened(folder)
    before = [(it.when, [one.condition for one in it.triggers]) for it in plan.playbooks]
    found = course(plan, store, "u0", fresh=fresh)
    own = [it for it in found.decisions if it.playbook == "order"]
    assert found.unmatched == 0
    assert [it.verdict for it in own[-2:]] == ["skipped", "entered"]
    assert [why.at for why in own[-1].why] == ["when[0]"]
    assert {it.verdict for it in own[:-1]} == {"skipped"}
    assert {why.at for it in own[:-1] for why in it.why} == {"published"}
    assert [(it.when, [one.condition for one in it.triggers]) for it in plan.playbooks] == before
    assert plan.env.published == {}
    store.close()
