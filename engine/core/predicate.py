"""Questions about one stored state, in a form a store can ask of many states at once.

A condition on the subject alone becomes a tree of these records; a store writes the tree in its own query language.
Rule 1: the answer for a subject is yes, no, or *ask*: where the store cannot be certain (a number beyond its own, text
in an odd form, a wrong type), it hands the state to ``Filter.judge``, the very function the core uses.
Rule 2: yes and no are only said where ``judge`` would say the same. An error is never a no and never a yes.
Rule 3: parts of ``All`` and ``AnyOf`` are judged in order, as the core does: what stands behind a decided part is not
looked at, and an error in front of it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.core.model import State

Number = int | Decimal


class Place(msgspec.Struct, frozen=True):
    """A value inside a stored state."""

    path: tuple[str | int, ...]  #: keys and places from the top of the state
    default: Any = None  #: what stands for a missing value
    own: bool = False  #: kept by the engine, so its type is certain
    base: int = 1  #: so many leading parts of the path are maps and lists of ours

    @property
    def inside(self) -> tuple[tuple[str | int, ...], ...]:
        """Paths above it that must hold a map or nothing, or else looking inside is an error."""
        return () if self.own else tuple(self.path[:size] for size in range(self.base + 1, len(self.path)))


class SubjectId(msgspec.Struct, frozen=True):
    """The name of the subject itself."""


class Length(msgspec.Struct, frozen=True):
    """Characters of a text, entries of a list or map."""

    place: Place


class Within(msgspec.Struct, frozen=True):
    """How many of the instants of a sorted list lie in ``(now - window, now]``."""

    path: tuple[str | int, ...]
    window: int


class Total(msgspec.Struct, frozen=True):
    """A number kept as a whole number of ``10 ** -scale``: ``[scale, count, sum, min, max]``."""

    path: tuple[str | int, ...]
    entry: int  #: 2 sum, 3 min, 4 max


class Since(msgspec.Struct, frozen=True):
    """Microseconds gone since an instant, never negative."""

    path: tuple[str | int, ...]


class When(msgspec.Struct, frozen=True):
    """An instant: fixed, or so many microseconds from the one the question is asked at."""

    micros: int
    moving: bool = False


# -- the questions


class Fixed(msgspec.Struct, frozen=True):
    """The same for everybody."""

    value: bool


class Ask(msgspec.Struct, frozen=True):
    """A part that only ``judge`` can answer."""

    text: str  #: the part as it is written
    reason: str  #: why
    total: bool = False  #: it never errs


class All(msgspec.Struct, frozen=True):
    """``and``, also a chain of comparisons."""

    parts: tuple[Predicate, ...]


class AnyOf(msgspec.Struct, frozen=True):
    """``or``, also ``in`` a written list."""

    parts: tuple[Predicate, ...]


class Not(msgspec.Struct, frozen=True):
    """``not``."""

    part: Predicate


class Choice(msgspec.Struct, frozen=True):
    """``yes if test else no``."""

    test: Predicate
    yes: Predicate
    no: Predicate


class Missing(msgspec.Struct, frozen=True):
    """``is none``."""

    place: Place


class Truth(msgspec.Struct, frozen=True):
    """The value alone: missing, false, 0 and empty are no."""

    place: Place


class Equal(msgspec.Struct, frozen=True):
    """``==`` with a constant text, number, true, false or none."""

    place: Place | SubjectId
    value: Any


class OneOf(msgspec.Struct, frozen=True):
    """``in`` a written list of texts."""

    place: Place
    texts: tuple[str, ...]


class Folded(msgspec.Struct, frozen=True):
    """``== < <= > >=`` of a text in small letters or capitals with a constant text."""

    place: Place
    fold: str  #: lower | upper
    op: str
    value: str


class Order(msgspec.Struct, frozen=True):
    """``< <= > >=`` (``lt le gt ge``) with a constant number or text."""

    place: Place | SubjectId
    op: str
    value: Any


class Measure(msgspec.Struct, frozen=True):
    """A number the engine computes, compared with a constant one (``lt le gt ge eq``)."""

    source: Length | Within | Total | Since
    op: str
    value: Number


class Has(msgspec.Struct, frozen=True):
    """``item in place``."""

    place: Place
    item: Any


class Named(msgspec.Struct, frozen=True):
    """The subject is one of a list."""

    names: frozenset[str]


class Ranked(msgspec.Struct, frozen=True):
    """A tier level is one of ``high``; one that is not ``known`` is an error."""

    place: Place
    high: frozenset[str]
    known: frozenset[str]


class Matches(msgspec.Struct, frozen=True):
    """Text against a pattern of ``*`` and ``?``."""

    place: Place | SubjectId
    pattern: str


class Instant(msgspec.Struct, frozen=True):
    """A time compared with an instant (``lt le gt ge eq``).

    ``forms``: "micros" (the engine's own), "time" (RFC 3339 text), "date" (text; its local midnight).
    """

    place: Place
    forms: tuple[str, ...]
    op: str
    at: When


class Day(msgspec.Struct, frozen=True):
    """A declared date compared with a constant one, written as ISO text (``lt le gt ge eq``)."""

    place: Place
    op: str
    day: str


Predicate = (
    Fixed | Ask | All | AnyOf | Not | Choice | Missing | Truth | Equal | OneOf | Folded | Order | Measure | Has
    | Named | Ranked | Matches | Instant | Day
)  # fmt: skip


def total(it: Predicate) -> bool:
    """Does it never err? Then an open answer in front does not keep a later part from deciding."""
    if isinstance(it, (Fixed, Named)):
        return True
    if isinstance(it, Ask):
        return it.total
    if isinstance(it, (All, AnyOf)):
        return all(total(part) for part in it.parts)
    if isinstance(it, Not):
        return total(it.part)
    if isinstance(it, Choice):
        return total(it.test) and total(it.yes) and total(it.no)
    if isinstance(it, (Missing, Truth, Equal, OneOf)):
        return isinstance(it.place, SubjectId) or not it.place.inside
    if isinstance(it, Measure):
        return not isinstance(it.source, Length)
    if isinstance(it, (Order, Has, Matches, Instant)):
        return isinstance(it.place, SubjectId) or it.place.own
    return False


_ASK = frozenset({None})
_OPEN: frozenset[bool | None] = frozenset({True, False})


def outcomes(it: Predicate) -> frozenset[bool | None]:
    """The answers a store may give: True, False, None (ask)."""
    if isinstance(it, Fixed):
        return frozenset({it.value})
    if isinstance(it, Ask):
        return _ASK
    if isinstance(it, Not):
        return frozenset(None if one is None else not one for one in outcomes(it.part))
    if isinstance(it, Choice):
        test = outcomes(it.test)
        found = frozenset[bool | None]() if None not in test else _ASK
        found |= outcomes(it.yes) if True in test else found
        return found | (outcomes(it.no) if False in test else found)
    if isinstance(it, (All, AnyOf)):
        return _joined(it.parts, decided=isinstance(it, AnyOf))
    return _OPEN


def _joined(parts: Sequence[Predicate], *, decided: bool) -> frozenset[bool | None]:
    """``and`` is decided by a no, ``or`` by a yes."""
    here, rest = outcomes(parts[0]), parts[1:]
    if not rest:
        return here
    found: set[bool | None] = set()
    after = _joined(rest, decided=decided)
    for one in here:
        if one is decided:
            found.add(one)
        elif one is None:
            found |= {it if it is decided else None for it in after} if total(parts[0]) else _ASK
        else:
            found |= after
    return frozenset(found)


def asks(it: Predicate) -> Iterator[Ask]:
    """The parts only ``judge`` can answer."""
    if isinstance(it, Ask):
        yield it
    elif isinstance(it, (All, AnyOf)):
        for part in it.parts:
            yield from asks(part)
    elif isinstance(it, Not):
        yield from asks(it.part)
    elif isinstance(it, Choice):
        for part in (it.test, it.yes, it.no):
            yield from asks(part)


def paths(it: object) -> Iterator[tuple[str | int, ...]]:
    """The places of the stored state a question looks at."""
    if isinstance(it, Place):
        yield it.path
    if isinstance(it, msgspec.Struct):
        for name in it.__struct_fields__:
            found = getattr(it, name)
            if name == "path" and not isinstance(it, Place):
                yield found
            for one in found if isinstance(found, tuple) else (found,):
                yield from paths(one)


@dataclass(frozen=True)
class Filter:
    """An audience: who fits a condition on the subject alone."""

    text: str  #: the condition in its normal form
    predicate: Predicate
    judge: Callable[[State, int], bool]  #: (state, instant) -> fits; raises where it cannot be judged
    asks: tuple[Ask, ...] = ()  #: parts the store cannot answer

    @property
    def way(self) -> str:
        """``sql``: the store answers but for odd values; ``mixed``: it sorts out whom to ask; ``python``: all."""
        if not self.asks:
            return "sql"
        return "python" if outcomes(self.predicate) == _ASK else "mixed"


@dataclass(frozen=True)
class Selection:
    """A page of an audience, in order of subject."""

    ids: list[str]
    errors: list[tuple[str, str]]  #: (subject, why) of those who could not be judged; they are not in ``ids``
    asked: int  #: states handed to ``judge``
    last: str | None = None  #: where the next page begins; None: there is none
