"""A simulation in parts, in this process: what the workers of ``simulate`` do, without starting any."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.cli.oneshard import figures
from engine.cli.workers import whole
from engine.feeds.replay import Replay
from engine.language.compiled import Compiled
from engine.runtime.shardrows import merge
from engine.runtime.shards import Coupled, Shard
from engine.runtime.simulate import Outcome, simulate
from engine.stores.memory import MemoryStore

Found = tuple[bytes, bytes, Outcome]
"""Effects, verdicts, figures."""


def _pass(program: Compiled, feed: Sequence[Path], traced: bool, shard: Shard | None, **more: Any) -> Found:
    assert program.plan is not None
    effects, verdicts = io.BytesIO(), io.BytesIO()
    replay = Replay(feed, more.get("until"), types=program.known_types)
    outcome = simulate(
        program.plan, replay, MemoryStore(keep_log=False), effects=effects, decisions=verdicts if traced else None,
        known_types=program.known_types, shard=shard, **more,
    )  # fmt: skip
    return effects.getvalue(), verdicts.getvalue(), outcome


def by_one(program: Compiled, feed: Sequence[Path], *, traced: bool = True, **more: Any) -> Found:
    """Everybody at once."""
    return _pass(program, feed, traced, None, **more)


def by_many(program: Compiled, feed: Sequence[Path], number: int, *, traced: bool = True, **more: Any) -> Found:
    """In parts, put together; raises Coupled."""
    parts, shards = [], [Shard(one, number) for one in range(number)]
    parts = [_pass(program, feed, traced, shard, **more) for shard in shards]
    taken: dict[str, Any] = {}
    for shard in shards:
        for bound, (most, there) in shard.usage.most.items():
            taken[bound] = taken.get(bound, 0) + most
            if taken[bound] > there:
                raise Coupled(bound)
    rows = []
    for which in (0, 1):
        out = io.BytesIO()
        merge([io.BytesIO(part[which]) for part in parts], out)
        rows.append(out.getvalue())
    return rows[0], rows[1], whole([figures(part[2], False) for part in parts])


def same(program: Compiled, feed: Sequence[Path], **more: Any) -> Callable[[int], None]:
    """Asserts for a number of parts that rows and figures are those of one process; raises Coupled."""
    wanted = by_one(program, feed, **more)

    def check(number: int) -> None:
        found = by_many(program, feed, number, **more)
        assert found[0] == wanted[0]
        assert found[1] == wanted[1]
        assert found[2] == wanted[2]

    return check
