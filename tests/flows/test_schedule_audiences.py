"""Audiences of slots asked of the store: the same people as when everybody is judged, ladders and history included."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import BASE, SECRET, Wall, compiled, effects_of, lines_of, simulated, write_feed

from engine import wiring
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR
from engine.core.step import Turn
from engine.door import read_event
from engine.language.compiled import Compiled
from engine.ports import Record
from engine.runtime import walk
from engine.runtime.intake import Intake
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

AUDIENCES = {
    "everybody": "true",
    "city": "user.city == '上海'",
    "gold": "user.tier == 'gold'",
    "rising": "user.tier is at_least('silver') and bucket('spring') < 5000",
    "nobody-yet": "user.tier is none or user.points >= 3",
    "busy": "count('app.opened', within='3d') >= 2",
    "regular": "in_segment('regulars')",
    "odd": "user.points % 2 == 1 and user.city == '上海'",
    "away": "user.last_active_at is older_than('2d') or not user.city == '杭州'",
}
TIERED = ("gold", "rising", "regular")  # these go first: being let in by another playbook places a person
HEAD = """\
program: audiences
timezone: Asia/Shanghai
profile: {city: text | none}
events: {"*": open}
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {service: none}, quiet_hours: never}}
"""
CATALOG = """\
tiers: {member: {metric: 'sum("order.paid", "amount")', levels: {plain: 0, silver: 20, gold: 90}}}
points: {main: {title: p}}
segments: {regulars: {if: 'count("order.paid") >= 2 and user.tier == "silver"'}}
"""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    root = tmp_path_factory.mktemp("program")
    (root / "playbooks" / "catalog").mkdir(parents=True)
    (root / "drumbeat.yaml").write_text(HEAD, encoding="utf-8")
    (root / "playbooks" / "catalog" / "c.yaml").write_text(CATALOG, encoding="utf-8")
    for name, audience in AUDIENCES.items():
        text = f"""\
playbook: {name}
title: t
priority: {90 if name in TIERED else 50}
trigger: {{schedule: {{cron: "0 10 * * *", audience: "{audience}"}}}}
entry: {{mode: parallel, limit: unlimited}}
steps: [{{points: 1}}, {{tag: {{add: [{name}]}}}}]
"""
        (root / "playbooks" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return compiled(root)


def events(seed: int, count: int) -> list[dict[str, Any]]:
    """Orders, visits and moves of a few people, some at the very instants of slots."""
    rng = random.Random(seed)
    at, rows = BASE + HOUR, []
    for number in range(count):
        at += rng.choice([0, HOUR, 3 * HOUR, 9 * HOUR])
        kind = rng.choice(["order.paid", "app.opened", "user.updated"])
        data: dict[str, Any] = {"order.paid": {"amount": rng.choice([5, 15, 40])}}.get(kind, {})
        if kind == "user.updated":
            data = {"city": rng.choice(["上海", "杭州", None])}
        user = f"u{rng.randrange(14):02d}"
        rows.append({"id": f"e{number:04d}", "type": kind, "time": format_instant(at), "user": user, "data": data})
    return rows


def ran(program: Compiled, root: Path, history: list[dict[str, Any]], *, asked: bool, batch: int = 50) -> None:
    """``ingest --history``, then ``run``; without ``asked`` everybody is judged."""
    store = SqliteStore.open(root / "s.db")
    plan = program.plan
    assert plan is not None
    if not asked:
        plan = replace(plan, schedules=tuple(replace(it, filter=None) for it in plan.schedules))
    plan.env.published.clear()
    try:
        rows = [Record("h", n, b"", read_event(line)) for n, line in enumerate(lines_of(history).splitlines(), 1)]
        Intake(store, Wall(), history=True).take(rows)
        Pump(
            plan, store, wiring.open_feeds(program.settings, root), None, Wall(), secret=SECRET, batch=batch
        ).until_idle()
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(3))
def test_the_store_and_python_choose_the_same(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """``run`` asks the store, ``simulate`` judges everybody: the same effects, whatever the batches and chunks."""
    rows = events(seed, 120)
    wanted = simulated(program, write_feed(tmp_path, lines_of(rows)))
    assert {it.playbook for it in wanted} >= set(AUDIENCES)
    for batch, chunk in ((1, 5_000), (500, 2)):
        monkeypatch.setattr(walk, "CHUNK", chunk)
        root = tmp_path / str(batch)
        root.mkdir()
        write_feed(root, lines_of(rows))
        ran(program, root, [], asked=True, batch=batch)
        assert effects_of(root) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_people_of_the_past_stand_on_their_ladder(program: Compiled, tmp_path: Path, seed: int) -> None:
    """Whom history alone made known has no tier in the store yet; the slot finds it all the same."""
    past = [{**row, "id": f"h{row['id']}", "user": f"p{row['user']}"} for row in events(seed + 10, 60)]
    last = max(row["time"] for row in past)
    rows = [{"id": "now", "type": "x", "time": last, "user": "z", "data": {}}]
    rows.append({"id": "end", "type": "x", "time": format_instant(BASE + 60 * DAY), "user": "z", "data": {}})
    found = []
    for asked in (True, False):
        root = tmp_path / str(asked)
        root.mkdir()
        write_feed(root, lines_of(rows))
        ran(program, root, past, asked=asked)
        found.append(effects_of(root))
    assert found[0] == found[1]
    assert {"gold", "regular", "rising"} & {it.playbook for it in found[0]}


def test_whom_the_store_leaves_out_is_not_read(
    program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the program has ladders: an audience of a city is not judged for people elsewhere."""
    looked = Counter[str]()
    invited = Turn.invited

    def counting(self: Turn, state: Any, due: Any, now: int) -> Any:
        looked[due.scheduled.playbook.id] += 1
        return invited(self, state, due, now)

    monkeypatch.setattr(Turn, "invited", counting)
    rows = [{"id": f"e{n}", "type": "app.opened", "time": "2026-01-01T00:00:00Z", "user": f"u{n}", "data": {}}
            for n in range(40)]  # fmt: skip
    rows.append({"id": "end", "type": "x", "time": "2026-01-01T02:30:00Z", "user": "u0", "data": {}})
    write_feed(tmp_path, lines_of(rows))
    ran(program, tmp_path, [], asked=True)
    assert looked["everybody"] == 40
    assert (looked["city"], looked["gold"]) == (0, 0)
