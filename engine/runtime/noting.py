"""What is begun is noted first, for messages that must not go out twice: so a crash leaves only those in doubt that had
begun and had no answer.

Rule 1: only messages that would be parked are noted: what is sent again anyway needs no note. Of a request whose answer
somebody waits for no end is noted: the answer would be missing.
Rule 2: where nothing can be noted nothing is begun. Where a store takes no notes all that was claimed is in doubt.
Rule 3: a note is believed with the mode its channel had then: without one in that mode nothing was noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.core.model import SECOND
from engine.errors import StoreError
from engine.ports import Channel, NotBegun, Outgoing, Sent, Settlement, Store, WireNotes
from engine.runtime.verdicts import Terms, parked_by

_PAUSE = 5 * SECOND
"""How long a channel is left alone when its messages cannot be noted."""


class Notes:
    """The notes of one ``Lanes``.

    Parameters
    ----------
    store: the one whose messages these are.
    terms: of the channels, by name.
    """

    def __init__(self, store: Store, terms: Mapping[str, Terms]) -> None:
        self._store = store
        self._terms = terms
        self._wire: WireNotes | None = None
        self._believed = False  #: the store knows of the notes of this session

    def turn(self) -> None:
        """A session begins; once, before anything is sent."""
        make = getattr(self._store, "wire", None)
        if make is not None and self._wire is None:
            self._wire = make({name: terms.mode for name, terms in self._terms.items()})

    def left(self, item: Outgoing, now: int) -> Settlement | None:
        """What becomes of a message that was claimed by the session before; None: that is in doubt."""
        before, this = None if self._wire is None else self._wire.before, (item.key, item.attempts)
        if before is None or item.channel not in before.modes or not parked_by(before.modes[item.channel], item):
            return None
        if this not in before.begun:
            return not_sent(item, now)
        return Settlement(item.key, "sent", receipt=before.sent[this]) if this in before.sent else None

    def settled(self) -> None:
        """What the session before left was settled."""
        if self._wire is not None and not self._believed:
            self._wire.settled()
            self._wire.before, self._believed = None, True

    def begin(self, items: Sequence[Outgoing]) -> None:
        """Messages are about to be sent; raises NotBegun when they must not be. Any thread calls it."""
        if self._wire is None:
            return
        doubtful = [item for item in items if self._parks(item)]
        if not doubtful:
            return
        try:
            self._wire.begin(doubtful)
        except (OSError, StoreError) as error:
            raise NotBegun(f"what is sent cannot be noted: {getattr(error, 'strerror', None) or error}") from error

    def ended(self, answers: Sequence[tuple[Outgoing, Sent]]) -> None:
        """What a channel said of messages. Any thread calls it."""
        if self._wire is None:
            return
        noted = [(item, it) for item, it in answers if item.effect.kind != "webhook" and self._parks(item)]
        if noted:
            self._wire.ended(noted)

    def _parks(self, item: Outgoing) -> bool:
        return self._terms[item.channel].parks(item)

    def tidy(self, flying: Iterable[str]) -> None:
        """Keep no more notes than needed; the engine's thread calls it."""
        if self._wire is not None:
            self._wire.tidy(flying)

    def close(self) -> None:
        """Nothing more is begun."""
        if self._wire is not None:
            self._wire.close()


def carry(channel: Channel, items: Sequence[Outgoing], notes: Notes) -> Sequence[Sent]:
    """Have a channel send messages that are noted: by itself, each when its time comes, or all before the call."""
    by_itself = getattr(channel, "send_noting", None)
    if by_itself is not None:
        found: Sequence[Sent] = by_itself(items, notes)
        return found
    try:
        notes.begin(items)
    except NotBegun as error:
        return [unbegun(error)] * len(items)
    answers = channel.send(items)
    notes.ended([*zip(items, answers, strict=False)])
    return answers


def not_sent(item: Outgoing, now: int) -> Settlement:
    """What was claimed and never begun waits again: nobody has to doubt it."""
    return Settlement(item.key, "retry", None, now, uncounted=True)


def untried(item: Outgoing, why: str | None, now: int, at: int) -> Settlement:
    """What was claimed now waits until an instant; if it was for the first time, its time for tries has not begun."""
    return Settlement(item.key, "retry", why, at, uncounted=True, untried=item.first == now)


def unbegun(error: NotBegun) -> Sent:
    """The answer for a message that was not begun: no try, and the channel rests a little."""
    return Sent(ok=False, reason=str(error), passing=True, retry_after=_PAUSE)
