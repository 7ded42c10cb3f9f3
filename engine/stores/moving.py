"""A whole store as records no database has a say in: how one is moved into another, and how two are compared.

Rule 1: a record holds bytes as the codec writes them and no number a database gave; so the same store gives the same
records wherever it is, and what was moved is compared by reading it where it is now.
Rule 2: of each kind the number of records and a sum of hashes are compared; where the order counts, a hash has the
place of its record.
Rule 3: who heard an event beside its subject is compared of all events together: a file keeps it by the block, and what
a group or the program makes of events it did not hear hangs on the plan.
Rule 4: what is about one place stays there (``STAYS``): where the store is written, how often it was opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
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

    def moment(self) -> AbstractContextManager[None]:
        """All that is read inside is of one moment."""
        ...

    def records(self, kind: str) -> Iterator[Row]: ...


class Target(Protocol):
    """An empty store that takes records."""

    def take(self, kind: str, rows: Iterator[Row]) -> None: ...


def summed(kind: str, rows: Iterator[Row], told: Callable[[Sum], None]) -> Iterator[Row]:
    """The records, and in the end their sum."""
    count, total = 0, 0
    ordered = kind in _ORDERED
    heard: set[str] = set()
    for row in rows:
        count += 1
        said = (*row[:3], None, True) if kind == "id" and row[4] else row  # a file keeps one instant for many of these
        if kind == "event":
            heard.update(row[6])
            said = row[:6]
        total += _hash((count, said) if ordered else said)
        yield row
    told(Sum(count, (total + _hash(sorted(heard))) % _ALL))


def _hash(it: object) -> int:
    return int.from_bytes(blake2b(_encode(it), digest_size=16).digest())


def sums(source: Source, progress: Callable[[str], None] = lambda kind: None) -> dict[str, Sum]:
    """What a store holds of each kind."""
    return _read(source, lambda kind, rows: deque(rows, maxlen=0), progress)


def move(source: Source, target: Target, progress: Callable[[str], None] = lambda kind: None) -> dict[str, Sum]:
    """Write everything a store holds into another; what was read of each kind."""
    return _read(source, target.take, progress)


def _read(
    source: Source, take: Callable[[str, Iterator[Row]], object], progress: Callable[[str], None]
) -> dict[str, Sum]:
    found: dict[str, Sum] = {}
    with source.moment():
        for kind in KINDS:
            progress(kind)
            take(kind, summed(kind, source.records(kind), partial(found.__setitem__, kind)))
    return found


def differing(one: Mapping[str, Sum], other: Mapping[str, Sum]) -> list[str]:
    """Kinds of which two stores do not hold the same."""
    return [kind for kind in KINDS if one.get(kind) != other.get(kind)]
