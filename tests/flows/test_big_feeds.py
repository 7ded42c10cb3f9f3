"""A feed beyond what may be held in memory gives the bytes it gives in memory, whatever the files look like."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from engine.feeds.replay import Replay
from engine.feeds.table import CsvMapping
from engine.language.compile import compile_program
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

ROOT = Path(__file__).resolve().parents[2]
MAPPING = CsvMapping.of({"time": "time", "type": "type", "user": "user", "id": "id"})


def effects(feed: list[Path], **other: Any) -> bytes:
    """The rows of one simulation of W1."""
    plan = compile_program(ROOT / "bench" / "w1").plan
    assert plan is not None
    rows = io.BytesIO()
    simulate(plan, Replay(feed, **other), MemoryStore(keep_log=False), effects=rows)
    return rows.getvalue()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A feed in order without a repeated id or a repeated instant, so that any order of files means the same."""
    path = tmp_path_factory.mktemp("w1") / "w1.jsonl"
    words = ["--events", "5000", "--users", "200", "--out", str(path)]
    subprocess.run([sys.executable, str(ROOT / "bench" / "gen_w1.py"), *words], check=True, capture_output=True)
    found = {json.loads(line)["time"]: line for line in path.read_text(encoding="utf-8").splitlines()}
    return list(found.values())


def as_parquet(path: Path, lines: list[str]) -> Path:
    rows = [json.loads(line, parse_float=Decimal) for line in lines]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("id", "type", "user", "time")}
    for name in sorted({name for row in rows for name in row["data"]}):
        columns[name] = [row["data"].get(name) for row in rows]
    parquet.write_table(pyarrow.table(columns), path, row_group_size=150)
    return path


def test_the_same_bytes(tmp_path: Path, lines: list[str]) -> None:
    """In order, shuffled, cut into files that overlap in time, with every record twice, as Parquet; with room for
    everything, for some, and for not even one record: always the same effects, byte by byte.

    Semantics: late.simulate
    """

    def write(name: str, part: list[str]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(part) + "\n", encoding="utf-8")
        return path

    rng = random.Random(5)
    wanted = effects([write("ordered.jsonl", lines)])
    assert wanted.count(b"\n") > 150
    shuffled = rng.sample(lines, len(lines))
    assert effects([write("shuffled.jsonl", shuffled)], bound=20_000) == wanted
    twice = rng.sample([*lines, *lines], 2 * len(lines))
    assert effects([write("twice.jsonl", twice)], bound=1) == wanted
    parts = [write("odd.jsonl", lines[1::2]), as_parquet(tmp_path / "even.parquet", lines[::2])]
    assert effects(parts, mapping=MAPPING, bound=20_000) == wanted
