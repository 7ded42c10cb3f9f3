"""Where those on their way go when a plan is published: told by the very function that publication asks (``fate``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.core.changing import CANCEL, KEEP, fate
from engine.core.model import Journey, State
from engine.core.plan import Plan
from engine.core.subjects import name_of
from engine.insight.sampling import Sample

STAYS, FINISHES, MOVES, STOPS, STANDS = "stays", "finishes", "moves", "stops", "stands_still"


@dataclass(frozen=True)
class Fate:
    """What happens to the journeys that stand alike."""

    playbook: str
    version: str  #: they run on; "" before the first step, or from before versions were kept
    step: str | None  #: they stand at; None: before the first
    what: str  #: stays | finishes (on its own version) | moves | stops | stands_still
    to: str | None = None  #: of ``moves``: the step they go on at
    why: str = ""  #: of ``stops`` and ``stands_still``


@dataclass
class Standing:
    """Everybody on the way."""

    counts: Counter[Fate] = field(default_factory=Counter)
    samples: defaultdict[Fate, Sample] = field(default_factory=lambda: defaultdict(Sample))
    shaken: set[str] = field(default_factory=set)  #: subjects of whom a journey moves or stops

    def take(self, plan: Plan, state: State) -> None:
        """Add one subject."""
        for journey in state.journeys:
            found = fate_of(plan, journey)
            self.counts[found] += 1
            self.samples[found].add(name_of(state.id))
            if found.what in (MOVES, STOPS):
                self.shaken.add(state.id)

    def rows(self) -> list[dict[str, Any]]:
        """Ready for JSON, by playbook, step and version."""
        order = sorted(self.counts, key=lambda it: (it.playbook, it.step or "", it.version, it.what, it.to or ""))
        return [
            {
                "playbook": it.playbook,
                "version": it.version,
                "step": it.step,
                "what": it.what,
                "to": it.to,
                "why": it.why or None,
                "count": self.counts[it],
                "sample": self.samples[it].names(),
            }
            for it in order
        ]


def standing(plan: Plan, states: Iterable[State]) -> Standing:
    """Where everybody on the way goes."""
    found = Standing()
    for state in states:
        found.take(plan, state)
    return found


def fate_of(plan: Plan, journey: Journey) -> Fate:
    """What publication makes of one journey."""
    target, reason = fate(plan, journey)
    place = (journey.playbook, journey.version, journey.at)
    if target == CANCEL:
        return Fate(*place, STOPS, why=reason)
    if target != KEEP:
        return Fate(*place, MOVES, to=target)
    version = plan.of(journey)
    if version is None:
        lost = plan.lost.get((journey.playbook, journey.version))
        status = plan.statuses.get(journey.playbook, "removed")
        return Fate(*place, STANDS, why=lost or f"the playbook is {status}")
    if version.paused:
        return Fate(*place, STANDS, why="the playbook is paused")
    return Fate(*place, STAYS if version is plan.by_id.get(journey.playbook) else FINISHES)
