"""Many who decide on one PostgreSQL store come to what one engine for everybody comes to, whoever is killed when."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))
import postgres_server
from flow_program import SECRET, Wall, compiled, make_events, write_program_files
from test_parts import Lines, out_of_order, picture
from test_shards import QUEUED, TIMED

from engine.runtime.parts import PartWorker
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.postgres import PgStore
from engine.stores.sql.postgres_parts import PgDoor, PgParts, join, part


def test_any_order_of_parts(tmp_path: Path) -> None:
    """Two sessions that take turns at random, with batches of their own: everything is as one engine has it.

    Semantics: order.batches
    """
    values = {"limit": "unlimited", "total": 10_000}
    files = {name: text % values for name, text in QUEUED.items()} | TIMED
    files = {name: text.replace("limit: 5000/day", "limit: unlimited") for name, text in files.items()}
    program = compiled(write_program_files(tmp_path / "p", files))
    assert program.plan is not None
    events = out_of_order(make_events(1, 120, users=12), 1)
    wall = Wall()
    one = MemoryStore()
    Pump(program.plan, one, [Lines(events)], None, wall, secret=SECRET, batch=20).until_idle()

    url = postgres_server.server().schema()
    door = PgStore.open(url)
    Pump(program.plan, door, (), None, wall, secret=SECRET)
    part(door)
    rng = random.Random(1)
    sessions = [PgParts.open(url) for _ in range(2)]
    workers = [
        PartWorker(program.plan, session, wall, secret=SECRET, batch=batch, kept=rng.choice((4, 300)))
        for session, batch in zip(sessions, (3, 50), strict=True)
    ]
    left, place = list(events), 0
    while left or rng.choice(workers).turn():
        if left and rng.random() < 0.5:
            some = rng.randrange(1, 40)
            place += len(left[:some])
            PgDoor(door).take_in(left[:some], (), {"lines": place}, ended=len(left) <= some)
            left = left[some:]
        elif left:
            rng.choice(workers).turn()
    found, wanted = picture(door), picture(one)
    for name in wanted:
        assert found[name] == wanted[name], name
    for session in sessions:
        session.close()
    assert door.check() == []
    join(door)
    assert (door.check(), door.parted, door.clock()) == ([], False, one.clock())
    assert Pump(program.plan, door, (), None, wall, secret=SECRET).until_idle().sent == {}  # one decides it again
    assert picture(door) == wanted
    door.close()
