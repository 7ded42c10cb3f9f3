"""Loops of ``emit``, ``start``, ``set`` and ``points`` to triggers, within one playbook and between several.

Every cycle is refused, whatever the entry modes: one that ends after a lap is as surprising as one that does not.
Of what the engine tells by itself (``TOLD``) only what is certain is taken: a step that nobody is led past, and a
trigger that asks nothing. A condition on a balance is how such a circle is meant to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.core.kinds import Trigger
from engine.core.moment import Value

SETS = "set user."
"""What the type of an edge begins with that a ``set`` step makes; the rest is the trait."""

OWN_ENDS = frozenset({"journey.started", "journey.finished"})
"""What every playbook tells without a step that says so."""

TOLD = frozenset({"points.changed"})
"""What steps tell without saying so, and may tell again and again. (A badge is given once, a coupon within limits.)"""


@dataclass(frozen=True)
class Edge:
    """A playbook emits (or causes) an event to which a trigger of another listens."""

    source: str  #: playbook that emits
    target: str  #: playbook that is triggered
    type: str  #: event type
    where: object  #: node of the emitting step


def edges(
    emits: Iterable[tuple[str, str, object]], listens: Iterable[tuple[str, Iterable[str]]]
) -> list[Edge]:
    """All edges between playbooks.

    Parameters
    ----------
    emits: (playbook, event type, node of the step).
    listens: (playbook, event types its triggers listen to).
    """
    by_type: dict[str, list[str]] = {}
    for playbook, types in listens:
        for type_ in types:
            by_type.setdefault(type_, []).append(playbook)
    return [Edge(source, target, type_, where) for source, type_, where in emits for target in by_type.get(type_, ())]


def set_edges(
    sets: Iterable[tuple[str, str, Value, object]], triggers: Sequence[tuple[str, Trigger]]
) -> list[Edge]:
    """The edges of ``set`` steps to triggers that fire when a trait changes.

    Parameters
    ----------
    sets: (playbook, trait, value, node of the step).
    triggers: (playbook, trigger) of all playbooks.
    """
    return [
        Edge(source, target, SETS + name, where)
        for source, name, value, where in sets
        for target, trigger in triggers
        if trigger.fires_on(name, value)
    ]


def cycles(found: Sequence[Edge], by: Sequence[Edge] | None = None) -> list[list[Edge]]:
    """One shortest cycle for each edge that closes one; each cycle once. ``by``: only through these edges."""
    graph: dict[str, list[Edge]] = {}
    for edge in found:
        graph.setdefault(edge.source, []).append(edge)
    out: list[list[Edge]] = []
    seen: set[frozenset[tuple[str, str, str]]] = set()
    for edge in found if by is None else by:
        path = _way_back(graph, edge)
        if path is None:
            continue
        name = frozenset((one.source, one.target, one.type) for one in path)
        if name not in seen:
            seen.add(name)
            out.append(path)
    return out


def _way_back(graph: dict[str, list[Edge]], first: Edge) -> list[Edge] | None:
    """The shortest path from the end of ``first`` to its begin, ``first`` included."""
    paths: list[list[Edge]] = [[first]]
    reached = {first.target}
    while paths:
        following: list[list[Edge]] = []
        for path in paths:
            here = path[-1].target
            if here == first.source:
                return path
            for edge in graph.get(here, ()):
                if edge.target == first.source or edge.target not in reached:
                    reached.add(edge.target)
                    following.append([*path, edge])
        paths = following
    return None
