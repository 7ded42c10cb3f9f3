"""Rounds, starts, tasks, requests and words by hand: ``run`` decides what ``simulate`` decides, in any batch."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from semantics_kit import HEAD, Row, play
from steps_kit import At, event_of, write

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, MINUTE
from engine.insight.replay import course
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

HOOKED = HEAD.replace("path: out.jsonl}", "path: out.jsonl}, webhook: {via: file, path: hooks.jsonl}")
BUSY = HOOKED + 'timezone: Asia/Shanghai\nbusiness_hours: {from: "09:00", to: "18:00"}\nprofile: open\n'
ANY = "entry: {mode: parallel, limit: unlimited}\n"
CATALOG = "coupons: {c: {codes: {generate: C}, valid_for: 3d, limits: {per_user: 2, total: 9}}}\n"
BOOKS = {
    "rounds": "trigger: {event: a}\n" + ANY + """exit: [{event: x, if: event.n == 1}]
steps:
  - repeat:
      times: 3
      every: {days: 1, at: "10:00"}
      until: steps.call.outcome == "ok" or count("b", within="1d") >= 3
      do:
        - {coupon: c, id: gift}
        - task: {assign: li, title: "{{ user.id }}", due: 5h, outcomes: [ok, no], escalate: {after: 3h, to: wu}}
          id: call
        - {set: {user.last: "{{ steps.call.outcome }}", user.day: "{{ today }}"}}
  - {start: called}
""",
    "called": "trigger: [{called: true}, {manual: true}]\n" + ANY + """steps:
  - {webhook: {url: "https://x.example/{{ user.id }}", body: {day: "{{ today }}", by: "{{ event.caller }}"}}, id: hook}
  - {wait_for: {event: b, up_to: 6h, then: [{tag: {add: [b]}}], else: [{points: 1}]}}
  - {set: {user.hook: "{{ steps.hook.status }}", user.eq: "{{ user.day == today }}"}}
""",
}  # fmt: skip


def feed(seed: int, keys: list[tuple[str, str, int]]) -> list[Row]:
    """Random events of a few users; ``keys``: (user, task, given) of tasks that some of them are done about."""
    rng = random.Random(seed)
    at, rows = parse_instant("2026-03-06T00:00:00Z"), []
    for number in range(60):
        at += rng.choice([0, MINUTE, HOUR, 3 * HOUR, 5 * HOUR, DAY // 3])
        type_ = rng.choice(["a", "b", "b", "b", "x", "playbook.manual:called"])
        row = {"id": f"e{number:03d}", "type": type_, "time": format_instant(at), "user": f"u{rng.randrange(5)}"}
        rows.append({**row, "data": {"n": rng.randrange(3)}})
    for number, (user, key, given) in enumerate(keys):
        time = format_instant(given + rng.choice([HOUR, 3 * HOUR, 5 * HOUR, DAY]))
        data = {"task": key, "outcome": rng.choice(["ok", "no", "odd"])}
        rows.append({"id": f"t{number:03d}", "type": "task.done", "time": time, "user": user, "data": data})
    return sorted(rows, key=lambda row: row["time"])


def tasks(rows: list[Row]) -> list[tuple[str, str, int]]:
    """(user, key, instant) of the tasks given."""
    own = [row for row in rows if row["kind"] == "task" and "escalates" not in row["detail"]]
    return [(row["user"], row["key"], parse_instant(row["time"])) for row in own]


def brief(key: str, status: str, reason: str | None, time: str, detail: dict[str, Any]) -> tuple[Any, ...]:
    """What of a row must be equal; codes of coupons hang on the secret of a store."""
    shown = {name: it for name, it in detail.items() if name != "code"}
    return time, key, status, reason, str(shown)


@pytest.mark.parametrize("seed", range(3))
def test_any_batch_decides_the_same(tmp_path: Path, seed: int) -> None:
    """Semantics: order.batches, order.paths — "Batching never changes an outcome", over a store on the disk; and `why`
    decides it again."""
    head = BUSY
    rows = feed(seed, [])
    for _ in range(2):  # words about the tasks of the time before; they change which tasks there are
        rows = feed(seed, tasks(play(tmp_path / "sim", BOOKS, rows, head=head, catalog=CATALOG).effects))
    seen = play(tmp_path / "sim", BOOKS, rows, head=head, catalog=CATALOG)
    short = play(tmp_path / "sim", BOOKS, rows, head=head, catalog=CATALOG, traced=False, batch=1)
    assert short.effects == seen.effects
    wanted = sorted(brief(*(row[it] for it in ("key", "status", "reason", "time", "detail"))) for row in seen.effects)
    kinds = {(row["kind"], row["status"]) for row in seen.effects}
    assert {("task", "planned"), ("webhook", "planned"), ("emit", "planned"), ("coupon", "denied")} <= kinds
    program = write(tmp_path / "run", BOOKS, head=head, catalog=CATALOG)
    assert program.plan is not None
    events = [event_of(row) for row in rows]
    for batch in (1, 7, 500):
        for event in events:
            event.internal = event.type.startswith("playbook.")
        store = SqliteStore.open(tmp_path / f"{batch}.db")
        try:
            half = len(events) // 2
            for part in (events[:half], events[half:]):
                store.ingest([(event, b"") for event in part], [])
                Pump(program.plan, store, [], None, At(), secret=b"x", batch=batch).until_idle()
            found = [
                brief(it.key, it.status, it.reason, format_instant(it.time), _read(it.detail))
                for it, _ in store.effects()
            ]
            assert sorted(found) == wanted, batch
            for user in sorted({row["user"] for row in rows}):
                assert course(program.plan, store, user, fresh=MemoryStore).unmatched == 0, user
        finally:
            store.close()


def _read(detail: dict[str, Any]) -> dict[str, Any]:
    """A detail as it stands in a row of ``--effects``."""
    return dict(json.loads(msgspec.json.Encoder(decimal_format="number").encode(detail)))
