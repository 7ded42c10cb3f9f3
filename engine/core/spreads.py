"""Events for many: what a group emits to its members, and the program to an audience. One event a user, exactly once.

Rule 1: a spread is a slot of its own at the instant of its decision: it goes after the events and wake-ups of that
instant and before schedules, over the users in order of id, a chunk a transaction.
Rule 2: its row stands in the store from the transaction that decided it to the one that holds its last event, and says
behind which user it goes on.
Rule 3: who is a member (or in the audience) when its turn comes gets the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.core.model import Event
from engine.core.predicate import Filter, Has, Place
from engine.core.slots import NEVER
from engine.core.subjects import GROUP, kind_of, name_of

PREFIX: Final = "\x01emit:"
"""What the rows of spreads are called by among the slots of a store; no playbook is called so."""


class Spread(msgspec.Struct):
    """One ``emit`` to many."""

    key: str  #: effect key of the emit
    at: int  #: instant of its decision
    maker: str  #: the subject that decided it
    type: str  #: type of the events
    data: dict[str, Any]  #: their payload
    depth: int  #: of the events
    playbook: str
    step: str
    version: str  #: of the playbook
    after: str = ""  #: the last user it was decided for

    @property
    def name(self) -> str:
        """Name of its row."""
        return PREFIX + self.key

    @property
    def group(self) -> str | None:
        """The group whose members it is for; None: the program's audience."""
        return name_of(self.maker) if kind_of(self.maker) == GROUP else None

    def event(self, user: str) -> Event:
        """The event of one user."""
        return Event(
            id=f"{self.key}:{user}", type=self.type, time=self.at, user=user, group=self.group, data=self.data,
            depth=self.depth, internal=True, maker=self.maker,
        )  # fmt: skip


def members_of(group: str) -> Filter:
    """Who is in a group, as a store can ask it."""
    place = Place(("groups",), own=True)
    return Filter(f"in_group({group!r})", Has(place, group), lambda state, now: group in state.groups, ())


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Spread, float_hook=Decimal).decode


class Spreads:
    """Those that are under way.

    Parameters
    ----------
    kept: name -> row of all slots, as stored.
    """

    def __init__(self, kept: Mapping[str, bytes]) -> None:
        found = [_decode(row) for name, row in kept.items() if name.startswith(PREFIX)]
        self._open = sorted(found, key=_order)
        self._changed: dict[str, bytes | None] = {}

    @property
    def next_at(self) -> int:
        """The instant of the first; never without one."""
        return self._open[0].at if self._open else NEVER

    def first(self) -> Spread:
        """The one whose turn it is."""
        return self._open[0]

    def add(self, spread: Spread) -> None:
        """One more was decided."""
        self._open.append(spread)
        self._open.sort(key=_order)
        self._changed[spread.name] = _encode(spread)

    def went(self, spread: Spread, after: str | None) -> None:
        """It was decided for everybody up to a user; None: for all."""
        if after is None:
            self._open.remove(spread)
            self._changed[spread.name] = None
        else:
            spread.after = after
            self._changed[spread.name] = _encode(spread)

    def changes(self) -> dict[str, bytes | None]:
        """Rows that changed since the last call; None: one that goes."""
        changed, self._changed = self._changed, {}
        return changed


def _order(spread: Spread) -> tuple[int, str]:
    return spread.at, spread.key
