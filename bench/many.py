"""Workload W1 decided on PostgreSQL by one engine and by several workers, beside SQLite: the same states, and how fast.

    python bench/many.py [EVENTS] [WORKERS ...]        (100,000 events, 1 and 2 workers by default)

The server is started here, on a folder in memory with ``fsync`` on, and shares the machine with those who ask it.
Stated is the processor time of the processes that decide and of the server, and the time by the clock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "contracts"))
import postgres_server

HERE = Path(__file__).resolve().parent
ENGINE = [sys.executable, "-m", "engine"]
_STATES = "select count(*), md5(string_agg(id || md5(state) || coalesce(wake_at, 0), ',' order by id)) from subject"
_KEYS = "select count(*), md5(string_agg(key || time || coalesce(delivery, ''), ',' order by key)) from effect"


def ticks(pid: int) -> float:
    """Processor seconds of a process, its threads and its children that ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def family(root: int) -> float:
    """Processor seconds of a process and of all that came of it and is alive."""
    parents: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    members, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in members} - members
        members, grown = members | more, bool(more)
    total = 0.0
    for pid in members:
        try:
            total += ticks(pid)
        except OSError:
            continue
    return total


def main() -> None:
    """Measure, compare and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    crews = [int(word) for word in sys.argv[2:]] or [1, 2]
    server = postgres_server.PostgresServer(shared_buffers="256MB", max_wal_size="2GB")
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(server, Path(folder), events, crews)
    finally:
        server.remove()


def _run(server: postgres_server.PostgresServer, here: Path, events: int, crews: list[int]) -> None:
    program = here / "p"
    shutil.copytree(HERE / "w1", program)
    (program / "feed").mkdir()
    make = ["--events", str(events), "--users", str(events // 10), "--out", str(program / "feed" / "a.jsonl")]
    subprocess.run([sys.executable, str(HERE / "gen_w1.py"), *make], check=True, capture_output=True)
    print(f"{events:,} events, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<14}{'decide CPU s':>14}{'server CPU s':>14}{'clock s':>10}   states, effects")
    ways: list[tuple[str, list[str], str]] = [("sqlite", [], ""), ("postgres", [], "one")]
    ways += [(f"{number} worker(s)", ["--workers", str(number)], f"w{number}") for number in crews]
    pictures = set()
    for name, more, schema in ways:
        shutil.rmtree(program / "out", ignore_errors=True)
        store = ["--store", f"{server.url}&schema={schema}"] if schema else []
        before, begun, spent = family(server.pid), time.perf_counter(), os.times()
        words = [*ENGINE, "run", "--until-idle", "--quiet", "--program", str(program), *store, *more]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        clock, now = time.perf_counter() - begun, os.times()
        own = now.children_user + now.children_system - spent.children_user - spent.children_system
        asked = family(server.pid) - before if schema else 0.0
        told = "as a file"
        if schema:
            with server.connect() as db:
                db.execute(f"set search_path to {schema}")
                picture = (db.execute(_STATES).fetchone()[0], db.execute(_STATES).fetchone()[1])
                told = f"{picture[0]:,} {picture[1][:8]}, {db.execute(_KEYS).fetchone()[0]:,}"
                pictures.add(picture)
        print(f"{name:<14}{own:>14.1f}{asked:>14.1f}{clock:>10.1f}   {told}")
    print("states are the same bytes" if len(pictures) == 1 else "STATES DIFFER")


if __name__ == "__main__":
    main()
