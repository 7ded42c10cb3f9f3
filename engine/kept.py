"""What was made of the bytes of a file is kept for a while, so that what did not change is not made again.

A daemon compiles its program anew when one of its files was edited, and so does whoever compares versions of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The values used last, as many as fit; may be asked by any thread. Values must be safe to share.

    Parameters
    ----------
    most: bytes of the files whose values are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, size: int, make: Callable[[], T], keep: Callable[[T], bool]) -> T:
        """The value of a key, made where there is none; ``size``: bytes it counts for; ``keep``: may it be kept?"""
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
                return found[0]
        value = make()
        if size <= self._most and keep(value):
            with self._lock:
                if key not in self._values:
                    self._values[key] = value, size
                    self._bytes += size
                while self._bytes > self._most:
                    _, (_, gone) = self._values.popitem(last=False)
                    self._bytes -= gone
        return value
