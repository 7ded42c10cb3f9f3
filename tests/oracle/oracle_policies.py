"""Consent and rolling caps in front of a message.

Design lines encoded (semantics.md, "consent", "gates", "caps"; the brief for the events' data):

* per purpose and channel: ``required`` (a grant is needed), ``opt_out`` (unless revoked), ``none``;
  ``consent.granted`` / ``consent.revoked`` carry ``{purpose, channel}``, an absent one means all of them; the
  latest event that covers the message's purpose and channel decides;
* consent stands before the cap in the order of gates, the first that refuses names the reason; a suppressed message
  has its row and takes no slot;
* rolling caps ``{purpose?, channel?, max, per}``: at most ``max`` messages that passed all gates in ``(t-per, t]``,
  so one slot is free again exactly ``per`` later; every cap that covers the message must have a slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from oracle_harness import Ev


@dataclass
class Cap:
    """One line of ``caps``."""

    max: int
    per: int
    purpose: str | None = None
    channel: str | None = None

    def covers(self, purpose: str, channel: str) -> bool:
        """Does this cap speak of such a message?"""
        return self.purpose in (None, purpose) and self.channel in (None, channel)


def consented(history: Sequence[Ev], rule: str, purpose: str, channel: str) -> bool:
    """May a message of this purpose go through this channel?"""
    if rule == "none":
        return True
    last: str | None = None
    for event in history:
        if event.type not in ("consent.granted", "consent.revoked"):
            continue
        if event.data.get("purpose", purpose) == purpose and event.data.get("channel", channel) == channel:
            last = event.type
    if rule == "required":
        return last == "consent.granted"
    return last != "consent.revoked"


@dataclass
class Gate:
    """One user's way through consent and caps; ``sent`` is what passed: (time, purpose, channel)."""

    rules: dict[str, str]
    caps: Sequence[Cap]
    sent: list[tuple[int, str, str]] = field(default_factory=list)

    def judge(self, history: Sequence[Ev], now: int, purpose: str, channel: str) -> str | None:
        """The reason for which the message is suppressed, None when it goes out and takes its slots."""
        if not consented(history, self.rules[purpose], purpose, channel):
            return "consent"
        for cap in self.caps:
            if not cap.covers(purpose, channel):
                continue
            used = [1 for then, of, via in self.sent if cap.covers(of, via) and now - cap.per < then <= now]
            if len(used) >= cap.max:
                return "cap"
        self.sent.append((now, purpose, channel))
        return None
