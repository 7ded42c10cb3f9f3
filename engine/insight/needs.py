"""From a judged condition to sets of changes each of which may be enough to turn it around."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.core.instants import format_instant, parse_duration
from engine.core.model import Event
from engine.core.plan import Plan
from engine.insight import change as kinds
from engine.insight import levers
from engine.insight.change import Change
from engine.insight.judged import Branch
from engine.language.expressions.parse import parse, walk
from engine.language.expressions.unparse import unparse

_MOST_SETS = 60
"""Combinations of changes that are kept of one condition, the smallest."""

Set = tuple[Change, ...]


@dataclass(frozen=True)
class Sight:
    """What was seen behind a condition at the decision."""

    plan: Plan  #: of the kind of subject
    trees: Mapping[str, Branch] = field(default_factory=dict)  #: segment -> as it was judged
    metrics: Mapping[str, Any] = field(default_factory=dict)  #: ladder -> value of its metric
    listed: frozenset[str] = frozenset()  #: segments that are lists


@dataclass(frozen=True)
class Key:
    """A set of changes that is equal to another one that asks for the same."""

    changes: Set = field(compare=False)
    text: str


def key_of(changes: Set) -> Key:
    return Key(changes, repr(sorted(repr(_bare(it)) for it in changes)))


def _bare(it: Change) -> Change:
    return replace(it, leaf="", has=None, value=None if it.other else it.value)


def cost(changes: Set) -> tuple[int, int, int]:
    """How near a set of changes is: how many, of how many events, and how much of them is no event of one's own."""
    return len(changes), sum(it.times for it in changes), sum(it.kind in _FAR for it in changes)


_FAR = frozenset({kinds.TOLD, kinds.FIGURE, kinds.LISTED, kinds.UNLISTED, kinds.WITHOUT})


def needs(branch: Branch, want: bool, sight: Sight) -> list[Set]:
    """Sets of changes each of which may be enough for a branch to be ``want``; one of none when it is."""
    if branch.value is want:
        return [()]
    if branch.op == "not" and branch.parts:
        return needs(branch.parts[0], not want, sight)
    if not branch.parts:
        return _of_leaf(branch, want, sight)
    each = [needs(part, want, sight) for part in branch.parts]
    if (branch.op == "or") is want:  # any part is enough
        return _nearest_of(one for some in each for one in some)
    sets: list[Set] = [()]
    for some in each:
        sets = _nearest_of((*one, *(it for it in other if it not in one)) for one in sets for other in some)
    return sets


def _nearest_of(sets: Iterator[Set]) -> list[Set]:
    return sorted(sets, key=cost)[:_MOST_SETS]


def _of_leaf(leaf: Branch, want: bool, sight: Sight) -> list[Set]:
    node = parse(leaf.text).node
    segment = next((first_text(it) for it in walk(node) if names_segment(it)), None) if node is not None else None
    if segment is not None:
        tree = sight.trees.get(segment)
        if tree is None:
            listed = segment in sight.listed
            return [(change,) for change in levers.levers(leaf, want)] if listed else []
        return needs(tree, want if tree.value is leaf.value else not want, sight)
    found: list[Set] = [(change,) for change in levers.levers(leaf, want)]
    if "user.tier" in leaf.seen:
        found += [(change,) for change in _of_tier(leaf, want, sight)]
    return found


def names_segment(node: Any) -> bool:
    name = getattr(node, "name", None) if node.__class__.__name__ == "Test" else getattr(
        getattr(node, "node", None), "name", None
    )  # fmt: skip
    return name == "in_segment" and bool(getattr(node, "args", None))


def first_text(node: Any) -> str | None:
    value = getattr(node.args[0], "value", None)
    return value if isinstance(value, str) else None


def _of_tier(leaf: Branch, want: bool, sight: Sight) -> Iterator[Change]:
    """A level is reached by its metric."""
    ladder = next((it for it in sight.plan.ladders if it.name == sight.plan.env.ladder), None)
    if ladder is None or ladder.name not in sight.metrics:
        return
    node = parse(ladder.metric.text).node
    if node is None:
        return
    metric, value = unparse(node), sight.metrics[ladder.name]
    for name, threshold in ladder.levels:
        if f"'{name}'" not in leaf.text:
            continue
        up = value is None or value < threshold
        text = f"{metric} {'>=' if up else '<'} {threshold}"
        step = Branch(op="leaf", text=text, value=False, seen={metric: 0 if value is None else value})
        yield from levers.levers(step, True)


def because(tree: Branch, at: int, sight: Sight, events: Sequence[tuple[Event, int]]) -> str:
    """What time changes at an instant: an event that leaves its window, or the part that goes by the clock."""
    for leaf in _leaves(tree, sight):
        node = parse(leaf.text).node
        for one in walk(node) if node is not None else ():
            window = next((it.value for it in getattr(one, "kwargs", None) or () if it.key == "within"), None)
            text, type_ = getattr(window, "value", None), first_text(one) if getattr(one, "args", None) else None
            if not isinstance(text, str) or type_ is None:
                continue
            left = at - parse_duration(text)
            if any(event.type == type_ and event.time == left for event, _ in events):
                return f"the {type_} of {format_instant(left)} falls out of its window of {text}"
    return f"by time alone: {tree.text}"


def _leaves(tree: Branch, sight: Sight) -> Iterator[Branch]:
    """The leaves of a condition, and of the segments it asks for."""
    if tree.parts:
        for part in tree.parts:
            yield from _leaves(part, sight)
        return
    yield tree
    node = parse(tree.text).node
    for one in walk(node) if node is not None else ():
        inner = sight.trees.get(first_text(one) or "") if names_segment(one) else None
        if inner is not None:
            yield from _leaves(inner, sight)
