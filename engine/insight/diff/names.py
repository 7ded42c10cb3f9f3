"""Names of playbooks and steps on two sides: which of one side are those of the other under another name.

Rule 1: only a name that one side does not know can be the new name, or the old one, of something.
Rule 2: what people get decides: names that give the same kind of effect to the same subject at the same instant.
Rule 3: where no effect tells, the build does: a playbook half of whose steps do the same, or as many steps of a verb.
Rule 4: a step stays in its playbook. What goes on in another one is found row by row, by what it means.
Rule 5: everything is the same with the sides exchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

_ENOUGH: Final = 0.5

Name = tuple[str, str]
"""(playbook, step); "" stands for none."""


class Side(msgspec.Struct, kw_only=True):
    """What is known of one side beside its effects."""

    label: str  #: as it was asked for
    program: str = ""  #: name of the program
    revision: str | None = None  #: the commit; None: a folder
    zone: str = "UTC"  #: of the program; its days are counted in it
    links: str | None = None  #: where signed links lead
    titles: dict[str, str] = {}  #: playbook -> title
    steps: dict[str, list[tuple[str, str, str]]] = {}  #: playbook -> (step, verb, what it does in a word), in order
    summary: dict[str, Any] = {}  #: figures of its simulation: events, users, journeys, playbooks, clock
    put_off: dict[str, dict[str, int]] = {}  #: playbook -> step -> how often quiet hours put it off
    cpu_seconds: float = 0.0  #: processor time of its simulation
    peak_mb: float = 0.0  #: most memory its process held

    def names(self) -> set[Name]:
        """Every step there is."""
        return {(playbook, step) for playbook, steps in self.steps.items() for step, *_ in steps}


@dataclass
class Votes:
    """How often a name of the old side and one of the new gave the same to the same subject at the same instant."""

    old: frozenset[Name]  #: names the new side does not know
    new: frozenset[Name]  #: names the old side does not know
    pairs: Counter[tuple[Name, Name]] = field(default_factory=Counter)
    rows: Counter[tuple[bool, Name]] = field(default_factory=Counter)  #: (of the new side, name) -> its rows

    @classmethod
    def between(cls, old: Side, new: Side) -> Votes:
        before, after = old.names(), new.names()
        return cls(frozenset(before - after), frozenset(after - before))

    def take(self, old: Iterable[tuple[Name, str, str]], new: Iterable[tuple[Name, str, str]]) -> None:
        """(name, kind, time) of the rows of one subject that are not alike on both sides."""
        left: dict[tuple[str, str], Counter[Name]] = {}
        for name, kind, time in old:
            if name in self.old:
                self.rows[False, name] += 1
                left.setdefault((kind, time), Counter())[name] += 1
        for name, kind, time in new:
            if name in self.new:
                self.rows[True, name] += 1
                for other, number in left.get((kind, time), {}).items():
                    self.pairs[other, name] += min(1, number)


@dataclass(frozen=True)
class Naming:
    """What the names of the old side are called on the new one."""

    playbooks: Mapping[str, str]  #: those that have another name
    steps: Mapping[Name, Name]  #: those that have another name although the playbook has the same, or is renamed too

    def old(self, name: Name) -> Name:
        """A name of the old side as the new side says it."""
        found = self.steps.get(name)
        return found if found is not None else (self.playbooks.get(name[0], name[0]), name[1])


def naming(old: Side, new: Side, votes: Votes) -> Naming:
    """Which names became which."""
    playbooks = _playbooks(old, new, votes)
    steps: dict[Name, Name] = {}
    taken: set[Name] = set()
    known_old, known_new = old.names(), new.names()

    def settled(name: Name) -> bool:
        return (playbooks.get(name[0], name[0]), name[1]) in known_new

    back = {after: before for before, after in playbooks.items()}
    loose_old = {name for name in votes.old if not settled(name)}
    loose_new = {name for name in votes.new if (back.get(name[0], name[0]), name[1]) not in known_old}
    for (before, after), number in sorted(votes.pairs.items(), key=_by_votes):
        fewer = min(votes.rows[False, before], votes.rows[True, after])
        free = before in loose_old and after in loose_new and before not in steps and after not in taken
        if free and playbooks.get(before[0], before[0]) == after[0] and 2 * number >= fewer:
            steps[before] = after
            taken.add(after)
    for playbook in old.steps:
        _by_verb(playbook, playbooks.get(playbook, playbook), old, new, loose_old, loose_new, steps, taken)
    return Naming(playbooks, steps)


def _by_votes(item: tuple[tuple[Any, Any], float]) -> Any:
    """Many votes first; then an order that does not care which side is which."""
    (before, after), number = item
    return -number, min(before, after), max(before, after)


def _playbooks(old: Side, new: Side, votes: Votes) -> dict[str, str]:
    gone, come = set(old.steps) - set(new.steps), set(new.steps) - set(old.steps)
    pairs: Counter[tuple[str, str]] = Counter()
    for (one, other), number in votes.pairs.items():
        if one[0] in gone and other[0] in come:
            pairs[one[0], other[0]] += number
    rows: Counter[tuple[bool, str]] = Counter()
    for (side, name), number in votes.rows.items():
        rows[side, name[0]] += number
    found: dict[str, str] = {}
    for (before, after), number in sorted(pairs.items(), key=_by_votes):
        enough = 2 * number >= min(rows[False, before], rows[True, after])
        if enough and before not in found and after not in found.values():
            found[before] = after
    alike = {(one, other): _alike(old.steps[one], new.steps[other]) for one in gone for other in come}
    for (before, after), share in sorted(alike.items(), key=_by_votes):
        if share >= _ENOUGH and before not in found and after not in found.values():
            found[before] = after
    return found


def _alike(old: list[tuple[str, str, str]], new: list[tuple[str, str, str]]) -> float:
    """Share of the steps that do the same, of the longer list."""
    one, other = (Counter((verb, gist) for _, verb, gist in steps) for steps in (old, new))
    return (one & other).total() / max(len(old), len(new), 1)


def _by_verb(
    before: str, after: str, old: Side, new: Side,
    loose_old: set[Name], loose_new: set[Name], steps: dict[Name, Name], taken: set[Name],
) -> None:  # fmt: skip
    """Steps nobody got anything from: as many of a verb gone as have come are the same ones, in order."""
    gone: dict[str, list[Name]] = {}
    come: dict[str, list[Name]] = {}
    for step, verb, _ in old.steps[before]:
        if (before, step) in loose_old and (before, step) not in steps:
            gone.setdefault(verb, []).append((before, step))
    for step, verb, _ in new.steps.get(after, []):
        if (after, step) in loose_new and (after, step) not in taken:
            come.setdefault(verb, []).append((after, step))
    for verb, names in gone.items():
        others = come.get(verb, [])
        if len(names) == len(others):
            steps.update(zip(names, others, strict=True))
            taken.update(others)
