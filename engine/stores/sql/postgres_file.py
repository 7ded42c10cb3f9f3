"""A PostgreSQL schema as a store uses it: questions, statements, transactions. See ``postgres_session`` for who may.

It has the words of ``SqliteFile``, so that what is not about one database asks both alike.

Rule 1: the statements of a transaction travel together; ``send`` waits for no answer, ``write`` and ``rows`` do.
Rule 2: what was not committed is done again by whoever began it (``Lost``); whether a COMMIT without an answer was
done, the ``turn`` tells, or the server's own record of the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any

import psycopg

from engine.core.model import Event
from engine.core.subjects import part_of
from engine.errors import StoreError, StoreHeld
from engine.stores import codec
from engine.stores.sql.postgres_arrays import packed
from engine.stores.sql.postgres_place import Place, place
from engine.stores.sql.postgres_schema import Q, migrate
from engine.stores.sql.postgres_session import ALONE, Lost, PgSession, Role, nothing

_PAGE = 1000
_BEGIN = "begin isolation level read committed"
_MOMENT = "begin isolation level repeatable read, read only"
_LOOKED_FOR = 0.5  #: seconds: where nothing is there to be read, others' transactions are waited for about so long
_COLUMNS = re.compile(r"\bunnest\(\s*\$1\b")


_SERVED = frozenset(("ingest", "release", "claim", "settle", "redrive", "drop", "import"))
"""Verbs for which nobody needs to be alone."""


@cache
def _takes_columns(query: str) -> bool:
    """Does a statement take all its rows at once, as a list a column?"""
    return _COLUMNS.search(Q[query]) is not None


class PgFile(PgSession):
    """One connection to a store, with the words of ``SqliteFile``."""

    def __init__(self, at: Place, role: Role, durable: bool) -> None:
        super().__init__(at, role, durable)
        self.waits = True  #: where nothing can be read yet, a moment is waited for it
        self.held: list[bytes] = []  #: events of the inbox that could not be read yet when it was looked at last
        self.taken = 0  #: rows the present transaction put into the inbox
        self._cursors = 0
        self._pipe: psycopg.Pipeline | None = None  #: statements travel together

    @classmethod
    def open(
        cls,
        url: str,
        *,
        role: Role = Role.DECIDES,
        fault: Callable[[str], object] = nothing,
        durable: bool = True,
    ) -> PgFile:
        """Open a schema, making or migrating it when it is opened for deciding.

        Parameters
        ----------
        url: with its secrets filled in.
        durable: what is committed survives the loss of power; a store that need not is thrown away afterwards.
        """
        file = cls(place(url), role, durable)
        try:
            file._check_server()
            if role in (Role.DECIDES, Role.SHARES):
                file._take_right()
            with file._plain():
                migrate(file.db, file.at, read_only=role is not Role.DECIDES, fault=fault)
            if role is Role.DECIDES:
                file._count_epoch()
                file._number_inbox()
        except BaseException:
            file.close()
            raise
        file.fault = fault
        return file

    def _number_inbox(self) -> None:
        """Events of a store that came from another server get numbers of this one."""
        if self._one("inbox_ahead")[0]:
            with self.transaction("meta"):
                self.call("renumber_inbox")

    # -- reading

    def filled(self, query: str, verdict: str, *values: Any) -> list[Any]:
        """All rows of a named query with a question of ours in the place it keeps for one."""
        return self._read(query, Q[query].replace("{verdict}", verdict), values)

    def takes(self, query: str, verdict: str, *values: Any) -> bool:
        """Whether the question is within what this server can read."""
        try:
            with self.db.transaction():
                self._execute("explain " + Q[query].replace("{verdict}", verdict), values).fetchone()
        except psycopg.Error as error:
            if self._gone():
                raise self._unreadable(query, error) from error
            return False
        return True

    def pages(self, query: str, *values: Any, page: int = _PAGE) -> Iterator[Any]:
        """The rows of a named query as of now, read as they are used, so many at a time."""
        if not self._in_transaction():
            self._be_there()
        self._cursors += 1
        try:
            name, hold = f"page_{self._cursors}", not self._in_transaction()
            with psycopg.RawServerCursor(self.db, name, withhold=hold) as cursor:
                cursor.execute(Q[query], packed(Q[query], values))
                while rows := cursor.fetchmany(page):
                    yield from rows
        except psycopg.Error as error:
            raise self._unreadable(query, error) from error

    def _be_there(self) -> None:
        """A lost connection is found out, and made anew, before anything hangs on it."""
        self.rows("here")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Queries inside see one state of the store, whatever others do meanwhile."""
        if self._in_transaction():
            yield
            return
        self._be_there()
        with self._plain():
            self.db.execute(_MOMENT)
        inside, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = inside
            with suppress(psycopg.Error):  # nothing was written; what was wrong with reading was said already
                self.db.execute("rollback")

    # -- writing

    def names(self, words: Iterable[str | None]) -> list[str | None]:
        """Texts as a query takes them together."""
        return list(words)

    def send(self, query: str, rows: Iterable[Sequence[Any]]) -> Callable[[], int]:
        """Run a named statement for each row, or for all at once where it takes columns; no answer is waited for.

        Gives what tells the number of rows it changed, once the answer is there.
        """
        sent = self._run(query, rows)
        return lambda: sum(cursor.rowcount for cursor in sent)

    def write(self, query: str, rows: Iterable[Sequence[Any]]) -> int:
        """As ``send``, and waits for the answer: the number of rows it changed."""
        changed = self.send(query, rows)
        self._wait()
        return changed()

    def _wait(self) -> None:
        """What was sent is answered; raises what is wrong with it."""
        if self._pipe is not None:
            # ``sync`` alone waits for ever when more was sent than the connection takes at once. But without it the
            # server believes that more is to come, and counts no time of silence.
            self.db.execute(Q["here"]).fetchone()
            self._pipe.sync()

    def insert(self, query: str, rows: Sequence[Sequence[Any]]) -> int:
        """As ``write``, for an ``insert``."""
        return self.write(query, rows)

    def put(self, events: Sequence[Event]) -> int:
        """Put events into the inbox; how many were not there and not decided."""
        if not events:
            return 0
        rows = [(part_of(it.user or it.group), it.id, codec.encode_event(it)) for it in events]
        return self.put_rows("add_inbox", rows)

    def put_rows(self, query: str, rows: Sequence[Sequence[Any]]) -> int:
        """Put rows into the inbox behind those of this transaction; how many were not there and not decided."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        sent = self._execute(Q[query], (*columns, self.taken))
        self.taken += len(rows)
        self._wait()
        return sent.rowcount

    def settled(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Events of the inbox after a number, as far as none can become visible any more that would be before them."""
        rows = self.rows("read_inbox", after, limit)
        for pause in self._pauses if rows and not rows[-1][2] else ():
            # something runs on this server that began before; mostly it has nothing to do with us
            strange = [number for (number,) in self.rows("strange_transactions")]
            rows = self.rows("read_inbox_beside", after, limit, strange)
            if not rows or rows[0][2] or not self.waits or pause >= _LOOKED_FOR:
                break
            self._waiting.wait(pause)
        self.held = [body for _, body, done in rows if not done]
        return [(seq, body) for seq, body, done in rows if done]

    def _run(self, query: str, rows: Iterable[Sequence[Any]]) -> list[psycopg.Cursor[Any]]:
        listed = rows if isinstance(rows, (list, tuple)) else list(rows)
        if not listed:
            return []
        if _takes_columns(query):
            return [self._execute(Q[query], [list(column) for column in zip(*listed, strict=True)])]
        return [self._execute(Q[query], row) for row in listed]

    def columns(self, query: str, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The answer to a named statement that takes all its rows at once, as a list a column."""
        return self._execute(Q[query], [list(column) for column in zip(*rows, strict=True)]).fetchall()

    def call(self, query: str, *values: Any) -> None:
        """Run a named statement once, with these values; no answer is waited for."""
        self._execute(Q[query], values)

    def alone(self, query: str) -> None:
        """Run a named statement that goes in no transaction."""
        with self._plain():
            self.db.execute(Q[query])

    @contextmanager
    def transaction(self, verb: str, committed: Callable[[], None] | None = None) -> Iterator[None]:
        """All or nothing; ``committed`` is called when the changes are durable.

        Raises Lost when the connection went away and nothing was changed.
        """
        if self.read_only:
            raise StoreError(f"store {self.at} is open for reading only")
        if self.role is Role.SERVES and verb not in _SERVED:
            raise StoreError(f"store {self.at} is open for taking in and sending only", hint="not for " + verb)
        self.fault(f"{verb}.before_begin")
        try:
            number = self._all_but_commit(verb)
            with number as begun:
                yield
            self.fault(f"{verb}.before_commit")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, psycopg.Error):
                raise self._unwritable(error) from error
            raise
        self._commit(begun)
        if committed is not None:
            committed()
        self.fault(f"{verb}.after_commit")

    @contextmanager
    def _all_but_commit(self, verb: str) -> Iterator[list[Any]]:
        """Statements in one go, and that they were done; gives what tells this transaction from others."""
        begun: list[Any] = []
        self.taken, self._inside = 0, True
        with ExitStack() as closing:
            self._pipe = closing.enter_context(self.db.pipeline())
            closing.callback(self._no_pipe)
            self.db.execute(_BEGIN)
            decides = self.role is Role.DECIDES and self._epoch
            fence = self.db.execute(Q["fence"], (self._epoch,)) if decides else self.db.execute(Q["number"])
            if not decides:
                self._wait()  # should it fall silent from here on, the server ends it
            self.fault(f"{verb}.after_begin")
            yield begun
            found = fence.fetchone()
        if found is None:
            raise StoreHeld(f"store {self.at} was opened for writing by another process since", hint=ALONE)
        begun.append(found[0])

    def _no_pipe(self) -> None:
        self._pipe = None

    def _roll_back(self) -> None:
        self._inside = False
        with suppress(psycopg.Error):
            if self._in_transaction():
                self.db.execute("rollback")

    def _commit(self, begun: list[Any]) -> None:
        """Commit; where no answer comes, find out."""
        try:
            self.db.execute("commit")
        except psycopg.Error as error:
            self._roll_back()
            if not self._gone():
                raise self._unwritable(error) from error
            self.again()
            if not self._was_done(begun[0]):
                raise Lost(f"the connection to store {self.at} was lost") from error
        finally:
            self._inside = False
        if self.role is Role.DECIDES and self._epoch:
            self._turn = begun[0]

    def _was_done(self, begun: Any) -> bool:
        """Was a transaction committed whose answer never came?"""
        if self.role is Role.DECIDES and self._epoch:
            return bool(self._turn == begun)  # ``again`` looked
        for pause in self._pauses:
            self._waiting.wait(pause)
            status = self._one("outcome", begun)[0]
            if status != "in progress":
                return bool(status == "committed")
        raise StoreError(f"store {self.at} does not say whether something was written", hint="try again")
