"""Choosing some of many by a number: sets with a size band that stay as they are unless there is reason, and best-of.

Rule 1: what comes out hangs on the candidates alone, never on the order in which they come: ties go to who is in
already, then to the earlier id.
Rule 2: memory holds the largest set that may come out, not all candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from heapq import nsmallest
from typing import Any, TypeVar

Figure = int | Decimal

_DIGITS = 1_000  # of a figure: far more than anybody counts, far less than arithmetic breaks at


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who may be chosen."""

    id: str
    score: Figure | None  #: None: no candidate
    inside: bool = False  #: was in the last set
    cost: Figure | None = 0  #: what having him in costs; None: unknown, so no candidate


@dataclass(frozen=True, kw_only=True)
class Band:
    """What a set should be like."""

    low: int  #: fewest who make sense
    high: int  #: most
    margin: Figure = 10  #: percent by which somebody new must be better to take the place of who is in
    ceiling: Figure | None = None  #: what all of them together may cost


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A set, and how it differs from the last one. Ids are in order."""

    published: bool  #: False: outside the band, so the last set stays
    reason: str | None  #: why it stays: ``too_few`` or ``ceiling``
    members: tuple[str, ...]  #: the set from now on
    entered: tuple[str, ...]
    left: tuple[str, ...]
    candidates: int  #: how many there were to choose from
    found: int  #: how many would have been chosen
    cost: Figure  #: of those who would have been
    before: int  #: size of the last set

    @property
    def kept(self) -> int:
        """How many of the last set stay."""
        return self.before - len(self.left)

    def stability(self) -> tuple[Decimal | None, Decimal | None]:
        """(share of the last set that stays, what both sets share of what either has); None without a last set."""
        if not self.before:
            return None, None
        either = self.before + len(self.entered)
        return _share(self.kept, self.before), _share(self.kept, either)


def choose(candidates: Iterable[Candidate], band: Band) -> Choice:
    """The best ``high`` of the candidates, as far as the ceiling reaches; the last set where these are below ``low``.

    A candidate has a score above 0. Who is in already counts as ``margin`` percent better than his score. The ceiling
    cuts the ranking where the next one would not fit: nobody is passed over for being dear.
    """
    last: list[str] = []
    number = 0

    def able() -> Iterable[tuple[Figure, bool, str, Figure]]:
        nonlocal number
        bonus = 100 + band.margin
        for one in candidates:
            if one.inside:
                last.append(one.id)
            if one.score is not None and one.score > 0 and one.cost is not None and one.cost >= 0:
                number += 1
                yield -one.score * (bonus if one.inside else 100), not one.inside, one.id, one.cost

    best = nsmallest(band.high, able(), key=_rank)
    chosen, cost, cut = _within(best, band.ceiling)
    before = set(last)
    published = len(chosen) >= band.low
    members = set(chosen) if published else before
    return Choice(
        published=published,
        reason=None if published else "ceiling" if cut and len(best) >= band.low else "too_few",
        members=tuple(sorted(members)),
        entered=tuple(sorted(members - before)),
        left=tuple(sorted(before - members)),
        candidates=number,
        found=len(chosen),
        cost=cost,
        before=len(before),
    )


def _rank(row: tuple[Figure, bool, str, Figure]) -> tuple[Figure, bool, str]:
    return row[:3]


def _within(best: list[tuple[Figure, bool, str, Figure]], ceiling: Figure | None) -> tuple[list[str], Figure, bool]:
    """(those the ceiling reaches, their cost, whether it cut)."""
    chosen: list[str] = []
    total: Figure = 0
    for _, _, name, cost in best:
        if ceiling is not None and total + cost > ceiling:
            return chosen, total, True
        total += cost
        chosen.append(name)
    return chosen, total, False


def top(count: int, scored: Iterable[tuple[str, Figure | None]]) -> list[str]:
    """The ids with the highest figures, the best first; ties go to the earlier id, and who has no figure to nobody."""
    rows = ((-score, name) for name, score in scored if score is not None)
    return [name for _, name in nsmallest(count, rows)]


_What = TypeVar("_What")


def leaders(last: int, scored: Iterable[tuple[str, Figure, _What]]) -> tuple[list[tuple[int, str, Figure, _What]], int]:
    """((place, id, figure, what came with it) of those on the first places, how many there were).

    Equal figures share a place, and the next is as many further on. A tie at the end that would make the list longer
    than twice ``last`` is left out as a whole.
    """
    number = 0

    def counted() -> Iterable[tuple[Figure, str, _What]]:
        nonlocal number
        for name, score, what in scored:
            number += 1
            yield -score, name, what

    found: list[tuple[int, str, Figure, _What]] = []
    for score, name, what in nsmallest(2 * last + 1, counted(), key=lambda row: row[:2]):
        tied = bool(found) and found[-1][2] == -score
        place = found[-1][0] if tied else len(found) + 1
        if place > last:
            break
        found.append((place, name, -score, what))
    if len(found) > 2 * last:
        end = found[-1][0]
        found = [row for row in found if row[0] != end]
    return found, number


def figure(value: Any) -> Figure | None:
    """A value as a figure to rank by; None for what is missing, no number, or beyond all measure."""
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value.adjusted()) < _DIGITS else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _share(part: int, whole: int) -> Decimal:
    return (Decimal(part) / whole).quantize(Decimal("0.0001"))
