#!/usr/bin/env python3
"""The life of the daemon under load: told to leave, killed, replaced. Is anything lost, doubled or left in doubt?

    python bench/lifecycle.py [--terms 100] [--kills 50] [--json FILE]

Events come in all the time. First the daemon is told to leave (SIGTERM) again and again, each time at another moment;
then, with a second one standing by, the active one is killed (SIGKILL) again and again. Stated are the seconds to leave
and to take over, and what became of every event. Aim: nothing lost, doubled or in doubt; a hand-over within 2 s.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

FILES = {
    "drumbeat.yaml": """\
program: lifecycle
feeds: [{file: feed/a.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/hello.yaml": """\
playbook: hello
title: Hello, and again
trigger: {signup: true}
entry: {mode: once, limit: unlimited}
steps:
  - message: {template: hello, via: box, purpose: service}
  - wait: 2s
  - message: {template: again, via: box, purpose: service}
""",
    "templates/hello.box.j2": "hello",
    "templates/again.box.j2": "again",
}


class Load(threading.Thread):
    """Sign-ups at a steady rate."""

    def __init__(self, feed: Path, rate: float) -> None:
        super().__init__(daemon=True)
        self.users = 0
        self.over = threading.Event()
        self._feed, self._rate = feed, rate

    def run(self) -> None:
        with self._feed.open("a") as feed:
            while not self.over.wait(1 / self._rate):
                at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                row = {"id": f"e{self.users}", "type": "user.signup", "user": f"u{self.users}", "time": at}
                feed.write(json.dumps(row) + "\n")
                feed.flush()
                self.users += 1


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "engine", "run", *words, "--program", str(root)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def hear(daemon: subprocess.Popen[str], words: str) -> None:
    assert daemon.stderr is not None
    for line in daemon.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended without saying {words!r}")


def terms(root: Path, times: int, rng: random.Random) -> dict[str, float]:
    """Tell it to leave again and again."""
    seconds, doubtful = [], 0
    for _ in range(times):
        daemon = start(root)
        hear(daemon, "at work")
        time.sleep(rng.uniform(0, 0.5))
        begun = time.perf_counter()
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate()
        assert daemon.returncode == 0
        seconds.append(time.perf_counter() - begun)
        db = sqlite3.connect(f"file:{root / 'drumbeat.db'}?mode=ro", uri=True)
        doubtful += db.execute("select count(*) from effect where delivery in ('sending', 'unknown')").fetchone()[0]
        db.close()
    return {"terms": times, "leaving_p50_s": round(statistics.median(seconds), 2),
            "leaving_max_s": round(max(seconds), 2), "in_doubt": doubtful}  # fmt: skip


def kills(root: Path, times: int, rng: random.Random) -> dict[str, float]:
    """Kill the active one again and again."""
    seconds = []
    active = start(root)
    hear(active, "at work")
    for _ in range(times):
        second = start(root, "--standby")
        hear(second, "standing by")
        time.sleep(rng.uniform(0, 0.5))
        begun = time.perf_counter()
        active.kill()
        hear(second, "at work")
        seconds.append(time.perf_counter() - begun)
        active.communicate()
        active = second
    active.send_signal(signal.SIGTERM)
    active.communicate()
    return {"kills": times, "handover_p50_s": round(statistics.median(seconds), 2),
            "handover_max_s": round(max(seconds), 2)}  # fmt: skip


def work(root: Path, given: argparse.Namespace) -> dict[str, float]:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "feed").mkdir()
    rng = random.Random(given.seed)  # noqa: S311 - moments of kills, not secrets
    load = Load(root / "feed" / "a.jsonl", given.rate)
    load.start()
    found = terms(root, given.terms, rng) | kills(root, given.kills, rng)
    load.over.set()
    load.join()
    daemon, box = start(root), root / "out" / "box.jsonl"
    hear(daemon, "at work")
    wanted = {(f"u{n}", text) for n in range(load.users) for text in ("hello", "again")}
    ends = time.perf_counter() + 120
    while True:
        rows = [json.loads(line) for line in box.read_text().splitlines()]
        sent = Counter((row["user"], row["text"]) for row in rows)
        if len(sent) >= len(wanted) or time.perf_counter() > ends:
            break
        time.sleep(0.5)
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate()
    return found | {
        "events": load.users,
        "lost": len(wanted - set(sent)),
        "doubled": sum(n - 1 for n in sent.values()),
    }


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--terms", type=int, default=100)
    p.add_argument("--kills", type=int, default=50)
    p.add_argument("--rate", type=float, default=100, help="events a second")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lifecycle-"))
    try:
        found = work(root, given)
    finally:
        shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 1 if found["lost"] or found["doubled"] or found["in_doubt"] else 0


if __name__ == "__main__":
    sys.exit(main())
