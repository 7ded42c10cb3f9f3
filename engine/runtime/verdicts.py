"""What becomes of a message after a try: one logic for every channel, whichever thread it was sent in.

Rule 1: where nobody knows whether it went out, it is either sent again with the same key or parked; never both.
Rule 2: a failure that may pass is tried again after growing, spread pauses: so often, and for so long, as the channel
says. What would be tried later than the provider knows its key is given up instead, for a person to decide.
Rule 3: a provider that asks to be left alone has refused nothing: that was no try, and only the time for tries ends it.
The same goes for a message that was only sent to see whether the provider works again.
Rule 4: the next channel has its try only when the one before said that it did not and will not send the message. What
may have gone out, and what was given up after many tries, never moves on.
Rule 5: who waits for the answer of a request is told it, or that there will be none, in the transaction that settles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from engine.actions.webhook import ANSWERED
from engine.core.chance import BUCKETS, bucket
from engine.core.couponing import unsent
from engine.core.model import HOUR, SECOND, Event
from engine.core.subjects import receiver_of, subject_of
from engine.ports import Channel, Outgoing, Pace, Sent, Settlement
from engine.runtime.claims import refused_for_good

MAX_ATTEMPTS = Pace().attempts
"""Tries before a message is given up, where the channel says nothing else."""

LONGEST_PAUSE = HOUR
"""Longest time a provider may ask to be left alone; of a longer one it is reminded."""

HORIZON = "retry horizon"
"""What the reason of a message begins with that was parked because the provider forgets its key."""

_FIRST_DELAY = 30 * SECOND
_LONGEST_DELAY = HOUR
_ANY = 1 << 62
_LARGEST_BODY = 64 * 1024
_UNKNOWN = "nobody knows whether it was sent"
_write = msgspec.json.Encoder(decimal_format="number").encode
_read = msgspec.json.Decoder(float_hook=Decimal).decode

Resend = Callable[[Outgoing, str, "Terms", int], Settlement]


@dataclass(frozen=True)
class Terms:
    """What a channel says about trying again."""

    attempts: int  #: tries before a message is given up
    horizon: int | None  #: microseconds after the first try in which it may be tried again; None: at any time
    mode: str | None  #: at_most_once | at_least_once; None: as the purpose of the message demands

    @classmethod
    def of(cls, channel: Channel) -> Terms:
        """The terms of a channel; one without a pace writes to this machine, where no key is forgotten."""
        pace: Pace | None = getattr(channel, "pace", None)
        mode: str | None = getattr(channel, "mode", None)
        return cls(MAX_ATTEMPTS, None, mode) if pace is None else cls(pace.attempts, pace.horizon, mode)

    def for_probe(self) -> Terms:
        """The same for a message that is sent to see whether the provider works: only the horizon ends its tries."""
        return replace(self, attempts=_ANY)

    def parks(self, item: Outgoing) -> bool:
        """Whether a message that may have been sent is parked: the channel says so, or its purpose."""
        return parked_by(self.mode, item)

    def too_late(self, item: Outgoing, at: int) -> bool:
        """Whether a try at an instant would come when the provider may have forgotten the key."""
        return self.horizon is not None and item.first is not None and at > item.first + self.horizon


def parked_by(mode: str | None, item: Outgoing) -> bool:
    """Whether a channel of a mode parks a message that may have been sent."""
    return mode == "at_most_once" if mode is not None else item.effect.purpose == "marketing"


def backoff(key: str, tries: int) -> int:
    """Microseconds until the next try: exponential, spread by a hash of the key over the whole span."""
    span = min(_LONGEST_DELAY, _FIRST_DELAY << min(tries - 1, 16))
    return span * (bucket(f"retry/{tries}", key) + 1) // BUCKETS


def failed(answer: Sent) -> bool:
    """Whether an answer speaks against the provider's health."""
    return not answer.ok and (answer.unknown or (answer.passing and pause_of(answer) is None))


def pause_of(answer: Sent) -> int | None:
    """How long the whole channel is to be left alone after an answer; None: the provider asks for nothing."""
    asked = answer.retry_after
    return min(asked, LONGEST_PAUSE) if asked is not None and asked > 0 else None


def verdict(item: Outgoing, answer: Sent, terms: Terms, now: int) -> Settlement:
    """What becomes of a message its channel has answered for."""
    if answer.ok:
        return Settlement(item.key, "sent", receipt=answer.receipt)
    reason = answer.reason or "refused by the channel"
    if answer.unknown:
        return doubt(item, reason, terms, now, again)
    pause = pause_of(answer)
    if answer.passing and pause is not None:
        if terms.too_late(item, now + pause):
            return _parked(item, reason)
        return Settlement(item.key, "retry", reason, now + pause, uncounted=True)
    return again(item, reason, terms, now) if answer.passing else refused_for_good(item, reason)


def doubt(item: Outgoing, why: str, terms: Terms, now: int, resend: Resend) -> Settlement:
    """What becomes of a message that may have been sent."""
    if terms.parks(item):
        return Settlement(item.key, "unknown", f"{_UNKNOWN}: {why}")
    return resend(item, why, terms, now)


def doubts(
    items: Sequence[Outgoing], proven: set[str], why: str, terms: Terms, now: int, resend: Resend
) -> list[Settlement]:
    """As ``doubt``, for several; what the channel's own records show as sent is sent."""
    return [
        Settlement(item.key, "sent") if item.key in proven else doubt(item, why, terms, now, resend) for item in items
    ]


def proof(channel: Channel, items: Sequence[Outgoing]) -> set[str]:
    """Keys that went out, as far as the channel can tell from its own records."""
    written = getattr(channel, "written", None)
    return set() if written is None else set(written([item.key for item in items]))


def again(item: Outgoing, why: str, terms: Terms, now: int) -> Settlement:
    """Another try later, or the end of them."""
    tries = item.attempts + 1
    if tries >= terms.attempts:
        return Settlement(item.key, "dead", f"given up after {tries} tries: {why}")
    at = now + backoff(item.key, tries)
    return _parked(item, why) if terms.too_late(item, at) else Settlement(item.key, "retry", why, at)


def at_once(item: Outgoing, why: str, terms: Terms, now: int) -> Settlement:
    """Another try without delay: it was we who broke, not the provider. The store has counted the broken try."""
    if item.attempts >= terms.attempts:
        return Settlement(item.key, "dead", f"given up after {item.attempts} tries: {why}")
    return Settlement(item.key, "retry", why, now)


def overdue(item: Outgoing, terms: Terms, now: int) -> Settlement | None:
    """The end of a claimed message whose time for tries is over; None where it is not."""
    return _parked(item, "its next try would come too late") if terms.too_late(item, now) else None


def _parked(item: Outgoing, why: str) -> Settlement:
    return Settlement(item.key, "dead", f"{HORIZON}: {why}")


def told(item: Outgoing, settlement: Settlement, answer: Sent | None, now: int) -> list[Event]:
    """What the end of a delivery means for others: a journey that waits for it, coupons nobody will hear of."""
    found = _answer(item, settlement, answer, now)
    lost = unsent(item.effect, now) if item.effect.carries and settlement.status in ("dead", "cancelled") else []
    return lost if found is None else [found, *lost]


def _answer(item: Outgoing, settlement: Settlement, answer: Sent | None, now: int) -> Event | None:
    """The event that tells a waiting journey how its request ended; None where it has not, or nobody waits."""
    if item.effect.kind != "webhook" or settlement.status not in ("sent", "dead", "cancelled"):
        return None
    final = answer is not None and not answer.passing and not answer.unknown
    status = answer.status if answer is not None and final else None
    if settlement.status == "sent" and status is None:
        return None
    return answered(item, status, None if answer is None else answer.body, now)


def answered(item: Outgoing, status: int | None, body: object, now: int) -> Event:
    """``webhook.answered`` of a request; one a key, so a journey hears of one answer only. Status None: given up."""
    data = {"webhook": item.key, "status": status, "body": _kept(body) if status is not None else None}
    effect = item.effect
    user, group = receiver_of(subject_of(effect.user, effect.group))
    return Event(f"answer:{item.key}", ANSWERED, now, user, group, data, internal=True)


def _kept(body: object) -> Any:
    """A body as a record can hold it: exact numbers, and none where it is no JSON or larger than an event may be."""
    try:
        raw = _write(body)
        return _read(raw) if len(raw) <= _LARGEST_BODY else None
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
