"""A session with a PostgreSQL schema: who it is, what it may write, and that it comes back when it is lost.

Rule 1: who decides holds an advisory lock of the schema, for as long as its session lasts; the server ends both
together. In each transaction it counts one more ``turn``, and finds there whether its ``epoch`` is still the newest:
who lost the right without knowing it cannot commit.
Rule 2: others may take events in and work at the outbox beside it (``Role.SERVES``). Who decides parts shares the lock
(``Role.SHARES``), so nobody decides all meanwhile; see ``postgres_parts``.
Rule 3: a connection that is lost is made anew, after the session before was ended, for it may still be there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Event as Pause
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from engine.errors import InternalError, StoreError, StoreFull, StoreHeld, TryAgain
from engine.stores.sql.postgres_arrays import packed
from engine.stores.sql.postgres_place import Place
from engine.stores.sql.postgres_schema import Q

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
_PASSING = (pg.SerializationFailure, pg.DeadlockDetected, pg.LockNotAvailable)
_RELAXED = "set synchronous_commit to off"
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0)  #: seconds before each try to connect again
_OURS = "drumbeat"
ALONE = "one session decides on a store; another one was opened for that since"


class Role(Enum):
    """What a session does."""

    DECIDES = "decides"  #: the only one of its kind: it may write everything
    SHARES = "shares"  #: decides a part at a time, beside others who do
    SERVES = "serves"  #: takes events in and works at the outbox, beside it
    READS = "reads"


class Lost(TryAgain):
    """The connection went away before anything was committed: whoever began it begins again."""


def nothing(point: str) -> None:
    """The fault that never happens."""


class PgSession:
    """A connection to a store. ``fault`` is called with the name of each point of a transaction."""

    def __init__(self, at: Place, role: Role, durable: bool, patience: Sequence[float] = _PAUSES) -> None:
        self.at = at
        self.role = role
        self.fault: Callable[[str], object] = nothing
        self.full = False  #: the disk of the server was found full
        self._durable = durable
        self._pauses = patience
        self._epoch = 0  #: of this opening
        self._turn = 0  #: transactions committed by those who decide
        self._inside = False  #: something hangs on this connection: it is not made anew unasked
        self._waiting = Pause()
        self.db: psycopg.Connection[Any] = self._connect()
        self._session = self._myself()

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
            if self.role in (Role.DECIDES, Role.SHARES) and not self._gone():
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
            raise StoreError(f"store {self.at} cannot be read (settings): {_words(error)}") from error
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
        if not self._one("share" if self.role is Role.SHARES else "lock", self.at.key)[0]:
            raise self._held()

    def share(self) -> None:
        """Let others decide parts, too; go on taking in and sending."""
        self._one("unlock", self.at.key)
        self.role, self._epoch = Role.SHARES, 0
        self._take_right()

    def be_alone(self) -> None:
        """Be the one who decides again, once all who decided parts have left."""
        self._one("unshare", self.at.key)
        for pause in self._pauses:
            if self._one("lock", self.at.key)[0]:
                self.role = Role.DECIDES
                self._count_epoch()
                return
            self._waiting.wait(pause)
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

    # -- asking

    def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a named query."""
        return self._read(query, Q[query], values)

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
            inside, self._inside = self._inside, True  # lost once more, it is begun here once more
            try:
                self.db = self._connect()
                self._session = self._myself()
                self._one("end_session", *old)  # it may be there still, with nobody at the other end
                if self.role is Role.SHARES:
                    self._take_right()
                if self.role is Role.DECIDES and self._epoch:
                    self._take_right()
                    self._stand()
                return
            except StoreError as error:
                self.close()  # and with it the right to write, should it be ours though somebody followed
                if isinstance(error, StoreHeld) or number == len(self._pauses):
                    raise
            finally:
                self._inside = inside

    def _stand(self) -> None:
        """Nobody else decided meanwhile; what was done of what this one did."""
        epoch, turn = self._one("standing")
        if epoch != self._epoch or turn not in (self._turn, self._turn + 1):
            raise StoreHeld(f"store {self.at} was opened for writing by another process since", hint=ALONE)
        self._turn = turn

    # -- errors

    def _unreadable(self, query: str, error: psycopg.Error) -> StoreError:
        kind = Lost if self._gone() or (self._inside and isinstance(error, _PASSING)) else StoreError
        return kind(f"store {self.at} cannot be read ({query}): {_words(error)}")

    def _unwritable(self, error: psycopg.Error) -> StoreError:
        """What a statement that failed means."""
        words = f"store {self.at} cannot be written: {_words(error)}"
        if isinstance(error, psycopg.IntegrityError):
            return InternalError(f"store {self.at} refused a batch: {_words(error)}")  # type: ignore[return-value]
        if isinstance(error, pg.DiskFull):
            self.full = True
            return StoreFull(words, hint="make room on the disk of the server")
        if self._gone() or isinstance(error, _PASSING):
            return Lost(words)
        return StoreError(words)


def _words(error: psycopg.Error) -> str:
    """The server's first line; what follows may show rows, and so people."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
