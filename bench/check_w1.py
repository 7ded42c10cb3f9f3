#!/usr/bin/env python3
"""Compare `drumbeat simulate --effects` on workload W1 with the hand-written rules, effect by effect.

    python bench/check_w1.py w1.jsonl
    python bench/check_w1.py --events 50000 --users 4000 --seed 3 --late 0.05 --dup 0.05

Without a file a workload is made. Compared is the multiset of (rule, kind, user, instant, verdict); the one verdict but
"planned" that W1 knows is an invite while the last one to the same group is still open. Exit 1 when they differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import reference
from measure import BENCH, ChildFailed, drumbeat, measure, script

Key = tuple[str, str, str, datetime, str]
"""(rule, kind, user, instant, verdict)"""

SHOWN = 10
HOLD = timedelta(hours=48)


class Row(msgspec.Struct):
    """What is compared of a row of `--effects`."""

    time: datetime
    playbook: str | None
    kind: str
    user: str | None
    status: str
    reason: str | None = None


def effects(path: Path) -> Counter[Key]:
    """What the program under test decided."""
    decode = msgspec.json.Decoder(Row).decode
    found: Counter[Key] = Counter()
    with path.open("rb") as lines:
        for row in map(decode, lines):
            verdict = row.status if row.status == "planned" else f"{row.status}, {row.reason}"
            found[row.playbook or "", row.kind, row.user or "", row.time, verdict] += 1
    return found


def expected(feed: Path, until: datetime | None) -> Counter[Key]:
    """What the rules written by hand decide."""
    campaigns, _ = reference.replay(reference.read_any(feed, until), until)
    held: dict[tuple[str, str], datetime] = {}  # (rule, user) -> the end of the open invite
    found: Counter[Key] = Counter()
    for rule, kind, user, instant in reference.rows(campaigns):
        verdict = "planned"
        if kind == "invite":
            if instant <= held.get((rule, user), datetime.min.replace(tzinfo=UTC)):
                verdict = "denied, already"
            else:
                held[rule, user] = instant + HOLD
        found[rule, kind, user, instant, verdict] += 1
    return found


def simulate(program: Path, feed: Path, until: datetime | None, folder: Path) -> Path:
    """The effects file of a simulation."""
    out = folder / "effects.jsonl"
    end = ["--until", until.isoformat().replace("+00:00", "Z")] if until else []
    measure(drumbeat("simulate", "--program", program, "--events", feed, "--effects", out, *end), folder)
    return out


def differences(got: Counter[Key], want: Counter[Key]) -> list[str]:
    lines = []
    for title, extra in (("only in simulate", got - want), ("only by hand", want - got)):
        if extra:
            by_rule = ", ".join(f"{rule} {n}" for rule, n in sorted(Counter(k[0] for k in extra.elements()).items()))
            lines.append(f"{title}: {extra.total()} ({by_rule})")
            first = sorted(extra, key=lambda key: (key[3], key))[:SHOWN]
            lines += [
                f"  {rule} {kind} {user} {instant.isoformat()} {what}" for rule, kind, user, instant, what in first
            ]
    return lines


def compare(program: Path, feed: Path, until: datetime | None, folder: Path) -> int:
    want = expected(feed, until)
    found = differences(effects(simulate(program, feed, until, folder)), want)
    print("\n".join(found) if found else f"{want.total()} effects of {len({k[0] for k in want})} rules agree")
    return 1 if found else 0


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("feed", type=Path, nargs="?", help="events of W1; without it some are made")
    p.add_argument("--program", type=Path, default=BENCH / "w1", help="the playbooks (default: bench/w1)")
    p.add_argument("--until", type=reference.instant, help="end of the clock")
    for name, kind, default in (("events", int, 50_000), ("users", int, 4_000), ("seed", int, 1)):
        p.add_argument(f"--{name}", type=kind, default=default)
    for name in ("dup", "late"):
        p.add_argument(f"--{name}", type=float, default=0.0, help="as for gen_w1.py")
    return p.parse_args()


def made(args: argparse.Namespace, folder: Path) -> Path:
    feed = folder / "w1.jsonl"
    shape = [f"--{name}={getattr(args, name)}" for name in ("events", "users", "seed", "dup", "late")]
    measure(script("gen_w1.py", "--out", feed, *shape), folder)
    return feed


def main() -> int:
    args = parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            return compare(args.program, args.feed or made(args, folder), args.until, folder)
        except ChildFailed as error:
            print(error, file=sys.stderr)
            return 3


if __name__ == "__main__":
    sys.exit(main())
