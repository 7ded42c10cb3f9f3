"""Condition trees with the verdict of every branch, as ``why`` shows them.

Rule 1: a branch is judged at the very moment of the decision: the core asks a condition what it saw (``seen``) right
after judging it, and a :class:`Watched` condition answers with its tree as well.
Rule 2: showing never judges anew; a branch that cannot be judged is shown as such, with its error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from engine.core.instants import format_instant
from engine.core.judging import PUBLISHED
from engine.core.model import Decision, Why
from engine.core.moment import Condition, Moment
from engine.core.plan import Ladder, Plan, Segment


@dataclass(frozen=True)
class Branch:
    """One node of a judged condition."""

    text: str  #: normal form
    value: bool | None  #: None: could not be judged
    op: str  #: and | or | not | leaf
    seen: Mapping[str, Any]  #: of a leaf: text -> value of what it looks at
    parts: tuple[Branch, ...] = ()
    error: str | None = None


_MOST_TURNS = 100
"""How often time alone is let change something until a condition turns; then nothing is said of it."""


@dataclass
class Glimpse:
    """What else is looked at while everything is decided once more, at one instant."""

    instant: int
    segments: Mapping[str, Segment]  #: by name, to be judged part by part where somebody asks for them
    ladders: Sequence[Ladder] = ()
    trees: dict[str, Branch] = field(default_factory=dict)  #: segment -> as it was judged
    turns: dict[str, int] = field(default_factory=dict)  #: condition -> instant from which it has another verdict
    metrics: dict[str, Any] = field(default_factory=dict)  #: ladder -> value of its metric

    def look(self, condition: Condition, m: Moment) -> None:
        """Note what is to be known of a condition that was judged just now."""
        if m.now != self.instant:
            return
        for ladder in self.ladders:
            with suppress(Exception):  # a metric that cannot be judged has no value
                self.metrics[ladder.name] = ladder.metric.get(m)
        with suppress(Exception):  # neither true nor false, now or later
            turn = _turn(condition, m)
            if turn is not None:
                self.turns[condition.text] = turn


def _turn(condition: Condition, m: Moment) -> int | None:
    """The first instant at which passing time alone gives a condition another verdict, all else being as it is."""
    if condition.next_change is None:
        return None
    here, value = m, condition.test(m)
    for _ in range(_MOST_TURNS):
        instant = condition.next_change(here)
        if instant is None or instant <= here.time:
            return None
        here = Moment(m.state, m.event, instant, instant, m.env, m.entry, m.steps, m.trigger, m.vars)
        if condition.test(here) is not value:
            return instant
    return None


class Seen(dict[str, Any]):
    """What a condition saw, with the judged tree behind it."""

    tree: Branch | None = None
    by_time: int | None = None  #: earliest instant at which passing time alone may change the verdict


@dataclass(frozen=True, kw_only=True)
class Watched(Condition):
    """A condition that remembers its branches when it is asked what it saw."""

    glimpse: Glimpse | None = None

    def seen(self, m: Moment) -> dict[str, Any]:
        """As any condition, with the tree."""
        found = Seen(Condition.seen(self, m))
        found.tree = judge(self, m)
        if self.next_change is not None:
            try:
                found.by_time = self.next_change(m)
            except Exception:  # a hint for people; the verdict stands without it
                found.by_time = None
        if self.glimpse is not None:
            self.glimpse.look(self, m)
        return found


def judge(condition: Condition, m: Moment) -> Branch:
    """The verdict of a condition and of all its parts at a moment."""
    value: bool | None
    error = None
    try:
        value = bool(condition.test(m))
    except Exception as fault:  # shown to a person: an error is neither true nor false
        value, error = None, str(fault) or type(fault).__name__
    parts = tuple(judge(part, m) for part in condition.parts)
    seen = Condition.seen(condition, m) if not parts else {}
    return Branch(condition.text, value, condition.op, seen, parts, error)


@contextmanager
def watching(plan: Plan, glimpse: Glimpse | None = None) -> Iterator[None]:
    """Have the conditions of a plan remember their branches while this lasts.

    They are put into the plan itself: everything the core prepared from it goes on holding, and what is decided is the
    same. A playbook published later than the beginning of the store also gets a guard that keeps it out of the time
    before, as ``run`` did by not having it. ``glimpse``: what else is to be looked at.
    """
    before = [(playbook, playbook.when) for playbook in plan.playbooks]
    triggers = [(one, one.condition) for playbook in plan.playbooks for one in playbook.triggers]
    audiences = [(one.trigger, one.trigger.audience) for one in plan.schedules]
    members = dict(plan.env.segments)

    def watched(condition: Condition) -> Watched:
        return _watched(condition, glimpse)

    try:
        for playbook, when in before:
            playbook.when = (*_guard(plan, playbook.id), *map(watched, when))
        for trigger, condition in triggers:
            trigger.condition = None if condition is None else watched(condition)
        for slotted, audience in audiences:
            slotted.audience = watched(audience)
        if glimpse is not None:
            plan.env.segments.update({name: _looking(name, test, glimpse) for name, test in members.items()})
        yield
    finally:
        plan.env.segments.update(members)
        for playbook, when in before:
            playbook.when = when
        for trigger, condition in triggers:
            trigger.condition = condition
        for slotted, audience in audiences:
            slotted.audience = audience


def _watched(condition: Condition, glimpse: Glimpse | None) -> Watched:
    return Watched(glimpse=glimpse, **{one.name: getattr(condition, one.name) for one in fields(Condition)})


def _looking(name: str, test: Callable[[Moment], bool], glimpse: Glimpse) -> Callable[[Moment], bool]:
    """The membership of a segment that remembers its branches, too."""
    segment = glimpse.segments.get(name)
    condition = segment.test if segment is not None else None
    if condition is None:
        return test

    def look(m: Moment) -> bool:
        found = test(m)
        if m.now == glimpse.instant:
            glimpse.trees[name] = judge(condition, m)
            glimpse.look(condition, m)
        return found

    return look


def _guard(plan: Plan, playbook: str) -> tuple[Condition, ...]:
    since = plan.env.published.get(playbook, 0)
    if not since:
        return ()

    def after(m: Moment) -> bool:
        # events of that instant came before the publication; what time alone brings then comes behind it
        return m.now > since or (m.now == since and m.event is None)

    return (Watched(text=f"published, since {format_instant(since)}", test=after),)


def placed(decision: Decision, plan: Plan) -> Decision:
    """A decision with the places of its conditions as the playbook has them, the guard named as what it is."""
    if not plan.env.published.get(decision.playbook, 0):
        return decision
    for why in decision.why:
        if why.at == "when[0]":
            why.at = PUBLISHED
        elif why.at.startswith("when["):
            why.at = f"when[{int(why.at[5:-1]) - 1}]"
    decision.why = [why for why in decision.why if why.at != PUBLISHED or why.value is False]
    return decision


def tree_of(why: Why) -> Branch | None:
    """The judged tree behind one line of a decision, where there is one."""
    return why.seen.tree if isinstance(why.seen, Seen) else None


def by_time(why: Why) -> int | None:
    """When passing time alone may change the verdict of one line."""
    return why.seen.by_time if isinstance(why.seen, Seen) else None


# ---------------------------------------------------------------------- the nearest change


@dataclass(frozen=True)
class Change:
    """One thing that would have to be otherwise."""

    text: str  #: the leaf
    needs: str | None  #: what the value should be; None: no simple comparison
    has: Any  #: the value, for a simple comparison
    either: bool  #: one among several, each of which is enough


_INVERSE = {">=": "<", "<": ">=", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}
_MIRROR = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "==": "==", "!=": "!="}
_WORDS = {">=": "", ">": "more than ", "<=": "at most ", "<": "less than ", "==": "", "!=": "anything but "}


def changes(branch: Branch, want: bool = True, either: bool = False) -> list[Change]:
    """What would have to be otherwise for the verdict to be ``want``; nothing when it is."""
    if branch.value is want:
        return []
    if branch.op == "not" and branch.parts:
        return changes(branch.parts[0], not want, either)
    if branch.parts:
        # any part of an "or" makes it true, and any part of an "and" makes it false
        any_ = (branch.op == "or") is want and len(branch.parts) > 1
        return [change for part in branch.parts for change in changes(part, want, either or any_)]
    op, right, has = _comparison(branch)
    if op is None or branch.error is not None:
        return [Change(branch.text, None, None, either)]
    words = _WORDS[op if want else _INVERSE[op]]
    return [Change(branch.text, f"{words}{right}", has, either)]


def _comparison(branch: Branch) -> tuple[str | None, str, Any]:
    """(operator, right side, value of the left side) when a leaf compares one seen value with a constant."""
    for leaf, value in branch.seen.items():
        for op in _INVERSE:
            if branch.text.startswith(f"{leaf} {op} "):
                right = branch.text[len(leaf) + len(op) + 2 :]
                if _constant(right):
                    return op, right, value
            elif branch.text.endswith(f" {op} {leaf}"):
                left = branch.text[: -len(leaf) - len(op) - 2]
                if _constant(left):
                    return _MIRROR[op], left, value
    return None, "", None


def _constant(text: str) -> bool:
    if text in ("true", "false", "none"):
        return True
    if len(text) > 1 and text[0] == text[-1] == "'":
        return "'" not in text[1:-1]
    try:
        Decimal(text)
    except InvalidOperation:
        return text.startswith("duration('") and text.endswith("')") and text.count("'") == 2
    return True
