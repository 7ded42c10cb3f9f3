"""What rules of the catalog do to a subject's points, written into the ledger: earn, settle, lapse, take back.

Rule 1: a rule is part of what an event does to the state: it goes by the event's own time, also when it comes late, and
no playbook, holdout or control group has a say in it. History (``ingest --history``) earns nothing.
Rule 2: what is taken back is linked to what it reverses. What cannot be taken, because it is spent, makes the balance
negative where the account allows it; else it is owed, and the next points pay for it.
Rule 3: points that have lapsed are not taken back any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from engine.core import localtime, points
from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.model import DAY, Claim, Entry, Event, Purse
from engine.core.plan import zone_of
from engine.core.points import PENDING, Account, EarnRule

if TYPE_CHECKING:
    from engine.core.judging import Judging

CHANGED, EXPIRED, EXPIRING = "points.changed", "points.expired", "points.expiring"


def follow(turn: Judging, event: Event, rules: tuple[tuple[Account, EarnRule, bool], ...]) -> None:
    """Do what the rules of an event's type ask for; (account, rule, whether the event takes back)."""
    if event.history:
        return
    for account, rule, back in rules:
        (_reverse if back else _earn)(turn, account, rule, event)
    lapse(turn, event.id, turn.now)  # what came too late; what lapses this instant does after all of its events


def _booked(
    turn: Judging, key: str, account: str, what: str, delta: int, waits: int = 0, *,
    time: int | None = None, until: int | None = None, origin: str | None = None,
) -> None:  # fmt: skip
    """Write a movement down: into the ledger (points that wait are a book of their own), as a row, and as an event."""
    at, subject, entries = turn.now if time is None else time, turn.state.id, turn.out.entries
    book = turn.plan.book(account)
    if delta:
        entries.append(Entry(key, at, book, account, what, delta, subject, until=until, origin=origin))
    if waits:
        name = account + PENDING
        waiting = Entry(f"{key}:pending", at, book, name, what, waits, subject, until=until, origin=origin)
        if what == "earned":
            waiting.key, waiting.what = key, "pending"
        entries.append(waiting)
    balance = turn.state.points.get(account, 0)
    detail: dict[str, Any] = {"account": account, "delta": delta, "balance": balance, "reason": what}
    if waits:
        detail["pending"] = waits
    turn.record("points", key, detail)
    if delta:
        told = {"account": account, "delta": delta, "balance": balance}
        turn.tell(CHANGED, told, f"{key}:{CHANGED}", None)


def _refused(turn: Judging, key: str, account: str, reason: str) -> None:
    """A rule could not be judged: there is a row that says so, and no points."""
    balance = turn.state.points.get(account, 0)
    detail = {"account": account, "delta": None, "balance": balance, "reason": "earned"}
    turn.record("points", key, detail, status="suppressed", reason=reason)


# ---------------------------------------------------------------------- earning


def _earn(turn: Judging, account: Account, rule: EarnRule, event: Event) -> None:
    key = effect_key("earn", account.name, rule.name, turn.state.id, event.id)
    try:
        if rule.test is not None and not rule.test.test(turn.m):
            return
        given = points.whole(rule.points.get(turn.m))
    except Exception:  # an error earns nothing, and is told of
        _refused(turn, key, account.name, "error")
        return
    if given is None:
        _refused(turn, key, account.name, "missing_variable")
        return
    allowed = _allowed(turn, account, rule, event, given)
    if allowed <= 0:
        return
    zone = zone_of(turn.state, turn.plan.env)
    until, settles = account.lapses(event.time, zone), points.settles(rule, event.time, zone)
    if settles is not None and settles <= turn.now:  # it came so late that it is settled already
        settles = None
    match = None if rule.match is None else points.named(event.data.get(rule.match))
    if settles is None:
        points.add(turn.state, account.name, allowed, until)
        _booked(turn, key, account.name, "earned", allowed, time=event.time, until=until)
    else:
        _booked(turn, key, account.name, "earned", 0, allowed, time=event.time, until=settles)
    if settles is not None or match is not None:
        claim = Claim(key, rule.name, match, allowed, until, settles, event.time + rule.within)
        purse = points.purse_of(turn.state, account.name)
        points.keep(turn.state, account.name, points.with_claim(purse, claim, turn.now - turn.act_within))
    if settles is None:
        pay(turn, account.name, key)
    if match is not None:
        _undone_before(turn, account, rule, match, event)


def _allowed(turn: Judging, account: Account, rule: EarnRule, event: Event, given: int) -> int:
    """How many of the points the limits of the event's local day leave, which are then counted."""
    if given <= 0 or (rule.per_day is None and account.daily_cap is None):
        return given
    state = turn.state
    tz = localtime.zone(zone_of(state, turn.plan.env)) or localtime.UTC
    day, keep_days = localtime.day_number(event.time, tz), turn.act_within // DAY + 2
    purse = points.purse_of(state, account.name)
    if purse.days and day <= purse.days[-1][0] - keep_days:
        return 0  # nobody knows any more what that day brought
    counts = points.counted(purse, day)
    if rule.per_day is not None and counts.get(rule.name, 0) >= rule.per_day:
        return 0
    if account.daily_cap is not None:
        given = min(given, account.daily_cap - counts.get("", 0))
    if given > 0:
        points.keep(state, account.name, points.count(purse, day, rule.name, given, keep_days))
    return given


def pay(turn: Judging, account: str, cause: str) -> None:
    """Pay what is owed from points that just came in."""
    state = turn.state
    purse = state.purses.get(account)
    if purse is None or not purse.owed:
        return
    left = list[tuple[str, int]]()
    for place, (key, owed) in enumerate(purse.owed):
        paid = max(0, min(owed, state.points.get(account, 0)))
        if paid < owed:
            left.append((key, owed - paid))
        if paid:
            points.take(state, account, paid)
            _booked(turn, effect_key("pay", cause, str(place)), account, "reversed", -paid, origin=key)
    points.keep(state, account, structs.replace(points.purse_of(state, account), owed=left))


# ---------------------------------------------------------------------- taking back


def _reverse(turn: Judging, account: Account, rule: EarnRule, event: Event) -> None:
    match = points.named(event.data.get(rule.match or ""))
    if match is None:
        return
    wanted: int | None = None
    if rule.back is not None:
        try:
            wanted = points.whole(rule.back.get(turn.m))
        except Exception:  # as above
            wanted = None
        if wanted is None:
            key = effect_key("undo", account.name, rule.name, turn.state.id, event.id)
            _refused(turn, key, account.name, "missing_variable")
            return
    left = _take_back(turn, account, rule, match, event, wanted)
    if left is None or left > 0:
        purse = points.purse_of(turn.state, account.name)
        known = any(it.rule == rule.name and it.match == match for it in purse.claims)
        if not known and (wanted is None or left == wanted):
            until, past = event.time + rule.within, turn.now - turn.act_within
            later = points.undo_later(purse, rule.name, match, -1 if left is None else left, until, past)
            points.keep(turn.state, account.name, later)


def _take_back(
    turn: Judging, account: Account, rule: EarnRule, match: str, event: Event, wanted: int | None
) -> int | None:
    """Take back what was earned under a name, all (None) or so many points; what is left to take, None for all."""
    found = [
        it
        for it in points.purse_of(turn.state, account.name).claims
        if it.rule == rule.name and it.match == match and event.time <= it.open
    ]
    for claim in found:
        part = claim.left if wanted is None else min(wanted, claim.left)
        if part > 0:
            _take_from(turn, account, claim, part, event)
            wanted = None if wanted is None else wanted - part
    return 0 if found and wanted is None else wanted


def _take_from(turn: Judging, account: Account, claim: Claim, part: int, event: Event) -> None:
    name, state = account.name, turn.state
    key = effect_key("undo", claim.key, event.id)
    _replace_claim(turn, name, claim, structs.replace(claim, left=claim.left - part))
    if claim.settles is not None:
        _booked(turn, key, name, "reversed", 0, -part, origin=claim.key)
        return
    if claim.until is not None and claim.until <= turn.now:
        return
    there = part if account.negative else min(part, max(0, state.points.get(name, 0)))
    if there:
        points.take(state, name, there, claim.until)
        _booked(turn, key, name, "reversed", -there, origin=claim.key)
    if part > there:
        purse = points.purse_of(state, name)
        points.keep(state, name, structs.replace(purse, owed=[*purse.owed, (claim.key, part - there)]))


def _replace_claim(turn: Judging, account: str, claim: Claim, by: Claim | None) -> None:
    """Put a claim in the place of another; one of which nothing is left stays while it may be asked for."""
    purse = points.purse_of(turn.state, account)
    claims = [by if it is claim else it for it in purse.claims]
    kept = [it for it in claims if it is not None and (it.left > 0 or it.match is not None)]
    points.keep(turn.state, account, structs.replace(purse, claims=kept))


def _undone_before(turn: Judging, account: Account, rule: EarnRule, match: str, event: Event) -> None:
    """What was taken back before it came: a refund that overtook its order."""
    purse = points.purse_of(turn.state, account.name)
    # a refund takes back what was before it: an order of the same name that follows is another one
    counted = [
        it
        for it in purse.undone
        if it[:2] == (rule.name, match) and 0 < it[3] - rule.within - event.time <= rule.within
    ]
    if not counted:
        return
    rest = [it for it in purse.undone if it not in counted]
    points.keep(turn.state, account.name, structs.replace(purse, undone=rest))
    numbers = [it[2] for it in counted]
    _take_back(turn, account, rule, match, event, None if min(numbers) < 0 else sum(numbers))


# ---------------------------------------------------------------------- by time alone


def wake(turn: Judging) -> None:
    """What is due by now: points are settled, told of, and lapse, in this order."""
    state, now = turn.state, turn.now
    for name, purse in sorted(state.purses.items()):
        for claim in purse.claims:
            if claim.settles is not None and claim.settles <= now:
                _settle(turn, name, claim)
        remind = turn.plan.reminds.get(name)
        if remind is not None:
            _remind(turn, name, remind)
    lapse(turn, f"wake:{format_instant(now)}", now + 1)


def _settle(turn: Judging, account: str, claim: Claim) -> None:
    state = turn.state
    settled = structs.replace(claim, settles=None)
    _replace_claim(turn, account, claim, settled if claim.match is not None and claim.open >= turn.now else None)
    if not claim.left:
        return
    points.add(state, account, claim.left, claim.until)
    key = effect_key("settle", claim.key)
    _booked(turn, key, account, "settled", claim.left, -claim.left, until=claim.until, origin=claim.key)
    pay(turn, account, key)


def lapse(turn: Judging, occurrence: str, before: int) -> None:
    """Points whose time ended before an instant go."""
    state = turn.state
    for name, purse in sorted(state.purses.items()):
        due = [lot for lot in purse.lots if lot[0] < before]
        for until, left in due:
            points.take(state, name, left, until)
            key = effect_key("lapse", name, state.id, str(until), occurrence)
            _booked(turn, key, name, "expired", -left)
            data = {"account": name, "points": left, "balance": state.points.get(name, 0)}
            turn.tell(EXPIRED, data, f"{key}:{EXPIRED}", None)


def _remind(turn: Judging, account: str, before: int) -> None:
    """Tell of lots that lapse soon, once each."""
    purse = points.purse_of(turn.state, account)
    due = [lot for lot in purse.lots if purse.reminded < lot[0] <= turn.now + before]
    if not due:
        return
    points.keep(turn.state, account, structs.replace(purse, reminded=due[-1][0]))
    ahead = [lot for lot in due if lot[0] > turn.now]
    if ahead:
        data = {"account": account, "points": sum(n for _, n in ahead), "at": format_instant(ahead[0][0])}
        key = effect_key("remind", account, turn.state.id, str(due[-1][0]), format_instant(turn.now))
        turn.tell(EXPIRING, data, f"{key}:{EXPIRING}", None)


def forget(turn: Judging, event: Event) -> None:
    """Somebody is erased: what waits to be settled is gone, and what could be taken back cannot any more."""
    for name, purse in sorted(turn.state.purses.items()):
        for claim in purse.claims:
            if claim.settles is not None and claim.left:
                entry = Entry(
                    effect_key("undo", claim.key, event.id), event.time, turn.plan.book(name), name + PENDING,
                    "reversed", -claim.left, turn.state.id, origin=claim.key,
                )  # fmt: skip
                turn.out.entries.append(entry)
        points.keep(turn.state, name, Purse(lots=purse.lots))
