#!/usr/bin/env python3
"""The 20 rules of workload W1 written by hand: dictionaries, lists, one heap of alarms, nothing durable.

    python bench/reference.py w1.jsonl [--until 2025-06-01T00:00:00Z]

This is what a good programmer would write for these rules and no others. It has two uses: `simulate` is measured
against its speed, and its answers (rule, user, instant) are the oracle of `bench/check_w1.py`.

Rule 1: windows are half-open, (t-W, t]; thresholds and the end of a quiet time are inclusive.
Rule 2: at one instant events come first, then alarms; so an event exactly at a deadline is in time.
Rule 3: money is counted in whole cents, because sums of floats miss thresholds.
Rule 4: an instant is a float, seconds since 1970, as time.time() gives it. Whole seconds added to or taken from one are
        exact (the spacing of floats does not change between 2004 and 2038), so windows and deadlines lose nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import msgspec

Json = dict[str, Any]
User = dict[str, Any]
Effect = tuple[str, str, float]
"""(rule, user, instant)"""

GIVES = {
    "r01": "coupon", "r02": "message", "r03": "message", "r04": "coupon", "r05": "message",
    "r06": "coupon", "r07": "invite", "r08": "message", "r09": "coupon", "r10": "message",
    "r11": "message", "r12": "invite", "r13": "message", "r14": "coupon", "r15": "message",
    "r16": "invite", "r17": "invite", "r18": "coupon", "r19": "message",
}  # fmt: skip
"""What a rule gives; r20 gives a coupon or a message, by the way it ends."""

DAY = 86_400
WEEK, MONTH = 7 * DAY, 30 * DAY
IDLE = [7 * DAY, 14 * DAY, 30 * DAY]
"""The idle times of r13, r14 and r15: one clock with three stops."""

PATIENCE = 3 * DAY
LUCKY = {"sku-7", "sku-77", "sku-177"}


def new_user() -> User:
    return {
        "orders": 0,
        "spend": 0,  # cents
        "posts": 0,
        "last": 0.0,  # the newest event
        "stop": 0,  # which idle stop comes next
        "idle_alarm": None,  # the instant the user's idle alarm is set to
        "deadline": None,  # r20: pays by then or gets a message
        # and, once there are any, by rule: the last few instants of what it counts, oldest first
    }


class Campaigns:
    """All users, what they have earned so far, and the alarms still to ring."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.alarms: list[tuple[float, str, str]] = []
        self.quiet: dict[tuple[str, str], float] = {}  #: (rule, user) -> the instant at which it may fire again
        self.effects: list[Effect] = []
        self.r20: list[str] = []  #: kinds of the r20 effects, in the order of the effects
        self.handlers: dict[str, Callable[[User, str, Json, float], None]] = {
            "user.signup": self.on_signup,
            "order.paid": self.on_order,
            "checkin": self.on_checkin,
            "community.post": self.on_post,
            "app.open": self.on_open,
        }

    def handle(self, event: Json) -> None:
        now = datetime.fromisoformat(event["time"]).timestamp()
        alarms = self.alarms
        if alarms and alarms[0][0] < now:
            self.ring(now)
        name = event["user"]
        user = self.users.get(name)
        if user is None:
            user = self.users[name] = new_user()
        user["last"] = now
        # A set alarm that is too early is pushed forward when it rings, which is far rarer than an event.
        if user["stop"] or user["idle_alarm"] is None:
            user["stop"] = 0
            self.set_idle_alarm(user, name, now + IDLE[0])
        self.handlers[event["type"]](user, name, event["data"], now)

    def finish(self, end: float) -> None:
        """Ring what is due up to and including the end."""
        self.ring(math.nextafter(end, math.inf))

    # Alarms

    def ring(self, now: float) -> None:
        """Ring every alarm due before now."""
        alarms = self.alarms
        while alarms and alarms[0][0] < now:
            due, name, kind = heappop(alarms)
            user = self.users[name]
            if kind == "r20":
                self.on_deadline(user, name, due)
            elif user["idle_alarm"] == due:  # else: replaced by a later one
                self.on_idle(user, name, due)

    def set_idle_alarm(self, user: User, name: str, due: float) -> None:
        user["idle_alarm"] = due
        heappush(self.alarms, (due, name, "idle"))

    def on_deadline(self, user: User, name: str, due: float) -> None:
        if user["deadline"] == due:
            user["deadline"] = None
            self.r20.append("message")
            self.effects.append(("r20", name, due))

    def on_idle(self, user: User, name: str, due: float) -> None:
        stop = user["stop"]
        ripe = user["last"] + IDLE[stop]
        if ripe > due:
            self.set_idle_alarm(user, name, ripe)
            return
        if stop == 0 and user["orders"] >= 4:
            self.effects.append(("r13", name, due))
        elif stop == 1 and user["spend"] >= 1000_00:
            self.effects.append(("r14", name, due))
        elif stop == 2 and user["orders"] >= 3:
            self.effects.append(("r15", name, due))
        if stop < 2:
            user["stop"] = stop + 1
            self.set_idle_alarm(user, name, user["last"] + IDLE[stop + 1])
        else:
            user["idle_alarm"] = None

    # Events

    def on_signup(self, user: User, name: str, data: Json, now: float) -> None:
        source = data["source"]
        if source == "referral" and data["city"] == "Lyon":
            self.effects.append(("r06", name, now))
        elif source == "ads":
            user["deadline"] = now + PATIENCE
            heappush(self.alarms, (user["deadline"], name, "r20"))

    def on_order(self, user: User, name: str, data: Json, now: float) -> None:
        cents = round(data["amount"] * 100)
        orders = user["orders"] = user["orders"] + 1
        before = user["spend"]
        spend = user["spend"] = before + cents
        effects = self.effects
        if cents >= 485_00:
            effects.append(("r01", name, now))
        if cents >= 440_00 and data["city"] in ("Riga", "Oslo"):
            effects.append(("r02", name, now))
        if data["sku"] in LUCKY:
            effects.append(("r07", name, now))
        if cents >= 100_00:
            self.count(user, name, "r09", now, 3, MONTH, MONTH)
        if before < 1000_00 <= spend:
            effects.append(("r16", name, now))
        if before < 5000_00 <= spend:
            effects.append(("r17", name, now))
        if orders == 1 and cents >= 400_00:
            effects.append(("r18", name, now))
        if user["deadline"] is not None:
            user["deadline"] = None
            self.r20.append("coupon")
            effects.append(("r20", name, now))

    def on_checkin(self, user: User, name: str, data: Json, now: float) -> None:
        venue = data["venue"]
        if venue == "flagship" and data["city"] == "Porto":
            self.effects.append(("r03", name, now))
        elif venue == "popup" and user["orders"] >= 3:
            self.effects.append(("r08", name, now))
        self.count(user, name, "r10", now, 5, WEEK, WEEK)

    def on_post(self, user: User, name: str, data: Json, now: float) -> None:
        words = data["words"]
        posts = user["posts"] = user["posts"] + 1
        if words >= 790:
            self.effects.append(("r04", name, now))
        if posts == 1 and words >= 720:
            self.effects.append(("r19", name, now))
        self.count(user, name, "r12", now, 3, DAY, WEEK)

    def on_open(self, user: User, name: str, data: Json, now: float) -> None:
        if data["build"] < 1010 and data["platform"] == "ios":
            self.effects.append(("r05", name, now))
        self.count(user, name, "r11", now, 15, WEEK, MONTH)

    def count(self, user: User, name: str, rule: str, now: float, wanted: int, within: float, quiet: float) -> None:
        """Fire when `wanted` events stand in the window, then stay quiet. Only the last `wanted` need be kept."""
        recent = user.setdefault(rule, [])
        recent.append(now)
        if len(recent) < wanted:
            return
        if len(recent) > wanted:
            del recent[0]
        if recent[0] > now - within and now >= self.quiet.get((rule, name), now):
            self.quiet[rule, name] = now + quiet
            self.effects.append((rule, name, now))


def read(path: Path) -> Iterator[Json]:
    """The events of a file that is in time order and has no repeats, as the plain workload is."""
    decode = msgspec.json.Decoder().decode
    with path.open("rb") as lines:
        for text in lines:
            yield decode(text)


def read_any(path: Path, until: datetime | None = None) -> list[Json]:
    """The events of any file: of a repeated id the first in the file stays, then sorted by (time, line)."""
    first: dict[str, Json] = {}
    for event in read(path):
        first.setdefault(event["id"], event)
    timed = [(datetime.fromisoformat(event["time"]), event) for event in first.values()]
    timed.sort(key=lambda pair: pair[0])
    return [event for instant, event in timed if until is None or instant <= until]


def replay(events: Iterable[Json], until: datetime | None = None) -> tuple[Campaigns, int]:
    """Run the rules over events in time order, to `until` or else to the last event."""
    campaigns, number, event = Campaigns(), 0, None
    handle = campaigns.handle
    for event in events:
        handle(event)
        number += 1
    end = until or (datetime.fromisoformat(event["time"]) if event else None)
    if end is not None:
        campaigns.finish(end.timestamp())
    return campaigns, number


def rows(campaigns: Campaigns) -> Iterator[tuple[str, str, str, datetime]]:
    """(rule, kind, user, instant) of every effect."""
    r20 = iter(campaigns.r20)
    for rule, user, moment in campaigns.effects:
        yield rule, GIVES.get(rule) or next(r20), user, datetime.fromtimestamp(moment, UTC)


def instant(text: str) -> datetime:
    """An instant with its offset, for command lines."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text}: an offset or Z is missing")
    return value.astimezone(UTC)


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("feed", type=Path)
    p.add_argument("--until", type=instant, help="end of the clock; without it the last event's time")
    return p.parse_args()


def main() -> int:
    args = parse_args()
    start = time.perf_counter()
    campaigns, number = replay(read(args.feed), args.until)
    seconds = time.perf_counter() - start
    counts = Counter(rule for rule, _, _ in campaigns.effects)
    report = {
        "events": number,
        "users": len(campaigns.users),
        "effects": dict(sorted(counts.items())),
        "seconds": seconds,
        "events_per_second": number / seconds,
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
