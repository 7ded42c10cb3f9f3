"""A program that chooses, draws and nominates, over a random crowd; and what ``run`` makes of it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Sequence

import msgspec
from semantics_kit import HEAD, Row, event

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, MINUTE, Effect

ANY = "entry: {mode: parallel, limit: unlimited}\n"
CATALOG = """\
segments: {core: {select: core}, reds: {select: reds}}
coupons:
  gift: {title: 礼, value: {off: 5}, codes: {generate: G}, valid_for: 7d, limits: {per_user: unlimited, total: 9}}
roles: {moderator: {per_members: 3, term: 8d, min_tenure: 2d}}
groups:
  tea: {title: 茶友, owner: li, rooms: [{id: t1, link: "https://g.example/t", capacity: 50}]}
  ink: {title: 书法, rooms: [{id: i1, link: "https://g.example/i", capacity: 50}]}
"""
BOOKS = {
    "core": "subject: program\ntrigger: {schedule: {every: 5d, audience: true}}\n" + ANY + """steps:
  - select: {name: core, score: 'count("a", within="9d")', size: [2, 4], cost: 'sum("a", "n")', ceiling: 60}
    id: pick
  - task: {assign: li, title: "{{ steps.pick.reason }}"}
    if: not steps.pick.published
""",
    "reds": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - select: {name: reds, score: 'count("a")', size: [1, 2], margin: 50}
""",
    "raffle": "subject: program\ntrigger: {event: go}\n" + ANY + """steps:
  - draw: {entrants: {event: a, within: 10d, where: event.n >= 1}, winners: 3, prize: gift, seed_from: 12h}
    id: lots
""",
    "private": "subject: group\ntrigger: {event: go}\n" + ANY + """steps:
  - draw: {entrants: 'in_segment("core") or count("a") >= 2', winners: 1, prize: gift, seed_from: 1h, per_user: 1}
""",
    "found": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - nominate: {role: moderator, top: 2, by: 'count("a")', where: not in_segment("reds"), assign: wu, due: 4d}
    id: found
  - task: {assign: wu, title: "{{ steps.found.appointed | length }}"}
""",
    "board": "subject: group\ntrigger: {event: choose}\n" + ANY + """steps:
  - rank: {name: board, by: 'count("a", within="9d")', top: 2, where: 'bucket("out") < 8000', show: user.code}
    id: board
  - task: {assign: li, title: "{{ steps.board.size }} of {{ steps.board.ranked }}"}
""",
    "placed": "trigger: {event: rank.placed}\n" + ANY + "steps:\n  - set: {user.place: \"{{ event.place }}\"}\n",
    "in": "trigger: {segment: {enters: core}}\n" + ANY + "steps:\n  - tag: {add: [core]}\n",
    "out": "trigger: {event: selection.left}\n" + ANY + "steps:\n  - tag: {remove: [core]}\n",
    "won": "trigger: {event: draw.won}\n" + ANY + "steps:\n  - set: {user.code: \"{{ event.place }}\"}\n",
    "closed": "trigger: {event: draw.closed}\n" + ANY + "steps:\n  - points: 1\n    if: not event.won\n",
    "role": "trigger: {event: [role.granted, role.expiring, role.revoked]}\n" + ANY
    + "steps:\n  - set: {user.role: \"{{ event.type }}\"}\n",
}  # fmt: skip
START = "2026-03-01T00:00:00Z"


def crowd(seed: int, size: int = 120, users: int = 9) -> list[Row]:
    """Random events: people do things, join and leave groups, are erased; draws and choices begin."""
    rng = random.Random(seed)
    at, rows = parse_instant(START), []
    for number in range(size):
        at += rng.choice([0, 0, MINUTE, HOUR, 3 * HOUR, 9 * HOUR, DAY // 2])
        type_ = rng.choice(["a"] * 8 + ["group.joined"] * 3 + ["group.left", "go", "choose", "choose", "user.deleted"])
        user: str | None = f"u{rng.randrange(users)}"
        if type_ == "user.deleted" and rng.random() < 0.5:
            type_ = "a"
        row = event(f"e{number:03d}", type_, format_instant(at), user, n=rng.randrange(4))
        if type_ in ("go", "choose"):
            row["user"] = None if rng.random() < 0.5 else "op"  # who is erased takes what he began from the record
        if type_.startswith("group.") or row["user"] is None:
            row["group"] = rng.choice(["tea", "tea", "ink"])
        rows.append(row)
    return rows


def answers(seed: int, effects: Sequence[Row]) -> list[Row]:
    """Words about the proposals of a simulation: some approved, some declined, some never."""
    rng, rows = random.Random(seed), []
    for number, row in enumerate(it for it in effects if it["kind"] == "task" and it["group"] is not None):
        if "outcomes" not in row["detail"] or rng.random() < 0.3:
            continue
        time = format_instant(parse_instant(row["time"]) + rng.choice([HOUR, DAY, 3 * DAY, 6 * DAY]))
        data = {"task": row["key"], "outcome": rng.choice(["approve", "approve", "decline", "odd"]), "by": "wu"}
        rows.append({**event(f"t{number:03d}", "task.done", time, None, **data), "group": row["group"]})
    return rows


def merged(*parts: Sequence[Row]) -> list[Row]:
    """Records in order of time."""
    return sorted((row for part in parts for row in part), key=lambda row: row["time"])


def plain(row: Effect) -> Row:
    """An effect of a store as a row of a simulation."""
    names = ("key", "time", "playbook", "step", "kind", "user", "group", "status", "reason", "detail")
    found = {name: getattr(row, name) for name in names} | {"time": format_instant(row.time)}
    return dict(json.loads(msgspec.json.Encoder(decimal_format="number").encode(found)))


def brief(row: Row, gone: Collection[str] = ()) -> str:
    """What two stores say alike of a row: nothing that hangs on a secret, and nobody by name who was erased.

    Parameters
    ----------
    gone: who was erased at any time.
    """
    kind, user = row["kind"], row["user"]
    if kind in ("points", "set", "coupon") or user in gone or (user or "").startswith("erased-"):
        return "" if kind in ("points", "set", "coupon") else " ".join((row["key"], kind, row["status"]))
    detail = row["detail"]
    if kind == "draw":
        detail = {name: detail.get(name) for name in ("prize", "without_prize")}
    if "candidate" in detail:
        detail = {**detail, "title": None}
    text = json.dumps({**row, "detail": detail}, sort_keys=True)
    for name in gone:
        text = text.replace(f'"{name}"', '"gone"')
    return re.sub(r'"erased-[0-9a-f]+"', '"gone"', text)


__all__ = ["BOOKS", "CATALOG", "HEAD", "answers", "brief", "crowd", "merged", "plain"]
