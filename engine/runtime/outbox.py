"""Carries out what was decided: claim, send, settle.

Rule 1: a message is marked ``sending`` durably before it touches a wire, and settled after the channel's answer.
Rule 2: where nobody knows whether it went out, it is either sent again with the same key or parked; never both.
Rule 3: nothing sleeps in here: a message to be tried later carries the instant, and the caller comes back.
Rule 4: the next channel has its try only when the one before said that it did not and will not send the message. What
may have gone out, and what was given up after many tries, never moves on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush

from engine.core.chance import BUCKETS, bucket
from engine.core.model import HOUR, SECOND
from engine.ports import Channel, Clock, Outgoing, Sent, Settlement, Store
from engine.runtime.claims import Claims, refused_for_good

MAX_ATTEMPTS = 8
"""Tries before a message is given up."""

BATCH = 500
"""Messages claimed in one transaction."""

_FIRST_DELAY = 30 * SECOND
_LONGEST_DELAY = HOUR
_UNKNOWN = "nobody knows whether it was sent"


class Outbox:
    """Sends what the store holds, over these channels; ``claims`` judges once more what is about to be sent."""

    def __init__(
        self, store: Store, channels: Mapping[str, Channel], clock: Clock, claims: Claims | None = None
    ) -> None:
        self._store = store
        self._channels = dict(channels)
        self._clock = clock
        self._later: list[int] = []  #: instants at which this process has something to try again
        self._claims = claims

    def recover(self) -> dict[str, int]:
        """Settle what a process that died left ``sending``; call it once, before the first ``drain``."""
        stuck: dict[str, list[Outgoing]] = {}
        for item in self._store.stuck():
            stuck.setdefault(item.channel, []).append(item)
        settlements: list[Settlement] = []
        for name, items in stuck.items():
            if name in self._channels:  # of a channel that is no more nothing can be known; its messages wait
                settlements += self._doubtful(self._channels[name], items, "the process died while sending", _at_once)
        return self._settle(settlements)

    def drain(self, limit: int | None = None) -> dict[str, int]:
        """Send until nothing is pending, or at most ``limit`` messages; how many ended how."""
        total: Counter[str] = Counter()
        left = limit
        while left is None or left > 0:
            size = BATCH if left is None else min(BATCH, left)
            claimed = self._store.claim(list(self._channels), self._clock.now(), size)
            if not claimed:
                break
            wanted = claimed
            if self._claims is not None:
                wanted, refused = self._claims.judge(claimed)
                total.update(self._settle(refused))
            for name, items in _by_channel(wanted):
                total.update(self._send(self._channels[name], items))
            left = None if left is None else left - len(claimed)
        return dict(total)

    def next_due(self) -> int | None:
        """The earliest instant after now at which a message is tried again, as far as this process knows."""
        now = self._clock.now()
        while self._later and self._later[0] <= now:
            heappop(self._later)
        return self._later[0] if self._later else None

    def _send(self, channel: Channel, items: Sequence[Outgoing]) -> dict[str, int]:
        try:
            answers = channel.send(items)
        except Exception as error:  # a channel that breaks has answered nothing: it may have sent some, all or none
            why = f"{type(error).__name__}: {error}"
            return self._settle(self._doubtful(channel, items, why, _again))
        now = self._clock.now()
        settled = [_verdict(item, answer, now) for item, answer in zip(items, answers, strict=False)]
        silent = items[len(settled) :]
        return self._settle(settled + self._doubtful(channel, silent, "the channel gave no answer", _again))

    def _doubtful(
        self, channel: Channel, items: Sequence[Outgoing], why: str, resend: Callable[[Outgoing, str, int], Settlement]
    ) -> list[Settlement]:
        """What to do with messages that may have been sent."""
        proof = getattr(channel, "written", None)
        done: set[str] = proof([item.key for item in items]) if proof is not None else set()
        now = self._clock.now()
        found = []
        for item in items:
            if item.key in done:
                found.append(Settlement(item.key, "sent"))
            elif _at_most_once(channel, item):
                found.append(Settlement(item.key, "unknown", f"{_UNKNOWN}: {why}"))
            else:
                found.append(resend(item, why, now))
        return found

    def _settle(self, settlements: list[Settlement]) -> dict[str, int]:
        if settlements:
            self._store.settle(settlements)
            self.next_due()  # forget what is over
            for it in settlements:
                if it.next_at is not None:
                    heappush(self._later, it.next_at)
        return dict(Counter(it.status for it in settlements))


def backoff(key: str, tries: int) -> int:
    """Microseconds until the next try: exponential, spread by a hash of the key over the whole span."""
    span = min(_LONGEST_DELAY, _FIRST_DELAY << min(tries - 1, 16))
    return span * (bucket(f"retry/{tries}", key) + 1) // BUCKETS


def _verdict(item: Outgoing, answer: Sent, now: int) -> Settlement:
    if answer.ok:
        return Settlement(item.key, "sent")
    reason = answer.reason or "refused by the channel"
    return _again(item, reason, now) if answer.passing else refused_for_good(item, reason)


def _again(item: Outgoing, why: str, now: int) -> Settlement:
    """Another try later, or the end of them."""
    tries = item.attempts + 1
    if tries >= MAX_ATTEMPTS:
        return Settlement(item.key, "dead", f"given up after {tries} tries: {why}")
    return Settlement(item.key, "retry", why, now + backoff(item.key, tries))


def _at_once(item: Outgoing, why: str, now: int) -> Settlement:
    """Another try without delay: it was we who broke, not the provider. The store has counted the broken try."""
    if item.attempts >= MAX_ATTEMPTS:
        return Settlement(item.key, "dead", f"given up after {item.attempts} tries: {why}")
    return Settlement(item.key, "retry", why, now)


def _at_most_once(channel: Channel, item: Outgoing) -> bool:
    """Whether a message that may have been sent is parked: the channel says so, or its purpose."""
    mode: str | None = getattr(channel, "mode", None)
    return mode == "at_most_once" if mode is not None else item.effect.purpose == "marketing"


def _by_channel(items: Iterable[Outgoing]) -> list[tuple[str, list[Outgoing]]]:
    groups: dict[str, list[Outgoing]] = {}
    for item in items:
        groups.setdefault(item.channel, []).append(item)
    return list(groups.items())
