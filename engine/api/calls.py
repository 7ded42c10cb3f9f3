"""What goes over the Unix socket: what verbs write, each with the form of its words.

Rule 1: this list is all there is. What is not on it cannot be called through the socket, whoever asks.
Rule 2: each is some transactions of the store, done by the engine's thread between two of its own: it must be short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.model import Event
from engine.ports import Imported, Rejected, Settlement, Store
from engine.runtime import applied, byhand, standing
from engine.runtime.pump import Pump
from engine.runtime.redeeming import Redeem, Verdict, redeem


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


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """``byhand.redrive``."""

    keys: list[str]  #: of effects


class Drop(msgspec.Struct, forbid_unknown_fields=True):
    """``byhand.drop``."""

    keys: list[str]  #: of effects
    now: int  #: the machine's clock, microseconds UTC


class ReleaseOutbox(msgspec.Struct, forbid_unknown_fields=True):
    """``standing.release`` at the place where the daemon has the store, which only the daemon knows for sure."""


class ImportCodes(msgspec.Struct, forbid_unknown_fields=True):
    """``Store.add_codes``."""

    pool: str
    codes: list[str]


@dataclass(frozen=True)
class Call:
    """One of them: the form of its words, of its answer, and the calling of it."""

    words: type[msgspec.Struct]
    answer: Any
    run: Callable[[Store, Any], Any]
    decides: Callable[[Pump, Any, int], Any] | None = None  #: what decides is called with the pump and the instant


def _no(store: Store, words: Any) -> Any:
    raise NotImplementedError  # it is decided


CALLS: dict[str, Call] = {
    "ingest": Call(Ingest, tuple[int, int], lambda store, it: store.ingest(it.events, it.rejected)),
    "release": Call(Release, tuple[int, int], lambda store, it: store.release(it.numbers, it.events)),
    "settle": Call(Settle, None, lambda store, it: store.settle(it.settlements)),
    "redrive": Call(Redrive, int, lambda store, it: byhand.redrive(store, it.keys)),
    "drop": Call(Drop, int, lambda store, it: byhand.drop(store, it.keys, it.now)),
    "import_codes": Call(ImportCodes, Imported, lambda store, it: store.add_codes(it.pool, it.codes)),
    "redeem": Call(Redeem, Verdict, _no, redeem),
    "apply": Call(applied.Apply, str | None, applied.apply),
    "release_outbox": Call(ReleaseOutbox, str | None, lambda store, it: _let_go(store)),
}
"""Name -> how it is called."""


def _let_go(store: Store) -> str | None:
    return standing.release(store, store.get_meta(standing.PLACE) or "")


encode = msgspec.json.Encoder(decimal_format="number").encode
"""Words and answers to bytes; decimals are written exactly, as the store writes them."""


def decode(raw: bytes, kind: Any) -> Any:
    """Bytes to words or answers; raises msgspec.MsgspecError."""
    return msgspec.json.Decoder(kind, float_hook=Decimal).decode(raw)
