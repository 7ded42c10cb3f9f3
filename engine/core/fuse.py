"""Short ways written out for one plan: what is known beforehand is not found out per event.

For each event type one Python function does to a subject without journeys what ``Turn.go`` would do: update the
history that somebody needs, push the clocks, run through the bare tests of those who may enter. Another does it for
wake-ups that find nothing but clocks.

Rule 1: a short way decides nothing: it either proves that nobody is let in, or leaves the matter to the long way.
Rule 2: what a program says enters the source only as literals (``repr``) and as constants (``F0``, ``F1`` ...).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.core.fold import Folding

if TYPE_CHECKING:
    from engine.core.model import Event, State
    from engine.core.moment import Moment
    from engine.core.plan import Dispatch, Sieve
    from engine.core.series import Where

DONE, SLOW = -1, -2
"""What a short way says when no sieve let the event through, and when the event needs the long way."""


def unsure(place: int) -> int:
    """A place of a sieve that could not be judged, as a short way says it (below ``SLOW``), and back."""
    return -3 - place


Quick = Callable[["Moment", "State", "Event", int], int]
"""(the moment to use, subject, event, now) -> ``DONE``, ``SLOW``, the place of the first sieve that lets the event in,
or ``unsure`` of a place."""

QuickWake = Callable[["Moment", "State", int], bool]
"""(the moment to use, subject, now) -> done; False when the wake-up needs the long way (and nothing happened yet)."""

Following = Callable[["Moment", int], int]
"""(the moment, place) -> the first sieve from that place on that lets the event in, ``DONE``, or ``unsure`` of one."""

_NOBODY: frozenset[str] = frozenset()
_NOTHING: dict[str, Any] = {}


class _Writer:
    """Source of one function and the constants it names."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.lines: list[str] = []
        self._known: dict[int, str] = {}

    def __call__(self, value: Any, /) -> str:
        return self.use(value)

    def on_data(self, where: Where, /) -> str | None:
        """As ``series.Use`` says."""
        if where.body is None:
            return None
        local = _Local()
        tree = local.visit(ast.parse(where.body, mode="eval"))
        if local.bare or not local.seen <= {"data"}:
            return None  # it would see the subject, or another clock than the event's own
        self.names.update(where.names)
        return f"({ast.unparse(tree)})"

    def use(self, value: Any) -> str:
        """The name of a constant."""
        name = self._known.get(id(value))
        if name is None:
            name = self._known[id(value)] = f"F{len(self.names)}"
            self.names[name] = value
        return name

    def add(self, lines: Iterable[str], depth: int = 1) -> None:
        """Write lines, indented."""
        self.lines.extend(" " * depth + line for line in lines)

    def build(self, head: str, name: str) -> Any:
        """The function."""
        space = dict(self.names)
        source = "\n".join([head, *self.lines])
        exec(compile(source, f"<{name}>", "exec"), space)  # noqa: S102 - ours, see rule 2
        return space["way"]


def slow(m: Moment, state: State, event: Event, now: int) -> int:
    """The way of an event type that has no short one."""
    return SLOW


def slow_wake(m: Moment, state: State, now: int) -> bool:
    """The way of wake-ups in a plan that has no short one."""
    return False


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
    writer = _Writer()
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


def _fold(writer: _Writer, dispatch: Dispatch, retimed: frozenset[str]) -> None:
    folding, nobody = writer.use(Folding), writer.use(_NOBODY)
    writer.add(
        [
            f"folding = {folding}({nobody}, {nobody}, {nobody})",
            f"{writer.use(dispatch.fold)}(state, event, folding)",
            "changes = folding.changes",
            # looked at again at once, so that every timer is found anew
            f"if changes is not None and not {writer.use(retimed)}.isdisjoint(changes): state.wake_at = now",
        ]
    )


def _clocks(writer: _Writer, dispatch: Dispatch) -> None:
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


def _tests(writer: _Writer, dispatch: Dispatch) -> None:
    changes = "changes" if dispatch.fold is not None else "None"
    writer.add([f"m.changes = {changes}"])
    looks, bodies, bare = _once([_bodies(writer, sieve) for sieve in dispatch.sieves], writer.names)
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


_LOCAL = frozenset({"state", "event", "data", "time", "now"})
"""What a test asks a moment for and a short way has at hand under the same name."""


def _once(bodies: list[list[str]], names: Mapping[str, Any]) -> tuple[list[str], list[list[str]], bool]:
    """Tests as a short way asks them: (assignments to begin with, the tests, whether one needs the moment itself).

    What several tests look at is looked at once, but only what cannot fail and costs little is taken out of its test: a
    field of the event, a kept count, and a number of the history that some playbook asks for before anything else.
    """
    local = _Local()
    trees = [[local.visit(ast.parse(body, mode="eval")) for body in group] for group in bodies]
    firsts = {_sight(node, names) for group in trees if group for node in ast.walk(group[0])}
    times = Counter(
        sight
        for group in trees
        for tree in group
        for node in ast.walk(tree)
        if (sight := _sight(node, names)) is not None and (not sight[0] or sight in firsts)
    )
    chosen = {sight: f"x{number}" for number, sight in enumerate(sorted(it for it, n in times.items() if n > 1))}
    rename = _Rename(chosen, names)
    written = [[f"({ast.unparse(rename.visit(tree))})" for tree in group] for group in trees]
    return [f"{name} = {source}" for (_, source), name in chosen.items()], written, local.bare


class _Local(ast.NodeTransformer):
    """Puts local names in the place of what a moment has: ``seen``; ``bare``: something else is asked of it."""

    def __init__(self) -> None:
        self.bare = False
        self.seen: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "m" and node.attr in _LOCAL:
            self.seen.add(node.attr)
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.bare = self.bare or node.id == "m"
        return node


_Sight = tuple[str, str]
"""(name of the question to the history or "", source) of a look that may be shared."""


class _Rename(ast.NodeTransformer):
    """Puts the names of shared looks in their places."""

    def __init__(self, chosen: Mapping[_Sight, str], names: Mapping[str, Any]) -> None:
        self._chosen = chosen
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        sight = _sight(node, self._names)
        name = None if sight is None else self._chosen.get(sight)
        return self.generic_visit(node) if name is None else ast.Name(name, ast.Load())


def _sight(node: ast.AST, names: Mapping[str, Any]) -> _Sight | None:
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    source = ast.unparse(node)
    constant = all(isinstance(it, ast.Constant) for it in node.args)
    if constant and source.startswith(("data.get(", "state.series.get(")):
        return "", source
    if isinstance(node.func, ast.Name) and source == f"{node.func.id}(state, time)":
        question = names[node.func.id]
        same = min(name for name, value in names.items() if value is question)
        return same, f"{same}(state, time)"
    return None


def following(sieves: Iterable[Sieve]) -> Following:
    """The bare tests of sieves, for a subject of which anything may be true.

    Parameters
    ----------
    sieves: those of one event type, in order of rank.
    """
    writer = _Writer()
    writer.add(["place = 0", "try:"])
    writer.add(["pass"], 2)
    for place, sieve in enumerate(sieves):
        writer.add([f"if start <= {place}:", f" place = {place}"], 2)
        # asked by those who enter too, so it is set for each of them
        writer.add([f" m.trigger, m.vars = {sieve.trigger!r}, {writer.use(sieve.variables)}"], 2)
        # with a journey under way these two modes do not ask how long the last one is over
        rests = [] if sieve.playbook.entry.mode in ("queue", "restart") else _rests(sieve, "m.state", "m.now")
        writer.add([f" if {' and '.join([*_bodies(writer, sieve), *rests]) or 'True'}: return {place}"], 2)
    # judged again, where the error is told
    writer.add([f"except Exception: return {unsure(0)} - place", f"return {DONE}"])
    found: Following = writer.build("def way(m, start):", "following")
    return found


def nobody(m: Moment, start: int) -> int:
    """What follows where there is no sieve."""
    return DONE


def _bodies(writer: _Writer, sieve: Sieve) -> list[str]:
    out = []
    for test, body, names in sieve.tests:
        if body is None:
            out.append(f"{writer.use(test)}(m)")
        else:
            writer.names.update(names)
            out.append(f"({body})")
    return out


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
    writer = _Writer()
    writer.add(["if state.journeys or state.holds or state.tasks: return False"])
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


def _still_active(writer: _Writer, clock: tuple[str, int]) -> None:
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


def _lasts(writer: _Writer, shortest: Mapping[str, int]) -> dict[str, str]:
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


def _timer(writer: _Writer, number: int, sieve: Sieve, lasts: Mapping[str, str]) -> str:
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
    tests = _bodies(writer, sieve)
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
