"""The short way of wake-ups, written out for one plan: most find nothing but clocks.

Rule 1: it decides nothing: it either proves that nobody is let in, or leaves the matter to the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.core.writing import Writer, bodies_of

if TYPE_CHECKING:
    from engine.core.model import State
    from engine.core.moment import Moment
    from engine.core.plan import Sieve

QuickWake = Callable[["Moment", "State", int], bool]
"""(the moment to use, subject, now) -> done; False when the wake-up needs the long way (and nothing happened yet)."""

_NOTHING: dict[str, Any] = {}


def slow_wake(m: Moment, state: State, now: int) -> bool:
    """The way of wake-ups in a plan that has no short one."""
    return False


def _face(m: Moment, state: State, now: int) -> None:
    """Turn a moment to a subject at a wake-up."""
    m.state, m.event, m.time, m.now, m.data = state, None, now, now, {}
    m.entry = m.changes = m.trigger = None
    m.steps, m.vars = _NOTHING, _NOTHING


def quick_wake(timers: Sequence[Sieve]) -> QuickWake:
    """The short way of wake-ups that find nothing but clocks, none of which lets anybody in.

    Parameters
    ----------
    timers: the playbooks with a trigger that fires at wake-ups, one entry a trigger.
    """
    writer = Writer()
    writer.add(["if state.journeys or state.holds or state.tasks or state.purses: return False"])
    clocks = [sieve.triggers[0].lean() for sieve in timers]
    shortest = _shortest(clocks)
    if len(shortest) == 1 and None not in clocks:
        _still_active(writer, *shortest.items())
    writer.add(["memory = state.memory", "earliest = None", "spent = ()", "faced = False"])
    lasts = _lasts(writer, shortest)
    for mark in [_timer(writer, number, sieve, lasts) for number, sieve in enumerate(timers)]:
        writer.add([mark] if mark else [])
    writer.add(
        [
            "for trigger in spent:",
            " trigger.due(m)",
            " at = trigger.deadline(m)",
            " if at is not None and (earliest is None or at < earliest): earliest = at",
            "state.wake_at = earliest",
            "if now > state.clock: state.clock = now",
            "return True",
        ]
    )
    found: QuickWake = writer.build("def way(m, state, now):", "quick wake")
    return found


_Clock = tuple[str | None, str, int]
"""What ``Trigger.lean`` gives."""


def _last(clock: _Clock) -> str:
    """Source of the instant a clock counts from."""
    return "state.last_active" if clock[0] is None else f"state.memory.get({clock[0]!r})"


def _shortest(clocks: Iterable[_Clock | None]) -> dict[str, int]:
    """Source of an instant -> the least of the times counted from it."""
    found: dict[str, int] = {}
    for clock in clocks:
        if clock is not None:
            found[_last(clock)] = min(clock[2], found.get(_last(clock), clock[2]))
    return found


def _still_active(writer: Writer, clock: tuple[str, int]) -> None:
    """Most wake-ups find that something happened since, and nothing else is to be done."""
    writer.add(
        [
            f"last = {clock[0]}",
            f"if last is not None and last + {clock[1]} > now:",
            f" state.wake_at = last + {clock[1]}",
            " if now > state.clock: state.clock = now",
            " return True",
        ]
    )


def _lasts(writer: Writer, shortest: Mapping[str, int]) -> dict[str, str]:
    """Look at what the clocks count from: its source -> its local name; None there when none of them is due.

    Then the shortest of the clocks tells when to look again, and what is remembered of each need not be looked at: if
    it holds one back, the subject is looked at too early, which is harmless.
    """
    names = {last: f"last{number}" for number, last in enumerate(shortest)}
    for last, name in names.items():
        writer.add(
            [
                f"{name} = {last}",
                f"if {name} is not None and {name} + {shortest[last]} > now:",
                f" at, {name} = {name} + {shortest[last]}, None",
                " if earliest is None or at < earliest: earliest = at",
            ]
        )
    return names


def _timer(writer: Writer, number: int, sieve: Sieve, lasts: Mapping[str, str]) -> str:
    """Look at one timer; the line that notes that it was spent, where that is all ``due`` would do."""
    trigger, face = sieve.triggers[0], writer.use(_face)
    clock = trigger.lean()
    if clock is None:
        writer.add(
            [
                f"if not faced: {face}(m, state, now); faced = True",
                f"at = {writer.use(trigger.deadline)}(m)",
                "if at is not None:",
            ]
        )
    else:
        _, place, elapsed = clock
        last = lasts[_last(clock)]
        writer.add([f"spent{number} = None"])
        writer.add([f"if {last} is not None and memory.get({place!r}) != {last}:", f" at = {last} + {elapsed}"])
    tests = bodies_of(writer, sieve)
    writer.add(
        [
            " if at > now:",
            "  if earliest is None or at < earliest: earliest = at",
            " else:",
            f"  if not faced: {face}(m, state, now); faced = True",
            f"  m.trigger, m.vars = {sieve.trigger!r}, {writer.use(sieve.variables)}",
            "  try:",
            f"   if {' and '.join(tests) or 'True'}: return False",
            # the long way judges it again and tells the error
            "  except Exception: return False",
            f"  spent{number} = {last}" if clock is not None else f"  spent = (*spent, {writer.use(trigger)})",
        ]
    )
    return "" if clock is None else f"if spent{number} is not None: memory[{clock[1]!r}] = spent{number}"
