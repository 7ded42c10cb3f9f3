"""Short ways written out for one plan: what is known beforehand is not found out per event.

For each event type one Python function does to a subject without journeys what ``Turn.go`` would do: update the
history that somebody needs, push the clocks, run through the bare tests of those who may enter. ``fuse_wakes`` does it
for wake-ups.

Rule 1: a short way decides nothing: it either proves that nobody is let in, or leaves the matter to the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engine.core.fold import Folding
from engine.core.writing import Writer, bodies_of, once

if TYPE_CHECKING:
    from engine.core.model import Event, State
    from engine.core.moment import Moment
    from engine.core.plan import Dispatch, Sieve

DONE, SLOW = -1, -2
"""What a short way says when no sieve let the event through, and when the event needs the long way."""


def unsure(place: int) -> int:
    """A place of a sieve that could not be judged, as a short way says it (below ``SLOW``), and back."""
    return -3 - place


Quick = Callable[["Moment", "State", "Event", int], int]
"""(the moment to use, subject, event, now) -> ``DONE``, ``SLOW``, the place of the first sieve that lets the event in,
or ``unsure`` of a place."""

Following = Callable[["Moment", int], int]
"""(the moment, place) -> the first sieve from that place on that lets the event in, ``DONE``, or ``unsure`` of one."""

_NOBODY: frozenset[str] = frozenset()


def slow(m: Moment, state: State, event: Event, now: int) -> int:
    """The way of an event type that has no short one."""
    return SLOW


def quick(dispatch: Dispatch, act_within: int, zone_of: Callable[[State], str], retimed: frozenset[str]) -> Quick:
    """The short way of one event type.

    Parameters
    ----------
    dispatch: what can happen at the type; ``short`` says whether it has a short way at all.
    act_within: age in microseconds from which on an event only changes state.
    zone_of: the zone of a subject.
    retimed: traits that timers hang on.
    """
    if not dispatch.short:
        return slow
    writer = Writer()
    writer.add(
        [
            "time, data = event.time, event.data",
            # where the clock follows the events, now is the very object that time is
            "if state.journeys or state.goals or event.history"
            f" or (now is not time and now - time > {act_within}): return {SLOW}",
        ]
    )
    if dispatch.fold is not None:
        _fold(writer, dispatch, retimed)
    if dispatch.series:
        zone = f"{writer.use(zone_of)}(state)" if dispatch.local else "''"
        writer.add([f"zone = {zone}", "series = state.series"])
        for series in dispatch.series:
            writer.add(series.lines(writer))
    _clocks(writer, dispatch)
    if dispatch.sieves:
        _tests(writer, dispatch)
    writer.add([f"return {DONE}"])
    found: Quick = writer.build("def way(m, state, event, now):", "quick")
    return found


def _fold(writer: Writer, dispatch: Dispatch, retimed: frozenset[str]) -> None:
    folding, nobody = writer.use(Folding), writer.use(_NOBODY)
    writer.add(
        [
            f"folding = {folding}({nobody}, {nobody}, {{}})",
            f"{writer.use(dispatch.fold)}(state, event, folding)",
            "changes = folding.changes",
            # looked at again at once, so that every timer is found anew
            f"if changes is not None and not {writer.use(retimed)}.isdisjoint(changes): state.wake_at = now",
        ]
    )


def _clocks(writer: Writer, dispatch: Dispatch) -> None:
    if dispatch.activity:
        writer.add(
            [
                "if not event.internal:",
                " last = state.last_active",
                " if last is None or time > last: state.last_active = time",
            ]
        )
    for clock in dispatch.clocks:
        writer.add([f"if time > state.memory.get({clock!r}, -1): state.memory[{clock!r}] = time"])
    if dispatch.idle is not None:
        writer.add(
            [
                "wake_at = state.wake_at",
                f"if wake_at is None or wake_at - time > {dispatch.idle}: state.wake_at = time + {dispatch.idle}",
            ]
        )


def _tests(writer: Writer, dispatch: Dispatch) -> None:
    changes = "changes" if dispatch.fold is not None else "None"
    writer.add([f"m.changes = {changes}"])
    looks, bodies, bare = once([bodies_of(writer, sieve) for sieve in dispatch.sieves], writer.names)
    if bare or any(sieve.needs for sieve in dispatch.sieves):
        writer.add(["m.state, m.event, m.data, m.time, m.now = state, event, data, time, now"])
    writer.add(["place = 0", "try:"])
    writer.add(looks, 2)
    for place, sieve in enumerate(dispatch.sieves):
        writer.add([f"place = {place}"] if place else [], 2)
        if sieve.needs:
            writer.add([f"m.trigger, m.vars = {sieve.trigger!r}, {writer.use(sieve.variables)}"], 2)
        tests = [*bodies[place], *_rests(sieve, "state", "now")]
        writer.add([f"if {' and '.join(tests) or 'True'}: return {place}"], 2)
    # the long way judges it again and tells the error
    writer.add([f"except Exception: return {unsure(0)} - place"])


def following(sieves: Iterable[Sieve]) -> Following:
    """The bare tests of sieves, for a subject of which anything may be true.

    Parameters
    ----------
    sieves: those of one event type, in order of rank.
    """
    writer = Writer()
    writer.add(["place = 0", "try:"])
    writer.add(["pass"], 2)
    for place, sieve in enumerate(sieves):
        writer.add([f"if start <= {place}:", f" place = {place}"], 2)
        # asked by those who enter too, so it is set for each of them
        writer.add([f" m.trigger, m.vars = {sieve.trigger!r}, {writer.use(sieve.variables)}"], 2)
        # with a journey under way these two modes do not ask how long the last one is over
        rests = [] if sieve.playbook.entry.mode in ("queue", "restart") else _rests(sieve, "m.state", "m.now")
        writer.add([f" if {' and '.join([*bodies_of(writer, sieve), *rests]) or 'True'}: return {place}"], 2)
    # judged again, where the error is told
    writer.add([f"except Exception: return {unsure(0)} - place", f"return {DONE}"])
    found: Following = writer.build("def way(m, start):", "following")
    return found


def nobody(m: Moment, start: int) -> int:
    """What follows where there is no sieve."""
    return DONE


def _rests(sieve: Sieve, state: str, now: str) -> list[str]:
    """Unless it is certain that ``entry`` refuses: entered once before, or too soon after the last journey.

    Where no journey runs, ``again_after`` is all that modes but ``once`` go by. Segments are asked before that, and may
    err, so of such an entry nothing is certain.
    """
    out: list[str] = []
    if sieve.playbook.entry.segments:
        return out
    if sieve.rest_time is not None:
        never = -sieve.rest_time - (1 << 62)
        out.append(f"{now} >= {state}.ends.get({sieve.place!r}, {never}) + {sieve.rest_time}")
    if sieve.place and sieve.playbook.entry.mode == "once":
        out.append(f"{sieve.place!r} not in {state}.entered")
    return out
