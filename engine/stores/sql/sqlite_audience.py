"""Audiences in an SQLite file, see :mod:`engine.stores.sql.audience`.

Rule 1: the log supersedes the table, here as everywhere; both are asked the same question.
Rule 2: a page is in order of subject and full, unless there is nobody left.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from engine.core.predicate import Filter, Selection
from engine.core.subjects import BEFORE_USERS
from engine.stores.sql.asking import write
from engine.stores.sql.audience import Found, by_subject, page
from engine.stores.sql.sqlite_file import SqliteFile
from engine.stores.sql.sqlite_words import SqliteWords, able

_PAGE = 1000
_FIRST = 3  #: number of the first parameter of a question: before it stand the place and the limit
_ROOMS = (40, 12, 6, 3, 1)  #: how deep a question may be; the first that this build of SQLite takes

_pack = msgspec.json.Encoder().encode


def select(file: SqliteFile, fresh: dict[str, bytes], filter: Filter, now: int, after: str, limit: int) -> Selection:
    """One page of an audience.

    Parameters
    ----------
    file: inside a snapshot.
    fresh: states of the log.
    """
    if limit < 1:
        return Selection([], [], 0, after)
    after = max(after, BEFORE_USERS)  # conditions on the subject are about users
    asking = _Asking(file, fresh, filter, now)
    return page(merge(asking.table(after), asking.log(after), key=by_subject), filter, now, limit)


def candidates(
    file: SqliteFile, fresh: dict[str, bytes], filter: Filter, now: int, after: str, limit: int
) -> list[str]:
    """The same without asking Python: everybody but those who certainly do not fit."""
    after = max(after, BEFORE_USERS)
    asking = _Asking(file, fresh, filter, now)
    both = merge(asking.table(after), asking.log(after), key=by_subject)
    return [subject for subject, _ in islice(both, max(0, limit))]


class _Asking:
    """One question, put to the table and to the log."""

    def __init__(self, file: SqliteFile, fresh: dict[str, bytes], filter: Filter, now: int) -> None:
        self._file = file
        self._fresh = fresh
        self._sql, self._values = self._written(filter, now)

    def _written(self, filter: Filter, now: int) -> tuple[str, list[Any]]:
        for room in _ROOMS if able() else ():
            written = write(filter.predicate, SqliteWords(), _FIRST, room)
            values = written.bind(now)
            if self._file.takes("audience_table", written.sql, "", 0, *values):
                return written.sql, values
        return "0", []  # everybody is asked

    def table(self, after: str) -> Iterator[Found]:
        last, size = after, _PAGE
        while rows := self._file.filled("audience_table", self._sql, last, size, *self._values):
            yield from (row for row in rows if row[0] not in self._fresh)
            last = rows[-1][0]
            if len(rows) < size:
                return

    def log(self, after: str) -> Iterator[Found]:
        waiting = iter(sorted(subject for subject in self._fresh if subject > after))
        while chunk := list(islice(waiting, _PAGE)):
            body = _pack([(subject, msgspec.Raw(self._fresh[subject])) for subject in chunk])
            for place, ask in self._file.filled("audience_log", self._sql, body.decode(), _PAGE, *self._values):
                yield chunk[place], None if ask is None else self._fresh[chunk[place]]
