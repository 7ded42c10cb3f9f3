"""The name -> class table behind every family of words (triggers, actions, channels, feeds, stores).

Rule 1: an entry is ``word: "module:Class"`` and is imported only when the word is used.
Rule 2: an unknown word answers with the nearest known one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Generic, TypeVar, cast

from engine.errors import UsageError

T = TypeVar("T")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, or None when none is near enough."""
    pool = sorted(set(known))
    lowered = {name.lower(): name for name in reversed(pool)}
    found = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


class Registry(Generic[T]):
    """A family of words, each naming one class.

    Parameters
    ----------
    family: what the words are called in messages ("trigger").
    table: word -> "module:Class".
    """

    def __init__(self, family: str, table: dict[str, str]) -> None:
        self.family = family
        self._table = dict(table)
        self._loaded: dict[str, type[T]] = {}

    def __contains__(self, word: object) -> bool:
        return word in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table))

    def target(self, word: str) -> str:
        """The ``module:Class`` text behind a word."""
        return self._table[word]

    def add(self, word: str, target: str) -> None:
        """Register one more word; an existing word cannot be replaced silently."""
        if word in self._table:
            raise UsageError(f"{self.family} {word!r} is registered already as {self._table[word]}")
        self._table[word] = target

    def get(self, word: str) -> type[T]:
        """The class behind a word; raises UsageError with the nearest word when unknown."""
        if word in self._loaded:
            return self._loaded[word]
        if word not in self._table:
            near = nearest(word, self._table)
            raise UsageError(
                f"unknown {self.family} {word!r}",
                hint=f"did you mean {near!r}?" if near else "known: " + ", ".join(self),
            )
        module, _, name = self._table[word].partition(":")
        loaded = cast("type[T]", getattr(import_module(module), name))
        self._loaded[word] = loaded
        return loaded
