"""A store in memory whose parts are decided in any order, as several workers would: the roles of the real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec

from engine.core.model import Event, State
from engine.core.subjects import PARTS, part_of
from engine.ports import Batch
from engine.stores import codec
from engine.stores.memory import MemoryStore


def copied(state: State) -> State:
    """By way of the bytes a store would keep."""
    return codec.decode_state(codec.encode_states([state]))


class PartInMemory:
    """One part; whatever it is not asked about here, the whole store answers."""

    def __init__(self, whole: PartedInMemory, number: int) -> None:
        self.whole, self.number, self.turn = whole, number, 0
        self.letters: list[tuple[int, Event, int]] = []
        self.slot_rows: dict[str, bytes] = {}
        self.at = 0
        self.slot_at = 1 << 62

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole.store, name)

    def log(self, after: int, limit: int) -> list[tuple[int, Event, int]]:
        return self.letters[:limit]

    def frontier(self, now: int) -> int:
        return self.whole.clock

    def load(self, subjects: Iterable[str]) -> dict[str, State]:
        """Copies: what one worker holds another does not see."""
        return {name: copied(state) for name, state in self.whole.store.load(subjects).items()}

    def sleep(self, until: int) -> None:
        self.slot_at = until

    @property
    def busy(self) -> bool:
        wake = self.next_wake()
        return bool(self.letters) or min(self.slot_at, 1 << 62 if wake is None else wake) <= self.whole.certain

    def clock(self) -> int:
        return self.at

    def position(self, feed: str) -> int:
        return 0

    def slots(self) -> dict[str, bytes]:
        return dict(self.slot_rows)

    def known(self, ids: list[str], *, waiting: bool = True) -> set[str]:
        return self.whole.store.known(ids, waiting=waiting)

    def wakes(self, before: int, limit: int) -> list[tuple[int, str]]:
        return [it for it in self.whole.store.wakes(before, 1 << 40) if part_of(it[1]) == self.number][:limit]

    def next_wake(self) -> int | None:
        return next((at for at, _ in self.wakes(1 << 62, 1)), None)

    def due(self, before: int, limit: int) -> list[State]:
        found = self.whole.store.load(subject for _, subject in self.wakes(before, limit))
        return list(found.values())

    def population(self, after: str, limit: int, *more: Any) -> list[str]:
        found = self.whole.store.population(after, 1 << 40, *more)
        return [it for it in found if part_of(it) == self.number][:limit]

    def commit(self, batch: Batch) -> int:
        self.at = batch.clock
        for name, row in batch.slots.items():
            if row is None:
                self.slot_rows.pop(name, None)
            else:
                self.slot_rows[name] = row
        self.letters = [it for it in self.letters if it[0] > batch.inbox_done]
        for event, stamp in batch.letters:
            self.whole.put(event, stamp)
        states = [copied(it) for it in batch.states]
        return self.whole.store.commit(msgspec.structs.replace(batch, states=states, slots={}, inbox_done=0))


class PartedInMemory:
    """Everything, and the parts of it."""

    def __init__(self, seed: int, parts: int = PARTS) -> None:
        self.store = MemoryStore()
        self.parts = [PartInMemory(self, number) for number in range(parts)]
        self.clock = 0
        self.ended = False
        self.random = Random(seed)
        self._place = 0

    @property
    def certain(self) -> int:
        """While more may come at this very instant, what is due at it waits."""
        return self.clock if self.ended else self.clock - 1

    def put(self, event: Event, stamp: int) -> None:
        """Into the log of whoever it is about."""
        self._place += 1
        self.parts[part_of(event.user)].letters.append((self._place, event, stamp))

    def take_in(self, events: list[Event]) -> None:
        """What a feed gave, in its order."""
        for event in events:
            if not event.history:
                self.clock = max(self.clock, event.time)
            self.put(event, self.clock)

    @contextmanager
    def claim(self, now: int) -> Iterator[PartInMemory | None]:
        busy = [it for it in self.parts if it.busy]
        part = self.random.choice(busy) if busy else None
        yield part
        if part is not None:
            part.turn += 1
