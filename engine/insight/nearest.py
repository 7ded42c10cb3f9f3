"""The nearest change with which a verdict would have been another one, found by trying.

Rule 1: what a condition lacks is only an idea (``levers.py``); it is named when the engine, deciding the subject's
whole life once more with it, comes to another verdict, and with any part of it less does not.
Rule 2: the fewest changes win; among as few the smallest. What is as near is named beside it.
Rule 3: where nothing was found, that is what is said, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from msgspec import structs

from engine.core.instants import parse_instant
from engine.core.model import Decision, Event, Why
from engine.core.moment import Moment
from engine.core.plan import Plan, Playbook, Segment
from engine.insight import levers
from engine.insight.judged import Branch, Glimpse, judge, tree_of
from engine.insight.levers import Change
from engine.insight.needs import Set, Sight, because, cost, key_of, needs
from engine.insight.replay import Course, Life
from engine.insight.subject import instant
from engine.insight.supposing import Placed, apply, row
from engine.language.expressions.parse import parse
from engine.language.expressions.unparse import quoted
from engine.triggers.count import Count

ENTERED: Final = ("entered", "held_out")
_MOST_OPTIONS = 3  #: equally near ones that are named
_DEEPEST = 4  #: lines of a verdict that may have to change, one after another
_AT_ONCE = 12  #: so many times less are tried one by one

@dataclass
class Asking:
    """What a search goes by.

    ``tries``: how often the subject's life may still be decided once more; what is left is handed on.
    """

    life: Life
    plan: Plan
    playbook: Playbook
    found: Course  #: as it was
    segments: Mapping[str, Segment]
    tries: int


@dataclass
class _Scene:
    """A verdict, the events that led to it, and where others would come in."""

    decision: Decision
    events: list[tuple[Event, int]]
    places: list[Placed]
    cause: str | None = None  #: id of the event from outside it goes back to
    sight: Sight | None = None
    turns: dict[str, int] = field(default_factory=dict)


def nearest(asking: Asking, decision: Decision | None) -> dict[str, Any]:
    """The nearest change of a verdict, ready for JSON; of none: what would have the playbook look at the subject."""
    search = _Search(asking)
    if decision is None:
        return search.first_look()
    return search.another(decision)


class _OutOfTries(Exception):
    """The search has decided often enough."""


class _Search:
    def __init__(self, asking: Asking) -> None:
        self.it = asking
        self.part = asking.plan.part(asking.life.subject)

    def sight(self, scene: _Scene) -> Sight:
        """What is to be seen of segments and ladders in a scene."""
        return scene.sight or Sight(self.part)

    # ------------------------------------------------------------------ ways to ask

    def another(self, decision: Decision) -> dict[str, Any]:
        """For a verdict on record."""
        scene = self.scene(decision)
        try:
            self.look(scene)
            options, stays = self.options(scene)
            from_ = self.by_time(scene)
        except _OutOfTries:
            return _said(decision, [], None, "not looked for among so many: ask with --playbook")
        reason = None if options or from_ else (stays or "no part of it can be turned around by a change of one's own")
        return _said(decision, options, from_, reason)

    def first_look(self) -> dict[str, Any]:
        """For a playbook that never looked: the event it waits for, and what else it would ask then."""
        found, life = self.it.found, self.it.life
        events = [(event, clock) for event, clock in life.events if clock <= found.clock]
        place = Placed(len(events), found.clock, found.clock)
        reason = None
        options: list[dict[str, Any]] = []
        try:
            for changes in islice(self.beginnings(), 4):
                made = apply(changes, events, place, life.subject, self.part.env.account)
                if made is None:
                    continue
                course = self.suppose(made.events, found.clock)
                looks = [it for it in course.decisions if it.playbook == self.it.playbook.id]
                if any(it.verdict in ENTERED or it.verdict == "capped" for it in looks):
                    options.append(self.option(changes, place, looks[-1].verdict))
                elif looks and looks[-1].cause.get("event", "").startswith("supposed:"):
                    scene = _Scene(looks[-1], made.events, [Placed(len(events), found.clock, found.clock)],
                                   looks[-1].cause["event"])  # fmt: skip
                    self.look(scene)
                    more, reason = self.options(scene)
                    rows = [row(it, self.part.env.account, place) for it in changes]
                    options += [{**it, "changes": [*it["changes"], *rows]} for it in more]
        except _OutOfTries:
            reason = "not looked for among so many: ask with --playbook"
        options.sort(key=lambda it: len(it["changes"]))
        from_ = self.clockwork()
        if not options and from_ is None and reason is None:
            reason = "nothing from outside alone begins it"
        return _said(None, options[:_MOST_OPTIONS], from_, None if options or from_ else reason)

    def clockwork(self) -> dict[str, Any] | None:
        """When the first of its timed triggers looks, if nothing happens before."""
        state, clock = self.it.found.state, self.it.found.clock
        found: list[tuple[int, str]] = []
        for trigger in self.it.playbook.triggers:
            if state is not None and trigger.own:
                with suppress(Exception):  # a hint for people; the answer stands without it
                    due = trigger.deadline(Moment(state, None, clock, clock, self.part.env))
                    if due is not None:
                        found.append((due, f"by time ({trigger.word}: {trigger.gist()})"))
        if not found:
            return None
        at, words = min(found)
        return {"at": instant(at), "because": words, "proved": False}

    def beginnings(self) -> Iterator[Set]:
        """What sets a trigger off, as far as that is an event or the way into a segment."""
        for trigger in self.it.playbook.triggers:
            segment = getattr(trigger, "segment", None)
            held = self.it.segments.get(segment) if isinstance(segment, str) else None
            if held is not None and held.test is not None and self.it.found.state is not None:
                clock = self.it.found.clock
                tree = judge(held.test, Moment(self.it.found.state, None, clock, clock, self.part.env))
                yield from needs(tree, getattr(trigger, "of_members", True), Sight(self.part))
            elif not trigger.own:
                brings = {}
                where = getattr(trigger, "where", None) or trigger.condition
                node = parse(where.text).node if where is not None else None
                if node is not None:
                    brings = levers.brings(node) or {}
                for type_ in sorted(trigger.listens() or ()):
                    if not _of_the_engine(type_):
                        yield (Change(levers.EVENTS, "trigger", type_, data=brings, has=0),)

    # ------------------------------------------------------------------ trying

    def suppose(self, events: Sequence[tuple[Event, int]], until: int, **more: Any) -> Course:
        if self.it.tries <= 0:
            raise _OutOfTries
        self.it.tries -= 1
        return self.it.life.suppose(events, until, **more)

    def scene(self, decision: Decision) -> _Scene:
        """Where a verdict came from; other events come right before that, or before what came last before."""
        makers, cause = self.it.found.makers, decision.cause
        for _ in range(100):
            if cause.get("event") not in makers:
                break
            cause = makers[cause["event"]]
        events = [(event, clock) for event, clock in self.it.life.events if clock <= decision.time]
        for place, (event, clock) in enumerate(events):
            if event.id == cause.get("event"):
                return _Scene(decision, events[: place + 1], [Placed(place, clock, event.time)], event.id)
        places = [Placed(len(events), decision.time, decision.time)]
        if events:
            event, clock = events[-1]
            places.insert(0, Placed(len(events) - 1, clock, event.time))
        return _Scene(decision, events, places)

    def look(self, scene: _Scene) -> None:
        """Judge the verdict once more and see more of it: segments by their parts, metrics, when time turns it."""
        glimpse = Glimpse(scene.decision.time, self.it.segments, self.part.ladders)
        course = self.suppose(scene.events, scene.decision.time, glimpse=glimpse)
        scene.decision = _same(course.decisions, scene.decision) or scene.decision
        scene.sight = Sight(self.part, glimpse.trees, glimpse.metrics)
        scene.turns = glimpse.turns

    def options(self, scene: _Scene) -> tuple[list[dict[str, Any]], str | None]:
        """(the nearest changes, why there are none)."""
        entered = scene.decision.verdict in ENTERED
        sets: list[Set] = []
        for line in scene.decision.why if entered else _failing(scene.decision):
            branch = self.branch(line)
            if branch is not None:
                sets += needs(branch, not entered, self.sight(scene))
        stays: str | None = None
        found: list[tuple[Set, Placed, str]] = []
        for changes in sorted(dict.fromkeys(map(key_of, sets)), key=lambda it: cost(it.changes)):
            if found and len(changes.changes) > len(found[0][0]):
                break
            got = self.tried(changes.changes, scene, 0)
            if isinstance(got, str):
                stays = stays or got
            elif got is not None and all(key_of(got[0]) != key_of(it[0]) for it in found):
                found.append(got)
            if len(found) >= _MOST_OPTIONS:
                break
        least = min((len(it[0]) for it in found), default=0)
        near = sorted((it for it in found if len(it[0]) == least), key=lambda it: cost(it[0]))
        if not sets:
            stays = _unturned(scene.decision)
        return [self.option(*it) for it in near], stays

    def tried(self, changes: Set, scene: _Scene, depth: int) -> tuple[Set, Placed, str] | str | None:
        """A set of changes that is enough, with its place and the verdict it leads to; or what would still refuse."""
        stays: str | None = None
        for place in scene.places:
            verdict, after = self.outcome(changes, scene, place)
            if verdict is not None:
                least = self.least(changes, scene, place)
                return least, place, self.outcome(least, scene, place)[0] or verdict
            if after is None or depth >= _DEEPEST or scene.decision.verdict in ENTERED:
                continue
            behind = [line for line in _failing(after) if not _alike(line, scene.decision)]
            for line in behind:
                branch = self.branch(line)
                more = [] if branch is None else needs(branch, True, self.sight(scene))
                for one in sorted(more, key=cost)[:3]:
                    got = self.tried((*changes, *one), scene, depth + 1)
                    if isinstance(got, tuple):
                        return got
                    stays = stays or got
                if not more:
                    stays = stays or f"then it would be {after.verdict}: {line.at}: {line.text}"
        return stays

    def outcome(self, changes: Set, scene: _Scene, place: Placed) -> tuple[str | None, Decision | None]:
        """(the other verdict these changes lead to or None, the verdict then)."""
        made = apply(changes, scene.events, place, self.it.life.subject, self.part.env.account, scene.cause)
        if made is None:
            return None, None
        before = scene.decision
        course = self.suppose(made.events, max(before.time, place.clock), edits=made.edits)
        own = [it for it in course.decisions if it.playbook == before.playbook]
        same = _same(own, before)
        if before.verdict in ENTERED:
            if same is not None and same.verdict in ENTERED:
                return None, same
            return ("never looked at" if same is None else same.verdict), same
        if same is not None and same.verdict != before.verdict:
            return same.verdict, same
        started = [it for it in own if it.verdict in ENTERED and it.cause.get("event", "").startswith("supposed:")]
        return (started[-1].verdict, started[-1]) if started else (None, same)

    def least(self, changes: Set, scene: _Scene, place: Placed) -> Set:
        """The same without what is not needed."""
        for one in changes if len(changes) > 1 else ():
            without = tuple(it for it in changes if it is not one)
            if self.outcome(without, scene, place)[0] is not None:
                return self.least(without, scene, place)
        for at, one in enumerate(changes):
            low = max(1, one.times - _AT_ONCE)
            for times in range(one.times - 1, low - 1, -1):
                fewer = (*changes[:at], replace(one, times=times), *changes[at + 1 :])
                if self.outcome(fewer, scene, place)[0] is None:
                    break
                changes = fewer
        for at in range(len(changes)):
            changes = self.smallest(changes, at, scene, place)
        return changes

    def smallest(self, changes: Set, at: int, scene: _Scene, place: Placed) -> Set:
        """The same with a number in one of them as near to what there is as is enough."""
        one, span = changes[at], levers.span(changes[at])
        if span is None:
            return changes
        there, value, unit = span

        def enough(steps: int) -> Set | None:
            found = (*changes[:at], levers.with_number(one, there + steps * unit), *changes[at + 1 :])
            return found if self.outcome(found, scene, place)[0] is not None else None

        high = int((value - there) / unit)
        if high < 2 or enough(high - 1) is None:
            return changes
        low = 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) is not None else (middle, high)
        return enough(high) or changes

    # ------------------------------------------------------------------ what is said

    def branch(self, line: Why) -> Branch | None:
        """A line of a verdict as a judged tree; what is no condition has none."""
        tree = tree_of(line)
        if tree is not None:
            return tree
        if line.at == "entry" or line.at.startswith("entry.limit") or not isinstance(line.value, bool):
            return None
        for trigger in self.it.playbook.triggers:
            if trigger.path == line.at and isinstance(trigger, Count) and trigger.where is not None:
                has = line.seen.get(f"count('{trigger.event}')")
                if has is None:  # the event at hand is none of those that count
                    break
                counted = f"count('{trigger.event}', where={quoted(trigger.where.text)})"
                return Branch(f"{counted} >= {trigger.at_least}", line.value, "leaf", {counted: has})
        return Branch(op="leaf", text=line.text, value=line.value, seen=dict(line.seen))

    def option(self, changes: Set, place: Placed, verdict: str) -> dict[str, Any]:
        return {"changes": [row(it, self.part.env.account, place) for it in changes], "verdict": verdict}

    def by_time(self, scene: _Scene) -> dict[str, Any] | None:
        """From when on the same event, had it come then, would have had another verdict, nothing else happening."""
        decision = scene.decision
        lines = list(decision.why) if decision.verdict in ENTERED else _failing(decision)
        turns = [(at, line) for line in lines if (at := scene.turns.get(line.text)) is not None]
        waits = next((at for line in lines if (at := _not_before(line)) is not None), None)
        if not turns and waits is None:
            return None
        at, line = min(turns, key=lambda it: it[0]) if turns else (waits or 0, lines[0])
        proved = False
        event = next((event for event, _ in scene.events if event.id == scene.cause), None)
        if event is not None:
            verdicts = [self.at_another_time(scene, event, moment) for moment in (at, at - 1)]
            if verdicts[0] in (None, decision.verdict):
                return None
            proved = verdicts[1] == decision.verdict
        tree = self.branch(line)
        words = because(tree, at, self.sight(scene), scene.events) if tree is not None else line.text
        return {"at": instant(at), "because": words, "proved": proved}

    def at_another_time(self, scene: _Scene, event: Event, at: int) -> str | None:
        """The verdict had the same event come at another time."""
        again = structs.replace(event, id="supposed:later", time=at)
        course = self.suppose([*(it for it in scene.events if it[0] is not event), (again, at)], at)
        own = [it for it in course.decisions if it.playbook == scene.decision.playbook]
        mine = [it for it in own if it.cause.get("event") == again.id or it.time == at]
        return mine[-1].verdict if mine else None


_NOTHING = Decision(time=0, playbook="", user=None, group=None, cause={}, verdict="", why=[])


def _said(
    decision: Decision | None, options: list[dict[str, Any]], from_: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    return {
        "of": None if decision is None else decision.verdict,
        "options": options,
        "from": from_,
        "cannot_say": reason,
    }


def _same(decisions: Sequence[Decision], before: Decision) -> Decision | None:
    found = [
        it for it in decisions
        if it.playbook == before.playbook and it.time == before.time and it.cause == before.cause
    ]  # fmt: skip
    return found[-1] if found else None


def _failing(decision: Decision) -> list[Why]:
    """The lines that refused: of several triggers any, of conditions the last."""
    return [line for line in decision.why if line.value is not True]


def _alike(line: Why, decision: Decision) -> bool:
    """Was it this line that refused before?"""
    return any(it.at == line.at and it.text == line.text for it in _failing(decision))


def _unturned(decision: Decision) -> str:
    """What refused and cannot be turned around."""
    lines = _failing(decision) if decision.verdict not in ENTERED else decision.why
    for line in lines[-1:]:
        if line.at == "entry":
            return f"{line.text}; no event changes that"
        if line.value is None:
            return f"{line.at} could not be judged; the data or the condition must be mended first"
        return f"{line.at}: what it asks for cannot be turned around: {line.text}"
    return "it was entered without a condition" if decision.verdict in ENTERED else "no condition refused it"


def _not_before(line: Why) -> int | None:
    """The instant an ``again_after`` names."""
    _, dash, at = line.text.partition(": not before ")
    return parse_instant(at) if dash and line.at == "entry" and at else None


def _of_the_engine(type_: str) -> bool:
    """Does only the engine say so?"""
    return type_ in _ENGINES or type_.split(".")[0] in ("segment", "journey", "selection", "draw")


_ENGINES: Final = frozenset(
    {"tier.changed", "points.expiring", "survey.due", "role.expiring", "coupon.expiring", "coupon.expired",
     "coupon.unsent", "message.sent", "group.target_met", "invite.offered", "webhook.answered"}
)  # fmt: skip
"""What no feed tells."""


__all__ = ["Asking", "nearest"]
