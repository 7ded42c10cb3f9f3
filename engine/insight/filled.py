"""A store filled from a feed, to be asked and thrown away: what people would be after these events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from engine.core.admission import EventTypes
from engine.core.coupons import with_stand_ins
from engine.core.model import Event
from engine.core.plan import Plan
from engine.core.starts import asked_for, take_for_verbs
from engine.ports import Record, Store
from engine.runtime.pump import Pump

FEED = "events"


class _Late:
    """A clock behind every event."""

    def now(self) -> int:
        return 1 << 62


def fill(
    plan: Plan,
    store: Store,
    chunks: Iterable[list[Event]],
    known_types: EventTypes | None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Decide a feed on a new store, as ``simulate`` would: nobody answers webhooks, nothing is sent.

    Parameters
    ----------
    store: new and empty.
    chunks: the events in order of time.
    known_types: what is let in; None: anything.
    """
    plan = replace(plan, pools=with_stand_ins(plan.pools, store.code_count))
    before = dict(plan.env.fixed)
    plan.env.fixed.setdefault("webhooks", {})
    asked, number = frozenset(asked_for(plan.playbooks).values()), 0
    try:
        secret = f"simulate:{plan.program}".encode()
        pump = Pump(plan, store, (), None, _Late(), secret=secret, known_types=known_types, batch=10_000)
        for chunk in chunks:
            take_for_verbs(chunk, asked)
            records = []
            for event in chunk:
                number += 1
                records.append(Record(FEED, number, b"", event))
            pump.decide(records)
            if progress is not None:
                progress(len(chunk))
        while not pump.settle_some(store.clock()):
            pass
    finally:
        plan.env.fixed.clear()
        plan.env.fixed.update(before)
