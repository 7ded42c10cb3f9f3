"""What the HTTP side knows of the engine behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine.api.answers import busy
from engine.core.admission import EventTypes
from engine.core.plan import Plan
from engine.ports import Clock
from engine.runtime.jobs import Jobs

_WORDS = {
    "draining": "it is leaving",
    "paused": "it is paused",
    "store": "its store refuses",
    "plan": "no program is loaded yet",
}


class Trouble(NamedTuple):
    """Why the engine takes nothing now."""

    code: str  #: draining paused store plan, or another short word
    message: str  #: sentence for people


class Program(Protocol):
    """What is running."""

    @property
    def plan(self) -> Plan: ...

    @property
    def known_types(self) -> EventTypes | None:
        """Event types let in; None: any."""
        ...


@dataclass(frozen=True)
class Engine:
    """The engine, seen from the server's thread; each function may be called by any thread and returns at once.

    Parameters
    ----------
    jobs: the way to the thread that owns the store.
    clock: the machine's clock.
    program: what is running now; None: nothing yet.
    troubles: why nothing is taken now, each as (short word, sentence); empty: all is well.
    notes: what people should know though it works, alike.
    """

    jobs: Jobs
    clock: Clock
    program: Callable[[], Program | None]
    troubles: Callable[[], Sequence[tuple[str, str]]] = tuple
    notes: Callable[[], Sequence[tuple[str, str]]] = tuple

    def reasons(self) -> list[Trouble]:
        """Everything that stands against taking events."""
        found = [Trouble(*it) for it in self.troubles()]
        if self.program() is None:
            found.append(Trouble("plan", "no program is loaded yet"))
        return found

    def running(self) -> Program:
        """What is running; raises Refused (503) when nothing may be taken."""
        found = [code for code, _ in self.troubles()]
        program = self.program()
        if program is None:
            found.append("plan")
        if found or program is None:  # the sentences are for /readyz: they may name places of this machine
            raise busy(found[0], f"the engine takes nothing now: {_WORDS.get(found[0], found[0])}", 5)
        return program
