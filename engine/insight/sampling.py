"""A few of many, chosen by a hash of their names: the same at every look, favouring nobody."""

from __future__ import annotations

from bisect import insort
from hashlib import blake2b

from engine.core.chance import effect_key

SHOWN = 5
"""How many are named."""


def short(name: str) -> int:
    """A short number for a name: sets of a million of them are small."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Sample:
    """The few of all that were added whose hash is the least."""

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int = SHOWN) -> None:
        self._most = most
        self._kept: list[tuple[str, str]] = []

    def add(self, name: str) -> None:
        """One more; named twice it counts once."""
        mark = effect_key("audience", name)
        if len(self._kept) == self._most and (not self._kept or mark >= self._kept[-1][0]):
            return
        if (mark, name) not in self._kept:
            insort(self._kept, (mark, name))
            del self._kept[self._most :]

    def names(self) -> list[str]:
        """Them, in order of name."""
        return sorted(name for _, name in self._kept)
