"""Seats at the desk: rooms of groups that fill and rotate, and who waits for one.

Rule 1: a seat is given at one place, in one order, inside the transaction that decides; so no room is overfull.
Rule 2: who waits comes before who asks later, in the order in which they began to wait, and over all rooms of a group.
Rule 3: a seat that comes free is offered, not given: whoever no longer waits leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.chance import effect_key
from engine.core.model import Answer, Event, Release, Reserve

FREE = "group.seat"
"""Told to who waits: a seat came free; data ``{group, key}``."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A room of a group."""

    id: str
    link: str
    capacity: int
    soft: int  #: invites stop here
    expires: int | None = None  #: instant from which the link is not shown


@dataclass(frozen=True, kw_only=True)
class GroupInfo:
    """A group of the catalog, as inviting needs it."""

    name: str
    rooms: tuple[Room, ...]
    rotate: str = "fill_first"  #: fill_first | round_robin | least_full
    hold: Any = None  #: Span: how long an invite keeps a seat
    match: Any = None  #: Condition | None: who fits


class GroupState(msgspec.Struct):
    """Seats taken (held or joined) by room, whose turn it is, and who waits."""

    taken: dict[str, int] = {}
    turn: int = 0
    waiting: list[tuple[str, str]] = []  #: (effect key of the invite, subject), the first come first
    offers: int = 0  #: how often a seat was offered to somebody who waited


class SeatDesk:
    """Gives seats, one at a time.

    Parameters
    ----------
    groups: what the plan defines.
    state: the state of a group, by name; the caller keeps it.
    changed: called with the name of a group whose state is to be written.
    """

    def __init__(
        self, groups: Mapping[str, GroupInfo], state: Callable[[str], GroupState], changed: Callable[[str], object]
    ) -> None:
        self.groups = groups
        self._state = state
        self._changed = changed
        self._freed: set[str] = set()  #: groups with a seat that may be offered
        self._woken = ""  #: key of the invite that was offered a seat just now

    def give(self, ask: Reserve, now: int) -> Answer:
        """A seat in the first (or best) group that has one; who may wait is put on the lists of all of them."""
        free = [(name, room) for name in ask.names if (room := self._room(name, now, ask.queue)) is not None]
        if not free:
            if ask.queue is not None:
                self._wait(ask.names, ask.queue, ask.subject)
            return Answer(key=ask.key, granted=False, reason="full", name=ask.names[0])
        name, room = max(free, key=lambda it: self._open(it[0], now)) if ask.match == "best" else free[0]
        if ask.queue is not None:
            self._leave(ask.queue)
        state = self._state(name)
        state.taken[room.id] = state.taken.get(room.id, 0) + 1
        rooms = self.groups[name].rooms
        state.turn = (rooms.index(room) + 1) % len(rooms)
        self._changed(name)
        return Answer(key=ask.key, granted=True, name=name, unit=room.id, data={"link": room.link})

    def give_back(self, release: Release) -> None:
        """Put a seat back, or count one taken by joining without an invite.

        That also holds for rooms the program does not have any more: should they come back, their count is true.
        """
        state = self._state(release.name)
        step = 1 if release.kind == "join" else -1
        state.taken[release.unit] = max(0, state.taken.get(release.unit, 0) + step)
        self._changed(release.name)
        if step < 0 and state.waiting and release.name in self.groups:
            self._freed.add(release.name)

    def offer(self, now: int) -> Event | None:
        """Tell the next who waits of a seat that is free; None: nobody waits for any."""
        self._woken = ""
        for name in sorted(self._freed):
            state = self._state(name)
            if state.waiting and self._usable(name, now):
                self._woken, subject = state.waiting[0]
                self._leave(self._woken)
                state.offers += 1
                self._changed(name)
                id_ = effect_key(FREE, name, self._woken, str(state.offers))
                data = {"group": name, "key": self._woken}
                return Event(id=id_, type=FREE, time=now, user=subject, data=data, depth=1, internal=True)
            self._freed.discard(name)
        return None

    def reopened(self) -> None:
        """The catalog may have more seats than before: who waits is asked."""
        self._freed.update(name for name in self.groups if self._state(name).waiting)

    def forget(self, subject: str) -> None:
        """A subject is erased: it waits for nothing."""
        for name in self.groups:
            state = self._state(name)
            if any(who == subject for _, who in state.waiting):
                state.waiting = [(key, who) for key, who in state.waiting if who != subject]
                self._changed(name)

    # ------------------------------------------------------------------ rooms

    def _usable(self, name: str, now: int) -> list[Room]:
        taken = self._state(name).taken
        return [
            room
            for room in self.groups[name].rooms
            if taken.get(room.id, 0) < room.soft and (room.expires is None or now < room.expires)
        ]

    def _open(self, name: str, now: int) -> int:
        taken = self._state(name).taken
        return sum(room.soft - taken.get(room.id, 0) for room in self._usable(name, now))

    def _room(self, name: str, now: int, queue: str | None) -> Room | None:
        usable, state, group = self._usable(name, now), self._state(name), self.groups[name]
        if not usable:
            return None
        if state.waiting and (queue is None or queue != self._woken):
            self._freed.add(name)  # there is room, and others came first
            return None
        if group.rotate == "least_full":
            return min(usable, key=lambda room: Decimal(state.taken.get(room.id, 0)) / room.capacity)
        if group.rotate == "round_robin":
            order = {room.id: place for place, room in enumerate(group.rooms)}
            return min(usable, key=lambda room: (order[room.id] - state.turn) % len(group.rooms))
        return usable[0]

    # ------------------------------------------------------------------ waiting

    def _wait(self, names: list[str], key: str, subject: str) -> None:
        for name in names:
            state = self._state(name)
            if all(waiting != key for waiting, _ in state.waiting):
                state.waiting = [*state.waiting, (key, subject)]
                self._changed(name)

    def _leave(self, key: str) -> None:
        for name in self.groups:
            state = self._state(name)
            if any(waiting == key for waiting, _ in state.waiting):
                state.waiting = [it for it in state.waiting if it[0] != key]
                self._changed(name)
