"""A store filled from a feed, to be asked and thrown away: what people would be after these events."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from engine.core.admission import EventTypes
from engine.core.model import State
from engine.core.plan import Plan
from engine.ports import Batch, Store
from engine.runtime.simulate import Replayed, Volatile, simulate

_PAGE = 10_000


def fill(
    plan: Plan,
    memory: Volatile,
    store: Store,
    replay: Replayed,
    known_types: EventTypes | None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Put into a new store what ``simulate`` makes of a feed, as far as an audience asks for it: people and resources.

    They are decided in memory, for a database would commit at each of the instants time alone brings about.

    Parameters
    ----------
    memory: a store in memory, new and empty, to decide in.
    store: new and empty, too.
    replay: the feed.
    known_types: what is let in; None: anything.
    """
    simulate(plan, replay, memory, known_types=known_types, progress=progress, recorder=_Nobody())
    store.commit(_batch(memory, [], memory.resources()))
    people = memory.subjects()
    while states := list(islice(people, _PAGE)):
        store.commit(_batch(memory, states, {}))


class _Nobody:
    """Somebody is told of everything, so that people are handed over at the end; it is not looked at."""

    def take(self, batch: Batch) -> None:
        """Nothing of it is kept."""

    def begin_anew(self) -> None:
        """There is nothing to throw away."""


def _batch(memory: Store, states: list[State], resources: dict[str, bytes]) -> Batch:
    return Batch(
        clock=memory.clock(), states=states, events=[], effects=[], answers=[], resources=resources, decisions=[],
        goals=[], rejected=[], positions={},
    )  # fmt: skip
