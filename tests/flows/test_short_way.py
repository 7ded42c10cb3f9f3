"""The short way through the core (without traces) and the long way (with ``--decisions``) decide the same."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest

from engine.feeds.replay import Replay
from engine.language.compile import compile_program
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

ROOT = Path(__file__).resolve().parents[2]


def effects(program: Path, feed: list[Path], *, traced: bool, batch: int) -> bytes:
    """The rows of one simulation."""
    plan = compile_program(program).plan
    assert plan is not None
    rows = io.BytesIO()
    decisions = io.BytesIO() if traced else None
    simulate(
        plan, Replay(feed), MemoryStore(keep_log=False), effects=rows, decisions=decisions, batch_size=batch
    )  # fmt: skip
    return rows.getvalue()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_twenty_rules(tmp_path: Path, seed: int) -> None:
    """On workload W1, where nearly every event goes the short way, both give the same bytes, for any batch.

    Semantics: order.paths
    """
    feed = tmp_path / "w1.jsonl"
    script = [sys.executable, str(ROOT / "bench" / "gen_w1.py"), "--events", "8000", "--users", "300"]
    subprocess.run([*script, "--seed", str(seed), "--dup", "0.02", "--out", str(feed)], check=True, capture_output=True)
    program = ROOT / "bench" / "w1"
    traced = effects(program, [feed], traced=True, batch=2_000)
    assert traced.count(b"\n") > 200
    assert effects(program, [feed], traced=False, batch=2_000) == traced
    assert effects(program, [feed], traced=False, batch=37) == traced


def test_the_purchase_log(tmp_path: Path) -> None:
    """The same on the beginning of the real purchase log, with tiers, caps, waits and rooms.

    Semantics: order.paths
    """
    feed = []
    for name in ("cdnow_orders", "cdnow_signups_derived"):
        with gzip.open(ROOT / "examples" / "cdnow" / "feed" / f"{name}.jsonl.gz", "rb") as packed:
            lines = [line for _, line in zip(range(2_500), packed, strict=False)]
        feed.append(tmp_path / f"{name}.jsonl")
        feed[-1].write_bytes(b"".join(lines))
    program = ROOT / "examples" / "cdnow"
    traced = effects(program, feed, traced=True, batch=2_000)
    assert traced.count(b"\n") > 1_000
    assert effects(program, feed, traced=False, batch=113) == traced
