"""What a trigger and an action are. The folders ``triggers/`` and ``actions/`` hold the kinds, one file a word.

A kind is one class with
  * ``shape``    what it looks like in YAML (the JSON Schema and the reference page follow from it),
  * a docstring  its manual page with a loadable example,
  * ``build``    from the checked YAML to the object the core runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from engine.core.calendars import Calendar
from engine.core.history import Reader
from engine.core.lunar import Lunar
from engine.core.model import Answer, Event, State
from engine.core.moment import Condition, Moment, Value
from engine.core.shapes import Shape
from engine.core.subjects import KINDS

if TYPE_CHECKING:  # the plan carries kinds, so the names are needed for typing only
    from engine.core.journeys import Run
    from engine.core.plan import Block, ChannelInfo, Node


class Build:
    """What a kind may ask for while it is built; the compiler hands in the real thing."""

    playbook: str  #: id of the playbook being built
    step: str  #: id of the step (or trigger) being built
    activity: frozenset[str]  #: the program's default activity types; empty: any external event
    account: str  #: the program's first points account
    subject: str = "user"  #: what the playbook is about: user | group | program
    best_hour: str = "10:00"  #: the program's hour for users of whom nothing is known

    def times(self, event: str, where: Condition | None, where_text: str, within: int | None) -> Reader:
        """Ask for the history of an event type; a reader of how many stand in the window."""
        raise NotImplementedError  # the compiler's Build answers; a bare one has no history to give

    def times_of_users(self, event: str, where: Condition | None, within: int | None) -> Reader:
        """As ``times``, of each user, whatever the playbook is about."""
        raise NotImplementedError  # as above

    def streak(self, event: str) -> Any:
        """Ask for the local days on which a type happened; a series with ``length(state)``."""
        raise NotImplementedError  # as above

    def hours(self) -> Any:
        """Ask for the hours at which users are active; a series with ``best(state, open)``."""
        raise NotImplementedError  # as above

    def template(self, name: str) -> Any:
        """The message templates behind a checked template name."""
        raise NotImplementedError  # as above

    def channels_of(self, name: str) -> list[str]:
        """The program's channels a template is written for, in order of the program file."""
        raise NotImplementedError  # as above

    def field_type(self, name: str) -> str:
        """The declared type of a field of the user: text number bool time date ...; "any" without one."""
        raise NotImplementedError  # as above

    def calendar(self, name: str) -> Calendar:
        """A calendar of the catalog, by its checked name."""
        raise NotImplementedError  # as above

    def lunar(self) -> Lunar:
        """The program's table of the lunar calendar."""
        raise NotImplementedError  # as above

    def defined(self, kind: str, name: str) -> Any:
        """What the catalog says of a coupon, group, role or survey; None where it cannot be read."""
        raise NotImplementedError  # as above

    def chooses(self, name: str) -> None:
        """The step chooses the set of this name; no other step may."""
        raise NotImplementedError  # as above

    def is_called(self, playbook: str) -> bool:
        """May another playbook start this one?"""
        raise NotImplementedError  # as above

    def webhooks(self) -> ChannelInfo | None:
        """The channel that takes requests to other systems; None: the program has none."""
        raise NotImplementedError  # as above

    def subject_of(self, playbook: str) -> str:
        """What another playbook is about: user | group | program."""
        raise NotImplementedError  # as above

    def watch(self, segment: str) -> None:
        """Ask for ``segment.entered`` and ``segment.left`` of a segment."""
        raise NotImplementedError  # as above

    def problem(self, field: str, code: str, message: str, hint: str = "") -> None:
        """Report a fault of the named field."""
        raise NotImplementedError  # as above


class Trigger(ABC):
    """Begins journeys. One object a trigger of a playbook; all it remembers lives in the subject's state."""

    word: ClassVar[str]
    shape: ClassVar[Shape]
    about: ClassVar[tuple[str, ...]] = KINDS  #: what the playbook may be about
    id: str = ""  #: ``trigger.id``: the written id, or the position
    condition: Condition | None = None  #: its ``if``
    own: bool = False  #: fires at wake-ups
    reason: str = ""  #: what a wake-up of it is called in traces
    path: str = "trigger"  #: place in the playbook, for traces
    traits: frozenset[str] | None = None  #: traits a timed one hangs on; None: activity pushes its deadline on
    tells: frozenset[str] = frozenset()  #: event types at which a timed one says how it stands (``silence``)
    place: str = ""  #: key of what it remembers in the subject's state
    stamp: str = ""  #: of one whose subjects must be woken when it is new or changed: what it goes by, in short

    @classmethod
    @abstractmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Trigger:
        """Make the trigger from its checked fields."""

    @abstractmethod
    def listens(self) -> frozenset[str] | None:
        """Event types it must see; None: every external event."""

    def fires(self, m: Moment) -> bool:
        """Does it fire at ``m.event``? Judged on the state including that event."""
        return True

    def bare(self) -> tuple[str, Mapping[str, Any]] | None:
        """``fires`` as Python source, an expression of ``m``, with the constants it names; see ``core/fuse.py``."""
        return None

    def lean(self) -> tuple[str | None, str, int] | None:
        """``deadline`` in its simplest form, where it has it: (activity clock in ``State.memory`` or None for
        ``last_active``, key of ``State.memory`` that holds the activity it fired for, microseconds after it)."""
        return None

    def silence(self, m: Moment) -> tuple[str, dict[str, Any]]:
        """Why it did not fire at ``m.event``: (text, leaf -> value it had), for traces."""
        return f"{self.word}: did not fire", {}

    def fires_on(self, field: str, value: Value) -> bool:
        """Is it made for a ``set`` step that writes this trait? For the check of loops.

        ``event: user.updated`` is not: what it asks of the event in its ``if`` is what ends most of these circles.
        """
        return False

    def clock(self) -> tuple[str, frozenset[str]] | None:
        """(name, types) of the activity clock it needs, for timed triggers."""
        return None

    def deadline(self, m: Moment) -> int | None:
        """Earliest instant at which it may fire by passing time alone; None: not armed."""
        return None

    def due(self, m: Moment) -> bool:
        """Fire now, at a wake-up at ``m.time``? Must remember that it did."""
        return False

    def awaits(self, state: State) -> bool:
        """Must the subject be woken when the trigger is new or changed?"""
        return False

    def gist(self) -> str:
        """What it waits for, in a few words, for pictures."""
        return ", ".join(sorted(self.listens() or ()))

    def sources(self) -> Iterable[tuple[str, str | None]]:
        """(event type, the one thing it must be about or None): what can set it off, for the picture of a program.

        What no event sets off is its own source.
        """
        return [(type_, None) for type_ in sorted(self.listens() or ())] or [(self.word, self.gist() or self.word)]

    def shortest(self) -> int | None:
        """A lower bound of the time between an activity and the deadline, microseconds; None: not known."""
        return None


class Pause:
    """What an action returns instead of a next step: the journey stops here for now, or for good."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


WAIT = Pause("wait")  #: the journey waits; ``resume`` will be called
STOP = Pause("stop")  #: the journey ends here


class Action(ABC):
    """A verb of a step."""

    word: ClassVar[str]
    shape: ClassVar[Shape]
    about: ClassVar[tuple[str, ...]] = KINDS  #: what the playbook may be about
    results: ClassVar[frozenset[str]] = frozenset()  #: fields of ``steps.<id>`` it gives
    rounds: ClassVar[bool] = False  #: the last of its nested steps goes on at this very step (``repeat``)

    @classmethod
    @abstractmethod
    def build(cls, fields: dict[str, Any], build: Build) -> Action:
        """Make the action from its checked fields."""

    @abstractmethod
    def run(self, run: Run) -> Node | Pause | None:
        """Do the step: decide effects through ``run``; return the step to go on at."""

    def resume(self, run: Run, cause: Event | Answer | None) -> Node | Pause | None:
        """Go on after WAIT: with the event waited for, the answer asked for, or None when time is up."""
        return run.node.next

    def failed(self, run: Run, reason: str) -> None:
        """The step could not be worked out: record the row of what it would have done. Most verbs have none."""
        return

    def wants(self, run: Run, m: Moment) -> bool:
        """While waiting: is ``m.event`` the one waited for?"""
        return False

    def hears(self) -> frozenset[str]:
        """Event types it may wait for."""
        return frozenset()

    def blocks(self) -> Iterable[Block]:
        """The nested lists of steps, in order of writing."""
        return ()

    def says(self) -> Iterable[tuple[str, bool]]:
        """(event type, certain) of the events it emits, for the check of loops."""
        return ()

    def writes(self) -> Iterable[tuple[str, Value]]:
        """(trait, value) of the traits it sets, for the check of loops."""
        return ()

    def gist(self) -> str:
        """What it does, in a few words, for pictures."""
        return ""

    def ways(self) -> Iterable[tuple[str, Block | Pause | None]]:
        """(words, where it goes on): a list of steps, None for the next step, STOP for the end. For pictures."""
        return [("", None), *(("", block) for block in self.blocks())]

    def tells(self) -> Iterable[tuple[str, str | None]]:
        """(event type, what it is about) of the events it makes, for the picture of a program."""
        return [(type_, None) for type_, _ in self.says()]
