"""The outbox of the store in memory: which effects have to go out, and how far each is."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.core.model import Effect, Event
from engine.ports import Delivery, Outgoing, Settlement
from engine.stores import tally

_DELIVERY = {"sent": "sent", "retry": "pending", "dead": "dead", "unknown": "unknown", "cancelled": "cancelled"}


_ENDED = ("pending", "dead")  #: what a delivery that was cancelled cannot become any more


@dataclass(slots=True)
class Row:
    """An effect and how far its delivery is."""

    place: int  #: in the order of decision
    effect: Effect
    delivery: str | None
    channel: str = ""  #: the one that has its try
    attempts: int = 0
    next_at: int | None = None
    outcome: str | None = None
    first: int | None = None  #: instant of the first try by that channel
    receipt: str | None = None

    def outgoing(self) -> Outgoing:
        effect = tally.carried(self.effect, self.channel)
        return Outgoing(self.effect.key, self.channel, effect, self.attempts, self.first)

    def standing(self) -> Delivery:
        return Delivery(self.outgoing(), self.delivery or "", self.outcome, self.next_at, self.receipt)


class MemoryOutbox:
    """The part of the store that has to do with deliveries; the other part fills it."""

    fault: Callable[[str], object]
    _rows: dict[str, Row]  #: by effect key
    _pending: list[tuple[int, str]]  #: (place, key), sorted

    def claim(self, channels: Sequence[str], now: int, limit: int) -> list[Outgoing]:
        self.fault("claim.before")
        claimed: list[Outgoing] = []
        left: list[tuple[int, str]] = []
        for place, entry in enumerate(self._pending):
            if len(claimed) == limit:
                left += self._pending[place:]
                break
            row = self._rows[entry[1]]
            if row.channel not in channels or (row.next_at is not None and row.next_at > now):
                left.append(entry)
                continue
            row.first = row.first or now
            claimed.append(row.outgoing())
            row.delivery = "sending"
            row.attempts += 1
        self._pending = left
        self.fault("claim.after")
        return claimed

    def settle(self, settlements: Sequence[Settlement], events: Sequence[Event] = ()) -> None:
        self.fault("settle.before")
        for it in settlements:
            row = self._rows.get(it.key)
            status = "pending" if it.channel is not None else _DELIVERY[it.status]
            if row is None or row.delivery is None or (row.delivery == "cancelled" and status in _ENDED):
                continue
            row.next_at, row.outcome = it.next_at, it.reason
            if it.channel is not None:
                row.channel, row.attempts, row.first, row.receipt = it.channel, 0, None, None
            elif it.uncounted and status == "pending":
                row.attempts = max(0, row.attempts - 1)
                row.first = None if it.untried else row.first
            row.receipt = it.receipt if it.receipt is not None else row.receipt
            self._turn(it.key, row, status)
        self._admit([(event, b"") for event in events])
        self.fault("settle.after")

    def _turn(self, key: str, row: Row, status: str) -> None:
        """Give a row a status, and its place among the pending ones."""
        was, row.delivery = row.delivery, status
        if was != status and status == "pending":
            insort(self._pending, (row.place, key))
        elif was != status and was == "pending":
            self._pending.remove((row.place, key))

    def stuck(self) -> list[Outgoing]:
        return [item for item, _ in self.deliveries("sending")]

    def deliveries(self, status: str) -> list[tuple[Outgoing, str | None]]:
        return [(row.outgoing(), row.outcome) for row in self._rows.values() if row.delivery == status]

    def waits(self, channel: str, now: int) -> bool:
        rows = (self._rows[key] for _, key in self._pending)
        return any(row.channel == channel and (row.next_at is None or row.next_at <= now) for row in rows)

    def tries(self) -> list[int]:
        rows = (self._rows[key] for _, key in self._pending)
        return [row.next_at for row in rows if row.next_at is not None]

    def outbox(self, status: str) -> Iterator[Delivery]:
        yield from [row.standing() for row in self._rows.values() if row.delivery == status]

    def delivery(self, key: str) -> Delivery | None:
        row = self._rows.get(key)
        return row.standing() if row is not None and row.delivery else None

    def redrive(self, keys: Sequence[str]) -> int:
        self.fault("redrive.before")
        found = self._standing(keys, "dead", "unknown")
        for key, row in found:
            row.attempts, row.first, row.next_at = 0, None, None
            self._turn(key, row, "pending")
        self.fault("redrive.after")
        return len(found)

    def drop(self, keys: Sequence[str], events: Sequence[Event] = ()) -> int:
        self.fault("drop.before")
        found = self._standing(keys, "pending", "dead", "unknown")
        for key, row in found:
            row.next_at, row.outcome = None, "dropped"
            self._turn(key, row, "cancelled")
        self._admit([(event, b"") for event in events])
        self.fault("drop.after")
        return len(found)

    def _standing(self, keys: Iterable[str], *statuses: str) -> list[tuple[str, Row]]:
        rows = ((key, self._rows.get(key)) for key in dict.fromkeys(keys))
        return [(key, row) for key, row in rows if row is not None and row.delivery in statuses]

    def by_receipt(self, channel: str, receipt: str) -> str | None:
        rows = [row for row in self._rows.values() if (row.channel, row.receipt) == (channel, receipt)]
        return rows[-1].effect.key if rows else None

    def _admit(self, events: Sequence[tuple[Event, bytes]]) -> tuple[int, int]:
        raise NotImplementedError
