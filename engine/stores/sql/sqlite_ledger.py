"""The ledger in an SQLite file: blocks of many entries a row, as decided events are kept.

Rule 1: blocks are only ever added at the end, and no entry is changed; an erasure alone writes a block anew, with
pseudonyms in the places of names.
Rule 2: whose entries a block holds stands beside it until the trail notes it, see ``sqlite_events``.
Every method is called inside a transaction or changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.core.model import Entry
from engine.stores import codec, erasing, tally
from engine.stores.sql.sqlite_events import NAMES_A_ROW
from engine.stores.sql.sqlite_file import SqliteFile

BLOCK = 100
"""Entries of a block: some 10 KB."""


class SqliteLedger:
    """Writes and reads entries."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._count: int = file.rows("entry_count")[0][0]

    def add(self, entries: Sequence[Entry]) -> None:
        """Write entries in order of decision; ``added`` must follow."""
        blocks, names = [], []
        for start in range(0, len(entries), BLOCK):
            part = entries[start : start + BLOCK]
            last = self._count + start + len(part)
            blocks.append((last, codec.encode_entries(part)))
            names.append((last, names_of(part)))
        self._file.write("add_entries", blocks)
        self._file.write("add_entry_subjects", names)

    def added(self, count: int) -> int:
        """So many entries are durable; how many rows of other logs they count as, until the trail holds them."""
        self._count += count
        return count // NAMES_A_ROW

    def read(self, subject: str | None, book: str | None, name: str | None) -> Iterator[Entry]:
        """Entries in order, of all or of one subject, book or name."""
        for _, body in self._blocks(subject):
            for it in codec.decode_entries(body):
                if tally.asked_for(it, subject, book, name):
                    yield it

    def _blocks(self, subject: str | None) -> Iterator[tuple[int, bytes]]:
        if subject is None:
            return self._file.pages("all_entries")
        return self._file.pages("entries_of", subject, codec.names([subject]).decode()[1:-1])

    def erase(self, subject: str, until: int, alias: Callable[[str], str]) -> None:
        """Entries of a subject up to an instant go on under its pseudonym."""
        for seq, body in list(self._blocks(subject)):
            entries = codec.decode_entries(body)
            hidden = [erasing.anonymous(it, subject, until, alias) for it in entries]
            if hidden == entries:
                continue
            self._file.write("rewrite_entries", [(codec.encode_entries(hidden), seq)])
            self._file.write("rename_entries", [(names_of(hidden), seq)])
            left = any(it.subject == subject for it in hidden)
            self._file.write("move_entries", [(subject, seq, alias(subject))])
            if not left:
                self._file.write("forget_entries", [(subject, seq)])


def names_of(entries: Sequence[Entry]) -> str:
    return codec.names(list(dict.fromkeys(it.subject for it in entries if it.subject is not None))).decode()
