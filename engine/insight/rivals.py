"""Who lost to whom: for each two playbooks how often one was kept out because the other had taken the place.

Rule 1: every reason for which something is not done is either counted here or stands in ``ALONE`` with why it is no
loss to another playbook; a test walks the reasons, so none is forgotten.
Rule 2: a loss to several counts for each of them; a playbook that was in its own way loses to itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from engine.core.moving import MOVES
from engine.core.plan import Playbook
from engine.core.policies import Cap
from engine.insight.campaigns import exit_of
from engine.insight.tables import Source, Span

NOBODY: Final = "?"
"""Stands for whoever cannot be told any more: the caps of the program have changed since."""

COLLIDES: Final = {
    "cap": ("message", "post"),
    "quota": ("message",),
    "expired": ("message",),
    "fatigue": ("message",),
    "per_user": ("coupon", "redeem"),
    "sold_out": ("coupon", "redeem"),
    "budget": ("coupon",),
    "per_day": ("coupon",),
    "full": ("invite",),
    "waitlist": ("invite",),
    "already": ("invite", "badge"),
}
"""Reason of a refusal -> the kinds of effects of which somebody else may have had the place."""

LIMIT, LIMIT_WAITED, EXIT = "limit", "limit_wait", "exit"
"""Reasons of those who have no row: over the entry limit, for good or until the next window; ended by an ``exit``."""

ALONE: Final = {
    "holdout": "drawn, by the playbook's own holdout",
    "arm": "drawn, by the playbook's own split",
    "control_group": "drawn for the whole program: no playbook has them",
    "shadow": "the playbook only watches",
    "freeze": "a day on which everybody is silent",
    "consent": "the user's own word",
    "no_address": "nothing known to write to",
    "missing_variable": "a value was not there",
    "render": "the template failed",
    "error": "a value could not be worked out",
    "expired": "of no use any more, where no cap was in the way",
    "condition": "what it waited for made its condition untrue",
    "no_channel": "the group has no channel",
    "depth": "a chain of events that has gone on for too long",
    "no_template": "nothing is written for the channel",
    "no_match": "no group fits the person",
    "already": "a referral was taken before: a code counts once, whoever asks",
    "insufficient": "the points are the person's own, and so is what they were spent on",
    "too_few": "too few were found",
    "ceiling": "the ceiling of cost was reached",
    "unknown_code": "nobody's code",
    "own_code": "the person's own code",
    "same_": "inviter and invited have a field in common",
    "per_inviter": "the inviter has brought as many as count",
    "no_code": "no code was given",
    "not_running": "the playbook that was to be started does not run",
    "unknown": "nothing was said",
}
"""Reason -> why what it refuses was not taken by another playbook."""


def collisions(source: Source, span: Span) -> list[dict[str, Any]]:
    """Rows of who lost, to whom, why and how often; the most frequent first.

    A message or post that found a cap or quota used up, or was of no use by the time there was room, lost to every
    playbook whose messages had filled it, each counted once; what a user might have but once lost to whoever had given
    it; what was used up lost to every playbook that had taken some; who was over an entry limit lost to those who had
    entered; a journey that an ``exit`` ended lost to the playbook whose step made the event.
    """
    counts = Counter(_capped(source, span))
    for query in ("had_before", "taken"):
        for lost_by, winner, reason, count in source.tables.rows(query, span.first, span.last):
            counts[lost_by, winner, reason] += count
    for name, waits, count in source.tables.rows("over_limit", span.first, span.last):
        counts[name, name, LIMIT_WAITED if waits else LIMIT] += count
    counts.update(_ended(source, span))
    return [
        {"lost": loser, "to": winner, "reason": reason, "count": count}
        for (loser, winner, reason), count in sorted(counts.items(), key=lambda it: (-it[1], it[0]))
    ]


_Loss = tuple[str, str, str]  # who lost, to whom, why

# ---------------------------------------------------------------------- caps


def _capped(source: Source, span: Span) -> Iterator[_Loss]:
    """Losses to caps and quotas: who had sent what filled them."""
    window = source.plan.cap_window
    slots = _by_subject(source.tables.pages("capped_slots", span.first, span.last, window))
    subject, held = next(slots, (None, []))
    for loser, rows in _by_subject(source.tables.pages("capped", span.first, span.last)):
        while subject is not None and subject < loser:
            subject, held = next(slots, (None, []))
        for lost in rows:
            for winner in _winners(source, lost, held if subject == loser else []):
                yield lost[2], winner, lost[5]


def _by_subject(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for subject, own in groupby(rows, key=lambda it: it[0]):
        yield subject, list(own)


def _winners(source: Source, lost: tuple[Any, ...], held: list[tuple[Any, ...]]) -> set[str]:
    """Whose messages filled the caps that refused one; nobody's where a cap lets nothing through at all."""
    subject, now, name, purpose, channel, reason = lost
    zone = source.zone_of(subject) or source.zone
    before = [(it[1], it[3], it[4]) for it in held]
    found: set[str] = set()
    closed = reason == "expired"  # most of these met no cap
    for cap in _limits(source, name, purpose, channel, reason):
        closed = closed or not cap.most
        taken = cap.counted(before, now, zone)
        if cap.most and len(taken) >= cap.most:
            found |= {held[place][2] for place in taken}
    return found or (set() if closed else {NOBODY})


def _limits(source: Source, name: str, purpose: str, channel: str, reason: str) -> list[Cap]:
    """The caps that may have refused a message; a post does not say by which channel it would have gone."""
    book = source.plan.by_id.get(name)
    if book is None:
        return []
    caps = [it for it in book.policy.caps if it.concerns(purpose, channel or it.channel or "")]
    info = source.plan.channels.get(channel)
    quotas = [] if info is None or info.quota is None else [info.quota.open_to(book.priority)]
    return {"cap": caps, "quota": quotas}.get(reason, caps + quotas)


# ---------------------------------------------------------------------- exits


def _ended(source: Source, span: Span) -> Iterator[_Loss]:
    """Journeys that ended because of what a step of another playbook did, each counted once for each of them.

    What was told to many at once is not traced back to who told it.
    """
    found = set()
    for name, subject, place, instant, move, segment, other, step, emitted in source.tables.rows(
        "ended_by", span.first, span.last
    ):
        spec = exit_of(source.plan.by_id.get(name), place)
        if spec is None:
            continue
        if move is not None:
            ended = spec.segment == segment and move == MOVES[spec.moves or ""]
        else:
            ended = bool(spec.events & _told(source.plan.by_id.get(other), step, emitted))
        if ended:
            found.add((name, subject, instant, other))
    return ((name, other, EXIT) for name, _, _, other in found)


def _told(book: Playbook | None, step: str | None, emitted: str | None) -> set[str]:
    """The types of events a step makes."""
    if emitted is not None:
        return {emitted}
    node = None if book is None else book.nodes.get(step or "")
    return set() if node is None or node.action is None else {type_ for type_, _ in node.action.tells()}
