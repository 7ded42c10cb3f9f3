"""A whole store as records no database has a say in: how one is moved into another, and how two are compared.

Rule 1: a record holds bytes as the codec writes them and no number a database gave; so the same store gives the same
records wherever it is, and what was moved is compared by reading it where it is now.
Rule 2: of each kind the number of records and a sum of hashes are compared; where the order counts, a hash has the
place of its record.
Rule 3: what is about one place stays there (``STAYS``): where the store is written, how often it was opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

MOVING = "moving"
"""Name under which a store keeps where it is being moved to, or came from, until that is over."""

HELD = "outbox_held"
"""Name under which a store keeps why it sends nothing, see ``runtime/standing``."""

STAYS = frozenset({"epoch", "place", "wire", HELD, MOVING})
"""Words of a store that are about where it is, and whether it may send from there."""

KINDS: Mapping[str, str] = {
    "meta": "name, value",
    "clock": "at",
    "version": "playbook, hash, since, sources, used",
    "erased": "alias, at",
    "forgotten": "log, at, n",
    "missing": "subject",
    "state": "id, state, wake_at",
    "id": "id, subject, time, at, whether its event is gone",
    "event": "subject, id, time, decided_at, history, body, who heard it beside the subject",
    "inbox": "id, body",
    "effect": "key, subject, time, channel, body, delivery, attempts, next_at, tried_at, outcome, receipt, carries",
    "answer": "key, subject, body",
    "grant": "code, pool, key, at, until, amount, playbook, step, status, moved, by",
    "code": "pool, place, code",
    "resource": "name, body",
    "slot": "name, body",
    "decision": "subject, time, body",
    "entry": "key, subject, book, name, time, body",
    "goal": "playbook, occurrence, user, held, time, worth",
    "milestone": "playbook, occurrence, user, what, name, time",
    "rejected": "feed, position, reason, message, raw, at",
    "position": "feed, position",
    "counter": "name, n",
    "figure": "playbook, name, n",
}
"""Kinds of records in the order in which they are moved, and what each holds."""

BLANK = (None, "", 0)
"""Subject, id and time of an event of which nothing is left but its place."""

_ORDERED = frozenset({"event", "inbox", "effect", "decision", "entry", "goal", "milestone", "rejected"})
_encode = msgspec.msgpack.Encoder(decimal_format="string").encode
_ALL = 1 << 128

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Sum:
    """What is compared of the records of a kind."""

    count: int = 0
    digest: int = 0

    def shown(self) -> str:
        """The digest, as people compare it."""
        return f"{self.digest:032x}"


class Source(Protocol):
    """A store that can be read as records."""

    def records(self, kind: str) -> Iterator[Row]: ...


class Target(Protocol):
    """An empty store that takes records."""

    def take(self, kind: str, rows: Iterator[Row]) -> None: ...


def summed(kind: str, rows: Iterator[Row], told: Callable[[Sum], None]) -> Iterator[Row]:
    """The records, and in the end their sum."""
    count, total = 0, 0
    ordered = kind in _ORDERED
    for row in rows:
        count += 1
        said = (*row[:3], None, True) if kind == "id" and row[4] else row  # a file keeps one instant for many of these
        raw = _encode((count, said) if ordered else said)
        total += int.from_bytes(blake2b(raw, digest_size=16).digest())
        yield row
    told(Sum(count, total % _ALL))


def sums(source: Source, progress: Callable[[str], None] | None = None) -> dict[str, Sum]:
    """What a store holds of each kind."""
    found: dict[str, Sum] = {}
    for kind in KINDS:
        if progress is not None:
            progress(kind)
        for _ in summed(kind, source.records(kind), lambda it, kind=kind: found.__setitem__(kind, it)):  # type: ignore[misc]
            pass
    return found


def move(source: Source, target: Target, progress: Callable[[str], None] | None = None) -> dict[str, Sum]:
    """Write everything a store holds into another; what was read of each kind."""
    found: dict[str, Sum] = {}
    for kind in KINDS:
        if progress is not None:
            progress(kind)
        target.take(kind, summed(kind, source.records(kind), lambda it, kind=kind: found.__setitem__(kind, it)))  # type: ignore[misc]
        found.setdefault(kind, Sum())
    return found


def differing(one: Mapping[str, Sum], other: Mapping[str, Sum]) -> list[str]:
    """Kinds of which two stores do not hold the same."""
    return [kind for kind in KINDS if one.get(kind) != other.get(kind)]
