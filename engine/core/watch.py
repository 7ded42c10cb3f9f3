"""Tiers and segments: states that move at an event or by time alone.

Rule 1: they always equal a full recompute; what is kept is only where the subject stood, to see the move.
Rule 2: before its first event a subject stands where an empty history puts it, without a row and without an event.
Rule 3: promotion happens at the event that crosses; demotion when the metric has been below for the ladder's grace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.core.chance import effect_key
from engine.core.model import State
from engine.core.moment import Moment
from engine.core.plan import Ladder, Plan, Segment, zone_of

if TYPE_CHECKING:
    from engine.core.judging import Judging

PLACED = "watched segments"  # key of State.memory: names of the segments placed so far


def place(plan: Plan, m: Moment) -> None:
    """Put a subject where it stands before this event, on ladders and in watched segments that are new to it."""
    state = m.state
    placed, (names, ladders) = state.memory.get(PLACED, []), plan.standing
    if state.born and placed == names and state.tiers.keys() == ladders:
        return
    m.event, event = None, m.event
    # what is not watched any more is forgotten: should it come back, nobody enters it by that
    state.tiers = {name: at for name, at in state.tiers.items() if name in ladders}
    state.segments = [name for name in state.segments if name in names and name in placed]
    for ladder in plan.ladders:
        if ladder.name not in state.tiers:
            state.tiers = {**state.tiers, ladder.name: [_level(ladder, m), None]}
    for segment in plan.watched:
        if segment.name not in placed and _inside(segment, m):
            state.segments = [*state.segments, segment.name]
    state.memory[PLACED] = list(names)
    state.born = True
    m.event = event


def forget(state: State) -> None:
    """Let the next event place the subject anew, silently (after ``ingest --history``, and after an erasure)."""
    state.born, state.tiers, state.segments = False, {}, []
    state.memory.pop(PLACED, None)


def grace_change(ladder: Ladder) -> Callable[[Moment], int | None]:
    """When a demotion that waits for its grace comes due."""

    def change(m: Moment) -> int | None:
        place_ = m.state.tiers.get(ladder.name)
        if place_ is None or place_[1] is None:
            return None
        due = ladder.grace.after(place_[1], zone_of(m.state, m.env))
        return due if due > m.now else None

    return change


def _level(ladder: Ladder, m: Moment) -> str | None:
    try:
        return ladder.level(ladder.metric.get(m))
    except Exception:  # a metric that cannot be judged moves nobody
        return None


def _inside(segment: Segment, m: Moment) -> bool:
    try:
        return bool(m.env.segments[segment.name](m))
    except Exception:  # neither in nor out: stays where it was
        return segment.name in m.state.segments


def watch(turn: Judging, occurrence: str) -> None:
    """Move the subject on its ladders, in and out of segments; rows and events for each move."""
    m = Moment(turn.state, None, turn.now, turn.now, turn.plan.env)
    for ladder in turn.plan.ladders:
        _climb(turn, ladder, m, occurrence)
    state = turn.state
    for segment in turn.plan.watched:
        before = segment.name in state.segments
        after = _inside(segment, m)
        if before == after:
            continue
        if after:
            state.segments = [*state.segments, segment.name]
        else:
            state.segments = [name for name in state.segments if name != segment.name]
        type_ = "segment.entered" if after else "segment.left"
        turn.out.milestones.append(("", occurrence, state.id, type_, segment.name, turn.now))
        key = effect_key(type_, segment.name, state.id, occurrence)
        turn.tell(type_, {"segment": segment.name}, key, None)


def _climb(turn: Judging, ladder: Ladder, m: Moment, occurrence: str) -> None:
    level, below_since = turn.state.tiers[ladder.name]
    try:
        target = ladder.settled(ladder.metric.get(m), level)
    except Exception:  # a metric that cannot be judged moves nobody
        return
    here, there = ladder.rank(level), ladder.rank(target)
    if there == here:
        if below_since is not None:
            turn.state.tiers[ladder.name] = [level, None]
        return
    if there < here:
        since = turn.now if below_since is None else below_since
        if turn.now < ladder.grace.after(since, zone_of(turn.state, turn.plan.env)):
            turn.state.tiers[ladder.name] = [level, since]
            return
    turn.state.tiers[ladder.name] = [target, None]
    key = effect_key("tier", ladder.name, turn.state.id, occurrence)
    turn.record("tier", key, {"ladder": ladder.name, "from": level, "to": target})
    turn.tell("tier.changed", {"ladder": ladder.name, "from": level, "to": target}, key + ":tier.changed", None)


def next_move(m: Moment) -> int | None:
    """Earliest instant after ``m.now`` at which passing time alone may move the subject."""
    state, env = m.state, m.env
    here = Moment(state, None, m.now, m.now, env)
    found: int | None = None
    for change in env.changes:
        instant = change(here)
        if instant is not None and (found is None or instant < found):
            found = instant
    return found
