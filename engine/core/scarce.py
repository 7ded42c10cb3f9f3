"""What several subjects compete for: coupon pools, seats in groups, entry slots.

Rule 1: a unit is taken at one place, in one order, inside the transaction that decides; so nothing is oversold.
Rule 2: the state of each resource is one small record; ``Desk.dirty`` names those the transaction must write.
Rule 3: a taken unit is bound to the effect key that asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from engine.core import localtime, rewards
from engine.core.model import Alert, Answer, Release, Reserve

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_BYTES = 10  # 80 bits, 16 letters: not to be guessed (reliability.md, threat 19)
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]  # two letters for ten bits


@dataclass(frozen=True, kw_only=True)
class CouponPool:
    """A coupon of the catalog, as deciding needs it."""

    name: str
    total: int | None  #: coupons in all; None: unlimited
    per_day: int | None = None  #: coupons a day of the program's zone
    budget: Decimal | None = None  #: sum of ``cost`` in all
    cost: Decimal = Decimal(0)  #: what one coupon may cost (``value.off``)
    prefix: str | None = None  #: generated codes begin so
    codes: tuple[str, ...] = ()  #: codes from a file, given in order
    valid_for: Any = None  #: Span | None
    value: Mapping[str, Any] | None = None  #: what the coupon is worth, as written
    per_user: int | None = None  #: coupons a subject; None: unlimited
    per_user_window: int | None = None  #: rolling window of ``per_user``, microseconds; None: for ever
    fallback: str | None = None  #: pool used when this one is exhausted


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


class PoolState(msgspec.Struct):
    """What a coupon pool has given."""

    issued: int = 0
    day: int = 0  #: local day number of ``today``
    today: int = 0
    spent: Decimal = Decimal(0)
    last: str | None = None  #: the newest code given from a file: the next one stands behind it


class GroupState(msgspec.Struct):
    """Seats taken (held or joined) by room, and whose turn it is."""

    taken: dict[str, int] = {}
    turn: int = 0


class SlotState(msgspec.Struct):
    """The window in which the last entry was booked."""

    start: int = 0
    end: int = 0
    used: int = 0
    booked: int = 0  #: entries that ever had to wait: the place of the next one in the order of arrival
    told: int = 0  #: end of the last window of which the operator was told


_KINDS: dict[str, type[Any]] = {
    "coupon": PoolState, "seat": GroupState, "slot": SlotState, "reward": rewards.RewardState,
}  # fmt: skip


def code_for(prefix: str, key: str, secret: bytes) -> str:
    """A coupon code nobody can guess: keyed BLAKE2b of the effect key, in Crockford's base 32."""
    digest = blake2b(key.encode(), key=secret[:64], digest_size=_CODE_BYTES).digest()
    number, pairs = int.from_bytes(digest, "big"), _PAIRS
    return (
        f"{prefix}-{pairs[number >> 70]}{pairs[number >> 60 & 1023]}{pairs[number >> 50 & 1023]}"
        f"{pairs[number >> 40 & 1023]}{pairs[number >> 30 & 1023]}{pairs[number >> 20 & 1023]}"
        f"{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"
    )


@dataclass(kw_only=True, eq=False)
class Desk:
    """Gives units out, one at a time.

    Parameters
    ----------
    pools, groups, limits, rewards: what the plan defines (limits: playbook -> Limit).
    zone: the program's zone, for ``per_day`` and entry windows.
    secret: key of generated codes.
    kept: states as the store has them, by ``kind:name``.
    """

    pools: Mapping[str, CouponPool]
    groups: Mapping[str, GroupInfo]
    limits: Mapping[str, Any]
    zone: str
    secret: bytes
    kept: Mapping[str, bytes] = field(default_factory=dict)
    rewards: Mapping[str, rewards.Reward] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)  #: limits reached
    run_slots: dict[str, int] = field(default_factory=dict)
    places: dict[str, dict[str, int]] = field(default_factory=dict)  #: pool -> code -> its line

    def state(self, kind: str, name: str) -> Any:
        """State of one resource, made from what the store kept, or fresh."""
        place = f"{kind}:{name}"
        found = self.states.get(place)
        if found is None:
            raw = self.kept.get(place)
            found = _KINDS[kind]() if raw is None else msgspec.msgpack.decode(raw, type=_KINDS[kind])
            self.states[place] = found
        return found

    def changed(self) -> dict[str, bytes]:
        """Encoded states that changed since the last call, and forget that they did."""
        out = {place: msgspec.msgpack.encode(self.states[place]) for place in sorted(self.dirty)}
        self.dirty.clear()
        return out

    def take(self, ask: Reserve, now: int) -> Answer:
        """Answer a request at instant ``now``; a granted unit is taken."""
        if ask.kind == "coupon":
            answer = self._coupon(ask, now)
        elif ask.kind == "seat":
            answer = self._seat(ask, now)
        elif ask.kind == "reward":
            name = ask.names[0]
            answer = rewards.answer(self.rewards[name], self.state("reward", name), ask)
            self.dirty.add(f"reward:{name}")
        else:
            answer = self._slot(ask, now)
        self.answers.append(answer)
        return answer

    def _coupon(self, ask: Reserve, now: int) -> Answer:
        reason = "sold_out"
        for place, name in enumerate(ask.names):
            pool, state = self.pools[name], self.state("coupon", name)
            refused = self._refused(pool, state, now)
            if refused is None:
                return self._issue(pool, state, ask, now)
            if place == 0:
                reason = refused
        return Answer(key=ask.key, granted=False, reason=reason, name=ask.names[0])

    def _refused(self, pool: CouponPool, state: PoolState, now: int) -> str | None:
        if pool.total is not None and state.issued >= pool.total:
            return "sold_out"
        if pool.prefix is None and self._next_code(pool, state) >= len(pool.codes):
            return "sold_out"
        if pool.budget is not None and state.spent + pool.cost > pool.budget:
            return "budget"
        if pool.per_day is not None:
            today = localtime.day_number(now, localtime.zone(self.zone) or localtime.UTC)
            if state.day == today and state.today >= pool.per_day:
                return "per_day"
        return None

    def _issue(self, pool: CouponPool, state: PoolState, ask: Reserve, now: int) -> Answer:
        if pool.prefix is not None:
            code = code_for(pool.prefix, ask.key, self.secret)
        else:
            code = state.last = pool.codes[self._next_code(pool, state)]
        state.issued += 1
        state.spent += pool.cost
        if pool.per_day is not None:
            today = localtime.day_number(now, localtime.zone(self.zone) or localtime.UTC)
            state.day, state.today = today, (state.today if state.day == today else 0) + 1
        self.dirty.add(f"coupon:{pool.name}")
        return Answer(key=ask.key, granted=True, name=pool.name, unit=code)

    def _next_code(self, pool: CouponPool, state: PoolState) -> int:
        """Place of the next code of a file: behind the newest given one, also when lines were put in before it."""
        if state.last is None:
            return state.issued
        places = self.places.get(pool.name)
        if places is None:
            places = self.places[pool.name] = {code: place for place, code in enumerate(pool.codes)}
        return places.get(state.last, state.issued - 1) + 1

    def _seat(self, ask: Reserve, now: int) -> Answer:
        free = [(name, room) for name in ask.names if (room := self._room(self.groups[name], now)) is not None]
        if not free:
            return Answer(key=ask.key, granted=False, reason="full", name=ask.names[0])
        name, room = max(free, key=lambda it: self._open(it[0], now)) if ask.match == "best" else free[0]
        state: GroupState = self.state("seat", name)
        state.taken[room.id] = state.taken.get(room.id, 0) + 1
        rooms = self.groups[name].rooms
        state.turn = (rooms.index(room) + 1) % len(rooms)
        self.dirty.add(f"seat:{name}")
        return Answer(key=ask.key, granted=True, name=name, unit=room.id, data={"link": room.link})

    def _usable(self, group: GroupInfo, now: int) -> list[Room]:
        taken = self.state("seat", group.name).taken
        return [
            room
            for room in group.rooms
            if taken.get(room.id, 0) < room.soft and (room.expires is None or now < room.expires)
        ]

    def _open(self, name: str, now: int) -> int:
        taken = self.state("seat", name).taken
        return sum(room.soft - taken.get(room.id, 0) for room in self._usable(self.groups[name], now))

    def _room(self, group: GroupInfo, now: int) -> Room | None:
        usable = self._usable(group, now)
        if not usable:
            return None
        state: GroupState = self.state("seat", group.name)
        if group.rotate == "least_full":
            return min(usable, key=lambda room: Decimal(state.taken.get(room.id, 0)) / room.capacity)
        if group.rotate == "round_robin":
            order = {room.id: place for place, room in enumerate(group.rooms)}
            return min(usable, key=lambda room: (order[room.id] - state.turn) % len(group.rooms))
        return usable[0]

    def _slot(self, ask: Reserve, now: int) -> Answer:
        name = ask.names[0]
        limit = self.limits[name]
        if limit.per == "run":
            used = self.run_slots.get(name, 0)
            self.run_slots[name] = used + 1
            if used == limit.count:
                self._alert(name, now, waits=False)
            return Answer(key=ask.key, granted=used < limit.count, reason="limit", name=name, at=now)
        state: SlotState = self.state("slot", name)
        self.dirty.add(f"slot:{name}")
        end = self._boundary(now, limit.per)
        if state.end < end:
            state.start, state.end, state.used = now, end, 0
        over = state.end > end or state.used >= limit.count
        if over and state.told < end:
            state.told = end
            self._alert(name, now, waits=ask.match != "drop")
        if over and ask.match == "drop":
            return Answer(key=ask.key, granted=False, reason="limit", name=name)
        if state.used >= limit.count:
            state.start, state.end, state.used = state.end, self._boundary(state.end, limit.per), 0
        state.used += 1
        if state.end == end:
            return Answer(key=ask.key, granted=True, name=name, at=now)
        state.booked += 1
        return Answer(key=ask.key, granted=True, name=name, at=state.start, data={"place": state.booked})

    def _alert(self, name: str, now: int, *, waits: bool) -> None:
        limit = self.limits[name]
        self.alerts.append(Alert(playbook=name, time=now, limit=f"{limit.count}/{limit.per}", waits=waits))

    def _boundary(self, instant: int, per: str) -> int:
        zone = localtime.zone(self.zone) or localtime.UTC
        return localtime.next_hour(instant, zone) if per == "hour" else localtime.next_midnight(instant, zone)

    def give_back(self, release: Release) -> None:
        """Put a seat back, or count one taken by joining without an invite.

        That also holds for rooms the program does not have any more: should they come back, their count is true.
        """
        if release.kind == "reward":
            self.state("reward", release.name).taken -= 1
            self.dirty.add(f"reward:{release.name}")
            return
        state: GroupState = self.state("seat", release.name)
        step = 1 if release.kind == "join" else -1
        state.taken[release.unit] = max(0, state.taken.get(release.unit, 0) + step)
        self.dirty.add(f"seat:{release.name}")
