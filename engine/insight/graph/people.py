"""Where the people of a store stand now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from engine.ports import Store


@dataclass
class Standing:
    """Counts of running journeys."""

    steps: Counter[tuple[str, str | None]] = field(default_factory=Counter)  #: (playbook, step; None: at the entry)
    playbooks: Counter[str] = field(default_factory=Counter)


def standing(store: Store) -> Standing:
    """One walk over all subjects."""
    found = Standing()
    for state in store.subjects():
        for journey in state.journeys:
            found.steps[journey.playbook, journey.at] += 1
            found.playbooks[journey.playbook] += 1
    return found
