"""What several subjects compete for, coupons of a pool and seats in rooms: one ledger, first come first served.

Design lines encoded (semantics.md, "coupon", "group", "order"; language.md, section 3; cli.md, status and reasons):

* grants are given in (time, file, line) order of the events that ask; generated pools with ``total``; ``per_user:
  N`` ever or ``"N/90d"`` in the window ``(t-90d, t]``; ``per_day`` by calendar day (the tests stay in UTC); a
  denied coupon has its row, status ``denied``, with a reason, and no code; ``on_exhausted: skip | stop | [steps]``
  on the step, ``{use: pool}`` in the catalog; ``expires_at`` is the grant plus ``valid_for``;
* an invite takes a seat in the first room that has one, holds it for ``hold`` and releases it then; rooms rotate as
  they fill (the soft limit when there is one, else the capacity); ``group.joined`` while the seat is held keeps it;
  all full: ``full``.

Kept out of the tests (silent): the name of the reason when several limits refuse at once (any of them is accepted),
an invite at the exact instant a hold ends, seats above the soft limit, whether a fallback pool leaves a row for the
first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import oracle_time as clock


@dataclass
class Pool:
    """A pool of generated codes and everything it ever gave."""

    total: int | None = None
    per_user: int | None = None
    per_user_window: int | None = None
    per_day: int | None = None
    budget: int | None = None  #: whole coupons the money pays for
    grants: list[tuple[int, str]] = field(default_factory=list)

    def refusals(self, now: int, user: str) -> set[str]:
        """Every reason for which a grant is impossible now."""
        reasons = set()
        if self.total is not None and len(self.grants) >= self.total:
            reasons.add("sold_out")
        if self.budget is not None and len(self.grants) >= self.budget:
            reasons.add("budget")
        if self.per_user is not None:
            own = [
                then
                for then, who in self.grants
                if who == user and (self.per_user_window is None or now - self.per_user_window < then <= now)
            ]
            if len(own) >= self.per_user:
                reasons.add("per_user")
        if self.per_day is not None:
            today = clock.local_day(now, "UTC")
            if sum(1 for then, _ in self.grants if clock.local_day(then, "UTC") == today) >= self.per_day:
                reasons.add("per_day")
        return reasons

    def ask(self, now: int, user: str) -> set[str]:
        """Take one; the empty set means granted."""
        reasons = self.refusals(now, user)
        if not reasons:
            self.grants.append((now, user))
        return reasons


def ask_with_fallback(first: Pool, other: Pool | None, now: int, user: str) -> tuple[Pool | None, set[str]]:
    """(the pool that gave, why the first one did not): who has had his of the first gets none of the other."""
    reasons = first.refusals(now, user)
    if not reasons:
        first.grants.append((now, user))
        return first, reasons
    if "per_user" in reasons or other is None or other.ask(now, user):
        return None, reasons
    return other, reasons


@dataclass
class Seat:
    """A seat somebody holds, until ``ends`` or for good."""

    user: str
    room: str
    ends: int | None


@dataclass
class Rooms:
    """The rooms of a group in the order of writing, with the seats given out."""

    rooms: Sequence[tuple[str, int]]
    hold: int
    seats: list[Seat] = field(default_factory=list)

    def taken(self, room: str, now: int) -> int:
        """Seats of a room in use: kept ones, and held ones whose hold has not ended."""
        return sum(1 for seat in self.seats if seat.room == room and (seat.ends is None or now < seat.ends))

    def invite(self, now: int, user: str) -> str | None:
        """The room in which a seat was taken, None when all are full."""
        for room, size in self.rooms:
            if self.taken(room, now) < size:
                self.seats.append(Seat(user, room, now + self.hold))
                return room
        return None

    def joined(self, now: int, user: str) -> None:
        """The user came in time: the seat stays theirs."""
        for seat in self.seats:
            if seat.user == user and seat.ends is not None and now < seat.ends:
                seat.ends = None
