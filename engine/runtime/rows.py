"""Rows of ``--effects`` and ``--decisions`` as bytes (formats: cli.md, "Files of the contract")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import BinaryIO

import msgspec

from engine.core.instants import format_instant
from engine.core.model import Decision, Effect, Event

_encode = msgspec.json.Encoder(decimal_format="number").encode


def effect_row(effect: Effect) -> bytes:
    """One effect as a line of JSON, line break included."""
    return (
        _encode(
            {
                "key": effect.key,
                "time": format_instant(effect.time),
                "playbook": effect.playbook,
                "step": effect.step,
                "kind": effect.kind,
                "user": effect.user,
                "group": effect.group,
                "status": effect.status,
                "reason": effect.reason,
                "detail": effect.detail,
            }
        )
        + b"\n"
    )


def decision_row(decision: Decision) -> bytes:
    """One verdict as a line of JSON, line break included."""
    return (
        _encode(
            {
                "time": format_instant(decision.time),
                "playbook": decision.playbook,
                "user": decision.user,
                "group": decision.group,
                "cause": decision.cause,
                "verdict": decision.verdict,
                "why": [{"at": why.at, "value": why.value, "text": why.text, "seen": why.seen} for why in decision.why],
            }
        )
        + b"\n"
    )


class EffectFile:
    """Writes effects sorted by (time, key), whatever the size of the batches they come in."""

    def __init__(self, out: BinaryIO | None, row: Callable[[Effect], bytes] = effect_row) -> None:
        self._out = out
        self._row = row
        self._held: list[Effect] = []

    def take(self, effects: Iterable[Effect], clock: int) -> None:
        """Effects in order of time; those of the instant ``clock`` may still get company and are held back."""
        if self._out is None:
            return
        self._held.extend(effects)
        ready = [effect for effect in self._held if effect.time < clock]
        if ready:
            self._held = [effect for effect in self._held if effect.time >= clock]
            self._write(ready)

    def close(self) -> None:
        """Write the rest."""
        self._write(self._held)
        self._held = []

    def _write(self, effects: list[Effect]) -> None:
        if self._out is None:
            return
        effects.sort(key=lambda effect: (effect.time, effect.key))
        self._out.write(b"".join(map(self._row, effects)))


def event_row(event: Event) -> bytes:
    """An event as the record it came from, as far as it is still known."""
    shown = {"id": event.id, "type": event.type, "time": format_instant(event.time), "data": event.data}
    for name, value in (("user", event.user), ("group", event.group)):
        if value is not None:
            shown[name] = value
    return _encode(shown)
