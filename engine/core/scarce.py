"""What several subjects compete for: coupon pools (see ``coupons``), seats in groups (see ``seats``), entry slots.

Rule 1: a unit is taken at one place, in one order, inside the transaction that decides; so nothing is oversold.
Rule 2: the state of each resource is one small record; ``Desk.dirty`` names those the transaction must write.
Rule 3: a taken unit is bound to the effect key that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from engine.core import draws, localtime, rewards
from engine.core.chance import effect_key
from engine.core.coupon_desk import CouponDesk
from engine.core.coupons import MOVES, CouponPool, NoRecords, PoolState, Records
from engine.core.model import Alert, Answer, Entry, Release, Reserve
from engine.core.seats import GroupInfo, GroupState, SeatDesk


class SlotState(msgspec.Struct):
    """The window in which the last entry was booked."""

    start: int = 0
    end: int = 0
    used: int = 0
    booked: int = 0  #: entries that ever had to wait: the place of the next one in the order of arrival
    told: int = 0  #: end of the last window of which the operator was told
    most: int = 0  #: places there were in the window, by the largest limit that held in it
    total: int = 0  #: places ever taken; those of windows that are over stand in the ledger


_KINDS: dict[str, type[Any]] = {
    "coupon": PoolState, "seat": GroupState, "slot": SlotState, "reward": rewards.RewardState,
}  # fmt: skip


@dataclass(kw_only=True, eq=False)
class Desk:
    """Gives units out, one at a time.

    Parameters
    ----------
    pools, groups, limits, rewards: what the plan defines (limits: playbook -> Limit).
    zone: the program's zone, for ``per_day`` and entry windows.
    secret: key of generated codes.
    kept: states as the store has them, by ``kind:name``.
    records: what the store knows of coupons.
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
    census: Callable[[Reserve, int], Answer] | None = None  #: answers questions about everybody
    run_slots: dict[str, int] = field(default_factory=dict)
    records: Records = field(default_factory=NoRecords)
    entries: Callable[[], list[Entry]] = list  #: of the ledger, decided since the last commit

    def __post_init__(self) -> None:
        self.coupons = CouponDesk(
            self.pools, self.zone, self.secret, lambda name: self.state("coupon", name), self.records,
            lambda name: self.dirty.add(f"coupon:{name}"), self.entries,
        )  # fmt: skip
        self.seats = SeatDesk(
            self.groups, lambda name: self.state("seat", name), lambda name: self.dirty.add(f"seat:{name}")
        )

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
            answer = self.coupons.give(ask, now)
        elif ask.kind in MOVES:
            answer = self.coupons.move(ask, now)
        elif ask.kind == "seat":
            answer = self.seats.give(ask, now)
        elif ask.kind == "reward":
            name = ask.names[0]
            answer = rewards.answer(self.rewards[name], self.state("reward", name), ask)
            self.dirty.add(f"reward:{name}")
        elif ask.kind == "slot":
            answer = self._slot(ask, now)
        else:
            answer = self.census(ask, now) if ask.kind == "census" and self.census is not None else self._draw(ask)
        self.answers.append(answer)
        return answer

    def _draw(self, ask: Reserve) -> Answer:
        """The promise of a draw says nothing of its seed; the seed comes when it is asked for, with the salt."""
        drawing, draw = draws.drawing_key(self.secret), ask.names[0]
        seed, salt = draws.seed_of(drawing, draw), draws.salt_of(drawing, draw)
        if ask.kind == "promise":
            return Answer(key=ask.key, granted=True, name=draw, unit=ask.question.commitment(salt, seed))
        return Answer(key=ask.key, granted=True, name=draw, unit=seed, data={"salt": salt})

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
        state.total = state.total or state.used
        end = self._boundary(now, limit.per)
        if state.end < end:
            self._turn(name, state, now, now, end)
        over = state.end > end or state.used + self._apart(name, state.end) >= limit.count
        if over and state.told < end:
            state.told = end
            self._alert(name, now, waits=ask.match != "drop")
        if over and ask.match == "drop":
            return Answer(key=ask.key, granted=False, reason="limit", name=name)
        while state.used + self._apart(name, state.end) >= limit.count:
            self._turn(name, state, now, state.end, self._boundary(state.end, limit.per))
        state.used += 1
        state.total += 1
        state.most = max(state.most, limit.count)
        if state.end == end:
            return Answer(key=ask.key, granted=True, name=name, at=now)
        state.booked += 1
        return Answer(key=ask.key, granted=True, name=name, at=state.start, data={"place": state.booked})

    def _apart(self, name: str, end: int) -> int:
        """Places of a window that were taken while many decided, who count each window by itself."""
        return self.state("slot", f"{name}@{end}").used if f"slot:{name}@{end}" in self.kept else 0

    def _turn(self, name: str, state: SlotState, now: int, start: int, end: int) -> None:
        """The next window begins; how many places of the last one were taken is one entry of the ledger."""
        if state.used:
            self.entries().append(
                Entry(
                    effect_key("cap", name, str(state.end)), now, "cap", name, "used", state.used,
                    amount=Decimal(state.most), until=state.end, playbook=name,
                )
            )  # fmt: skip
        state.start, state.end, state.used, state.most = start, end, 0, 0

    def _alert(self, name: str, now: int, *, waits: bool) -> None:
        limit = self.limits[name]
        self.alerts.append(Alert(playbook=name, time=now, limit=f"{limit.count}/{limit.per}", waits=waits))

    def _boundary(self, instant: int, per: str) -> int:
        zone = localtime.zone(self.zone) or localtime.UTC
        return localtime.next_hour(instant, zone) if per == "hour" else localtime.next_midnight(instant, zone)

    def give_back(self, release: Release) -> None:
        """Put a unit back, or count a seat taken by joining without an invite."""
        if release.kind == "reward":
            self.state("reward", release.name).taken -= 1
            self.dirty.add(f"reward:{release.name}")
            return
        self.seats.give_back(release)
