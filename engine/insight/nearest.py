"""The nearest change with which a verdict would have been another one, found by trying (``searching.py``).

Rule: where nothing was found, that is what is said, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from msgspec import structs

from engine.core import localtime
from engine.core.instants import parse_instant
from engine.core.model import DAY, Decision, Event, State, Why
from engine.core.moment import Moment
from engine.core.plan import zone_of
from engine.core.slots import Slotted
from engine.insight import change as kinds
from engine.insight.judged import Glimpse, tree_of
from engine.insight.needs import Set, because, cost, key_of
from engine.insight.searching import (
    ENTERED,
    MOST_OPTIONS,
    Asking,
    Got,
    OutOfTries,
    Scene,
    Search,
    same,
)
from engine.insight.subject import instant
from engine.insight.supposing import SUPPOSED, Placed, apply
from engine.insight.ways import failing, sets_off
from engine.triggers.segment import SegmentMove
from engine.triggers.tier_change import TierChange

_NEVER: Final = "never looked at"
_MOST_BEGINNINGS = 12  #: ideas that are tried for a playbook that never looked
_SLOTS_AHEAD, _DAYS_AHEAD = 8, 62  #: how far the next slots of a schedule are decided
_FAR_AHEAD: Final = 400 * DAY
_WAKES_AHEAD = 4  #: how many wake-ups a change is given until it shows
_ENDS_AHEAD = 6  #: how many waits of a running journey are gone through to its end


def nearest(asking: Asking, decision: Decision | None) -> dict[str, Any]:
    """The nearest change of a verdict, ready for JSON; of none: what would have the playbook look at the subject."""
    if decision is None:
        return _First(asking).look_first()
    return _Another(asking).another(decision)


class _Ahead(Search):
    """What time alone will bring."""

    def given_up(self) -> str:
        """Why the search came to no end."""
        if not self.it.alone:
            return "not looked for among so many: ask with --playbook"
        return "so many ways to go about it that none was found in the tries there are"

    def next_slots(self, after: int) -> list[int]:
        """The next slots of its schedules."""
        state = self.it.found.state
        zone = zone_of(state, self.part.env) if state is not None else self.part.env.zone
        found: list[int] = []
        for trigger in self.it.playbook.triggers:
            if not isinstance(trigger, Slotted):
                continue
            tz = localtime.zone(zone if trigger.by_user else self.part.env.zone) or localtime.UTC
            at: int | None = after
            for _ in range(_SLOTS_AHEAD):
                at = trigger.after(at, tz) if at is not None else None
                if at is None or at > after + (_DAYS_AHEAD * DAY if found else _FAR_AHEAD):
                    break
                found.append(at)
        return sorted(set(found))[:_SLOTS_AHEAD]

    def deadline(self, state: State | None, clock: int) -> tuple[int, str] | None:
        """(when its first timed trigger looks if nothing happens before, what it is)."""
        found: list[tuple[int, str]] = []
        for trigger in self.it.playbook.triggers:
            if state is not None and trigger.own:
                with suppress(Exception):  # a hint for people; the answer stands without it
                    due = trigger.deadline(Moment(state, None, clock, clock, self.part.env))
                    if due is not None:
                        found.append((due, f"by time ({trigger.word}: {trigger.gist()})"))
        return min(found) if found else None


class _Another(_Ahead):
    """For a verdict on record."""

    def another(self, decision: Decision) -> dict[str, Any]:
        """Options, and the instant from which it would be another one."""
        scene = self.scene(decision)
        options: list[dict[str, Any]] = []
        from_ = stays = None
        try:
            self.look(scene)
            options, stays = self.options(scene)
            from_ = self.by_time(scene) or self.at_a_slot(scene)
        except OutOfTries:
            stays = stays or self.given_up()
        if options or from_:
            return _said(decision, options, from_, None)
        if decision.verdict in ENTERED:
            return _said(decision, options, from_, stays or self.unturned_all(scene))
        # nothing would have turned it around there and then: what begins the playbook from here on
        later = _First(self.it).look_first()
        reason = (stays or self.unturned_all(scene)) if later["cannot_say"] is not None else None
        return {**later, "of": decision.verdict, "cannot_say": reason}

    def unturned_all(self, scene: Scene) -> str:
        """Ideas there were, and none of them was enough."""
        if scene.decision.verdict in ENTERED:
            return self.unturned(scene)
        drawn = [line for line in failing(scene.decision) if "bucket(" in line.text]
        return self.unturned(scene) if drawn else "no part of it can be turned around by a change of one's own"

    def by_time(self, scene: Scene) -> dict[str, Any] | None:
        """From when on the same event, had it come then, would have had another verdict, nothing else happening."""
        decision = scene.decision
        lines = list(decision.why) if decision.verdict in ENTERED else failing(decision)
        turns = [(at, line) for line in lines if (at := scene.turns.get(line.text)) is not None]
        free = next(((at, line) for line in lines if (at := self.free_at(line, scene)) is not None), None)
        if not turns and free is None:
            return None
        at, line = min(turns, key=lambda it: it[0]) if turns else free or (0, lines[0])
        proved = False
        event = next((event for event, _ in scene.events if event.id == scene.cause), None)
        if event is not None:
            verdicts = [self.at_another_time(scene, event, moment) for moment in (at, at - 1)]
            if verdicts[0] in (None, decision.verdict):
                return None
            proved = verdicts[1] == decision.verdict
        tree = tree_of(line)
        words = because(tree, at, self.sight(scene), scene.events) if tree is not None else line.text
        return {"at": instant(at), "because": words, "proved": proved}

    def free_at(self, line: Why, scene: Scene) -> int | None:
        """When an entry that was refused is free: the instant it names, or the end of the journey that runs."""
        if line.at != "entry" or line.value is not False:
            return None
        _, dash, at = line.text.partition(": not before ")
        if dash:
            return parse_instant(at) if at else None
        if not line.text.endswith(": a journey is running") or line.text.startswith("once"):
            return None
        state = scene.state
        for _ in range(_ENDS_AHEAD):
            mine = [it for it in state.journeys if it.playbook == self.it.playbook.id] if state is not None else []
            waits = [it.waiting.until for it in mine if it.waiting is not None and it.waiting.until is not None]
            if not mine or not waits:
                return None
            end = min(waits)
            before, state = len(mine), self.suppose(scene.events, end).state
            if state is not None and sum(it.playbook == self.it.playbook.id for it in state.journeys) < before:
                return end + 1  # at that very instant events come first
        return None

    def at_another_time(self, scene: Scene, event: Event, at: int) -> str | None:
        """The verdict had the same event come at another time."""
        again = structs.replace(event, id=f"{SUPPOSED}later", time=at)
        course = self.suppose([*(it for it in scene.events if it[0] is not event), (again, at)], at)
        own = [it for it in course.decisions if it.playbook == scene.decision.playbook]
        mine = [it for it in own if it.cause.get("event") == again.id] or [it for it in own if it.time == at]
        return mine[-1].verdict if mine else None

    def at_a_slot(self, scene: Scene) -> dict[str, Any] | None:
        """The next slot that decides otherwise, nothing else happening."""
        decision = scene.decision
        if scene.cause is not None or decision.verdict in ENTERED or not (slots := self.next_slots(decision.time)):
            return None
        course = self.suppose(scene.events, slots[-1])
        later = [it for it in course.decisions if it.playbook == decision.playbook and it.time > decision.time]
        found = next((it for it in later if it.verdict in ENTERED), None)
        if found is None:
            return None
        return {"at": instant(found.time), "because": "by time alone: its slot then", "proved": True}


class _First(_Ahead):
    """For a playbook that never looked: what it waits for, and what else it would ask then."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking)
        found, playbook = asking.found, asking.playbook
        own = (it for it in found.decisions if it.playbook == playbook.id)
        self.before = {(it.time, str(it.cause)) for it in own}
        self.later: dict[str, int] = {}  #: changes -> when the verdict falls
        user = None if asking.life.subject[:1] == "\x01" else asking.life.subject
        self.none = Decision(time=found.clock, playbook=playbook.id, user=user, group=None, cause={}, verdict=_NEVER,
                             why=[])  # fmt: skip

    def look_first(self) -> dict[str, Any]:
        """Options, and when it looks by itself."""
        options: list[dict[str, Any]] = []
        from_ = reason = None
        scene = self.now()
        since = self.it.life.published(self.it.playbook.id)
        if since and since >= self.it.found.clock:  # events of that instant came before it
            words = "it was published then, and nothing before counts"
            return _said(None, [], {"at": instant(since), "because": words, "proved": False}, None)
        try:
            found, reason = self.begun(scene)
            options = [
                self.option(*it, scene.events, self.later.get(repr(it[0]), self.it.found.clock)) for it in found
            ]
            from_, more = self.clockwork(scene)
            options = options or more
        except OutOfTries:
            reason = reason or self.given_up()
        if not options and from_ is None and reason is None:
            reason = self.begins_elsewhere()
        return _said(None, options[:MOST_OPTIONS], from_, None if options or from_ else reason)

    def now(self) -> Scene:
        """Where things stand."""
        found = self.it.found
        events = [(event, clock) for event, clock in self.it.life.events if clock <= found.clock]
        scene = Scene(self.none, events, [Placed(len(events), found.clock, found.clock)], state=found.state)
        scene.sight = self.seen(scene)
        return scene

    def together(self, changes: Set, more: Set) -> Set:
        """What a condition lacks comes before the event that begins it."""
        return (*more, *changes)

    def ideas(self, scene: Scene) -> Iterator[Set]:
        """What may set one of its triggers off, of each in turn."""
        each = [sets_off(trigger, self.here(scene)) for trigger in self.it.playbook.triggers]
        while each:
            for one in list(each):
                found = next(one, None)
                if found is None:
                    each.remove(one)
                else:
                    yield found

    def begun(self, scene: Scene) -> tuple[list[Got], str | None]:
        """(what begins it, what would refuse still)."""
        found: list[Got] = []
        stays: str | None = None
        for changes in islice(self.ideas(scene), _MOST_BEGINNINGS):
            if found and len(changes) > min(len(it[0]) for it in found):
                continue
            if any(_same_fields(changes, it[0]) for it in found):  # another value of the same is no other change
                continue
            got = self.tried(changes, scene, 0)
            if isinstance(got, str):
                stays = stays or got
            elif got is not None and all(key_of(got[0]) != key_of(it[0]) for it in found):
                found.append(got)
        least = min((len(it[0]) for it in found), default=0)
        return sorted((it for it in found if len(it[0]) == least), key=lambda it: cost(it[0])), stays

    def outcome(self, changes: Set, scene: Scene, place: Placed) -> tuple[str | None, Decision | None]:
        """As of any verdict; here it is that there is one, at once or when its timed trigger fires."""
        made = apply(changes, scene.events, place, self.setting, scene.cause)
        if made is None:
            return None, None
        clock = self.it.found.clock
        course = self.suppose(made.events, clock, edits=made.edits, world=made.world)
        look = self.fresh(course.decisions)
        for _ in range(_WAKES_AHEAD):
            if look is not None and look.verdict in ENTERED:
                break
            due = self.next_by_time(course.state, max(clock, course.clock))
            if due is None:
                break
            course = self.suppose(made.events, due, edits=made.edits, world=made.world)
            look = self.fresh(course.decisions) or look
        if look is None:
            return None, None
        self.later[repr(changes)] = look.time
        return (look.verdict if look.verdict in (*ENTERED, "capped") else None), look

    def next_by_time(self, state: State | None, clock: int) -> int | None:
        """When time alone may begin it: its own timer, or one that moves a segment or a level."""
        due = self.deadline(state, clock)
        if due is not None and due[0] > clock:
            return due[0]
        moves = any(isinstance(it, (SegmentMove, TierChange)) for it in self.it.playbook.triggers)
        at = state.wake_at if state is not None and moves else None
        return at if at is not None and clock < at < self.it.found.clock + _FAR_AHEAD else None

    def fresh(self, decisions: list[Decision]) -> Decision | None:
        """The last verdict that was not there before."""
        own = [it for it in decisions if it.playbook == self.it.playbook.id]
        new = [it for it in own if (it.time, str(it.cause)) not in self.before]
        return next((it for it in reversed(new) if it.verdict in ENTERED), new[-1] if new else None)

    def clockwork(self, scene: Scene) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """(when it looks by itself if nothing happens before, what it would ask for then)."""
        clock, state = self.it.found.clock, self.it.found.state
        due = self.deadline(state, clock)
        slots = self.next_slots(clock)
        if slots and (due is None or slots[0] < due[0]):
            due = (slots[0], "by time (schedule): its next slot")
        if due is None:
            return self.by_waking(scene), []
        glimpse = Glimpse(due[0], self.it.segments, self.part.ladders)
        course = self.suppose(scene.events, max(due[0], clock), glimpse=glimpse)
        look = self.fresh(course.decisions)
        from_ = {"at": instant(due[0]), "because": due[1], "proved": look is not None and look.verdict in ENTERED}
        if look is None or look.verdict in ENTERED:
            return from_, []
        then = Scene(look, scene.events, [Placed(len(scene.events), look.time, look.time)], state=course.state)
        then.sight = self.seen(then, glimpse)
        options, _ = _Another(replace(self.it, tries=self.it.tries)).options(then)
        return from_, [{**it, "time": instant(look.time)} for it in options]

    def by_waking(self, scene: Scene) -> dict[str, Any] | None:
        """When it begins by what time alone does to a segment or a level, if nothing happens before."""
        state, clock = scene.state, self.it.found.clock
        for _ in range(_ENDS_AHEAD):
            at = state.wake_at if state is not None else None
            if at is None or at > clock + _FAR_AHEAD:
                return None
            course = self.suppose(scene.events, max(at, clock))
            look, state = self.fresh(course.decisions), course.state
            if look is not None and look.verdict in ENTERED:
                return {"at": instant(look.time), "because": "by time alone, nothing else happening", "proved": True}
            if state is not None and state.wake_at is not None and state.wake_at <= at:
                return None
        return None

    def begins_elsewhere(self) -> str:
        """What begins it, where that is nothing that can be supposed."""
        slotted = [it for it in self.it.playbook.triggers if isinstance(it, Slotted)]
        words = ", ".join(f"{it.word}: {it.gist()}" for it in self.it.playbook.triggers)
        if slotted and len(slotted) == len(self.it.playbook.triggers):
            return f"no slot of it is to come ({words})"
        return f"nothing that was tried begins it ({words})"


def _same_fields(one: Set, other: Set) -> bool:
    """Do both only give other values to the same fields?"""
    names = [{(it.kind, it.name) for it in changes} for changes in (one, other)]
    return names[0] == names[1] and all(kind == kinds.TRAIT for kind, _ in names[0])


def _said(
    decision: Decision | None, options: list[dict[str, Any]], from_: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    return {
        "of": None if decision is None else decision.verdict,
        "options": options,
        "from": from_,
        "cannot_say": reason,
    }


__all__ = ["Asking", "nearest", "same"]
