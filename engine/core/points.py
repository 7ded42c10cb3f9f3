"""Points of one subject: lots that lapse, earnings that wait or may be taken back, days with their limits.

Rule 1: the balance is what can be spent. Lots are a part of it: what is in no lot never lapses.
Rule 2: what is taken comes from the lots that lapse first, and from the rest only then.
Rule 3: points lapse, and are settled, at the local midnight that ends the day, so what one day brought is one lot;
where they live longer than ``LONG`` it is the midnight that ends the month. So there are never many lots.
Rule 4: pure arithmetic on the state; what is written down of it is the business of ``earning``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import structs

from engine.core import localtime
from engine.core.model import DAY, Claim, Purse, State
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.moment import Condition, Value

PENDING = " pending"
"""What the ledger adds to an account for points that are not settled; the names of accounts have no blank."""

LONG = 400 * DAY
MOST_CLAIMS = 500
"""Earnings of an account that can be taken back at once; the oldest of more cannot any longer."""

_MOST_UNDONE = 100
_EMPTY = Purse()


@dataclass(frozen=True, kw_only=True)
class EarnRule:
    """What one type of event earns."""

    name: str  #: the event type, and ``#2`` ... where the account has several rules for it
    event: str
    points: Value
    test: Condition | None = None
    per_day: int | None = None  #: how often a local day
    pending: Any = None  #: Span until they can be spent | None: at once
    undone_by: str | None = None  #: the event type that takes them back
    match: str | None = None  #: the field both events share
    within: int = 90 * DAY  #: microseconds after the event in which they can be taken back
    back: Value | None = None  #: how many are taken back; None: all


@dataclass(frozen=True, kw_only=True)
class Account:
    """A points account of the catalog."""

    name: str
    expires: Any = None  #: Span | None: points never lapse
    remind: int | None = None  #: microseconds before a lot lapses at which that is told
    daily_cap: int | None = None  #: points all rules give at most a local day
    negative: bool = False  #: a reversal may take more than there is
    book: str = "points"  #: of the ledger in which its units move: points | entitlement
    rules: tuple[EarnRule, ...] = ()

    def lapses(self, instant: int, zone: str) -> int | None:
        """When points given at an instant lapse, for a subject in ``zone``."""
        if self.expires is None:
            return None
        tz, end = localtime.zone(zone) or localtime.UTC, self.expires.after(instant, zone)
        if end - instant <= LONG:
            return localtime.next_midnight(end, tz)
        day = localtime.local_date(end, tz).replace(day=1)
        return localtime.at_wall((day + timedelta(days=32)).replace(day=1), "00:00", tz)


def settles(rule: EarnRule, instant: int, zone: str) -> int | None:
    """When points a rule gives for an event of an instant can be spent; None: at once."""
    if rule.pending is None:
        return None
    return localtime.next_midnight(rule.pending.after(instant, zone), localtime.zone(zone) or localtime.UTC)


def whole(value: Any) -> int | None:
    """A whole number of points; None: nothing stands there. Raises ExpressionError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or Decimal(value) % 1:
        raise ExpressionError(f"points need a whole number, got {value!r}")
    return int(value)


def named(value: Any) -> str | None:
    """What a field says that names an order or the like, as text; None: nothing stands there."""
    if value is None or isinstance(value, (list, dict)):
        return None
    return str(value)


def purse_of(state: State, account: str) -> Purse:
    """What is known of an account of a subject."""
    return state.purses.get(account, _EMPTY)


def keep(state: State, account: str, purse: Purse) -> None:
    """Put a purse back; an empty one is left out."""
    if not (purse.lots or purse.claims or purse.days or purse.owed or purse.undone):
        state.purses = {name: it for name, it in state.purses.items() if name != account}
    else:
        state.purses = {**state.purses, account: purse}


def add(state: State, account: str, points: int, until: int | None) -> int:
    """Add points that lapse at ``until`` (None: never); the new balance. A negative balance is made up for first."""
    balance = state.points.get(account, 0) + points
    state.points = {**state.points, account: balance}
    lot = min(points, balance)
    if until is not None and lot > 0:
        purse = purse_of(state, account)
        keep(state, account, structs.replace(purse, lots=with_lot(purse.lots, until, lot)))
    return balance


def with_lot(lots: Iterable[tuple[int, int]], until: int, points: int) -> list[tuple[int, int]]:
    """The lots and one more; those that lapse together are one."""
    found = dict(lots)
    found[until] = found.get(until, 0) + points
    return sorted(found.items())


def take(state: State, account: str, points: int, first: int | None = None) -> list[tuple[int | None, int]]:
    """Take points, those that lapse first before the others: (when they would have lapsed, how many).

    ``first``: the lot to take from before any other. The balance may go below zero; that is for the caller to forbid.
    """
    state.points = {**state.points, account: state.points.get(account, 0) - points}
    purse, left, parts, lots = purse_of(state, account), points, list[tuple[int | None, int]](), {}
    for until, there in sorted(purse.lots, key=lambda lot: (lot[0] != first, lot[0])):
        taken = min(there, left)
        left -= taken
        if taken:
            parts.append((until, taken))
        if there > taken:
            lots[until] = there - taken
    if left:
        parts.append((None, left))
    if purse.lots:
        keep(state, account, structs.replace(purse, lots=sorted(lots.items())))
    return parts


def with_claim(purse: Purse, claim: Claim, now: int) -> Purse:
    """The purse with one more earning that waits or can be taken back; what can neither any more is forgotten."""
    claims = [it for it in purse.claims if it.settles is not None or it.open >= now]
    return structs.replace(purse, claims=_fewer([*claims, claim]))


def _fewer(claims: list[Claim]) -> list[Claim]:
    """Of too many the oldest cannot be taken back any more: who is settled goes, who waits joins those as long."""
    excess, out, places = len(claims) - MOST_CLAIMS, list[Claim](), dict[tuple[int, int | None], int]()
    for it in claims:
        if excess <= 0:
            out.append(it)
        elif it.settles is None:
            excess -= 1
        elif (alike := (it.settles, it.until)) in places:
            excess -= 1
            place = places[alike]
            out[place] = structs.replace(out[place], left=out[place].left + it.left)
        else:
            places[alike] = len(out)
            out.append(structs.replace(it, match=None))
    return out


def counted(purse: Purse, day: int) -> dict[str, int]:
    """What rules gave on a local day."""
    return next((counts for at, counts in purse.days if at == day), {})


def count(purse: Purse, day: int, rule: str, points: int, keep_days: int) -> Purse:
    """Note that a rule gave points on a local day; days too long ago for any event to come in are forgotten."""
    counts = dict(counted(purse, day))
    counts[rule], counts[""] = counts.get(rule, 0) + 1, counts.get("", 0) + points
    days = sorted({**dict(purse.days), day: counts}.items())
    return structs.replace(purse, days=[it for it in days if it[0] > days[-1][0] - keep_days])


def undo_later(purse: Purse, rule: str, match: str, points: int, until: int, now: int) -> Purse:
    """Note a reversal of something that is not there (yet)."""
    undone = [it for it in purse.undone if it[3] >= now]
    return structs.replace(purse, undone=[*undone, (rule, match, points, until)][-_MOST_UNDONE:])


def next_move(state: State, reminds: dict[str, int]) -> int | None:
    """The earliest instant at which something lapses, is settled or is told of.

    ``reminds``: account -> microseconds before a lot lapses at which somebody wants to hear of it.
    """
    found: int | None = None
    for account, purse in state.purses.items():
        instants = [it.settles for it in purse.claims if it.settles is not None]
        instants += [until for until, _ in purse.lots[:1]]
        if account in reminds:
            instants += [until - reminds[account] for until, _ in purse.lots if until > purse.reminded][:1]
        if instants:
            found = min(instants) if found is None else min(found, *instants)
    return found


def expiring(state: State, account: str, now: int, length: int) -> int:
    """Points of an account that lapse within a time from now, in microseconds."""
    return sum(points for until, points in purse_of(state, account).lots if until <= now + length)


def expiring_change(state: State, account: str, now: int, length: int) -> int | None:
    """When passing time alone adds to ``expiring``."""
    return min((until - length for until, _ in purse_of(state, account).lots if until - length > now), default=None)
