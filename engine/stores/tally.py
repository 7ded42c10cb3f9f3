"""What a store derives from a batch in the same way as every other store: figures, grants, who asked, what is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from engine.core.model import Effect, Entry, Event
from engine.core.subjects import subject_of
from engine.ports import Batch

COUNTERS = ("duplicate", "events", "late", "quarantined")
"""Counters that every store shows, also while they are 0."""

FIGURES = ("entered", "held", "goals", "goals_held", "finished", "exited", "effects")
"""Figures kept of each playbook; ``held`` of the ``entered``, and ``goals_held`` of the ``goals``, were held out."""


def counters(batch: Batch, cancelled: int = 0) -> Counter[str]:
    """What the batch adds to the counters of the whole life; ``cancelled``: how many deliveries it took back."""
    found: Counter[str] = Counter()
    if batch.effects:
        kinds = Counter((it.kind, it.status) for it in batch.effects)
        found.update({f"effects.{kind}.{status}": n for (kind, status), n in kinds.items()})
    if batch.events:
        found["events"] = len(batch.events)
    if batch.rejected:
        found["quarantined"] = len(batch.rejected)
    if batch.counts:
        found.update(batch.counts)
    if cancelled:
        found["cancelled"] = cancelled
    return found


def figures(batch: Batch) -> Counter[tuple[str, str]]:
    """What the batch adds to the figures of playbooks: (playbook, figure) -> n."""
    found: Counter[tuple[str, str]] = Counter()
    for playbook, what, held in batch.lives:
        found[playbook, what] += 1
        if held and what == "entered":
            found[playbook, "held"] += 1
    for playbook, _, _, held, _ in batch.goals:
        found[playbook, "goals"] += 1
        if held:
            found[playbook, "goals_held"] += 1
    for effect in batch.effects:
        if effect.playbook is not None:
            found[effect.playbook, "effects"] += 1
    return found


def grants(batch: Batch) -> list[tuple[str, str, str]]:
    """Coupon codes given away by the batch: (code, pool, effect key)."""
    return [
        (it.detail["code"], str(it.detail.get("pool")), it.key)
        for it in batch.effects
        if it.kind == "coupon" and it.status == "planned" and it.detail.get("code") is not None
    ]


def askers(batch: Batch) -> dict[str, str]:
    """Key of an answer -> subject that asked; without a word from the caller the subject of the effect of that key."""
    if not batch.answers:
        return {}
    keys = {answer.key for answer in batch.answers}
    found = {it.key: subject_of(it.user, it.group) for it in batch.effects if it.key in keys}
    found.update(batch.askers)
    return found


def first_delivery(effect: Effect) -> str | None:
    """Where an effect stands in the outbox when it is decided: ``pending``, or None when there is nothing to send."""
    return "pending" if effect.deliver is not None and effect.status == "planned" else None


def asked_for(entry: Entry, subject: str | None, book: str | None, name: str | None) -> bool:
    """Is an entry one of those a reader of the ledger wants; None: whichever it is."""
    if subject is not None and entry.subject != subject:
        return False
    return (book is None or entry.book == book) and (name is None or entry.name == name)


_OWN = ("subject", "text", "html", "fields")  #: what of a message each channel has in its own words


def carried(effect: Effect, channel: str) -> Effect:
    """A message as one of its channels carries it: the words and the address differ."""
    for spare in effect.spares:
        if spare.channel == channel:
            detail = {name: value for name, value in effect.detail.items() if name not in _OWN}
            detail["via"] = channel
            if spare.subject is not None:
                detail["subject"] = spare.subject
            detail["text"] = spare.text
            if spare.html:
                detail["html"] = True
            if spare.fields:
                detail["fields"] = spare.fields
            return structs.replace(effect, deliver=channel, to=spare.to, detail=detail)
    return effect


def summary(rows: list[tuple[str, str, int]]) -> dict[str, Any]:
    """Figures as the port shows them, from (playbook, figure, n)."""
    shown: dict[str, Any] = {}
    for playbook, figure, n in sorted(rows):
        shown.setdefault(playbook, dict.fromkeys(FIGURES, 0))[figure] = n
    return shown


def first_copies(events: Sequence[tuple[Event, bytes]], taken: set[str]) -> list[Event]:
    """The events whose id was not taken before them; adds their ids to ``taken``."""
    fresh = []
    for event, _ in events:
        if event.id not in taken:
            taken.add(event.id)
            fresh.append(event)
    return fresh
