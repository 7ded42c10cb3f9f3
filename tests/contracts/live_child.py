"""A small daemon in a process of its own: reads the feeds of a program, decides, acknowledges; killed where it is told.

    python live_child.py FOLDER WANTED KILL_AT

It leaves when the store has decided ``WANTED`` events. At the ``KILL_AT``-th commit that holds something (0: never) it
kills itself between the commit and the acknowledgement.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def main(folder: Path, wanted: int, kill_at: int) -> None:
    from engine import wiring
    from engine.feeds import kafka
    from engine.language.compile import compile_program
    from engine.ports import LiveFeed
    from engine.runtime.clock import SystemClock
    from engine.runtime.outbox import Outbox
    from engine.runtime.pump import Pump

    kafka.SILENT = 1_000  # type: ignore[misc]  # the group need not wait long for one that was killed
    commits = 0

    def after_commit(batch: Any) -> None:
        nonlocal commits
        commits += bool(batch.positions)
        if commits == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    clock, bell = SystemClock(), threading.Event()
    found = compile_program(folder)
    assert found.plan is not None, [str(it) for it in found.problems]
    store = wiring.open_store(found.settings, folder)
    feeds = wiring.open_feeds(found.settings, folder, wiring.site_of(folder, final=False, wake=bell.set, notes=store))
    outbox = Outbox(store, wiring.open_channels(found.settings, folder), clock)
    batch = int(os.environ.get("LIVE_BATCH", "5"))
    pump = Pump(found.plan, store, feeds, outbox, clock, secret=b"x", batch=batch, watch=after_commit)
    while store.counts().get("events", 0) < wanted:
        bell.wait(0.02)
        bell.clear()
        pump.until_idle()
        for feed in feeds:
            if isinstance(feed, LiveFeed):
                feed.acknowledge(store.position(feed.name))
    for feed in feeds:
        if isinstance(feed, LiveFeed):
            feed.close()
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
