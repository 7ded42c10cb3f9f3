"""Parts that are decided by several workers, in any order, come to what one engine for everybody comes to."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flow_program import SECRET, Wall, compiled, make_events, write_program_files
from parted_kit import PartedInMemory
from test_shards import QUEUED, TIMED

from engine.core.model import Event
from engine.core.subjects import part_of
from engine.door import read_event
from engine.runtime.parts import PartWorker
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore


def out_of_order(events: list[dict[str, Any]], seed: int) -> list[Event]:
    """Some events come late, some a day."""
    rng = random.Random(seed)
    lines = list(events)
    for _ in range(len(lines) // 8):
        one = rng.randrange(len(lines))
        lines.insert(min(len(lines), one + rng.randrange(30)), lines.pop(one))
    return [read_event(msgspec.json.encode(line)) for line in lines]


class Lines:
    """Events of one feed."""

    name = "lines"

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def read(self, position: int, limit: int) -> Any:
        from engine.ports import Record

        for place, event in enumerate(self.events[position : position + limit], position + 1):
            yield Record(feed=self.name, position=place, raw=b"", event=event)


def picture(store: MemoryStore) -> dict[str, Any]:
    """All that was decided: states, effects, goals, ledger, counters."""
    effects = sorted((it.key, it.time, it.status, it.reason, str(it.user), status) for it, status in store.effects())
    counts = {name: n for name, n in store.counts().items() if n}
    return {
        "states": [msgspec.json.encode(state) for state in store.subjects()],
        "effects": effects,
        "ledger": sorted((it.key, it.time, it.what, str(it.delta)) for it in store.ledger()),
        "counts": counts,
        "summary": store.summary(),
    }


@pytest.mark.parametrize("seed", range(2))
def test_any_order_of_parts(tmp_path: Path, seed: int) -> None:
    """Late events, wake-ups, quiet hours and slots: whoever decides which part when, all is as one engine has it.

    Semantics: order.batches
    """
    values = {"limit": "unlimited", "total": 10_000}
    files = {name: text % values for name, text in QUEUED.items()} | TIMED
    files = {name: text.replace("limit: 5000/day", "limit: unlimited") for name, text in files.items()}
    program = compiled(write_program_files(tmp_path / "p", files))
    assert program.plan is not None
    events = out_of_order(make_events(seed, 200, users=16), seed)
    wall = Wall()

    one = MemoryStore()
    Pump(program.plan, one, [Lines(events)], None, wall, secret=SECRET, batch=20).until_idle()

    parted = PartedInMemory(seed)
    Pump(program.plan, parted.store, (), None, wall, secret=SECRET)  # publishes
    rng = random.Random(seed)
    workers = [
        PartWorker(program.plan, parted, wall, secret=SECRET, batch=batch, kept=rng.choice((1, 4, 300)))
        for batch in (1, 3, 50)
    ]
    left = list(events)
    while left or rng.choice(workers).turn():
        if left and rng.random() < 0.5:
            some = rng.randrange(1, 40)
            parted.take_in(left[:some])
            left = left[some:]
        elif left:
            rng.choice(workers).turn()
    assert len({part_of(event.user) for event in events}) > 10
    found, wanted = picture(parted.store), picture(one)
    for name in wanted:
        assert found[name] == wanted[name], name
    assert len(wanted["effects"]) > 100
