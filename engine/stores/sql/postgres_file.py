"""A PostgreSQL schema as a store uses it: the right to write, the settings, transactions, errors in plain words.

It has the words of ``SqliteFile``, so that what is not about one database asks both alike.

Rule 1: who decides holds an advisory lock of the schema, for as long as its session lasts; the server ends both
together. In each transaction it counts one more ``turn``, and finds there whether its ``epoch`` is still the newest:
who lost the right without knowing it cannot commit.
Rule 2: others may take events in and work at the outbox beside it (``Role.SERVES``).
Rule 3: a connection that is lost is made anew. What was not committed is done again by whoever began it (``Lost``);
whether a COMMIT without an answer was done, the ``turn`` tells, or the server's own record of the transaction.
Rule 4: the statements of a transaction travel together; ``send`` waits for no answer, ``write`` and ``rows`` do.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from functools import cache
from threading import Event as Pause
from typing import Any
from zlib import crc32

import psycopg
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from engine.core.model import Event
from engine.errors import InternalError, StoreError, StoreFull, StoreHeld
from engine.stores import codec
from engine.stores.sql.postgres_arrays import packed
from engine.stores.sql.postgres_place import Place, place
from engine.stores.sql.postgres_schema import Q, migrate

PARTS = 256
"""Parts the subjects fall into, for ever: ``crc32(subject) % 256``."""

_PAGE = 1000
_OLDEST = 140000  #: version of the server, as it counts them
_SETTINGS = (
    "set timezone to 'UTC'",
    "set client_encoding to 'UTF8'",
    "set jit to off",
    "set lock_timeout to '30s'",
    # Who takes events in and falls silent must not keep those after it waiting for ever.
    "set idle_in_transaction_session_timeout to '60s'",
)
_WRITER = (
    # No guess about a table that was empty a minute ago may make a scan of what has an index (and has it when the
    # statistics are lost in a crash).
    "set enable_seqscan to off",
    "set plan_cache_mode to force_generic_plan",
)
_LET_GO = "select pg_advisory_unlock_all()"
_RELAXED = "set synchronous_commit to off"
_BEGIN = "begin isolation level read committed"
_MOMENT = "begin isolation level repeatable read, read only"
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0)  #: seconds before each try to connect again
_LOOKED_FOR = 0.5  #: seconds: where nothing is there to be read, others' transactions are waited for about so long
_OURS = "drumbeat"
_COLUMNS = re.compile(r"\bunnest\(\s*\$1\b")
_ALONE = "one session decides on a store; another one was opened for that since"


class Role(Enum):
    """What a session does."""

    DECIDES = "decides"  #: the only one of its kind: it may write everything
    SERVES = "serves"  #: takes events in and works at the outbox, beside it
    READS = "reads"


_SERVED = frozenset(("ingest", "release", "claim", "settle", "redrive", "drop", "import"))
"""Verbs for which nobody needs to be alone."""


class Lost(StoreError):
    """The connection went away before anything was committed: whoever began it begins again."""


def nothing(point: str) -> None:
    """The fault that never happens."""


def part_of(subject: str | None) -> int:
    """The part a subject belongs to; of nobody, 0."""
    return crc32(subject.encode()) % PARTS if subject else 0


@cache
def _takes_columns(query: str) -> bool:
    """Does a statement take all its rows at once, as a list a column?"""
    return _COLUMNS.search(Q[query]) is not None


class PgFile:
    """One connection to a store. ``fault`` is called with the name of each point of a transaction."""

    def __init__(self, at: Place, role: Role, durable: bool, patience: Sequence[float] = _PAUSES) -> None:
        self.at = at
        self.role = role
        self.fault: Callable[[str], object] = nothing
        self.full = False  #: the disk of the server was found full
        self.waits = True  #: where nothing can be read yet, a moment is waited for it
        self.held: list[bytes] = []  #: events of the inbox that could not be read yet when it was looked at last
        self.taken = 0  #: rows the present transaction put into the inbox
        self._durable = durable
        self._pauses = patience
        self._epoch = 0  #: of this opening
        self._turn = 0  #: transactions committed by those who decide
        self._cursors = 0
        self._inside = False
        self._pipe: psycopg.Pipeline | None = None  #: statements travel together
        self._waiting = Pause()
        self.db: psycopg.Connection[Any] = self._connect()
        self._session = self._myself()

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
            if role is Role.DECIDES:
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

    @property
    def place(self) -> str:
        """Where the store is, as people may see it."""
        return self.at.shown

    @property
    def read_only(self) -> bool:
        """Whether this connection may not write."""
        return self.role is Role.READS

    def close(self) -> None:
        """End the session; the right to write ends with it."""
        with suppress(psycopg.Error):
            if self.role is Role.DECIDES and not self._gone():
                self.db.execute(_LET_GO)  # the server ends a session some time after it was closed
            self.db.close()

    # -- opening

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            db = psycopg.connect(
                self.at.url,
                autocommit=True,
                cursor_factory=psycopg.RawCursor,
                prepare_threshold=1,
                application_name=f"{_OURS} {os.getpid()}@{socket.gethostname()}"[:63],
                connect_timeout=10,
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
        except psycopg.OperationalError as error:
            raise StoreError(
                f"the server of store {self.at} cannot be reached: {_words(error)}",
                hint="does PostgreSQL run there, and may this user use that database?",
            ) from None  # the driver's words may hold the address
        except psycopg.Error:
            raise StoreError(f"the address of store {self.at} is none a driver takes") from None
        try:
            db.prepared_max = 500
            for setting in _SETTINGS:
                db.execute(setting)
            if not self.read_only:
                for setting in _WRITER:
                    db.execute(setting)
            if not self._durable:
                db.execute(_RELAXED)
            db.execute(Q["set_path"], (f'"{self.at.schema}"',))
        except psycopg.Error as error:
            db.close()
            raise self._unreadable("settings", error) from error
        return db

    def _myself(self) -> tuple[int, str]:
        pid, began = self._one("myself")
        return pid, began

    def _check_server(self) -> None:
        """Raise StoreError where the server keeps to less than a store promises."""
        encoding, fsync, pages, synchronous, version = self._one("server")
        if version < _OLDEST:
            raise StoreError(f"store {self.at} needs PostgreSQL {_OLDEST // 10000}, and that is {version // 10000}")
        if encoding != "UTF8":
            raise StoreError(
                f"the database of store {self.at} has the encoding {encoding}; it needs UTF8",
                hint="create database ... encoding 'UTF8' template template0",
            )
        if self._durable and not self.read_only and (fsync, pages, synchronous == "off") != ("on", "on", False):
            raise StoreError(
                f"store {self.at} would not be safe: fsync {fsync}, full_page_writes {pages}, "
                f"synchronous_commit {synchronous}",
                hint="each must be on, or what was committed may be gone after a loss of power",
            )

    def _take_right(self) -> None:
        """Be the one who decides; raises StoreHeld, naming who is."""
        if not self._one("lock", self.at.key)[0]:
            raise self._held()

    def _held(self) -> StoreHeld:
        for name, address in self.rows("holder", self.at.key):
            process, _, host = name.removeprefix(_OURS).strip().partition("@")
            who = f"process {process} on {host}" if host else f"{name or 'a session'} from {address}"
            break
        else:
            who = "process unknown"
        return StoreHeld(
            f"store {self.at} is being written by {who}",
            hint="stop that process, or open the store for reading",
        )

    def _count_epoch(self) -> None:
        self._epoch, self._turn = self._one("count_epoch")

    def _number_inbox(self) -> None:
        """Events of a store that came from another server get numbers of this one."""
        if self._one("inbox_ahead")[0]:
            with self.transaction("meta"):
                self.call("renumber_inbox")

    def _one(self, query: str, *values: Any) -> Any:
        """The only row of a query."""
        return self.rows(query, *values)[0]

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Errors of the driver in plain words."""
        try:
            yield
        except psycopg.Error as error:
            raise self._unwritable(error) from error

    # -- reading

    def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a named query."""
        return self._read(query, Q[query], values)

    def filled(self, query: str, verdict: str, *values: Any) -> list[Any]:
        """All rows of a named query with a question of ours in the place it keeps for one."""
        return self._read(query, Q[query].replace("{verdict}", verdict), values)

    def _read(self, query: str, text: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._execute(text, values).fetchall()
        except psycopg.Error as error:
            if self._inside or not self._gone():
                raise self._unreadable(query, error) from error
        self.again()
        try:
            return self._execute(text, values).fetchall()
        except psycopg.Error as error:
            raise self._unreadable(query, error) from error

    def _execute(self, text: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        return self.db.execute(text, packed(text, values))

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
        columns = [list(column) for column in zip(*rows, strict=True)]
        sent = self._execute(Q["add_inbox"], (*columns, self.taken))
        self.taken += len(events)
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
            raise StoreHeld(f"store {self.at} was opened for writing by another process since", hint=_ALONE)
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

    # -- a connection that was lost

    def _gone(self) -> bool:
        return bool(self.db.closed or self.db.broken)

    def _in_transaction(self) -> bool:
        return self._inside or self.db.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def again_if_gone(self) -> None:
        """As ``again``, where the connection is not there any more."""
        if self._gone():
            self.again()

    def again(self) -> None:
        """Connect anew; who decides takes the right to it anew, unless somebody else had it meanwhile."""
        old = self._session
        self.close()
        for number, pause in enumerate(self._pauses, 1):
            self._waiting.wait(pause)
            try:
                self.db = self._connect()
                self._session = self._myself()
                self._one("end_session", *old)  # it may be there still, with nobody at the other end
                if self.role is Role.DECIDES and self._epoch:
                    self._take_right()
                    self._stand()
                return
            except StoreHeld:
                raise
            except StoreError:
                self.close()
                if number == len(self._pauses):
                    raise

    def _stand(self) -> None:
        """Nobody else decided meanwhile; what was done of what this one did."""
        epoch, turn = self._one("standing")
        if epoch != self._epoch or turn not in (self._turn, self._turn + 1):
            raise StoreHeld(f"store {self.at} was opened for writing by another process since", hint=_ALONE)
        self._turn = turn

    # -- errors

    def _unreadable(self, query: str, error: psycopg.Error) -> StoreError:
        kind = Lost if self._gone() else StoreError
        return kind(f"store {self.at} cannot be read ({query}): {_words(error)}")

    def _unwritable(self, error: psycopg.Error) -> StoreError:
        """What a statement that failed means."""
        words = f"store {self.at} cannot be written: {_words(error)}"
        if isinstance(error, psycopg.IntegrityError):
            return InternalError(f"store {self.at} refused a batch: {_words(error)}")  # type: ignore[return-value]
        if isinstance(error, pg.DiskFull):
            self.full = True
            return StoreFull(words, hint="make room on the disk of the server")
        passing = (pg.SerializationFailure, pg.DeadlockDetected)
        if self._gone() or isinstance(error, passing):
            return Lost(words)
        return StoreError(words)

    def room(self) -> int:
        """Bytes of the store on the server."""
        return int(self._one("size")[0])


def _words(error: psycopg.Error) -> str:
    """The server's first line; what follows may show rows, and so people."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
