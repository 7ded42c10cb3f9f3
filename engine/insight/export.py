"""Everything a store holds on a person, for the person: a right of theirs, and the proof that an erasure is whole.

Rule 1: nothing is left out because it is inconvenient; records in quarantine that name the person are part of it.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from engine.core.model import Decision
from engine.core.plan import Plan
from engine.insight.subject import instant, portrait
from engine.ports import Rejected, Store


def export(plan: Plan, store: Store, user: str) -> dict[str, Any]:
    """All that is kept of a user, ready for JSON; raises ProgramError when nothing is known of it.

    Parameters
    ----------
    plan, store, user: by what program, from where, about whom.
    """
    state = store.load([user]).get(user)
    kept = {} if state is None else msgspec.to_builtins(state)
    return {
        **portrait(plan, store, user, None),
        "history": {"series": kept.get("series", {}), "memory": kept.get("memory", {})},
        "effects": [
            {**msgspec.to_builtins(effect), "time": instant(effect.time), "delivery": delivery or None}
            for effect, delivery in store.effects(user)
        ],
        "outcomes": store.outcomes(user),
        "reservations": [msgspec.to_builtins(it) for it in store.answers(user).values()],
        "ledger": [{**msgspec.to_builtins(it), "time": instant(it.time)} for it in store.ledger(subject=user)],
        "decisions": [_decision(it) for it in store.decisions(user)],
        "inbox": [msgspec.to_builtins(event) for event in waiting(store, user)],
        "quarantine": [_record(it) for it in named(store, user)],
    }


def waiting(store: Store, user: str) -> list[Any]:
    """Events of a user that were taken in and are not decided."""
    found, after = [], 0
    while page := store.inbox(after, 5_000):
        found += [event for _, event in page if event.user == user]
        after = page[-1][0]
    return found


def named(store: Store, user: str) -> list[Rejected]:
    """Records in quarantine that hold the id."""
    name = user.encode()
    return [it for it in store.quarantine() if name in it.raw]


def _decision(it: Decision) -> dict[str, Any]:
    return {**msgspec.to_builtins(it), "time": instant(it.time)}


def _record(it: Rejected) -> dict[str, Any]:
    raw = base64.b64encode(it.raw).decode()
    return {"number": it.number, "feed": it.feed, "reason": it.reason, "at": instant(it.at), "raw_base64": raw}
