"""What a person does with deliveries: try again, give up. Both are one transaction of the store each."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.couponing import unsent
from engine.ports import Store
from engine.runtime.verdicts import answered

REDRIVEN = ("dead", "unknown")
"""Statuses of what can be tried again by hand."""

DROPPED = ("pending", "dead", "unknown")
"""Statuses of what can be dropped."""


def redrive(store: Store, keys: Sequence[str]) -> int:
    """Have dead and unknown deliveries tried again under their keys; how many."""
    return store.redrive(keys)


def drop(store: Store, keys: Sequence[str], now: int) -> int:
    """Give deliveries up; how many. Whoever waits for the answer of a request is told that none will come.

    Parameters
    ----------
    now: the machine's clock, microseconds UTC.
    """
    found = [it for key in dict.fromkeys(keys) if (it := store.delivery(key)) is not None and it.status in DROPPED]
    events = [answered(it.item, None, None, now) for it in found if it.item.effect.kind == "webhook"]
    events += [event for it in found for event in unsent(it.item.effect, now)]
    return store.drop([it.item.key for it in found], events)
