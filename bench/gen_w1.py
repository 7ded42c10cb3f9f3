#!/usr/bin/env python3
"""Deterministic generator of workload W1: JSON-lines events for a campaign engine.

    python bench/gen_w1.py --events 1000000 --users 100000 --out w1.jsonl

Standard library only, seeded: the same arguments give the same bytes on every
machine (the last line printed is the SHA-256 of the file).  Every user starts
with `user.signup`, then lives for a while in bursts and goes quiet, so windowed
counts, inactivity timers and waits with a timeout all have something to do.
Events are sorted by time.  --dup repeats a share of events a little later (same
id, to test dedupe); --late moves a share of events back in the file order (their
`time` stays, so they arrive out of order).

The 20 W1 rules that go with it are in RULES below (printed by --rules); as
playbooks they are in `bench/w1/playbooks`, by hand in `bench/reference.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

RULES = """\
r01 event      order.paid      amount >= 485                                -> coupon
r02 event      order.paid      city in {Riga, Oslo} and amount >= 440       -> message
r03 event      checkin         city == Porto and venue == flagship          -> message
r04 event      community.post  words >= 790                                 -> coupon
r05 event      app.open        platform == ios and build < 1010             -> message
r06 event      user.signup     source == referral and city == Lyon          -> coupon
r07 event      order.paid      sku in {sku-7, sku-77, sku-177}              -> group invite
r08 event      checkin         venue == popup and user.orders >= 3          -> message
r09 window     order.paid      3 of amount >= 100 in 30 d (then 30 d quiet)  -> coupon
r10 window     checkin         5 in 7 d                   (then 7 d quiet)   -> message
r11 window     app.open        15 in 7 d                  (then 30 d quiet)  -> message
r12 window     community.post  3 in 1 d                   (then 7 d quiet)   -> group invite
r13 inactive   any event       7 d,  if user.orders >= 4                    -> message
r14 inactive   any event       14 d, if user.spend >= 1000                  -> coupon
r15 inactive   any event       30 d, if user.orders >= 3                    -> message
r16 spend      order.paid      user.spend crosses 1000                      -> group invite
r17 spend      order.paid      user.spend crosses 5000                      -> group invite
r18 first      order.paid      first one ever, if amount >= 400             -> coupon
r19 first      community.post  first one ever, if words >= 720              -> message
r20 steps      user.signup     if source == ads: wait order.paid for 3 d;
                               paid -> coupon, timed out -> message
"""

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000
CITIES = ["Riga", "Oslo", "Porto", "Lyon", "Gdansk", "Turin", "Graz", "Cork"]
VENUES = ["store", "store", "store", "store", "store", "store", "popup", "flagship"]
SOURCES = ["organic"] * 9 + ["referral"] * 2 + ["ads"]
PLATFORMS = ["ios", "android", "android", "web"]

Row = tuple[int, int, bool]
"""(time in ms since EPOCH, user, is this the sign-up)"""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--events", type=int, default=1_000_000)
    p.add_argument("--users", type=int, default=100_000)
    p.add_argument("--out", default="w1.jsonl", help="file to write ('-' for stdout)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--days", type=float, default=60.0, help="length of the simulated period")
    p.add_argument("--dup", type=float, default=0.0, help="share of events repeated later")
    p.add_argument("--late", type=float, default=0.0, help="share of events moved back in the file")
    p.add_argument("--rules", action="store_true", help="print the 20 rules and stop")
    return p.parse_args(argv)


def seeded(seed: int) -> random.Random:
    """A seeded generator: the workload is wanted the same every time, not unguessable."""
    return random.Random(seed)  # noqa: S311


def times(rng: random.Random, events: int, users: int, days: float) -> list[Row]:
    """Time, user and sign-up mark of every event, sorted by time."""
    span = days * DAY_MS
    weights = [min(rng.paretovariate(1.3), 60.0) for _ in range(users)]
    per_weight = (events - users) / sum(weights)
    rows: list[Row] = []
    carry = 0.0
    for user, weight in enumerate(weights):
        start = rng.random() * span * 0.85
        rows.append((int(start), user, True))
        carry += weight * per_weight
        count = int(carry)
        carry -= count
        # heavier users live longer; a fifth of the users stay to the end
        life = span - start
        if rng.random() > 0.2:
            life = min(life, rng.expovariate(1.0) * DAY_MS * (2 + count))
        rows += [(int(start + 1 + rng.random() * life), user, False) for _ in range(count)]
    while len(rows) < events:
        rows.append((int(span - rng.random() * 1000), rng.randrange(users), False))
    rows.sort()
    return rows[:events]


def stamp(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"


def payload(rng: random.Random, city: str, signup: bool) -> tuple[str, str]:
    """Type and data of one event. The order of the draws is part of the workload: do not rearrange."""
    draw = rng.random()
    if signup:
        return "user.signup", f'"source":"{SOURCES[rng.randrange(12)]}","city":"{city}"'
    if draw < 0.58:
        platform, build = PLATFORMS[rng.randrange(4)], 1000 + rng.randrange(400)
        return "app.open", f'"platform":"{platform}","build":{build},"city":"{city}"'
    if draw < 0.76:
        amount, sku = 5 + rng.random() ** 3 * 495, rng.randrange(500)
        return "order.paid", f'"amount":{amount:.2f},"sku":"sku-{sku}","city":"{city}"'
    if draw < 0.90:
        return "checkin", f'"venue":"{VENUES[rng.randrange(8)]}","city":"{city}"'
    return "community.post", f'"words":{1 + rng.randrange(800)},"city":"{city}"'


def line(rng: random.Random, number: int, row: Row) -> str:
    ms, user, signup = row
    kind, data = payload(rng, CITIES[user % 8], signup)
    return f'{{"id":"ev-{number:010d}","type":"{kind}","user":"u{user:07d}","time":"{stamp(ms)}","data":{{{data}}}}}\n'


def delayed(lines: list[str], extra: random.Random, share: float) -> list[str]:
    """The lines with a share of them moved back in the file."""
    for i in range(len(lines) - 1):
        if extra.random() < share:
            j = min(len(lines) - 1, i + 1 + extra.randrange(2000))
            lines[i], lines[j] = lines[j], lines[i]
    return lines


def repeated(lines: list[str], extra: random.Random, share: float) -> list[str]:
    """The lines with a share of them given once more, a little later."""
    keyed: list[tuple[float, str]] = list(enumerate(lines))
    keyed += [(i + 1 + extra.random() * 2000, text) for i, text in enumerate(lines) if extra.random() < share]
    keyed.sort(key=lambda pair: pair[0])
    return [text for _, text in keyed]


def make(args: argparse.Namespace) -> list[str]:
    """All lines of the workload."""
    rng = seeded(args.seed)
    rows = times(rng, args.events, args.users, args.days)
    lines = [line(rng, n, row) for n, row in enumerate(rows, 1)]
    extra = seeded(args.seed + 1)
    if args.late:
        lines = delayed(lines, extra, args.late)
    if args.dup:
        lines = repeated(lines, extra, args.dup)
    return lines


def write(lines: Sequence[str], out: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of what was written."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks(lines):
        digest.update(chunk)
        size += len(chunk)
        out.write(chunk)
    out.flush()
    return size, digest.hexdigest()


def chunks(lines: Sequence[str]) -> Iterable[bytes]:
    for start in range(0, len(lines), 10_000):
        yield "".join(lines[start : start + 10_000]).encode()


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.rules:
        print(RULES, end="")
        return 0
    if args.events < args.users:
        sys.exit("--events must be at least --users (every user signs up once)")
    lines = make(args)
    if args.out == "-":
        size, digest = write(lines, sys.stdout.buffer)
    else:
        with Path(args.out).open("wb") as out:
            size, digest = write(lines, out)
    print(f"{len(lines)} lines, {size} bytes, sha256 {digest}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
