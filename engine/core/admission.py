"""Which events a program lets in: declared types, and what the schema of a type says about their data.

Rule 1: only what comes from outside is asked. What the engine makes, and what a verb asks for, is let in.
Rule 2: a type without a schema costs one look into a table, a program without any nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.core.model import Event

Refusal = tuple[str, str]
"""(reason, sentence) of a record that goes to quarantine."""


@dataclass(frozen=True)
class EventTypes:
    """What a program says about the events that come in.

    Parameters
    ----------
    names: the types there are; None: any.
    checks: type -> what is wrong with the data of an event of it, as a sentence, or None.
    """

    names: frozenset[str] | None = None
    checks: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = field(default_factory=dict)

    def plain(self, type_: str) -> bool:
        """Is the type let in whatever its events hold?"""
        return type_ not in self.checks and (self.names is None or type_ in self.names)

    def unknown(self, event: Event) -> bool:
        """Is it of a type the program does not have?"""
        return self.names is not None and not event.internal and event.type not in self.names

    def all_known(self, events: Iterable[Event]) -> bool:
        """Are they certainly all of types the program has? Asked of many at once this is quick."""
        return self.names is None or self.names.issuperset([event.type for event in events])

    def refusal(self, event: Event) -> Refusal | None:
        """Why an event is not let in; None when it is."""
        if self.unknown(event):
            return "unknown_type", f"event type {event.type!r} is not declared, and '*' is closed"
        return self.wrong_data(event)

    def wrong_data(self, event: Event) -> Refusal | None:
        """As ``refusal``, for the data alone."""
        check = self.checks.get(event.type)
        wrong = None if check is None or event.internal else check(event.data)
        return None if wrong is None else ("schema", f"the schema of {event.type!r} is not kept: {wrong}")
