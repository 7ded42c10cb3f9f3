"""What a condition, a value or a kind may look at: one record, so knowing more never changes a signature.

Rule 1: ``time`` is the instant windows and ages are measured at (event time, or the due instant of a wake-up).
Rule 2: ``now`` is the engine's clock, the instant of the decision. In ``simulate`` the two are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.core.chance import bucket
from engine.core.figures import Figures
from engine.core.groups import GroupCard
from engine.core.model import Event, State
from engine.core.subjects import SIGN, name_of


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A compiled condition.

    ``test`` gives True or False and raises on anything it cannot judge (an error is neither).
    """

    text: str  #: normal form of the source
    test: Callable[[Moment], bool]
    leaves: tuple[tuple[str, Callable[[Moment], Any]], ...] = ()  #: (text, value) of each non-constant leaf
    op: str = "leaf"  #: "and" | "or" | "not" | "leaf", for the tree ``why`` prints
    parts: tuple[Condition, ...] = ()  #: children of and/or/not
    listed: bool = False  #: an "and" written as a list, so a trace names its entries one by one
    body: str | None = None  #: Python source of ``test``, an expression of ``m``, for ``core/fuse.py``
    names: Mapping[str, Any] = field(default_factory=dict)  #: the constants that source names
    next_change: Callable[[Moment], int | None] | None = None
    """Earliest instant > m.time at which passing time alone might change the verdict (may be early, never late)."""

    def seen(self, m: Moment) -> dict[str, Any]:
        """Value of each leaf; a leaf that cannot be judged shows its error."""
        out: dict[str, Any] = {}
        for text, read in self.leaves:
            try:
                out[text] = read(m)
            except Exception as error:  # shown to a person, never judged
                out[text] = f"error: {error}"
        return out


@dataclass(frozen=True, kw_only=True)
class Value:
    """A literal, or a compiled expression, or text with expressions inside."""

    text: str  #: as written
    get: Callable[[Moment], Any]
    constant: bool = False
    next_change: Callable[[Moment], int | None] | None = None  #: as in Condition
    kind: str = "any"  #: what an expression gives as far as fields are declared: text, number, bool, date ...

    def fixed(self) -> Any:
        """The value of a constant one: it looks at nothing."""
        return self.get(Moment(State(id=""), None, 0, 0, Env()))


@dataclass(frozen=True, kw_only=True)
class Env:
    """What the plan knows that expressions may ask for."""

    zone: str = "UTC"  #: the program's zone (IANA name)
    locale: str = "en"
    account: str = "main"  #: account behind ``user.points``
    ladder: str | None = None  #: ladder behind ``user.tier``
    ranks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  #: ladder -> level -> rank, lowest 0
    segments: dict[str, Callable[[Moment], bool]] = field(default_factory=dict)  #: name -> membership
    segment_changes: dict[str, Callable[[Moment], int | None]] = field(default_factory=dict)
    """name -> ``next_change`` of its condition, filled by compile; one that passing time cannot change has none."""
    changes: list[Callable[[Moment], int | None]] = field(default_factory=list)
    """Next instants at which a ladder or a watched segment may move by time alone, filled by compile."""
    published: dict[str, int] = field(default_factory=dict)  #: playbook -> instant from which it starts journeys
    holidays: Callable[[Any], bool] | None = None  #: date -> is it a holiday; None: no calendar in the program
    workdays: Callable[[Any], bool] | None = None  #: date -> is it a working day
    history: dict[str, int] = field(default_factory=dict)  #: "until": time of the newest event taken in as history
    fixed: dict[str, Any] = field(default_factory=dict)
    """What the world answers, where it is fixed beforehand: ``webhooks``: {"playbook/step": {"status", "body"}}, {} for
    no answer at all."""
    zones: Mapping[str, str] = field(default_factory=dict)  #: group -> its zone, of groups that have one
    cards: Mapping[str, GroupCard] = field(default_factory=dict)  #: group -> what the catalog says of it
    business: Any = None  #: business hours of the program (core/business.py), or None: tasks count all time
    figures: Figures = field(default_factory=Figures)  #: what the catalog's metrics were, period by period
    drawn: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(place, subject) -> bucket laid down by a test; a place is a playbook (its holdout), ``playbook/step``, or what
    ``policies.DRAW`` names."""

    def since(self, playbook: str) -> int:
        """The instant from which passing time may start journeys: publication, and the end of the history taken in."""
        return max(self.published.get(playbook, 0), self.history.get("until", 0))

    def draw(self, place: str, salt: str, subject: str) -> int:
        """The bucket of a subject: a hash, unless a test lays it down."""
        subject = name_of(subject)
        found = self.drawn.get((place, subject)) if self.drawn else None
        return bucket(salt, subject) if found is None else found


def zone_of_groups(state: State, env: Env) -> str:
    """Zone of a subject without one of its own: that of the first of its groups that has one, else the program's."""
    for group in (name_of(state.id), *state.groups) if state.id[:1] == SIGN else state.groups:
        if group in env.zones:
            return env.zones[group]
    return env.zone


class Moment:
    """One subject at one instant."""

    __slots__ = ("changes", "data", "entry", "env", "event", "now", "state", "steps", "time", "trigger", "vars")

    def __init__(
        self,
        state: State,
        event: Event | None,
        time: int,
        now: int,
        env: Env,
        entry: Event | None = None,
        steps: Mapping[str, Any] | None = None,
        trigger: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self.state = state
        self.event = event
        self.data: dict[str, Any] = event.data if event is not None else {}
        self.time = time
        self.now = now
        self.env = env
        self.entry = entry  #: the event that began the journey
        self.steps: Mapping[str, Any] = steps if steps is not None else {}
        self.trigger = trigger
        self.changes: Mapping[str, tuple[Any, Any]] | None = None  #: trait -> (before, after) of this event
        self.vars: Mapping[str, Any] = variables if variables is not None else {}
