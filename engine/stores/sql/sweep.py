"""Reads a whole store once, for a report; of each record only what a report looks at.

All is read in one transaction, so that the figures are of one moment of the store, also while a daemon writes it.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from engine.core.subjects import SIGN
from engine.stores import codec
from engine.stores.lake import REDEEMED, Lake
from engine.stores.sql.filed import QueryFile


class _Data(msgspec.Struct, gc=False):
    """What of the payload of an event matters; anything may stand there."""

    effect: Any = None
    group: Any = None
    discount: Any = None
    amount: Any = None


class _Event(msgspec.Struct, array_like=True, gc=False):
    id: str
    time: int
    decided_at: int
    type: str
    user: str | None
    group: str | None
    data: _Data
    depth: int = 0
    internal: bool = False


class _Detail(msgspec.Struct, gc=False):
    """What of the detail of an effect matters; each kind has its own."""

    via: Any = None
    purpose: Any = None
    pool: Any = None
    group: Any = None
    ladder: Any = None
    name: Any = None
    reward: Any = None
    template: Any = None
    type: Any = None
    user: Any = None
    below: Any = msgspec.field(default=None, name="from")
    above: Any = msgspec.field(default=None, name="to")


class _Effect(msgspec.Struct, array_like=True, gc=False):
    playbook: str | None
    step: str | None
    kind: str
    user: str | None
    group: str | None
    status: str
    reason: str | None
    detail: _Detail


_events = msgspec.json.Decoder(list[_Event | None]).decode
_effect = msgspec.json.Decoder(_Effect).decode


class Sweep:
    """Fills a lake from a store."""

    def __init__(self, file: QueryFile, blocks: int) -> None:
        self._file = file
        self._blocks = blocks  #: rows of events and entries read at a time

    def fill(self, lake: Lake) -> None:
        """Everything, as it stands at one moment."""
        with self._file.snapshot():
            for (body,) in self._file.pages("sweep_events", page=self._blocks):
                for event in _events(body):
                    if event is not None:
                        data = event.data
                        lake.happened(
                            event.user, event.time, event.type, event.group or _word(data.group), event.internal,
                            _word(data.effect) if event.type.startswith("message.") else None,
                        )  # fmt: skip
                        if event.type == REDEEMED:
                            lake.redeemed(event.id, data.discount, data.amount)
            for key, time, channel, body, delivery in self._file.pages("sweep_effects"):
                it = _effect(body)
                lake.decided(
                    key, time, channel, delivery, it.playbook, it.step, it.kind, it.user, it.group, it.status,
                    it.reason, partial(_part, it.detail),
                )  # fmt: skip
            for row in self._file.pages("sweep_milestones"):
                lake.milestone(row)
            for playbook, occurrence, user, time, worth in self._file.pages("sweep_goals"):
                lake.goal(playbook, occurrence, user, time, None if worth is None else Decimal(worth))
            for (body,) in self._file.pages("sweep_entries", page=self._blocks):
                for entry in codec.decode_entries(body):
                    lake.entry(entry)
            for (body,) in self._file.pages("sweep_decisions"):
                lake.verdict(codec.decision_from(body))
            lake.gone(user for (user,) in self._file.pages("sweep_forgotten") if user[:1] != SIGN)

    def forgotten(self) -> int | None:
        """Instant up to which events were forgotten; None: none were."""
        return next((int(at) for (at,) in self._file.rows("forgotten_until", "events")), None)

    def entries_since(self) -> int | None:
        """Instant before which entries of playbooks stand nowhere; None: all are there."""
        return next((int(at) for (at,) in self._file.rows("meta", "milestones_since") if int(at) > 0), None)


_FIELDS = {"from": "below", "to": "above"}


def _part(detail: _Detail, name: str) -> str | None:
    return _word(getattr(detail, _FIELDS.get(name, name)))


def _word(value: object) -> str | None:
    """A text that may stand in a record; what is no text is nothing."""
    return value if isinstance(value, str) else None
