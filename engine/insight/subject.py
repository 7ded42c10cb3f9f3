"""One user as the store has it: state, journeys, and the timeline of what happened and what was done about it.

Rule 1: everything here is read; nothing is decided and nothing is written.
"""

from __future__ import annotations

from typing import Any

from engine.core.groups import NO_CARD, holders
from engine.core.instants import format_instant
from engine.core.model import DAY, Effect, Event, GoalWatch, Journey, State
from engine.core.plan import Plan, zone_of
from engine.core.subjects import GROUP, USER, kind_of, name_of
from engine.errors import ProgramError
from engine.ports import Store
from engine.registry import nearest


def known_user(store: Store, user: str) -> State:
    """The state of a subject; raises ProgramError, with the nearest id there is, when nothing is known of it."""
    state = store.load([user]).get(user)
    if state is not None:
        return state
    kind, name = kind_of(user), name_of(user)
    near = nearest(name, (name_of(it.id) for it in store.subjects() if kind_of(it.id) == kind))
    what = f"{kind} '{name}'" if name else "playbook about the program"
    raise ProgramError(f"there is no {what} in the store", hint=f"did you mean '{near}'?" if near else "")


def known_playbook(plan: Plan, playbook: str) -> None:
    """Raise ProgramError, with the nearest id there is, when the program runs no such playbook."""
    if playbook not in plan.by_id:
        near = nearest(playbook, plan.by_id)
        hint = f"did you mean '{near}'?" if near else "running: " + (", ".join(sorted(plan.by_id)) or "none")
        raise ProgramError(f"there is no running playbook '{playbook}'", hint=hint)


def instant(value: int | None) -> str | None:
    """An instant as text."""
    return None if value is None else format_instant(value)


def forgotten_words(until: int | None, more: str) -> list[str]:
    """What is to be said of somebody whose early events are forgotten, if they are."""
    if until is None:
        return []
    return [f"events up to {format_instant(until)} were forgotten (retention): {more}"]


def portrait(plan: Plan, store: Store, user: str, last: int | None = 50) -> dict[str, Any]:
    """Everything about a user or a group, ready for JSON.

    Parameters
    ----------
    plan, store, user: by what program, from where, about whom.
    last: how many of the newest lines of the timeline; None: all.
    """
    state = known_user(store, user)
    lines = timeline(store, user)
    shown = lines if last is None else lines[max(0, len(lines) - last) :]
    group = _as_group(plan, state, store.clock()) if kind_of(user) == GROUP else {}
    return {
        "user": user if kind_of(user) == USER else None,
        **group,
        "zone": zone_of(state, plan.env),
        "locale": state.traits.get("locale") or plan.env.locale,
        "created_at": instant(state.created_at),
        "last_active_at": instant(state.last_active),
        "looked_at": instant(state.clock),
        "wake_at": instant(state.wake_at),
        "traits": dict(sorted(state.traits.items())),
        "tiers": {name: place[0] for name, place in sorted(state.tiers.items())},
        "points": dict(sorted(state.points.items())),
        "points_pending": {name: n for name, it in sorted(state.purses.items()) if (n := it.waiting())},
        "points_lapse": {
            name: [{"at": instant(until), "points": n} for until, n in it.lots]
            for name, it in sorted(state.purses.items())
            if it.lots
        },
        "rewards": dict(sorted(state.rewards.items())),
        "badges": sorted(state.badges),
        "tags": sorted(state.tags),
        "segments": sorted(state.segments),
        "consents": dict(sorted(state.consents.items())),
        "groups": sorted(state.groups),
        "seats": [{"group": it.group, "room": it.room, "held_until": instant(it.until)} for it in state.holds],
        "tasks": [{"key": it.key, "title": it.title, "due": instant(it.due)} for it in state.tasks],
        "journeys": [journey_row(plan, it) for it in state.journeys],
        "goals": [goal_row(it) for it in state.goals if it.until >= state.clock],
        "forgotten_until": instant(store.forgotten(user)),
        "timeline": shown,
        "timeline_total": len(lines),
    }


def _as_group(plan: Plan, state: State, now: int) -> dict[str, Any]:
    """What a group has that users have not."""
    name = name_of(state.id)
    card = plan.env.cards.get(name, NO_CARD)
    said = {field: state.traits.get(field, card.get(field)) for field in ("title", "topic", "platform", "owner")}
    silent = None if state.last_active is None else max(0, now - state.last_active) // DAY
    return {"group": name, **said, "members": state.members, "roles": holders(state, now), "silent_days": silent}


def journey_row(plan: Plan, journey: Journey) -> dict[str, Any]:
    """A running journey: where it stands, until when, and by which version of its playbook.

    ``version`` is None before it begins; ``older`` tells that the program has a newer one since.
    """
    waiting = journey.waiting
    newest = plan.by_id.get(journey.playbook)
    return {
        "playbook": journey.playbook,
        "version": journey.version or None,
        "older": bool(journey.version) and (newest is None or newest.version != journey.version),
        "key": journey.key,
        "started": instant(journey.started),
        "stands_at": journey.at,
        "waits_for": None if waiting is None else waiting.kind,
        "until": None if waiting is None else instant(waiting.until),
        "held_out": journey.held,
    }


def goal_row(goal: GoalWatch) -> dict[str, Any]:
    """A goal that may still be reached."""
    return {
        "playbook": goal.playbook,
        "since": instant(goal.started),
        "until": instant(goal.until),
        "held_out": goal.held,
    }


def timeline(store: Store, user: str) -> list[dict[str, Any]]:
    """Events and effects of a user in the order they were decided, events before what followed from them."""
    found: list[tuple[tuple[int, int, int], dict[str, Any]]] = []
    for place, (event, clock) in enumerate(store.events(user)):
        found.append(((clock, 0, place), event_row(event)))
    for place, (effect, delivery) in enumerate(store.effects(user)):
        found.append(((effect.time, 1, place), effect_row(effect, delivery)))
    return [row for _, row in sorted(found, key=lambda it: it[0])]


def event_row(event: Event) -> dict[str, Any]:
    """An event as a line of the timeline."""
    return {
        "time": instant(event.time),
        "event": event.type,
        "id": event.id,
        "group": event.group,
        "internal": event.internal,
        "data": event.data,
    }


def effect_row(effect: Effect, delivery: str) -> dict[str, Any]:
    """An effect as a line of the timeline; ``delivery`` is how far its sending is."""
    return {
        "time": instant(effect.time),
        "effect": effect.kind,
        "key": effect.key,
        "playbook": effect.playbook,
        "step": effect.step,
        "status": effect.status,
        "reason": effect.reason,
        "delivery": delivery or None,
        "channel": effect.deliver,
        "detail": effect.detail,
    }
