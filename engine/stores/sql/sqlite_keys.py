"""Keys of effects in an SQLite file: the newest are held in memory, the others have their places in a table.

Keys are hashes, so that each goes to a page of its own: written at every commit, they are most of what a commit writes.
Held until there are many, neighbours go to one page together.

Rule 1: a key is in memory or in the table; it may be in both after the death of a process.
Rule 2: keys go to their places in rounds from the first key to the last, a piece at a time. What the file knows of a
round is its end: the keys of all effects up to a number have their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.stores import codec
from engine.stores.sql.sqlite_file import SqliteFile
from engine.stores.sql.sqlite_trail import ALL

KEY_ROWS, KEY_PIECE = 100_000, 20_000
"""Keys without a place from which on they get one: some 10 MB of memory. The second: how many at a time, where nobody
is to be kept waiting."""


class _Round(NamedTuple):
    """How far a round is."""

    start: str = ""  #: keys before this one had their turn
    end: int = 0  #: it is over when the keys of all effects up to here had theirs


class SqliteKeys:
    """Writes effects, and knows their keys; every method that changes the file is called inside a transaction."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._last: int = file.rows("last_effect")[0][0]
        self._new = 0  #: effects of the transaction at hand
        self._round = self._next = _Round()
        self._gone = 0  #: keys that got their places in the transaction at hand
        self.held = 0  #: keys in memory
        self.gather()

    def gather(self) -> None:
        """Hold the keys that have no place, in a connection that holds none or may have lost them."""
        if self._file.read_only:
            self._file.rows("look_at_keys")
            return
        self._file.rows("drop_keys")
        self._file.rows("hold_keys")
        self.held = self._file.write("hold_new_keys", self._file.rows("placed"))
        self._round = _Round()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write effects whose keys are new, of several with one key the first; how many they were."""
        self._new = 0
        if rows:
            known = {key for (key,) in self._file.rows("known_keys", codec.names([row[0] for row in rows]))}
            fresh: dict[str, tuple[Any, ...]] = {}
            for row in rows:
                if row[0] not in known:
                    fresh.setdefault(row[0], row)
            self._file.insert("add_effect", [(n, *row) for n, row in enumerate(fresh.values(), self._last + 1)])
            self._new = self._file.write("hold_new_keys", [(self._last,)])
        return self._new

    def added(self) -> None:
        """The effects are durable."""
        self._last += self._new
        self.held += self._new

    def place(self, most: int) -> None:
        """Bring keys to their places: so many, or ALL."""
        now = _Round() if most == ALL else self._round
        end = now.end if now.start else self._last
        last, self._gone = self._file.rows("next_keys", now.start, most)[0]
        if self._gone:
            self._file.write("place_keys", [(now.start, last)])
            self._file.write("let_keys_go", [(now.start, last)])
        if self._gone < most:
            self._file.write("save_placed", [(end,)])
            self._next = _Round()
        else:
            self._next = _Round(last + "\0", end)

    def placed(self) -> None:
        """What ``place`` did is durable."""
        self._round = self._next
        self.held -= self._gone
