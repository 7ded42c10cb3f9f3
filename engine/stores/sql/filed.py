"""What a part of a store asks of the database behind it: named queries, so that one part serves several databases.

A query of one name takes the same values in the same order everywhere and gives the same columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from engine.core.model import Entry


class QueryFile(Protocol):
    """A connection to a store, see ``SqliteFile`` and ``PgFile``."""

    fault: Callable[[str], object]

    @property
    def place(self) -> str:
        """How people name it: the path of a file, the address of a database without its password."""
        ...

    @property
    def read_only(self) -> bool: ...

    def rows(self, query: str, *values: Any) -> list[Any]: ...

    def filled(self, query: str, verdict: str, *values: Any) -> list[Any]: ...

    def takes(self, query: str, verdict: str, *values: Any) -> bool: ...

    def pages(self, query: str, *values: Any, page: int = ...) -> Iterator[Any]: ...

    def write(self, query: str, rows: Iterable[tuple[Any, ...]]) -> int: ...

    def insert(self, query: str, rows: list[tuple[Any, ...]]) -> int: ...

    def transaction(
        self, verb: str, committed: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]: ...

    def snapshot(self) -> AbstractContextManager[None]: ...

    def names(self, words: Iterable[str | None]) -> Any:
        """Texts as a query takes them together."""
        ...


class ReadsEntries(Protocol):
    """The ledger of a store."""

    def read(self, subject: str | None, book: str | None, name: str | None) -> Iterator[Entry]: ...
