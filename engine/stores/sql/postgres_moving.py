"""A store in PostgreSQL as records, and an empty one that takes them; see :mod:`engine.stores.moving`.

All is written in one transaction with COPY: who is interrupted has an empty store again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import psycopg

from engine.core.subjects import part_of
from engine.errors import StoreError
from engine.stores import codec
from engine.stores.moving import STAYS, Row
from engine.stores.sql.postgres_file import PgFile
from engine.stores.sql.postgres_schema import Q

_WAITING: Final = 1 << 20
"""Events one transaction may put into the inbox."""

_ROOM: Final = 1 << 22  #: events for which room is made at a time
_COPY: Final[dict[str, tuple[str, str]]] = {
    "meta": ("meta (name, value)", "text text"),
    "version": ("version (playbook, hash, since, sources, used)", "text text int8 bytea bool"),
    "erased": ("erased (alias, at)", "text int8"),
    "forgotten": ("forgotten (log, at, n)", "text int8 int8"),
    "missing": ("forgotten_of (subject)", "text"),
    "state": ("subject (part, id, state, wake_at)", "int2 text bytea int8"),
    "id": ("decided_id (id, subject, time, at)", "text text int8 int8"),
    "event": (
        "event (part, seq, subject, id, time, decided_at, history, body)", "int2 int8 text text int8 int8 bool bytea",
    ),
    "heard": ("heard (subject, seq)", "text int8"),
    "effect": (
        "effect (part, key, subject, time, channel, body, delivery, attempts, next_at, tried_at, outcome, receipt, "
        "carries)",
        "int2 text text int8 text bytea text int4 int8 int8 text text text[]",
    ),
    "answer": ("answer (key, subject, body)", "text text bytea"),
    "grant": (
        "coupon_grant (code, pool, key, at, until, amount, playbook, step, status, moved, by)",
        "text text text int8 int8 text text text text int8 text",
    ),
    "code": ("coupon_code (pool, place, code)", "text int8 text"),
    "resource": ("resource (name, body)", "text bytea"),
    "slot": ("slot (name, body)", "text bytea"),
    "decision": ("decision (subject, time, body)", "text int8 bytea"),
    "entry": ("entry (key, subject, book, name, time, body)", "text text text text int8 bytea"),
    "goal": ('goal (playbook, occurrence, "user", held, time, worth)', "text text text bool int8 text"),
    "milestone": ('milestone (playbook, occurrence, "user", what, name, time)', "text text text text text int8"),
    "rejected": ("quarantine (feed, position, reason, message, raw, at)", "text int8 text text bytea int8"),
    "position": ("position (feed, position)", "text int8"),
    "counter": ("counter (name, n)", "text int8"),
    "figure": ("figure (playbook, name, n)", "text text int8"),
}  # fmt: skip
"""Kind -> where its rows go, and the types of the columns."""


class PgMoving:
    """Reads and writes records."""

    def __init__(self, file: PgFile) -> None:
        self._file = file

    # -- reading

    @contextmanager
    def moment(self) -> Iterator[None]:
        """All that is read inside is of one moment."""
        with self._file.snapshot():
            self._file.rows("look_through")
            yield

    def records(self, kind: str) -> Iterator[Row]:
        """The records of a kind."""
        rows = self._file.pages(f"whole_{kind}")
        if kind == "meta":
            return (row for row in rows if row[0] not in STAYS)
        if kind == "event":
            return ((*row[:6], tuple(row[6] or ())) for row in rows)
        if kind == "effect":
            return ((*row[:11], None if row[11] is None else tuple(row[11])) for row in rows)
        return map(tuple, rows)

    # -- writing

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Everything inside is written, or nothing; raises StoreError when the store is not empty."""
        if self._file.rows("in_use")[0][0]:
            raise StoreError(
                f"store {self._file.place} is not empty",
                hint="name another schema: postgresql://host/database?schema=name",
            )
        try:
            with self._file.db.transaction():
                yield
        except psycopg.Error as error:
            words = str(error).splitlines()[0]
            hint = "PostgreSQL keeps no text with a NUL in it" if "NUL" in words or "0x00" in words else ""
            raise StoreError(f"store {self._file.place} cannot be written: {words}", hint=hint) from error

    def take(self, kind: str, rows: Iterator[Row]) -> None:
        """Write the records of a kind; inside ``whole``."""
        if kind == "clock":
            for row in rows:
                self._file.db.execute(Q["save_clock"], row)
        elif kind == "inbox":
            self._wait(rows)
        elif kind == "event":
            self._events(rows)
        elif kind == "state":
            self._copy(kind, ((part_of(row[0]), *row) for row in rows))
        elif kind == "effect":
            carried = ((*row[:11], None if row[11] is None else list(row[11])) for row in rows)
            self._copy(kind, ((part_of(row[1]), *row) for row in carried))
        elif kind == "id":
            self._copy(kind, (row[:4] for row in rows))
        else:
            self._copy(kind, rows)

    def _copy(self, kind: str, rows: Iterable[Row]) -> None:
        table, types = _COPY[kind]
        with self._file.db.cursor() as cursor, cursor.copy(f"copy {table} from stdin (format binary)") as copy:
            copy.set_types(types.split())
            for row in rows:
                copy.write_row(row)

    def _events(self, rows: Iterator[Row]) -> None:
        seq, heard = 0, list[tuple[str, int]]()

        def numbered(part: Iterator[Row]) -> Iterator[Row]:
            nonlocal seq
            for row in part:
                seq += 1
                heard.extend((name, seq) for name in row[6])
                yield (part_of(row[0]), seq, *row[:6])

        while True:
            before = seq
            self._file.db.execute(Q["number_events"], (before + 1,))
            self._file.db.execute(Q["make_event_room"])
            self._copy("event", numbered(islice(rows, _ROOM)))
            self._copy("heard", heard)
            heard.clear()
            if seq - before < _ROOM:
                return

    def _wait(self, rows: Iterator[Row]) -> None:
        place = 0
        while part := list(islice(rows, 1000)):
            events = [codec.decode_event(body) for _, body in part]
            parts = [part_of(it.user or it.group) for it in events]
            numbers = list(range(place + 1, place + 1 + len(part)))
            place += len(part)
            if place >= _WAITING:
                raise StoreError(
                    f"more than {_WAITING:,} events wait to be decided", hint="drumbeat run --until-idle decides them"
                )
            columns: tuple[list[Any], ...] = (parts, numbers, [id_ for id_, _ in part], [body for _, body in part])
            self._file.db.execute(Q["whole_inbox_in"], columns)

    def note(self, name: str, value: str) -> None:
        """Keep a word with what was written; inside ``whole``."""
        self._file.db.execute(Q["save_meta"], (name, value))
