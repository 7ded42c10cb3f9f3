#!/usr/bin/env python3
"""A million wake-ups due at once, and fresh events meanwhile: does the daemon starve anybody?

    python bench/wakeups.py [--subjects 1000000] [--rate 50] [--json FILE] [--keep FOLDER]

Everybody signed up and waits for an instant that has passed when the daemon starts. While it wakes them all, new users
sign up at a steady rate; each is sent a message to a file. Stated are the seconds until all are awake, the time from
writing a fresh event to its message, and the most memory the daemon ever held. Aim: 60 s, p99 1 s, 200 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

FILES = {
    "drumbeat.yaml": """\
program: wakeups
feeds: [{file: feed/old.jsonl}, {file: feed/new.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/wait.yaml": """\
playbook: wait
title: Wait, then give a point
trigger: {signup: true, if: event.fresh is none}
entry: once
steps: [{wait: 20m}, {points: 1}]
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello
trigger: {signup: true, if: event.fresh == true}
entry: {mode: once, limit: unlimited}
steps: [{message: {template: hello, via: box, purpose: service}}]
""",
    "playbooks/catalog.yaml": "points: {main: {title: Points}}\n",
    "templates/hello.box.j2": "hello {{ user.id }}",
}


def stamp(when: datetime) -> str:
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_program(root: Path, subjects: int) -> None:
    """The program, and a feed in which everybody signs up half an hour ago."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "feed").mkdir()
    at = stamp(datetime.now(UTC) - timedelta(minutes=30))
    with (root / "feed" / "old.jsonl").open("w") as feed:
        for number in range(subjects):
            row = {"id": f"o{number}", "type": "user.signup", "user": f"u{number:07d}", "time": at}
            feed.write(json.dumps(row) + "\n")
    (root / "feed" / "new.jsonl").touch()


def finished(db: sqlite3.Connection) -> int:
    row = db.execute("select n from figure where playbook = 'wait' and name = 'finished'").fetchone()
    return row[0] if row else 0


def memory(pid: int, what: str) -> float:
    """MB a process holds (VmRSS), or the most it ever held (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(what)), 0.0)


def cpu_seconds(pid: int) -> float:
    """Seconds a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work(root: Path, subjects: int, rate: float) -> dict[str, float]:
    """Run the daemon until everybody is awake; what was measured."""
    program = ["--program", str(root)]
    subprocess.run([sys.executable, "-m", "engine", "run", "--until-idle", "--quiet", *program], check=True)
    db = sqlite3.connect(f"file:{root / 'drumbeat.db'}?mode=ro", uri=True)
    assert finished(db) == 0
    daemon = subprocess.Popen([sys.executable, "-m", "engine", "run", *program], stdout=subprocess.DEVNULL)
    box, written, answered, seen = root / "out" / "box.jsonl", {}, {}, 0
    start = begun = time.perf_counter()
    next_event = next_look = start
    number, awake, ended, held, computed = 0, 0, 0.0, 0.0, 0.0
    with (root / "feed" / "new.jsonl").open("a") as feed:
        while not ended or len(answered) < len(written):
            now = time.perf_counter()
            if not ended and awake and now >= next_event:
                row = {"id": f"n{number}", "type": "user.signup", "user": f"n{number}", "data": {"fresh": True}}
                feed.write(json.dumps(row | {"time": stamp(datetime.now(UTC))}) + "\n")
                feed.flush()
                written[f"n{number}"] = now
                number, next_event = number + 1, now + 1 / rate
            if box.exists() and box.stat().st_size > seen:
                with box.open("rb") as out:
                    out.seek(seen)
                    fresh = out.read()
                whole = fresh[: fresh.rfind(b"\n") + 1]
                seen += len(whole)
                for line in whole.splitlines():
                    answered[json.loads(line)["user"]] = time.perf_counter()
            if now >= next_look:
                before, awake, next_look = awake, finished(db), now + 0.2
                if awake and not before:
                    begun, next_event, computed = now, now, -cpu_seconds(daemon.pid)
                held = max(held, memory(daemon.pid, "VmRSS"))
                if awake == subjects and not ended:
                    ended = now
                    computed += cpu_seconds(daemon.pid)
            assert daemon.poll() is None, "the daemon died"
            time.sleep(0.002)
    peak = memory(daemon.pid, "VmHWM")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    delays = sorted(answered[user] - written[user] for user in written)
    return {
        "subjects": subjects,
        "fresh_events": len(delays),
        "seconds": round(ended - begun, 1),
        "seconds_from_start": round(ended - start, 1),
        "wakes_per_second": round(subjects / (ended - begun)),
        "fresh_p50_ms": round(statistics.median(delays) * 1000),
        "fresh_p99_ms": round(delays[int(len(delays) * 0.99)] * 1000),
        "fresh_max_ms": round(delays[-1] * 1000),
        "cpu_seconds": round(computed, 1),
        "rss_mb": round(held, 1),
        "peak_rss_mb": round(peak, 1),
    }


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--subjects", type=int, default=1_000_000)
    p.add_argument("--rate", type=float, default=50, help="fresh events a second")
    p.add_argument("--json", type=Path, help="write the figures there")
    p.add_argument("--keep", type=Path, help="folder to work in, kept afterwards")
    given = p.parse_args()
    root = given.keep or Path(tempfile.mkdtemp(prefix="wakeups-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        write_program(root, given.subjects)
        figures = json.dumps(work(root, given.subjects, given.rate), indent=2)
        print(figures)
        if given.json:
            given.json.write_text(figures + "\n", encoding="utf-8")
    finally:
        if given.keep is None:
            shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
