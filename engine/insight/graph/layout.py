"""Where boxes stand: layers from top to bottom, few crossings, each box near what it is joined to.

The classic way in four steps: a layer for every box (the longest path to it), a place holder for every arrow on each
layer it passes, the order within layers by the middle of the neighbours, and positions that keep order and distance
while lying as near to the neighbours as they can. A label is a holder of its own, so nothing ever lies upon another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

GAP = 28.0  #: between neighbours of a layer
_SWEEPS = 12


@dataclass
class Spot:
    """A box, a label, or the place where an arrow passes a layer."""

    id: str
    width: float
    height: float
    layer: int = 0
    x: float = 0.0  #: the middle
    y: float = 0.0  #: the top
    holder: bool = False  #: it only keeps the place of an arrow
    above: list[Spot] = field(default_factory=list)
    below: list[Spot] = field(default_factory=list)


@dataclass(frozen=True)
class Link:
    """An arrow before it is placed."""

    source: str
    target: str
    width: float = 0.0  #: of its label; 0: none
    height: float = 0.0


@dataclass
class Placed:
    """The result: boxes by id, and for each link the spots it passes, ends included, with the one of its label."""

    boxes: dict[str, Spot]
    ways: list[list[Spot]]
    labels: list[Spot | None]
    width: float
    height: float


def place(boxes: Sequence[tuple[str, float, float]], links: Sequence[Link], gap: float = 22.0) -> Placed:
    """Place boxes given as (id, width, height) and the links between them.

    Parameters
    ----------
    gap: height between two layers.
    """
    spots = {name: Spot(name, width, height) for name, width, height in boxes}
    turned = _turned(list(spots), links)
    for name, depth in _depths(list(spots), links, turned).items():
        spots[name].layer = 2 * depth  # labels stand on the odd layers
    layers: dict[int, list[Spot]] = {}
    for spot in spots.values():
        layers.setdefault(spot.layer, []).append(spot)
    ways: list[list[Spot]] = []
    labels: list[Spot | None] = []
    for number, link in enumerate(links):
        way, label = _way(spots, link, number, layers, turned=number in turned)
        ways.append(way)
        labels.append(label)
    rows = [layers.get(layer, []) for layer in range(max(layers, default=0) + 1)]
    _order(rows)
    _settle(rows)
    width, height = _frame(rows, gap)
    return Placed(spots, ways, labels, width, height)


def _turned(names: list[str], links: Sequence[Link]) -> set[int]:
    """Links that close a circle; they are laid out the other way round."""
    leaving: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for number, link in enumerate(links):
        leaving[link.source].append((number, link.target))
    state: dict[str, int] = {}
    found: set[int] = set()
    for start in names:
        if start in state:
            continue
        state[start] = 1
        stack = [(start, iter(leaving[start]))]
        while stack:
            name, rest = stack[-1]
            step = next(rest, None)
            if step is None:
                state[name] = 2
                stack.pop()
            elif state.get(step[1]) == 1:
                found.add(step[0])
            elif step[1] not in state:
                state[step[1]] = 1
                stack.append((step[1], iter(leaving[step[1]])))
    return found


def _depths(names: list[str], links: Sequence[Link], turned: set[int]) -> dict[str, int]:
    """Length of the longest path to each box; what nothing leads to stands right above what it leads to."""
    pairs = [
        (link.target, link.source) if number in turned else (link.source, link.target)
        for number, link in enumerate(links)
        if link.source != link.target
    ]
    waiting = {name: sum(target == name for _, target in pairs) for name in names}
    depth = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    roots = list(ready)
    while ready:
        here = ready.pop(0)
        for source, target in pairs:
            if source == here:
                depth[target] = max(depth[target], depth[here] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
    for root in roots:
        after = [depth[target] for source, target in pairs if source == root]
        depth[root] = min(after) - 1 if after else depth[root]
    return depth


def _way(
    spots: dict[str, Spot], link: Link, number: int, layers: dict[int, list[Spot]], *, turned: bool
) -> tuple[list[Spot], Spot | None]:
    """The spots of one link from source to target; holders are made on the layers between."""
    source, target = spots[link.source], spots[link.target]
    top, bottom = (target, source) if turned else (source, target)
    way, label = [top], None
    wanted = (bottom.layer - 1 if turned else top.layer + 1) if link.width else -1
    for layer in range(top.layer + 1, bottom.layer):
        holder = Spot(f"{number}:{layer}", 6.0, 0.0, layer, holder=True)
        if layer == wanted:
            holder.width, holder.height = link.width, link.height
            label = holder
        layers.setdefault(layer, []).append(holder)
        way.append(holder)
    way.append(bottom)
    if top is bottom:  # the box itself; drawn at its side
        return way, None
    for one, other in pairwise(way):
        one.below.append(other)
        other.above.append(one)
    return way[::-1] if turned else way, label


def _order(rows: list[list[Spot]]) -> None:
    """Sort layers by the middle of their neighbours, up and down, and keep the order with the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            places = {id(spot): place for other in rows for place, spot in enumerate(other)}
            wished = {}
            for at, spot in enumerate(row):
                middle = _middle([places[id(one)] for one in (spot.above if down else spot.below)])
                wished[id(spot)] = (at if middle is None else middle, at)
            row.sort(key=lambda spot: wished[id(spot)])
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _middle(places: list[int]) -> float | None:
    return sum(places) / len(places) if places else None


def _crossings(rows: list[list[Spot]]) -> int:
    total = 0
    for row, after in pairwise(rows):
        places = {id(spot): place for place, spot in enumerate(after)}
        ends = [places[id(one)] for spot in row for one in sorted(spot.below, key=lambda it: places[id(it)])]
        total += sum(ends[left] > ends[right] for left in range(len(ends)) for right in range(left + 1, len(ends)))
    return total


def _settle(rows: list[list[Spot]]) -> None:
    """Move every layer towards its neighbours, keeping order and distance."""
    for row in rows:
        _spread(row, [0.0] * len(row))
    for sweep in range(4 * _SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            _spread(row, [_pull(spot, spot.above if down else spot.below) for spot in row])
    for row in rows:
        _spread(row, [_pull(spot, [*spot.above, *spot.below]) for spot in row])


def _pull(spot: Spot, others: Iterable[Spot]) -> float:
    """Where its neighbours are; a long arrow holds together, so that it is straight."""
    weights = [(other.x, 8.0 if spot.holder and other.holder else 1.0) for other in others]
    return sum(x * weight for x, weight in weights) / sum(weight for _, weight in weights) if weights else spot.x


def _spread(row: list[Spot], wished: list[float]) -> None:
    """The positions nearest to the wished ones that keep the order and the gaps (least squares, pooled)."""
    offsets, offset = [], 0.0
    for place_, spot in enumerate(row):
        if place_:
            offset += row[place_ - 1].width / 2 + GAP + spot.width / 2
        offsets.append(offset)
    pools: list[tuple[float, int]] = []  # (mean, members)
    for wish, shift in zip(wished, offsets, strict=True):
        mean, size = wish - shift, 1
        while pools and pools[-1][0] > mean:
            before, members = pools.pop()
            mean, size = (mean * size + before * members) / (size + members), size + members
        pools.append((mean, size))
    means = [mean for mean, size in pools for _ in range(size)]
    for spot, mean, shift in zip(row, means, offsets, strict=True):
        spot.x = mean + shift


def _frame(rows: list[list[Spot]], gap: float) -> tuple[float, float]:
    """Heights of layers, and everything moved so that it begins at 0."""
    left = min((spot.x - spot.width / 2 for row in rows for spot in row), default=0.0)
    right = max((spot.x + spot.width / 2 for row in rows for spot in row), default=0.0)
    top = 0.0
    for row in rows:
        height = max((spot.height for spot in row), default=0.0)
        for spot in row:
            spot.x -= left
            if spot.holder and not spot.height:  # past boxes an arrow goes straight, so that it touches none
                spot.height = height
            spot.y = top + (height - spot.height) / 2
        top += height + gap
    return right - left, max(0.0, top - gap)
