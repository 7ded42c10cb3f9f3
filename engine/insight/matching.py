"""What was expected against what happened: a closed world over effects, a subset match on the keys of each.

Rule 1: an effect nobody expected is a fault; journeys and deliveries are told only when asked for.
Rule 2: expectations of one instant stand in any order, those of different instants in order of time.
Rule 3: what is missing is shown beside the happening that comes nearest to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.language.scenario_model import Expectation

TEXTS = ("text", "subject")
SNAPSHOT = "snapshot"

Stored = Callable[[str], str | None]
"""Name of a snapshot -> its text; None: there is none."""


@dataclass(frozen=True)
class Fact:
    """Something that happened."""

    kind: str  #: kind of effect, or a word of journeys and deliveries
    time: int
    fields: Mapping[str, Any]
    must: bool  #: it must be expected


@dataclass(frozen=True)
class Difference:
    """One key that is otherwise."""

    key: str
    wanted: Any
    got: Any


@dataclass(frozen=True)
class Miss:
    """An expectation that did not come true, and what came nearest."""

    expected: Expectation
    nearest: Fact | None
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Verdict:
    """How one ``expect`` ended."""

    met: tuple[tuple[Expectation, Fact], ...] = ()
    misses: tuple[Miss, ...] = ()
    unexpected: tuple[Fact, ...] = ()
    disordered: bool = False  #: all came true, but at instants in another order

    @property
    def ok(self) -> bool:
        """Nothing is missing, nothing is too much."""
        return not (self.misses or self.unexpected or self.disordered)


# ---------------------------------------------------------------------- one against one


def differences(wanted: Expectation, fact: Fact, stored: Stored | None) -> list[Difference]:
    """The keys of an expectation that are otherwise in a fact of its kind; ``stored`` None: any snapshot fits."""
    found = []
    if wanted.at is not None and wanted.at != fact.time:
        found.append(Difference("at", wanted.at, fact.time))
    for key, value in wanted.wanted.items():
        got = fact.fields.get(key)
        fits = _text_fits(value, got, stored) if key in TEXTS else same(value, got)
        if not fits:
            found.append(Difference(key, value, got))
    return found


def same(wanted: Any, got: Any) -> bool:
    """Is it the value? A mapping is compared on its own keys, a list is contained."""
    if isinstance(wanted, Mapping):
        return isinstance(got, Mapping) and all(same(value, got.get(key)) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        there = got if isinstance(got, (list, tuple)) else [] if got is None else [got]
        return all(any(same(one, it) for it in there) for one in wanted) and (bool(wanted) or not there)
    if isinstance(wanted, bool) or isinstance(got, bool):
        return wanted is got
    if isinstance(got, (int, Decimal)) and isinstance(wanted, str):
        return wanted == str(got)
    return bool(wanted == got)


def _text_fits(wanted: Any, got: Any, stored: Stored | None) -> bool:
    if not isinstance(got, str):
        return False
    rules = {"equals": wanted} if isinstance(wanted, str) else wanted
    text = got.rstrip("\n")
    for rule, value in rules.items():
        if rule == SNAPSHOT:
            fits = stored is None or stored(value) == text
        elif rule == "matches":
            fits = re.search(value, text) is not None
        elif rule == "equals":
            fits = value.rstrip("\n") == text
        else:
            fits = all((part in text) is (rule == "contains") for part in value)
        if not fits:
            return False
    return True


# ---------------------------------------------------------------------- all against all


def compare(expected: Sequence[Expectation], facts: Sequence[Fact], stored: Stored | None) -> Verdict:
    """Match everything expected against everything that happened since the expectation before."""
    facts = sorted(facts, key=lambda fact: fact.time)
    grid = [
        [it.kind == fact.kind and not differences(it, fact, stored) for fact in facts] for it in expected
    ]
    ordered = _in_order(grid, facts)
    must = {place for place, fact in enumerate(facts) if fact.must}
    pairs = ordered if ordered is not None else _matched(grid, range(len(expected)), range(len(facts)), must)
    used = set(pairs.values())
    missing = [place for place in range(len(expected)) if place not in pairs]
    over = [place for place, fact in enumerate(facts) if place not in used and fact.must]
    misses, spoken = _misses(expected, missing, facts, used, stored)
    return Verdict(
        met=tuple((expected[it], facts[to]) for it, to in sorted(pairs.items())),
        misses=tuple(misses),
        unexpected=tuple(facts[place] for place in over if place not in spoken),
        disordered=ordered is None and not missing and not over,
    )


def _in_order(grid: list[list[bool]], facts: Sequence[Fact]) -> dict[int, int] | None:
    """A full match in order of time; None when there is none."""
    total = len(grid)
    must = {place for place, fact in enumerate(facts) if fact.must}
    groups: list[list[int]] = []
    for place, fact in enumerate(facts):
        if groups and facts[groups[-1][0]].time == fact.time:
            groups[-1].append(place)
        else:
            groups.append([place])
    # reached[p]: how the first p expectations can be matched within the instants so far
    reached: dict[int, dict[int, int]] = {0: {}}
    for group in groups:
        following: dict[int, dict[int, int]] = {}
        for done, pairs in reached.items():
            for upto in range(done, min(total, done + len(group)) + 1):
                if upto in following:
                    continue
                found = _matched(grid, range(done, upto), group, must)
                if len(found) == upto - done and must.intersection(group) <= set(found.values()):
                    following[upto] = {**pairs, **found}
        reached = following
    return reached.get(total)


def _matched(
    grid: list[list[bool]], rows: Sequence[int], columns: Sequence[int], must: Collection[int]
) -> dict[int, int]:
    """A largest matching of expectations to facts, by augmenting paths.

    The facts that must be expected go first: a path from an expectation never leaves a fact out again.
    """
    pairs: dict[int, int] = {}  # row -> column
    owner: dict[int, int] = {}  # column -> row

    def join(row: int, column: int) -> bool:
        pairs[row], owner[column] = column, row
        return True

    def claim(column: int, tried: set[int]) -> bool:
        for row in rows:
            if grid[row][column] and row not in tried:
                tried.add(row)
                if row not in pairs or claim(pairs[row], tried):
                    return join(row, column)
        return False

    def place(row: int, tried: set[int]) -> bool:
        for column in columns:
            if grid[row][column] and column not in tried:
                tried.add(column)
                if column not in owner or place(owner[column], tried):
                    return join(row, column)
        return False

    for column in columns:
        if column in must:
            claim(column, set())
    for row in rows:
        if row not in pairs:
            place(row, set())
    return pairs


def _misses(
    expected: Sequence[Expectation], missing: list[int], facts: Sequence[Fact], used: set[int], stored: Stored | None
) -> tuple[list[Miss], set[int]]:
    """Each missing expectation with the free fact that is nearest, the nearest pair first."""
    pairs = []
    for place in missing:
        for to, fact in enumerate(facts):
            if to not in used and _alike(expected[place], fact):
                found = differences(expected[place], fact, stored)
                pairs.append((len(found) + (expected[place].kind != fact.kind), place, to, found))
    pairs.sort(key=lambda it: it[:3])
    near: dict[int, Miss] = {}
    spoken: set[int] = set()
    for _, place, to, found in pairs:
        if place not in near and to not in spoken:
            near[place] = Miss(expected[place], facts[to], tuple(found))
            spoken.add(to)
    rest = [Miss(expected[place], None, ()) for place in missing if place not in near]
    return [*near.values(), *rest], spoken


def _alike(wanted: Expectation, fact: Fact) -> bool:
    if wanted.kind == fact.kind:
        return True
    journeys = ("entered", "held_out", "finished", "exited")
    return wanted.kind in journeys and fact.kind in journeys and wanted.wanted["playbook"] == fact.fields["playbook"]
