#!/usr/bin/env python3
"""What it costs to note each message before its first byte: mails to a real server in another process, lines of a file.

    python bench/notes.py [--mails 2000] [--lines 20000] [--rounds 3] [--json FILE]

The same messages with ``at_most_once``, which notes, and with ``at_least_once``, which does not: the median of the
rounds, in messages a second, and in microseconds of this process's processor time for each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "contracts")]

from engine.channels.file import FileChannel  # noqa: E402
from engine.channels.smtp import SmtpChannel  # noqa: E402
from engine.core.model import Effect  # noqa: E402
from engine.ports import Batch  # noqa: E402
from engine.runtime.clock import SystemClock  # noqa: E402
from engine.runtime.outbox import Outbox  # noqa: E402
from engine.site import Site  # noqa: E402
from engine.stores.sqlite import SqliteStore  # noqa: E402

START = 1_800_000_000_000_000


def serve(told: Any) -> None:
    """A mail server, until somebody speaks."""
    from mailbox_server import mailbox

    with mailbox() as port:
        told.send(port)
        told.recv()


def decided(store: Any, count: int) -> None:
    """So many messages are decided."""
    for first in range(0, count, 5_000):
        effects = [
            Effect(
                key=f"k{number}", time=START, playbook="p", step="s", kind="message", user=f"u{number}", group=None,
                status="planned", reason=None, detail={"subject": "Hello", "text": "A few words.\n" * 40},
                deliver="out", purpose="service", to=f"u{number}@example.org",
            )
            for number in range(first, min(first + 5_000, count))
        ]  # fmt: skip
        store.commit(
            Batch(
                clock=START, states=[], events=[], effects=effects, answers=[], resources={}, decisions=[], goals=[],
                rejected=[], positions={},
            )
        )  # fmt: skip


def rate(root: Path, port: int | None, mode: str, count: int) -> tuple[float, float]:
    """(messages a second, microseconds of processor time for each)."""
    store, clock = SqliteStore.open(root / "s.db"), SystemClock()
    channel: Any = FileChannel("out", root / "out.jsonl", mode=mode)
    if port is not None:
        fields = {"url": f"smtp://127.0.0.1:{port}", "from": "a@shop.example", "starttls": "never", "mode": mode}
        channel = SmtpChannel.open("out", fields, Site(root=root, now=clock.now, elapsed=clock.elapsed))
    decided(store, count)
    outbox = Outbox(store, {"out": channel}, clock)
    outbox.recover()
    begun, work = time.monotonic(), time.process_time()
    ended = outbox.drain()
    took, work = time.monotonic() - begun, time.process_time() - work
    assert ended == {"sent": count}, ended
    outbox.close()
    channel.close()
    store.close()
    return count / took, work / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mails", type=int, default=2_000)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    port, found = here.recv(), dict[str, float]()
    for kind, count, where in (("mails", asked.mails, port), ("lines", asked.lines, None)):
        for mode in ("at_least_once", "at_most_once"):
            rounds = []
            for _ in range(asked.rounds):
                with tempfile.TemporaryDirectory(dir=ROOT) as folder:  # on a disk: some systems have none under /tmp
                    rounds.append(rate(Path(folder), where, mode, count))
            found[f"{kind}_{mode}_per_second"] = round(statistics.median(it[0] for it in rounds))
            found[f"{kind}_{mode}_cpu_us"] = round(statistics.median(it[1] for it in rounds))
    here.send(None)
    server.join(10)
    print(json.dumps(found, indent=1))
    if asked.json is not None:
        asked.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
