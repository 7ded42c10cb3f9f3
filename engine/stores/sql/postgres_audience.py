"""Audiences in PostgreSQL. A page is in order of subject and full, unless there is nobody left."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from engine.core.predicate import Filter, Selection
from engine.core.subjects import BEFORE_USERS
from engine.stores.sql.asking import write
from engine.stores.sql.audience import Found, page
from engine.stores.sql.postgres_file import PgFile
from engine.stores.sql.postgres_words import PostgresWords

_PAGE = 1000
_FIRST = 3  #: number of the first parameter of a question: before it stand the place and the limit
_ROOMS = (40, 12, 6, 1)  #: how deep a question may be; the first the server takes
_PARAMETERS = 60_000  #: the protocol takes 65,535


def select(file: PgFile, filter: Filter, now: int, after: str, limit: int) -> Selection:
    """One page of an audience."""
    if limit < 1:
        return Selection([], [], 0, after)
    return page(_found(file, filter, now, after), filter, now, limit)


def candidates(file: PgFile, filter: Filter, now: int, after: str, limit: int) -> list[str]:
    """The same without asking Python: everybody but those who certainly do not fit."""
    return [subject for subject, _ in islice(_found(file, filter, now, after), max(0, limit))]


def _found(file: PgFile, filter: Filter, now: int, after: str) -> Iterator[Found]:
    last = max(after, BEFORE_USERS)  # conditions on the subject are about users
    sql, values = _written(file, filter, now)
    while rows := file.filled("audience_table", sql, last, _PAGE, *values):
        yield from rows
        last = rows[-1][0]
        if len(rows) < _PAGE:
            return


def _written(file: PgFile, filter: Filter, now: int) -> tuple[str, list[object]]:
    for room in _ROOMS:
        written = write(filter.predicate, PostgresWords(), _FIRST, room)
        values = written.bind(now)
        if len(values) < _PARAMETERS and file.takes("audience_table", written.sql, "", 0, *values):
            return written.sql, values
    return "0", []  # everybody is asked
