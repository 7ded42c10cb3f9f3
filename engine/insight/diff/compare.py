"""Two files of effects, each sorted by (time, key), compared with bounded memory.

Rule 1: rows that are the same bytes are counted and forgotten. What is left is sorted by subject, on the disk where it
is much, and compared one subject at a time.
Rule 2: nothing here looks at a playbook: what would change is said in effects.
Rule 3: comparing the new with the old gives the mirror of comparing the old with the new.

What is held in memory are the figures, the samples, and the ids of those for whom an effect stayed as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any, BinaryIO, Final

import msgspec

from engine.core.instants import parse_instant
from engine.insight.diff.deeds import (
    Brief,
    Deed,
    give_meaning,
    link_pattern,
    read_brief,
    read_row,
    spilled,
    unspilled,
)  # fmt: skip
from engine.insight.diff.figures import DIMENSIONS, Days, Figures, Sums, named, shown
from engine.insight.diff.names import Name, Naming, Side, Votes, naming
from engine.insight.diff.pairing import HELD, SAME, WHATS, Pair, pairs
from engine.spill import BOUND, Sorter

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class Sides:
    """What is compared."""

    old: Side
    new: Side
    old_rows: BinaryIO  #: effects of the old side, open at their beginning
    new_rows: BinaryIO


def compare(
    sides: Sides, *, limit: int = 3, changes: BinaryIO | None = None, mask: bool = False, bound: int = BOUND
) -> dict[str, Any]:
    """All that differs, ready for JSON.

    Parameters
    ----------
    sides: the two simulations.
    limit: samples of each kind of change of each step.
    changes: where every difference goes, one JSON object a line, by subject.
    mask: users are called ``user-1``, ``user-2`` in samples, and no texts are shown.
    bound: bytes held in memory while rows are sorted; more of them go to a temporary file.
    """
    with Sorter(bound) as rest:
        first = _Merge(sides, rest)
        first.run()
        names = naming(sides.old, sides.new, _votes(sides, rest))
        second = _Subjects(sides, names, first, limit, changes, _mask() if mask else None)
        second.run(rest)
    return second.result(first)


# ---------------------------------------------------------------------- by time


@dataclass
class _Merge:
    """Goes over both files at once and takes away what is the same on both sides."""

    sides: Sides
    rest: Sorter
    same: int = 0  #: effects that took place, and are the same
    kept: set[str] = field(default_factory=set)  #: users for whom something that took place stayed as it was

    def __post_init__(self) -> None:
        self.old, self.new = Sums(Days(self.sides.old.zone)), Sums(Days(self.sides.new.zone))

    def run(self) -> None:
        old, new = self.sides.old_rows, self.sides.new_rows
        left, right = old.readline(), new.readline()
        while left and right:
            if left == right:
                self._same(left)
                left, right = old.readline(), new.readline()
                continue
            one, other = read_brief(left), read_brief(right)
            here, there = (parse_instant(one.time), one.key), (parse_instant(other.time), other.key)
            if here <= there:
                self._apart(left, one, here[0], new=False)
                left = old.readline()
            if there <= here:
                self._apart(right, other, there[0], new=True)
                right = new.readline()
        for row, file, side in ((left, old, False), (right, new, True)):
            while row:
                brief = read_brief(row)
                self._apart(row, brief, parse_instant(brief.time), new=side)
                row = file.readline()

    def _same(self, row: bytes) -> None:
        brief = read_brief(row)
        self.old.take(brief)
        self.new.take(brief)
        if brief.status == "planned":
            self.same += 1
            if brief.user is not None:
                self.kept.add(brief.user)

    def _apart(self, row: bytes, brief: Brief, instant: int, *, new: bool) -> None:
        (self.new if new else self.old).take(brief)
        self.rest.add(spilled(row, brief, instant, new))


# ---------------------------------------------------------------------- by subject


def _by_subject(rest: Sorter) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """The rows of each subject that are not the same: of the old side, of the new one."""
    for _, group in groupby(map(unspilled, rest), key=lambda it: it[0]):
        old: list[bytes] = []
        new: list[bytes] = []
        for _, side, row in group:
            (new if side else old).append(row)
        yield old, new


def _votes(sides: Sides, rest: Sorter) -> Votes:
    """Who gets the same under another name; not asked for while both sides have the same names."""
    votes = Votes.between(sides.old, sides.new)
    if votes.old and votes.new:
        for old, new in _by_subject(rest):
            votes.take(map(_vote, old), map(_vote, new))
    return votes


def _vote(row: bytes) -> tuple[Name, str, str]:
    brief = read_brief(row)
    return named(brief.playbook, brief.step), brief.kind, brief.time


def _mask() -> Callable[[str], str]:
    """Users by number, in order of appearance."""
    numbers: dict[str, str] = {}
    return lambda user: numbers.setdefault(user, f"user-{len(numbers) + 1}")


@dataclass
class _Subjects:
    """Pairs the rows of one subject after the other, and adds up what became of them."""

    sides: Sides
    names: Naming
    first: _Merge
    limit: int
    changes: BinaryIO | None
    mask: Callable[[str], str] | None

    def __post_init__(self) -> None:
        old, new = self.sides.old, self.sides.new
        self.figures = Figures(self.names, Days(old.zone), Days(new.zone))
        self._links = link_pattern(old.links), link_pattern(new.links)
        self._samples: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._people: dict[str, list[str]] = {"first_time": [], "no_longer": []}
        self.reached: Counter[str] = Counter()

    def run(self, rest: Sorter) -> None:
        for rows in _by_subject(rest):
            old = [Deed(row, self.names.old(named(row.playbook, row.step))) for row in map(read_row, rows[0])]
            new = [Deed(row, named(row.playbook, row.step)) for row in map(read_row, rows[1])]
            give_meaning(old, self._links[0])
            give_meaning(new, self._links[1])
            found = list(pairs(old, new))
            some = (old or new)[0].row
            self.figures.take(found, some.user)
            if some.user is not None:
                self._reach(some.user, old, new)
            for pair in found:
                if pair.what != SAME:
                    self._show(pair)

    def _reach(self, user: str, old: list[Deed], new: list[Deed]) -> None:
        """Does the user get something for the first time, or nothing any more?"""
        before, after = any(it.done for it in old), any(it.done for it in new)
        if before == after or user in self.first.kept:
            return
        way = "first_time" if after else "no_longer"
        self.reached[way] += 1
        if len(self._people[way]) < self.limit:
            self._people[way].append(user)

    def _show(self, pair: Pair) -> None:
        deed = pair.new or pair.old
        assert deed is not None  # noqa: S101 - a pair has at least one side
        if self.changes is not None:
            self.changes.write(_encode(self._described(pair, deed)) + b"\n")
        if pair.what == HELD:
            return
        samples = self._samples.setdefault((pair.what, *deed.name), [])
        if len(samples) < self.limit:
            samples.append(self._masked(self._described(pair, deed)))

    def _described(self, pair: Pair, deed: Deed) -> dict[str, Any]:
        row = deed.row
        return {
            "what": pair.what,
            "user": row.user,
            "group": row.group,
            "kind": row.kind,
            "playbook": deed.name[0] or None,
            "step": deed.name[1] or None,
            "fields": pair.fields(),
            "old": shown(pair.old),
            "new": shown(pair.new),
        }

    def _masked(self, sample: dict[str, Any]) -> dict[str, Any]:
        if self.mask is None:
            return sample
        hidden = {**sample, "user": None if sample["user"] is None else self.mask(sample["user"])}
        for side in ("old", "new"):
            if hidden[side] is not None:
                detail = hidden[side]["detail"]
                hidden[side] = {**hidden[side], "detail": {key: detail[key] for key in _PUBLIC if key in detail}}
        return hidden

    # ------------------------------------------------------------------ the result

    def result(self, first: _Merge) -> dict[str, Any]:
        figures, old, new = self.figures, first.old, first.new
        whats = figures.whats
        effects = {"old": sum(old.done.values()), "new": sum(new.done.values())}
        journeys = _journeys(self.sides, self.names)
        mask = self.mask or str
        return {
            "different": any(whats[what] for what in WHATS) or any(it["different"] for it in journeys),
            "old": _side(self.sides.old),
            "new": _side(self.sides.new),
            "effects": {**effects, **{what: whats[what] for what in WHATS}, "unchanged": whats[SAME] + first.same},
            "users": {**figures.people(), **{way: self.reached[way] for way in ("first_time", "no_longer")}},
            "by": {name: figures.table(name, old, new) for name in DIMENSIONS},
            "cost": _cost(old, new),
            "held_back": _two(old.held, new.held, ("kind", "status", "reason")),
            "because": [
                {"what": what, "status": status, "reason": reason, "effects": number}
                for (what, status, reason), number in sorted(figures.reasons.items())
            ],
            "put_off": self._put_off(),
            "holdout": [
                {"playbook": name, "into": it["into"], "out_of": it["out_of"]}
                for name, it in sorted(figures.holdout.items())
            ],
            "journeys": [{key: value for key, value in it.items() if key != "different"} for it in journeys],
            "renamed": self._renamed(),
            "samples": {
                "effects": [one for _, samples in sorted(self._samples.items()) for one in samples],
                **{way: [mask(user) for user in users] for way, users in self._people.items()},
            },
        }

    def _put_off(self) -> list[dict[str, Any]]:
        """Messages that quiet hours put off, by step."""
        both: tuple[Counter[Name], Counter[Name]] = (Counter(), Counter())
        for place, side in enumerate((self.sides.old, self.sides.new)):
            for playbook, steps in side.put_off.items():
                for step, number in steps.items():
                    both[place][(playbook, step) if place else self.names.old((playbook, step))] += number
        return _two(*both, ("playbook", "step"))

    def _renamed(self) -> dict[str, Any]:
        return {
            "playbooks": [{"old": old, "new": new} for old, new in sorted(self.names.playbooks.items())],
            "names": [_renaming(before, after) for before, after in sorted(self.names.steps.items())],
            "effects": [
                {**_renaming(before, after), "effects": number}
                for (before, after), number in sorted(self.figures.renamed.items())
            ],
        }


_PUBLIC: Final = ("template", "via", "purpose", "pool", "value", "account", "delta", "name", "type", "room")
"""Fields of a detail that hold no person."""


def _renaming(old: Name, new: Name) -> dict[str, Any]:
    return {
        "old": {"playbook": old[0] or None, "step": old[1] or None},
        "new": {"playbook": new[0] or None, "step": new[1] or None},
    }


def _side(side: Side) -> dict[str, Any]:
    took = {"cpu_seconds": side.cpu_seconds, "peak_mb": side.peak_mb}
    return {"name": side.label, "revision": side.revision, "program": side.program, **side.summary, **took}


def _two(old: Counter[Any], new: Counter[Any], words: tuple[str, ...]) -> list[dict[str, Any]]:
    """Two counts side by side."""
    return [
        {**{word: part or None for word, part in zip(words, key, strict=True)}, "old": old[key], "new": new[key]}
        for key in sorted({*old, *new})
    ]


def _cost(old: Sums, new: Sums) -> dict[str, Any]:
    """What both plans give away: messages, coupons with the money they may cost, points."""
    messages = [sum(n for (_, _, _, kind, _), n in it.done.items() if kind == "message") for it in (old, new)]
    currencies: dict[str, set[str]] = {}
    for pool, currency in (*old.money, *new.money):
        currencies.setdefault(pool, set()).add(currency)
    coupons = []
    totals: dict[str, list[Decimal]] = {}
    for pool in sorted({*old.coupons, *new.coupons}):
        value = []
        for currency in sorted(currencies.get(pool, ())):
            pair = [it.money.get((pool, currency), Decimal(0)) for it in (old, new)]
            value.append({"currency": currency or None, "old": pair[0], "new": pair[1]})
            sums = totals.setdefault(currency, [Decimal(0), Decimal(0)])
            sums[0], sums[1] = sums[0] + pair[0], sums[1] + pair[1]
        coupons.append({"pool": pool, "old": old.coupons[pool], "new": new.coupons[pool], "value": value})
    return {
        "messages": {"old": messages[0], "new": messages[1]},
        "coupons": coupons,
        "coupon_value": [{"currency": name or None, "old": a, "new": b} for name, (a, b) in sorted(totals.items())],
        "points": _two(old.points, new.points, ("account",)),
    }


_LIVES: Final = ("entered", "held_out", "goals", "goals_held_out", "errors", "limited")


def _journeys(sides: Sides, names: Naming) -> list[dict[str, Any]]:
    """Entries, goals, errors and windows in which an entry limit was reached, by playbook."""
    old = {names.playbooks.get(name, name): it for name, it in sides.old.summary.get("playbooks", {}).items()}
    new = sides.new.summary.get("playbooks", {})
    titles = {**sides.old.titles, **sides.new.titles}
    back = {after: before for before, after in names.playbooks.items()}
    rows = []
    for name in sorted({*old, *new}):
        one, other = old.get(name, {}), new.get(name, {})
        rows.append(
            {
                "playbook": name,
                "was": back.get(name),
                "title": titles.get(name),
                "old": {word: one.get(word, 0) for word in _LIVES} if name in old else None,
                "new": {word: other.get(word, 0) for word in _LIVES} if name in new else None,
                "different": any(one.get(word, 0) != other.get(word, 0) for word in _LIVES),
            }
        )
    return rows
