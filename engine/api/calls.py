"""What goes over the Unix socket: the writing methods of the store that verbs use, each with the form of its words.

Rule: this list is all there is. A method that is not on it cannot be called through the socket, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.model import Event
from engine.ports import Rejected, Settlement, Store


class Ingest(msgspec.Struct, forbid_unknown_fields=True):
    """``Store.ingest``."""

    events: list[tuple[Event, bytes]]  #: each with its bytes as they came
    rejected: list[Rejected]


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """``Store.release``."""

    numbers: list[int]  #: records in quarantine
    events: list[tuple[Event, bytes]]


class Settle(msgspec.Struct, forbid_unknown_fields=True):
    """``Store.settle``."""

    settlements: list[Settlement]


@dataclass(frozen=True)
class Call:
    """One method: the form of its words, of its answer, and the calling of it."""

    words: type[msgspec.Struct]
    answer: Any
    run: Callable[[Store, Any], Any]


CALLS: dict[str, Call] = {
    "ingest": Call(Ingest, tuple[int, int], lambda store, it: store.ingest(it.events, it.rejected)),
    "release": Call(Release, tuple[int, int], lambda store, it: store.release(it.numbers, it.events)),
    "settle": Call(Settle, None, lambda store, it: store.settle(it.settlements)),
}
"""Name of the method -> how it is called."""

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Words and answers to bytes; decimals are written exactly, as the store writes them."""


def decode(raw: bytes, kind: Any) -> Any:
    """Bytes to words or answers; raises msgspec.MsgspecError."""
    return msgspec.json.Decoder(kind, float_hook=Decimal).decode(raw)
