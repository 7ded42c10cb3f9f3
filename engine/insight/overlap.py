"""How much segments have in common: sizes, who is in both, and Jaccard (who is in both, of all who are in either).

The store lists each segment in order of id; the lists are merged as they are read, so the memory is that of a page of
each, however many users there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from engine.core.predicate import Filter
from engine.insight.audience import pages
from engine.ports import Store

_THOUSANDTH = Decimal("0.001")


def overlap(store: Store, chosen: Mapping[str, Filter], now: int) -> dict[str, Any]:
    """The figures, ready for JSON.

    Parameters
    ----------
    chosen, now: name -> who belongs to it, at which instant (microseconds UTC).
    """
    names = list(chosen)
    errors: Counter[str] = Counter()

    def members(place: int, name: str) -> Iterator[tuple[str, int]]:
        for page in pages(store, chosen[name], now):
            errors[name] += len(page.errors)
            for one in page.ids:
                yield one, 1 << place

    combined: Counter[int] = Counter()  #: which segments somebody is in, as bits -> how many people
    streams = [members(place, name) for place, name in enumerate(names)]
    for _, group in groupby(merge(*streams), key=itemgetter(0)):
        combined[sum(bit for _, bit in group)] += 1
    sizes = [_in(combined, 1 << place) for place in range(len(names))]
    pairs = []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            both = _in(combined, 1 << a | 1 << b)
            either = sizes[a] + sizes[b] - both
            jaccard = (Decimal(both) / either).quantize(_THOUSANDTH) if either else None
            pairs.append({"a": names[a], "b": names[b], "both": both, "either": either, "jaccard": jaccard})
    return {
        "segments": [
            {"segment": name, "size": size, "errors": errors[name]} for name, size in zip(names, sizes, strict=True)
        ],
        "pairs": pairs,
        "in_any": sum(combined.values()),
        "of": store.head_count(),
    }


def _in(combined: Counter[int], bits: int) -> int:
    return sum(number for found, number in combined.items() if found & bits == bits)
