"""How many users may come in that nobody knows yet: a stranger with a key must not fill the store with names.

Rule 1: users the store knows are never held up by this; only a request that brings others is refused, as a whole.
Rule 2: a request that brings more than there is room for goes through and is paid for afterwards, as with rates.
Rule 3: who was let in and is not decided on yet counts once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.api.rates import Buckets

MET = 20_000
"""Users remembered who came in lately; the store knows them as soon as they are decided on."""


class Newcomers:
    """The users one feed may bring, for each key and each address.

    Parameters
    ----------
    rate: (users, microseconds); None: any number.
    elapsed: seconds on a clock that never jumps.
    """

    def __init__(self, rate: tuple[int, int] | None, elapsed: Callable[[], float]) -> None:
        self._buckets = Buckets(rate, elapsed)
        self._met: OrderedDict[str, None] = OrderedDict()

    def met(self, user: str) -> bool:
        """Did somebody come in lately? May be asked by any thread."""
        return user in self._met

    def debt(self, names: Iterable[str]) -> int:
        """Seconds until new users may come from these; 0: now."""
        return max(self._buckets.debt(name) for name in names)

    def came(self, names: Iterable[str], users: Sequence[str]) -> None:
        """New users came in."""
        for user in users:
            self._met[user] = None
        while len(self._met) > MET:
            self._met.popitem(last=False)
        for name in names if users else ():
            self._buckets.charge(name, len(users))


@dataclass(frozen=True)
class Bringing:
    """Who brings a request's users."""

    names: tuple[str, ...]  #: of the key and the address
    newcomers: Newcomers
