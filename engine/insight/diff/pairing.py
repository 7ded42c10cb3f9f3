"""The rows of one subject on both sides, each with its counterpart; made so that exchanged sides give the same pairs.

Rule 1: first what means the same at the same instant, whatever its step is called and wherever it stands.
Rule 2: then what has the same key: it is the same decision, made otherwise.
Rule 3: then, of what one step did, as many as both sides have: in their order, so that together they move least.
Rule 4: what is left was lost, gained, or held back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from engine.insight.diff.deeds import Deed, unlike

SAME, GAINED, LOST, MOVED, CHANGED, HELD = "same", "gained", "lost", "moved", "changed", "held_back"
WHATS: Final = (GAINED, LOST, MOVED, CHANGED, HELD)
"""What may become of an effect: ``held_back`` did not take place on either side, for another reason or only on one."""

_MOST_CELLS: Final = 1 << 18  # of the table by which rows of one step are paired; beyond that in order, from the first


@dataclass(frozen=True)
class Pair:
    """What became of one effect."""

    what: str
    old: Deed | None
    new: Deed | None

    def fields(self) -> list[str]:
        """Names of what changed, where both sides have it."""
        if self.old is None or self.new is None:
            return []
        time = ["time"] if self.old.at != self.new.at else []
        return time + unlike(self.old.row, self.new.row)


def pairs(old: list[Deed], new: list[Deed]) -> Iterator[Pair]:
    """Every deed of both lists, once."""
    old, new = sorted(old, key=Deed.order), sorted(new, key=Deed.order)
    for key in (_as_it_is, _in_meaning, _by_key, _by_step_done, _by_step_instant, _by_step_held):
        found, old, new = _match(old, new, key)
        for one, other in found:
            yield Pair(_what(one, other), one, other)
    for deed in old:
        yield Pair(LOST if deed.done else HELD, deed, None)
    for deed in new:
        yield Pair(GAINED if deed.done else HELD, None, deed)


def _what(old: Deed, new: Deed) -> str:
    if old.done != new.done:
        return GAINED if new.done else LOST
    same = old.at == new.at and old.meaning == new.meaning and old.row.kind == new.row.kind
    if same and old.row.status == new.row.status and old.row.reason == new.row.reason:
        return SAME
    if not old.done:
        return HELD
    return MOVED if old.at != new.at else CHANGED


def _in_meaning(deed: Deed) -> Hashable:
    return deed.row.kind, deed.row.status, deed.row.reason, deed.at, deed.meaning


def _as_it_is(deed: Deed) -> Hashable:
    return deed.name, _in_meaning(deed)


def _by_key(deed: Deed) -> Hashable:
    return deed.row.kind, deed.row.key


def _by_step_done(deed: Deed) -> Hashable | None:
    return (deed.row.kind, deed.name) if deed.done else None


def _by_step_instant(deed: Deed) -> Hashable:
    return deed.row.kind, deed.name, deed.at


def _by_step_held(deed: Deed) -> Hashable | None:
    return None if deed.done else (deed.row.kind, deed.name)


def _match(
    old: list[Deed], new: list[Deed], key: Callable[[Deed], Hashable | None]
) -> tuple[list[tuple[Deed, Deed]], list[Deed], list[Deed]]:
    """(pairs of one key, what is left of the old, what is left of the new); a key of None pairs with nothing."""
    if not old or not new:
        return [], old, new
    left: dict[Hashable, list[Deed]] = {}
    for deed in old:
        if (found := key(deed)) is not None:
            left.setdefault(found, []).append(deed)
    right: dict[Hashable, list[Deed]] = {}
    for deed in new:
        if (found := key(deed)) is not None and found in left:
            right.setdefault(found, []).append(deed)
    made = [pair for found, others in right.items() for pair in _nearest(left[found], others)]
    if not made:
        return [], old, new
    gone = {id(deed) for pair in made for deed in pair}
    return made, _without(old, gone), _without(new, gone)


def _without(deeds: Iterable[Deed], gone: set[int]) -> list[Deed]:
    return [deed for deed in deeds if id(deed) not in gone]


def _nearest(old: list[Deed], new: list[Deed]) -> list[tuple[Deed, Deed]]:
    """As many pairs as there can be, in the order of both; together they lie as near in time as possible."""
    if len(old) == len(new):
        return list(zip(old, new, strict=True))
    if len(old) < len(new):
        return list(zip(old, _chosen(old, new), strict=True))
    return list(zip(_chosen(new, old), new, strict=True))


def _chosen(few: list[Deed], many: list[Deed]) -> list[Deed]:
    """One of ``many`` for each of ``few``, in order, so that the sum of distances is smallest; ties: the earliest."""
    spare = len(many) - len(few)
    if len(few) * (spare + 1) > _MOST_CELLS:
        return many[: len(few)]
    # best[s]: the smallest sum for the first i of few, when s of many were passed over so far
    best = [0] * (spare + 1)
    ways: list[list[int]] = []  # ways[i][s]: how many were passed over before the one before
    for i, deed in enumerate(few):
        row, came = [], []
        cheapest, whence = best[0], 0
        for s in range(spare + 1):
            if best[s] < cheapest:
                cheapest, whence = best[s], s
            row.append(cheapest + abs(many[i + s].at - deed.at))
            came.append(whence)
        best, ways = row, [*ways, came]
    s = min(range(spare + 1), key=best.__getitem__)
    picked = []
    for i in range(len(few) - 1, -1, -1):
        picked.append(many[i + s])
        s = ways[i][s]
    return picked[::-1]
