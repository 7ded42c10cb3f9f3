"""Journeys, step by step: the playbook's own mapping is walked by a generator for each journey.

Design lines encoded:

* semantics.md "wait": ``wait: D``, ``{days, at}``, ``{until: expr}``; a zero or past instant goes on at once;
  ``wait_for`` sees events after the one that reached the step in (time, line) order, later ones at the same instant
  included; an event exactly at the ``up_to`` deadline is in time, else the ``else`` steps run at the deadline;
  "order": at one instant events first, then wake-ups;
* language.md "Steps": ``if`` on a step, ``choose`` takes the first match, ``otherwise``, ``stop``; inside
  ``wait_for.if`` and ``goal.if`` ``event`` is the arriving event, elsewhere the triggering one;
* "G, goal": an event of that type within D of the start, the deadline included, ends the journey at that event; "X,
  exit";
* semantics.md "branch, split, holdout": bucket = first 8 bytes of sha256("salt:subject") mod 10 000; a split's salt
  is written or ``<playbook id>/<step id>``, arms take cumulative weights (in hundredths of a percent) in the order
  of writing; a holdout's salt is written or ``<playbook id>``, a subject is held out when bucket < percent * 100;
  it walks the journey without external effects;
* entry ``parallel`` (every trigger starts one) and ``single`` (ignored while one runs).

Conditions are text in the playbook; ``CONDITIONS`` gives the same text a meaning in plain Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import oracle_time as clock
import oracle_windows as windows
from oracle_harness import Ev, Row, row


@dataclass
class View:
    """What a condition can see: all that has happened, the instant, the event it is about, the user's zone."""

    history: Sequence[Ev]
    now: int
    event: Ev
    zone: str = "UTC"


Condition = Callable[[View], bool]

CONDITIONS: dict[str, Condition] = {
    'count("a", within="2d") >= 1': lambda v: windows.count(v.history, v.now, "a", 2 * clock.DAY) >= 1,
    'count("a", within="1d") == 0': lambda v: windows.count(v.history, v.now, "a", clock.DAY) == 0,
    'count("b") >= 2': lambda v: windows.count(v.history, v.now, "b") >= 2,
    'count("go") % 2 == 0': lambda v: windows.count(v.history, v.now, "go") % 2 == 0,
    'not (count("b", within="3d") >= 1)': lambda v: not windows.count(v.history, v.now, "b", 3 * clock.DAY) >= 1,
    "event.n >= 3": lambda v: bool(v.event.data["n"] >= 3),
    "event.n == 1 or event.n == 4": lambda v: bool(v.event.data["n"] in (1, 4)),
    "event.n < 4": lambda v: bool(v.event.data["n"] < 4),
    'count("a") >= count("b")': lambda v: windows.count(v.history, v.now, "a") >= windows.count(v.history, v.now, "b"),
    'count("quit") >= 2': lambda v: windows.count(v.history, v.now, "quit") >= 2,
}


def bucket(salt: str, subject: str) -> int:
    """0..9999, as semantics.md spells it."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{subject}".encode()).digest()[:8], "big") % 10_000


def arm_of(arms: Sequence[Mapping[str, Any]], salt: str, subject: str) -> int:
    """The place of the arm a subject falls into."""
    drawn, edge = bucket(salt, subject), 0
    for place, arm in enumerate(arms):
        edge += round(arm["weight"] * 100)
        if drawn < edge:
            return place
    raise AssertionError("weights do not sum to 100")


def held_out(playbook: Mapping[str, Any], subject: str) -> bool:
    """Does the playbook's holdout keep this subject without external effects?"""
    holdout = playbook.get("holdout")
    if holdout is None:
        return False
    limit: int = round(holdout["percent"] * 100)
    return bucket(holdout.get("salt", playbook["playbook"]), subject) < limit


class Stopped(Exception):
    """A ``stop`` step."""


@dataclass
class Until:
    """Asleep until an instant."""

    due: int


@dataclass
class Watch:
    """Asleep until an event of a type that meets a condition, or the deadline."""

    types: tuple[str, ...]
    condition: str | None
    due: int


@dataclass
class Journey:
    """One running journey."""

    playbook: Mapping[str, Any]
    entry: Ev
    started: int
    steps: Generator[Until | Watch, bool, None] | None = None
    asleep: Until | Watch | None = None


@dataclass
class World:
    """One user's life under some playbooks."""

    user: str
    playbooks: Sequence[Mapping[str, Any]]
    zone: str = "UTC"
    history: list[Ev] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    running: list[Journey] = field(default_factory=list)
    now: int = 0

    def holds(self, text: str | None, event: Ev) -> bool:
        """A condition by its text; no condition holds."""
        return text is None or CONDITIONS[text](View(self.history, self.now, event, self.zone))

    # -------------------------------------------------------- the steps of one journey

    def walk(self, journey: Journey, steps: Sequence[Mapping[str, Any]]) -> Generator[Until | Watch, bool, None]:
        """Run steps one after the other; yields whenever the journey must sleep."""
        for step in steps:
            if not self.holds(step.get("if"), journey.entry):
                continue
            if "tag" in step or "message" in step:
                self.write(journey, step)
            elif "stop" in step:
                raise Stopped
            elif "wait" in step:
                due = self.due(step["wait"], journey.entry)
                if due > self.now:
                    yield Until(due)
            elif "wait_for" in step:
                body = step["wait_for"]
                types = (body["event"],) if isinstance(body["event"], str) else tuple(body["event"])
                came = yield Watch(types, body.get("if"), self.due(body["up_to"], journey.entry))
                if came:
                    yield from self.walk(journey, body.get("then", []))
                elif body.get("else") == "stop":
                    raise Stopped
                else:
                    yield from self.walk(journey, body.get("else", []))
            elif "choose" in step:
                for branch in step["choose"]:
                    if "otherwise" in branch:
                        yield from self.walk(journey, branch["otherwise"])
                    elif self.holds(branch["when"], journey.entry):
                        yield from self.walk(journey, branch["do"])
                        break
            elif "split" in step:
                body = step["split"]
                salt = body.get("salt", f"{journey.playbook['playbook']}/{step['id']}")
                arm = body["arms"][arm_of(body["arms"], salt, self.user)]
                yield from self.walk(journey, arm.get("do", []))
            else:
                raise AssertionError(f"the oracle does not know {step}")

    def due(self, what: Any, entry: Ev) -> int:
        """The instant at which a wait written now ends."""
        if isinstance(what, str):
            return self.now + clock.span(what)
        if "days" in what:
            return clock.days_later(self.now, self.zone, what["days"], what.get("at"))
        assert what["until"] == 'event.time + duration("2d")'
        return entry.time + 2 * clock.DAY

    def write(self, journey: Journey, step: Mapping[str, Any]) -> None:
        """The row of a tag or a message."""
        name = journey.playbook["playbook"]
        kept = held_out(journey.playbook, self.user)
        if "tag" in step:
            self.rows.append(row(self.now, name, step["id"], "tag", self.user, {"add": step["tag"]["add"]}))
        else:
            body = step["message"]
            detail = {
                "template": body["template"],
                "via": body["via"],
                "purpose": body["purpose"],
                "text": f"hi {self.user}",
            }
            status = "held_out" if kept else "planned"
            self.rows.append(row(self.now, name, step["id"], "message", self.user, detail, status))

    # -------------------------------------------------------- what happens to journeys

    def go_on(self, journey: Journey, answer: bool | None) -> None:
        """Wake a journey; it runs until it sleeps again or is over."""
        assert journey.steps is not None
        try:
            journey.asleep = next(journey.steps) if answer is None else journey.steps.send(answer)
        except (StopIteration, Stopped):
            self.running.remove(journey)

    def start(self, playbook: Mapping[str, Any], event: Ev) -> None:
        """A trigger fired."""
        mode = playbook["entry"]["mode"]
        if mode == "single" and any(journey.playbook is playbook for journey in self.running):
            return
        journey = Journey(playbook, event, self.now)
        journey.steps = self.walk(journey, playbook["steps"])
        self.running.append(journey)
        self.go_on(journey, None)

    def ends(self, journey: Journey, event: Ev) -> bool:
        """Does this event reach the goal or an exit of the journey?"""
        goal = journey.playbook.get("goal")
        if goal and event.type == goal["event"] and self.holds(goal.get("if"), event):
            in_time = event.time <= journey.started + clock.span(goal["within"])
            if in_time:
                return True
        for way in journey.playbook.get("exit", []):
            if "event" in way:
                if event.type == way["event"] and self.holds(way.get("if"), event):
                    return True
            elif self.holds(way["if"], event):
                return True
        return False

    def happen(self, event: Ev) -> None:
        """One event: first the journeys that run, then the triggers."""
        self.history.append(event)
        for journey in list(self.running):
            if self.ends(journey, event):
                self.running.remove(journey)
                continue
            asleep = journey.asleep
            if isinstance(asleep, Watch) and event.type in asleep.types and self.holds(asleep.condition, event):
                self.go_on(journey, True)
        for playbook in self.playbooks:
            if event.type == playbook["trigger"]["event"] and self.holds(playbook.get("when"), event):
                self.start(playbook, event)

    def wake(self) -> None:
        """All wake-ups of this instant."""
        for journey in list(self.running):
            while journey in self.running and journey.asleep is not None and journey.asleep.due <= self.now:
                self.go_on(journey, False if isinstance(journey.asleep, Watch) else None)

    def live(self, events: Iterable[Ev], horizon: int) -> list[Row]:
        """Every instant up to the end of the clock: events first, then wake-ups."""
        waiting = [event for event in events if event.time <= horizon]
        while True:
            instants = [event.time for event in waiting]
            instants += [journey.asleep.due for journey in self.running if journey.asleep is not None]
            instants = [instant for instant in instants if instant <= horizon]
            if not instants:
                return self.rows
            self.now = min(instants)
            for event in [event for event in waiting if event.time == self.now]:
                waiting.remove(event)
                self.happen(event)
            self.wake()
