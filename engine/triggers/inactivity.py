"""``inactivity``: nothing happened for a while."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from engine.core.kinds import Build, Trigger
from engine.core.model import State
from engine.core.moment import Moment
from engine.core.plan import Span, zone_of
from engine.core.shapes import Duration, EventName, Many, Map, Text, optional, required


class Inactivity(Trigger):
    """Fire once per idle spell, at the last activity + the given time, unless something happens by then (inclusive).

    Activity is what ``activity`` names, else the program's ``activity``, else any external event. The next activity
    arms it again; somebody who was never active never fires.

    Example:
        trigger: {inactivity: 60d, activity: [order.paid]}
    """

    word = "inactivity"
    own = True
    reason = "inactivity"
    shape = Map(
        {
            "inactivity": required(Duration(calendar=True), "length of the idle spell"),
            "activity": optional(Many(EventName()), "event types that count as activity"),
            "existing": optional(
                Text(("skip", "enter")), "what happens to subjects idle already at publication (skip)"
            ),
        }
    )

    def __init__(self, span: Span, types: frozenset[str], place: str, playbook: str, enter: bool) -> None:
        self.span = span
        self.elapsed = span.elapsed if span.days is None else None
        self.types = types
        self.place = place  #: key of what it remembers: the last activity it fired for
        self.playbook = playbook
        self.enter = enter
        names = blake2b("\n".join(sorted(types)).encode(), digest_size=6).hexdigest()
        self.clock_name = f"clock:{names}" if types else ""
        self.stamp = f"{span.text}|{names}|{'enter' if enter else 'skip'}"

    @classmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Inactivity:
        """Activity types default to the program's; none at all means any external event."""
        types = frozenset(fields["activity"]) if "activity" in fields else build.activity
        place = f"{build.playbook}/{build.step}"
        return cls(fields["inactivity"], types, place, build.playbook, fields.get("existing") == "enter")

    def gist(self) -> str:
        types = f" without {', '.join(sorted(self.types))}" if self.types else ""
        return f"{self.span.text}{types}"

    def listens(self) -> frozenset[str]:
        return frozenset()

    def clock(self) -> tuple[str, frozenset[str]] | None:
        return (self.clock_name, self.types) if self.types else None

    def shortest(self) -> int | None:
        return self.elapsed

    def lean(self) -> tuple[str | None, str, int] | None:
        if self.elapsed is None or self.enter:
            return None
        return self.clock_name if self.types else None, self.place, self.elapsed

    def awaits(self, state: State) -> bool:
        last = self._last(state)
        return last is not None and state.memory.get(self.place) != last

    def _last(self, state: State) -> int | None:
        return state.memory.get(self.clock_name) if self.types else state.last_active

    def deadline(self, m: Moment) -> int | None:
        state = m.state
        last: int | None = state.memory.get(self.clock_name) if self.types else state.last_active
        if last is None or state.memory.get(self.place) == last:
            return None
        found = last + self.elapsed if self.elapsed is not None else self.span.after(last, zone_of(state, m.env))
        # who was idle when the playbook came begins then, and not in a time in which there was no playbook
        return max(found, m.env.since(self.playbook)) if self.enter else found

    def due(self, m: Moment) -> bool:
        deadline = self.deadline(m)
        if deadline is None or deadline > m.time:
            return False
        m.state.memory[self.place] = self._last(m.state)
        return deadline >= m.env.since(self.playbook)
