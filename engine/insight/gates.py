"""Where a subject stands before the gates of a playbook at one instant: may it enter, may its messages go.

Rule: what is asked here is what the core asks, with its own functions; nothing is decided.
"""

from __future__ import annotations

from typing import Any

from engine.actions.message import SendMessage
from engine.core import localtime
from engine.core.chance import BUCKETS
from engine.core.fold import consent_given
from engine.core.instants import format_instant
from engine.core.model import State
from engine.core.plan import Plan, Playbook, zone_known, zone_of
from engine.core.policies import DRAW, EXEMPT, NEVER, consents
from engine.core.subjects import USER


def gates(plan: Plan, playbook: Playbook, state: State, now: int) -> list[dict[str, Any]]:
    """Each gate with whether it would let the subject through at an instant, and what it goes by.

    Rows ``{"gate", "open", "text", "until", "step"}``: ``until`` is when a closed one may open by time alone, ``step``
    None for the gates of the entry. A ``key`` of the entry is left out: which one comes is not known before.
    """
    part = plan.part(state.id)
    rows = _entry(playbook, state, now, zone_of(state, part.env))
    if playbook.holdout is not None:
        drawn = part.env.draw(playbook.id, playbook.holdout.salt, state.id)
        held = drawn < playbook.holdout.percent
        rows.append(_row("holdout", not held, f"drew {drawn} of {BUCKETS}, held out below {playbook.holdout.percent}"))
    if playbook.subject != USER:
        return rows
    for id_, node in playbook.nodes.items():
        if isinstance(node.action, SendMessage):
            rows += [{**it, "step": id_} for it in _message(plan, playbook, node.action, state, now)]
    return rows


def _row(gate: str, open_: bool, text: str, until: int | None = None) -> dict[str, Any]:
    return {"gate": gate, "open": open_, "text": text, "until": None if until is None else format_instant(until),
            "step": None}  # fmt: skip


def _entry(playbook: Playbook, state: State, now: int, zone: str) -> list[dict[str, Any]]:
    entry, place = playbook.entry, f"{playbook.id}|"
    running = sum(it.playbook == playbook.id for it in state.journeys)
    if playbook.status == "paused":
        return [_row("status", False, "paused: nobody enters and nothing moves")]
    if entry.mode == "once":
        before = any(it.startswith(place) for it in state.entered)
        rows = [_row("entry", not before, "once: entered before" if before else "once: not entered yet")]
    elif entry.mode == "single":
        rows = [_row("entry", not running, "single: a journey is running" if running else "single: none is running")]
    else:
        rows = [_row("entry", True, f"{entry.mode}: {running} running")]
    pause, end = entry.again_after, state.ends.get(place)
    if pause is not None and end is not None and (not running or entry.mode == "parallel"):
        free = pause.after(end, zone)
        text = f"again_after {pause.text}, ended {format_instant(end)}"
        rows.append(_row("again_after", now >= free, text, free if now < free else None))
    if entry.limit is not None:
        text = f"limit {entry.limit.count}/{entry.limit.per} of the whole playbook; who is over it {entry.on_limit}s"
        rows.append({**_row("limit", True, text), "open": None})
    return rows


def _message(plan: Plan, playbook: Playbook, it: SendMessage, state: State, now: int) -> list[dict[str, Any]]:
    policy, zone = playbook.policy, zone_of(state, plan.env)
    tz = localtime.zone(zone) or localtime.UTC
    rows = []
    if plan.control is not None:
        drawn = plan.env.drawn.get((DRAW["control_group"], state.id)) if plan.env.drawn else None
        if it.purpose in plan.control.purposes:
            kept = plan.control.holds(state.id, it.purpose, drawn)
            text = f"{plan.control.percent / 100:g} % get no {it.purpose}"
            rows.append(_row("control_group", not kept, text))
    freeze = policy.freeze
    if freeze is not None and it.purpose in freeze.purposes:
        day = localtime.local_date(now, tz)
        name = next((one for one in freeze.calendars if plan.calendars[one].contains(day)), None)
        lies = f"lies in '{name}'" if name else f"is no day of {', '.join(freeze.calendars)}"
        text = f"{day.isoformat()} in {zone} {lies}"
        rows.append(_row("freeze", name is None, text))
    rule = policy.consent.get(it.purpose, "required")
    for name in it.via:
        given = consent_given(state, name, it.purpose)
        word = {True: "granted", False: "revoked", None: "never given"}[given]
        rows.append(_row("consent", consents(rule, given), f"{it.purpose} by {name} is {rule}, and was {word}"))
        trait = plan.channels[name].address
        if trait is not None and it.to is None:
            there = bool(state.traits.get(trait))
            rows.append(_row("address", there, f"{name} needs user.{trait}, which is {'there' if there else 'empty'}"))
    if policy.quiet is not None and it.purpose != EXEMPT:
        drawn = plan.env.drawn.get((DRAW["quiet_hours"], state.id)) if plan.env.drawn else None
        release = policy.quiet.release(now, state.id, tz, drawn)
        local = localtime.local_datetime(now, tz).strftime("%H:%M")
        assumed = "" if zone_known(state) else " (zone assumed)"
        text = f"quiet {policy.quiet.text}, {local} in {zone}{assumed}"
        rows.append(_row("quiet_hours", release <= now, text, release if release > now else None))
    return rows + _caps(plan, playbook, it, state, now, tz)


def _caps(plan: Plan, playbook: Playbook, it: SendMessage, state: State, now: int, tz: Any) -> list[dict[str, Any]]:
    rows = []
    for name in it.via:
        caps = [("cap", cap) for cap in playbook.policy.caps if cap.concerns(it.purpose, name)]
        quota = plan.channels[name].quota
        if quota is not None:
            caps.append(("quota", quota.open_to(playbook.priority)))
        for gate, cap in caps:
            free = cap.full_until(state.slots, now, tz)
            first = now - cap.reach
            taken = sum(at > first and cap.concerns(purpose, channel) for at, purpose, channel in state.slots)
            text = f"{it.purpose} by {name}: at most {cap.most} a {cap.unit}" if cap.per is None else (
                f"{it.purpose} by {name}: {taken} of {cap.most} in {_length(cap.per)}"
            )
            rows.append(_row(gate, free is None, text, None if free is None or free >= NEVER else free))
    return rows


def _length(micros: int) -> str:
    seconds = micros // 1_000_000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
