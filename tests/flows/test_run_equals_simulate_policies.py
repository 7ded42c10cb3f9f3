"""``run`` decides what ``simulate`` decides with every safety belt in use, and ``why`` replays it all the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from crash_world import without_disk
from flow_program import Wall, compiled, effects_of, lines_of, make_events, run, simulated, write_feed

from engine.insight.replay import course
from engine.language.compiled import Compiled
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

FILES = {
    "drumbeat.yaml": """\
program: belts
timezone: America/New_York
activity: [order.paid, app.opened]
best_hour: "09:30"
events: {user.signup: {city: text | none, inviter: text | none}, order.paid: {amount: money}, "*": open}
feeds: [{file: feed/*.jsonl}]
channels: {ads: {via: file, path: out/ads.jsonl}, box: {via: file, path: out/box.jsonl}}
policies:
  default:
    consent: {marketing: none, community: none}
    caps: [{purpose: marketing, max: 1, per: day}, {purpose: marketing, max: 3, per: week}, {max: 9, per: month}]
    freeze: {calendars: [spring], purposes: [community]}
  short: {quiet_hours: {from: "00:30", to: "03:15"}, consent: {marketing: none}, caps: [{max: 1, per: 30h}]}
control_group: {percent: 25, salt: x}
""",
    "playbooks/catalog/all.yaml": """\
calendars: {spring: {dates: [2026-01-03..2026-01-06]}}
coupons: {c: {title: c, codes: {file: lists/c.csv}, limits: {per_user: unlimited, total: 40}}}
""",
    "playbooks/first.yaml": """\
playbook: first
title: first
priority: 80
trigger: {event: app.opened}
entry: {mode: parallel, limit: unlimited}
goal: {event: order.paid, within: 2d}
steps:
  - {message: {template: hi, purpose: marketing, via: [ads, box], valid_for: 9h, on_cap: wait}, if: 'user.id != "u05"'}
  - {message: {template: hi, purpose: community, via: box}}
""",
    "playbooks/queue.yaml": """\
playbook: queue
title: queue
trigger: {event: order.paid}
entry: {mode: restart, limit: 3/day}
policy: short
when: count("order.paid") < 9
steps: [{coupon: {pool: c, on_exhausted: skip}}, {message: {template: hi, purpose: marketing, via: box, on_cap: exit}}]
""",
    "playbooks/best.yaml": """\
playbook: best
title: best
priority: 20
trigger: {event: page.seen}
entry: {mode: single}
exit: [{if: count("app.opened") >= 6}]
steps: [{message: {template: hi, purpose: service, via: box, at: best_hour}}, {wait: {days: 1, at: "23:00"}},
        {message: {template: hi, purpose: marketing, via: box}}]
""",
    "templates/hi.box.j2": "hi {{ user.id }}",
    "templates/hi.ads.j2": "ad {{ user.id }}",
    "lists/c.csv": "".join(f"C{n:03d}\n" for n in range(40)),
}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    root = tmp_path_factory.mktemp("belts")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return compiled(root)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_batch(program: Compiled, tmp_path: Path, seed: int) -> None:
    """Quiet hours, freeze, control group, caps, best hour, entry limits: the same effects for any batch, with their
    spare channels and last instants; and the replay of each user gives what is on record.

    Semantics: order.batches, order.paths
    """
    events = make_events(seed, 260)
    wanted = sorted(simulated(program, write_feed(tmp_path, lines_of(events))), key=lambda it: (it.time, it.key))
    for effect in wanted:
        if effect.until is not None:  # what a store keeps goes by the machine's clock
            effect.until = Wall().at + effect.until - effect.time
    reasons = {effect.reason or effect.status for effect in wanted}
    assert reasons >= {"planned", "control_group", "freeze", "cap", "expired"}
    for batch in (1, 7, 500):
        root = tmp_path / str(batch)
        root.mkdir()
        write_feed(root, lines_of(events))
        run(program, root, batch=batch, deliver=batch == 7)
        assert sorted(effects_of(root), key=lambda it: (it.time, it.key)) == wanted
    store = SqliteStore.open(tmp_path / "7/s.db", read_only=True)
    assert program.plan is not None
    try:
        for state in store.subjects():
            fresh = partial(MemoryStore, keep_log=False)
            assert course(program.plan, store, state.id, fresh=fresh).unmatched == 0
    finally:
        store.close()
