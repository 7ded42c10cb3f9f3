"""Trying changes: the engine decides a subject's whole life once more with them, and what comes out is what counts.

Rule 1: what a condition lacks is only an idea (``ways.py``); it is named when the engine comes to another verdict with
it, and with any part of it less does not.
Rule 2: the fewest changes win; among as few the smallest. What is as near is named beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.core.model import Decision, Event, State, Why
from engine.core.moment import Moment
from engine.core.plan import Plan, Playbook, Segment, zone_of
from engine.core.subjects import name_of
from engine.insight import change as kinds
from engine.insight.change import Change, span, with_number
from engine.insight.judged import Glimpse, judge
from engine.insight.needs import Set, Sight, cost, key_of
from engine.insight.replay import Course, Life
from engine.insight.subject import instant
from engine.insight.supposing import SUPPOSED, Placed, Setting, apply, concrete
from engine.insight.ways import Here, failing, of_the_engine, ways
from engine.insight.wording import row

ENTERED: Final = ("entered", "held_out")
MOST_OPTIONS: Final = 3  #: equally near ones that are named
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
    alone: bool = True  #: this playbook was asked for, and no other


@dataclass
class Scene:
    """A verdict, the events that led to it, and where others would come in."""

    decision: Decision
    events: list[tuple[Event, int]]
    places: list[Placed]
    cause: str | None = None  #: id of the event from outside it goes back to
    sight: Sight | None = None
    turns: dict[str, int] = field(default_factory=dict)
    state: State | None = None  #: right after it


Got = tuple[Set, Placed, str]
"""Changes, where they come in, the verdict they lead to."""


class OutOfTries(Exception):
    """The search has decided often enough."""


class Search:
    """What all ways to ask have in common."""

    def __init__(self, asking: Asking) -> None:
        self.it = asking
        self.part = asking.plan.part(asking.life.subject)
        zone = zone_of(asking.found.state, self.part.env) if asking.found.state is not None else self.part.env.zone
        groups = tuple(sorted({*self.part.rooms, *self.part.env.cards}))
        account = self.part.env.account
        self.setting = Setting(asking.life.subject, account, zone, groups, self._is_activity, self._usual())

    def _is_activity(self, type_: str) -> bool:
        dispatch = self.part.dispatch.get(type_)
        return dispatch.activity if dispatch is not None else True

    def _usual(self) -> str:
        """A type of event that says of anybody that it is active."""
        heard = [type_ for type_, it in self.part.dispatch.items() if it.activity and not of_the_engine(type_)]
        plain = [type_ for type_ in heard if type_.partition(".")[0] not in ("user", "group", "consent", "role")]
        return "app.opened" if "app.opened" in plain else min(plain, default="")

    def sight(self, scene: Scene) -> Sight:
        """What is to be seen of segments and ladders in a scene."""
        return scene.sight or Sight(self.part, listed=self.listed)

    @property
    def listed(self) -> frozenset[str]:
        """Segments that are lists."""
        return frozenset(name for name, it in self.it.segments.items() if it.test is None)

    def here(self, scene: Scene) -> Here:
        """What the ways out of a line go by."""
        it = self.it
        return Here(it.playbook, self.part, it.segments, self.sight(scene), scene.state, scene.decision.time,
                    tuple(self.beginnings_of(scene)))  # fmt: skip

    def beginnings_of(self, scene: Scene) -> Iterator[tuple[str, str, int]]:
        """(id, type, time) of the events that began the journeys before this one, the newest first."""
        own = (it for it in self.it.found.decisions if it.playbook == self.it.playbook.id)
        entered = [it for it in own if it.verdict in (*ENTERED, "capped") and it.time <= scene.decision.time]
        for it in reversed(entered):
            id_ = self.root(it.cause).get("event")
            event = self.it.found.events.get(id_ or "")
            if event is not None and not event.internal and event.id != scene.cause:
                yield event.id, event.type, event.time

    def root(self, cause: Mapping[str, str]) -> Mapping[str, str]:
        """What an event of the engine goes back to."""
        makers = self.it.found.makers
        for _ in range(100):
            if cause.get("event") not in makers:
                break
            cause = makers[cause["event"]]
        return cause

    # ------------------------------------------------------------------ trying

    def suppose(self, events: Sequence[tuple[Event, int]], until: int, **more: Any) -> Course:
        """Everything with other events."""
        if self.it.tries <= 0:
            raise OutOfTries
        self.it.tries -= 1
        return self.it.life.suppose(events, until, **more)

    def scene(self, decision: Decision, events: Sequence[tuple[Event, int]] | None = None) -> Scene:
        """Where a verdict came from; other events come right before that, or before what came last before."""
        cause = self.root(decision.cause)
        events = [(event, clock) for event, clock in events or self.it.life.events if clock <= decision.time]
        for place, (event, clock) in enumerate(events):
            if event.id == cause.get("event"):
                return Scene(decision, events[: place + 1], [Placed(place, clock, event.time)], event.id)
        places = [Placed(len(events), decision.time, decision.time)]
        if events:
            event, clock = events[-1]
            places.insert(0, Placed(len(events) - 1, clock, event.time))
        return Scene(decision, events, places)

    def look(self, scene: Scene) -> None:
        """Judge the verdict once more and see more of it: segments by their parts, metrics, when time turns it."""
        glimpse = Glimpse(scene.decision.time, self.it.segments, self.part.ladders)
        course = self.suppose(scene.events, scene.decision.time, glimpse=glimpse)
        scene.decision = same(course.decisions, scene.decision) or scene.decision
        scene.turns, scene.state = glimpse.turns, course.state
        scene.sight = self.seen(scene, glimpse)

    def seen(self, scene: Scene, glimpse: Glimpse | None = None) -> Sight:
        """What is to be seen in a scene: what the decision saw, and what it might have asked beside."""
        trees, metrics = {}, {}
        if scene.state is not None:
            m = Moment(scene.state, None, scene.decision.time, scene.decision.time, self.part.env)
            for name, segment in self.it.segments.items():
                with suppress(Exception):  # of another kind of subject
                    if segment.test is not None:
                        trees[name] = judge(segment.test, m)
            for ladder in self.part.ladders:
                with suppress(Exception):  # a metric that cannot be judged has no value
                    metrics[ladder.name] = ladder.metric.get(m)
        if glimpse is not None:
            trees.update(glimpse.trees)
            metrics.update(glimpse.metrics)
        return Sight(self.part, trees, metrics, self.listed)

    def options(self, scene: Scene) -> tuple[list[dict[str, Any]], str | None]:
        """(the nearest changes, why there are none)."""
        entered = scene.decision.verdict in ENTERED
        sets: list[Set] = []
        for line in scene.decision.why if entered else failing(scene.decision):
            sets += ways(line, not entered, self.here(scene))
        stays: str | None = None
        found: list[Got] = []
        for changes in sorted(dict.fromkeys(map(key_of, sets)), key=lambda it: cost(it.changes)):
            if found and len(changes.changes) > len(found[0][0]):
                break
            got = self.tried(changes.changes, scene, 0)
            if isinstance(got, str):
                stays = stays or got
            elif got is not None and all(key_of(got[0]) != key_of(it[0]) for it in found):
                found.append(got)
            if len(found) >= MOST_OPTIONS:
                break
        if not found and entered:
            found = list(self.kept_out(scene))
        least = min((len(it[0]) for it in found), default=0)
        near = sorted((it for it in found if len(it[0]) == least), key=lambda it: cost(it[0]))
        if not sets:
            stays = self.unturned(scene)
        return [self.option(*it, scene.events) for it in near], stays

    def kept_out(self, scene: Scene) -> Iterator[Got]:
        """What would have kept somebody out whom no condition can: the event had not come, or time was not up."""
        if scene.cause is not None:
            type_ = next(event.type for event, _ in scene.events if event.id == scene.cause)
            tries: list[Set] = [(Change(kinds.WITHOUT, "trigger", type_, scene.cause),)]
        else:
            tries = list(self.activity())
        for changes in tries:
            got = self.tried(changes, scene, _DEEPEST)
            if isinstance(got, tuple):
                yield got
                return

    def activity(self) -> Iterator[Set]:
        """What pushes a timer on, or takes it away."""
        for trigger in self.it.playbook.triggers:
            clock = trigger.clock()
            if trigger.own and trigger.traits is None:
                for type_ in sorted(clock[1]) if clock is not None else ("",):
                    yield (Change(kinds.EVENTS, "trigger", type_),)
            for name in sorted(trigger.traits or ()):
                if trigger.own and name != "zone":
                    yield (Change(kinds.TRAIT, "trigger", name, None),)

    def tried(self, changes: Set, scene: Scene, depth: int) -> Got | str | None:
        """A set of changes that is enough, with its place and the verdict it leads to; or what would still refuse."""
        stays: str | None = None
        for place in scene.places:
            meant = self.meant(changes, scene, place)
            if meant is None:
                continue
            verdict, after = self.outcome(meant, scene, place)
            if verdict is not None:
                least = self.least(meant, scene, place)
                return least, place, self.outcome(least, scene, place)[0] or verdict
            if after is None or depth >= _DEEPEST or scene.decision.verdict in ENTERED:
                continue
            for line in failing(after):
                if _alike(line, scene.decision):
                    continue
                got = self._behind(line, meant, scene, depth)
                if isinstance(got, tuple):
                    return got
                stays = stays or got or f"then it would be {after.verdict}: {line.at}: {line.text}"
        return stays

    def _behind(self, line: Why, changes: Set, scene: Scene, depth: int) -> Got | str | None:
        """The same with what another line lacks, which refused only now."""
        stays: str | None = None
        for one in sorted(ways(line, True, self.here(scene)), key=cost)[:3]:
            got = self.tried(self.together(changes, one), scene, depth + 1)
            if isinstance(got, tuple):
                return got
            stays = stays or got
        return stays

    def together(self, changes: Set, more: Set) -> Set:
        """Both, in the order in which they come."""
        return (*changes, *more)

    def meant(self, changes: Set, scene: Scene, place: Placed) -> Set | None:
        """The changes with what of these events they mean."""
        found = [concrete(it, scene.events, place, self.setting, scene.cause) for it in changes]
        return None if any(it is None for it in found) else tuple(it for it in found if it is not None)

    def outcome(self, changes: Set, scene: Scene, place: Placed) -> tuple[str | None, Decision | None]:
        """(the other verdict these changes lead to or None, the verdict then)."""
        made = apply(changes, scene.events, place, self.setting, scene.cause)
        if made is None:
            return None, None
        before = scene.decision
        until = max(before.time, place.clock)
        course = self.suppose(made.events, until, edits=made.edits, world=made.world)
        own = [it for it in course.decisions if it.playbook == before.playbook]
        there = same(own, before)
        if before.verdict in ENTERED:
            if there is not None and there.verdict in ENTERED:
                return None, there
            return ("never looked at" if there is None else there.verdict), there
        if there is not None and there.verdict != before.verdict:
            return there.verdict, there
        started = [it for it in own if it.verdict in ENTERED and it.cause.get("event", "").startswith(SUPPOSED)]
        return (started[-1].verdict, started[-1]) if started else (None, there)

    # ------------------------------------------------------------------ as little as is enough

    def least(self, changes: Set, scene: Scene, place: Placed) -> Set:
        """The same without what is not needed."""
        for one in changes if len(changes) > 1 else ():
            without = tuple(it for it in changes if it is not one)
            if self.outcome(without, scene, place)[0] is not None:
                return self.least(without, scene, place)
        for at, one in enumerate(changes):
            if one.kind == kinds.EVENTS and one.data:  # perhaps any such event will do
                plain = (*changes[:at], replace(one, data={}), *changes[at + 1 :])
                changes = plain if self.outcome(plain, scene, place)[0] is not None else changes
        for at in range(len(changes)):
            if changes[at].kind == kinds.DAYS:
                changes = self.fewest_days(changes, at, scene, place)
            else:
                changes = self.fewest(changes, at, scene, place)
        for at in range(len(changes)):
            changes = self.smallest(changes, at, scene, place)
        return changes

    def fewest(self, changes: Set, at: int, scene: Scene, place: Placed) -> Set:
        """The same with as few events in one of them as are enough."""
        one = changes[at]

        def enough(times: int) -> Set | None:
            fewer = (*changes[:at], replace(one, times=times), *changes[at + 1 :])
            return fewer if self.outcome(fewer, scene, place)[0] is not None else None

        high = one.times
        if high < 2 or enough(high - 1) is None:
            return changes
        low, high = 0, high - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) is not None else (middle, high)
        return enough(high) or changes

    def fewest_days(self, changes: Set, at: int, scene: Scene, place: Placed) -> Set:
        """The same without the days that are not needed: the farthest ones, then any."""
        days = changes[at].value
        for back in days if len(days) > 1 else ():
            left = tuple(it for it in changes[at].value if it != back)
            fewer = (*changes[:at], replace(changes[at], value=left, times=len(left)), *changes[at + 1 :])
            if left and self.outcome(fewer, scene, place)[0] is not None:
                changes = fewer
            elif len(days) > _AT_ONCE:
                break
        return changes

    def smallest(self, changes: Set, at: int, scene: Scene, place: Placed) -> Set:
        """The same with a number in one of them as near to what there is as is enough."""
        one, reach = changes[at], span(changes[at])
        if reach is None:
            return changes
        there, value, unit = reach

        def enough(steps: int) -> Set | None:
            found = (*changes[:at], with_number(one, there + steps * unit), *changes[at + 1 :])
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

    def option(
        self, changes: Set, place: Placed, verdict: str, events: Sequence[tuple[Event, int]], at: int | None = None
    ) -> dict[str, Any]:
        """An option, ready for JSON; ``at``: when its verdict falls, where it is not the one that was asked about."""
        names: dict[str, Any] = {"active": self.setting.usual or "activity"}
        for event, _ in events[: place.index]:
            names[event.type] = event.time
            if not event.internal and self.setting.active(event.type):
                names["active"] = event.type  # as ``supposing`` picks it
        names.update({event.id: event.time for event, _ in events})
        return {"changes": [row(it, self.setting, place, names) for it in changes], "verdict": verdict,
                "time": instant(at)}  # fmt: skip

    def unturned(self, scene: Scene) -> str:
        """What refused and cannot be turned around."""
        decision = scene.decision
        if decision.verdict in ENTERED:
            slots = any("audience" in line.at for line in decision.why)
            return "each of its slots begins it, whoever it is" if slots else "time or another subject alone began it"
        for line in failing(decision)[-1:]:
            if line.at == "entry":
                return f"{line.text}; no event changes that"
            if line.at.startswith("entry.limit"):
                return f"{line.text}: it hangs on who else came"
            if line.value is None:
                return f"{line.at} could not be judged; the data or the condition must be mended first"
            if "bucket(" in line.text:
                whose = name_of(self.it.life.subject) or "the program"
                return f"{line.at}: it is drawn by a hash of {whose}: {line.text}"
            return f"{line.at}: what it asks for cannot be turned around: {line.text}"
        return "no condition refused it"


def same(decisions: Sequence[Decision], before: Decision) -> Decision | None:
    """The verdict at the same place of another course."""
    found = [
        it for it in decisions
        if it.playbook == before.playbook and it.time == before.time and it.cause == before.cause
    ]  # fmt: skip
    return found[-1] if found else None


def _alike(line: Why, decision: Decision) -> bool:
    """Was it this line that refused before?"""
    return any(it.at == line.at and it.text == line.text for it in failing(decision))
