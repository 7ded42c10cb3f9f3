"""``run --workers`` on PostgreSQL while its processes are killed: nothing lost, nothing twice, nothing oversold."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("psycopg")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))

import postgres_server
from feed_servers import eventually
from flow_program import Wall, compiled, lines_of, make_events, write_feed, write_program_files
from test_shards import QUEUED

from engine import wiring
from engine.core.coupons import PoolState
from engine.errors import CannotRun, StoreError
from engine.runtime.pump import Pump
from engine.stores.postgres import PgStore
from engine.stores.sql.postgres_parts import part

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("DRUMBEAT_KILLS", "5"))
FILES = {
    **QUEUED,
    "playbooks/friend.yaml": """\
playbook: friend
title: A word to a friend, who may be in any part
trigger: {event: page.seen}
entry: {mode: parallel, limit: unlimited}
steps:
  - {emit: {type: greeted, user: "{{ user.inviter }}"}, if: user.inviter is not none}
""",
    "playbooks/greeted.yaml": """\
playbook: greeted
title: Who was greeted has points
trigger: {event: greeted}
entry: {mode: parallel, limit: unlimited}
steps: [{points: 1}, {coupon: {pool: few, on_exhausted: skip}}]
""",
}


def files_of(limit: str, total: int) -> dict[str, str]:
    files = {name: text % {"limit": limit, "total": total} for name, text in FILES.items()}
    files["drumbeat.yaml"] = files["drumbeat.yaml"].replace(
        "profile: {city: text | none}",
        "profile: {city: text | none, inviter: text | none}\nfeeds: [{file: feed/*.jsonl}]",
    )
    files["playbooks/catalog/few.yaml"] = """\
coupons:
  few: {value: {off: 1, currency: CNY}, codes: {generate: F}, valid_for: 9d, limits: {per_user: unlimited, total: 5}}
"""
    return files


def children(process: subprocess.Popen[Any]) -> list[int]:
    """Processes of a process."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                words = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[1]) == process.pid and words[0] != "Z":
                found.append(int(place.name))
    return found


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def run(folder: Path, url: str, workers: int) -> subprocess.Popen[bytes]:
    words = [
        sys.executable,
        "-m",
        "engine",
        "run",
        "--until-idle",
        "--quiet",
        "--format",
        "json",
        "--program",
        str(folder),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    more = ["--store", url, "--workers", str(workers), "--batch", "3"]
    return subprocess.Popen([*words, *more], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Workers, and whoever leads them, are killed again and again: every event is decided once, every key stands once,
    stock and limits hold, all that was promised is found by ``fsck``; then one process goes on where they stopped.
    """
    folder = write_program_files(tmp_path / "p", files_of("9/hour", 60))
    events = make_events(3, 300, users=30)
    write_feed(folder, lines_of(events))
    assert compiled(folder).plan is not None
    url = postgres_server.server().schema()
    rng = random.Random(3)
    killed = 0
    process = run(folder, url, 2)
    while process.poll() is None and killed < KILLS:
        there = children(process)
        if len(there) < 2:
            continue
        victim = rng.choice([*there, *there, process.pid])
        try:
            process.wait(rng.uniform(0.05, 0.5))
        except subprocess.TimeoutExpired:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed += 1
        if process.poll() is not None and killed < KILLS:
            process.communicate()
            eventually(partial(gone, there), "its workers are gone")
            process = run(folder, url, 2)
    out, problems = process.communicate()
    for _ in range(3):  # the last kill may have met whoever leads
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, (out, problems)
        process = run(folder, url, 2)
        out, problems = process.communicate()
    assert process.returncode == 0, (out, problems)
    assert killed >= min(KILLS, 2)

    found = compiled(folder)
    store = wiring.open_store(found.settings, folder, override=url)
    assert isinstance(store, PgStore)
    assert not store.parted
    assert store.check() == []
    counts = store.counts()
    assert counts["events"] - counts.get("internal", 0) >= len(events)
    ids = [event.id for event, _ in store.decided(0)]
    assert len(ids) == len(set(ids))
    assert {event["id"] for event in events} <= set(ids)
    keys = [effect.key for effect, _ in store.effects()]
    assert len(keys) == len(set(keys))
    assert len(list(store.coupons("few"))) == 5
    codes = [it.code for it in store.coupons()]
    assert len(codes) == len(set(codes))
    pool = msgspec.msgpack.decode(store.resources()["coupon:gift"], type=PoolState)
    assert pool.issued <= 60
    store.close()


def test_what_was_cut_short_is_finished_first(tmp_path: Path) -> None:
    """A store in parts is not taken by a daemon, nor by another program; ``run --until-idle`` makes it whole."""
    folder = write_program_files(tmp_path / "p", files_of("9/hour", 60))
    write_feed(folder, lines_of(make_events(3, 20, users=5)))
    url = postgres_server.server().schema()
    found = compiled(folder)
    assert found.plan is not None
    store = wiring.open_store(found.settings, folder, override=url)
    assert isinstance(store, PgStore)
    Pump(found.plan, store, (), None, Wall(), secret=wiring.secret_of(store))
    part(store)
    with pytest.raises(StoreError, match="is in parts"):
        store.copy(tmp_path / "copy.db")
    store.close()
    with pytest.raises(CannotRun, match="cut short") as refused:
        wiring.open_store(found.settings, folder, override=url, for_good=True)
    assert "drumbeat run --until-idle" in refused.value.hint
    words = [sys.executable, "-m", "engine", "run", "--until-idle", "--quiet", "--program", str(folder), "--store", url]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    edited = folder / "playbooks" / "greeted.yaml"
    before = edited.read_text()
    edited.write_text(before.replace("points: 1", "points: 2"))
    other = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (other.returncode, "the program was another one" in other.stderr) == (3, True), other.stderr
    edited.write_text(before)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store = wiring.open_store(found.settings, folder, override=url, for_good=True)
    assert isinstance(store, PgStore)
    assert (store.parted, store.check(), store.counts()["events"] >= 20) == (False, [], True)
    store.close()
