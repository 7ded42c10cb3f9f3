"""One timeline for all users: asks, some at once and some after a wait, that compete for a pool and for cap slots.

Design lines encoded (semantics.md, "order", "gates", "caps", "coupon", "branch, split, holdout"):

* decisions happen in the order (time, events before wake-ups, line), across all users: a wake-up of one user due before
  another user's event takes its coupon before it, one due at the very instant of that event takes it after it;
* a held-out subject walks the journey without external effects: its rows are ``held_out``, it takes nothing from a pool
  and no slot of a cap;
* one pool serves several playbooks, one cap sees the messages of all of them.

Kept out of the tests: the order of two wake-ups of the same instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import oracle_policies as policies
import oracle_scarce as scarce
import oracle_time as clock
from oracle_harness import Ev, Row, row


@dataclass
class Decision:
    """A step that runs: when, by an event (0) or a wake-up (1), for which ask."""

    time: int
    by_wake: int
    ask: Ev
    wait: int


def decisions(asks: Sequence[Ev], waits: dict[str, int], horizon: int) -> list[Decision]:
    """All decisions in the only order that counts."""
    found = [
        Decision(ask.time + waits[ask.type], 1 if waits[ask.type] else 0, ask, waits[ask.type])
        for ask in asks
        if ask.type in waits
    ]
    return sorted(
        (item for item in found if item.time <= horizon), key=lambda item: (item.time, item.by_wake, item.ask.line)
    )


def without_double_wakes(asks: Sequence[Ev], waits: dict[str, int]) -> list[Ev]:
    """The asks whose wake-ups have an instant of their own."""
    taken: set[int] = set()
    kept = []
    for ask in asks:
        due = ask.time + waits.get(ask.type, 0)
        if waits.get(ask.type):
            if due in taken:
                continue
            taken.add(due)
        kept.append(ask)
    return kept


def coupons(
    order: Sequence[Decision], pool: scarce.Pool, held_out: Callable[[str, str], bool], name: str
) -> tuple[list[Row], dict[tuple[int, str, str], set[str]]]:
    """The coupon rows; for a denied one also every true reason, by (time, playbook, user)."""
    rows: list[Row] = []
    reasons: dict[tuple[int, str, str], set[str]] = {}
    for item in order:
        book, user = item.ask.type, item.ask.user or ""
        detail = {"pool": name}
        if held_out(book, user):
            rows.append(row(item.time, book, "c", "coupon", user, detail, "held_out"))
            continue
        refused = pool.ask(item.time, user)
        rows.append(row(item.time, book, "c", "coupon", user, detail, "denied" if refused else "planned"))
        if refused:
            reasons.setdefault((item.time, book, user), set()).update(refused)
    return rows, reasons


def messages(
    order: Sequence[Decision], cap: policies.Cap, held_out: Callable[[str, str], bool], rules: dict[str, str]
) -> list[Row]:
    """The message rows under one cap that all playbooks share."""
    gates: dict[str, policies.Gate] = {}
    rows: list[Row] = []
    for item in order:
        book, user = item.ask.type, item.ask.user or ""
        detail = {"template": "x", "via": "box", "purpose": "service", "text": f"hi {user}"}
        if held_out(book, user):
            rows.append(row(item.time, book, "m", "message", user, detail, "held_out"))
            continue
        gate = gates.setdefault(user, policies.Gate(rules, [cap]))
        refused = gate.judge([], item.time, "service", "box")
        status = "suppressed" if refused else "planned"
        rows.append(row(item.time, book, "m", "message", user, detail, status, refused))
    return rows


def span_or_zero(text: str | None) -> int:
    """A wait in milliseconds, 0 for none."""
    return clock.span(text) if text else 0
