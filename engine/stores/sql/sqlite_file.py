"""An SQLite file as a store uses it: the writer's lock, the settings, transactions, errors in plain words."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.errors import InternalError, StoreError, StoreFull, StoreHeld
from engine.ports import Room
from engine.stores import codec
from engine.stores.sql import repeated, sqlite_reserve
from engine.stores.sql.sqlite_place import refuse_remote, refuse_unsafe
from engine.stores.sql.sqlite_schema import Q, migrate

LIBRARY: tuple[int, ...] = sqlite3.sqlite_version_info
"""Version of SQLite."""

_PAGE = 1000
_ROWS = 40  #: rows of one insert; stepping through a statement costs more than binding a row

_PRAGMAS = (
    "pragma foreign_keys = off",
    "pragma cache_size = -32768",  # 32 MiB
    "pragma temp_store = memory",
)
_WRITER = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    # A checkpoint writes a page once however often it changed: a log of 64 MiB makes it rare and cheap.
    "pragma wal_autocheckpoint = 16384",
    "pragma journal_size_limit = 134217728",
    # Some builds overwrite every freed byte; what must be gone for good is the business of erasure.
    "pragma secure_delete = off",
)


_OLDER = "an older copy of this store was put back: what it believes pending may have been sent"


_CHECKPOINTS = {"passive": "pragma wal_checkpoint(passive)", "truncate": "pragma wal_checkpoint(truncate)"}


@cache
def _many(query: str) -> str:
    return repeated(Q[query], _ROWS)


def nothing(point: str) -> None:
    """The fault that never happens."""


_NOTE = 63
"""Bytes of a lock file before the last newline."""


def _no_lock(path: Path, error: OSError) -> StoreError:
    kind = StoreFull if error.errno == errno.ENOSPC else StoreError
    return kind(f"cannot write the lock file {path}: {error.strerror}")


class WriterLock:
    """The right to write: an advisory lock on ``<store>.lock``, which the kernel drops when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _no_lock(self.path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            words = os.pread(self._fd, 32, 0).decode("ascii", "replace").split()
            holder = words[0] if words else "unknown"
            os.close(self._fd)
            raise StoreHeld(
                f"store {path} is being written by process {holder}",
                hint="stop that process, or open the store for reading",
            ) from error
        known = os.pread(self._fd, 64, 0).split()
        self.epoch = int(known[1]) if len(known) > 1 and known[1].isdigit() else 0  #: openings known of
        try:
            self.note(self.epoch)
        except BaseException:
            os.close(self._fd)
            raise

    def note(self, epoch: int) -> None:
        """Remember, outside the store, how often it was opened: a store put back from earlier knows of fewer."""
        self.epoch = epoch
        try:  # over what stands there, never shorter: that needs no room on a full disk
            os.pwrite(self._fd, f"{os.getpid()}\n{epoch}".ljust(_NOTE).encode() + b"\n", 0)
        except OSError as error:
            raise _no_lock(self.path, error) from error

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._fd)


class SqliteFile:
    """One connection to a store file. ``fault`` is called with the name of each point of a transaction."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, lock: WriterLock | None, busy_seconds: float = 10.0
    ) -> None:
        self.db = db
        self.path = path
        self.fault: Callable[[str], object] = nothing
        self._busy = int(busy_seconds * 1000)  #: milliseconds another process is waited for
        self.full = False  #: the disk was found full, and there is no reserve since
        self._lock = lock
        self._epoch: int | None = None  #: of this opening, once it is counted

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        read_only: bool,
        fault: Callable[[str], object] = nothing,
        busy_seconds: float = 10.0,
        durable: bool = True,
    ) -> SqliteFile:
        """Open a file, making or migrating it when it is opened for writing.

        Where the disk is full the reserve is given up for it.
        """
        try:
            return cls._open(path, read_only, fault, busy_seconds, durable)
        except StoreFull:
            if read_only or not sqlite_reserve.give(path):
                raise
        file = cls._open(path, False, fault, busy_seconds, durable)
        file.full = True
        return file

    @classmethod
    def _open(
        cls, path: Path, read_only: bool, fault: Callable[[str], object], busy_seconds: float, durable: bool
    ) -> SqliteFile:
        if read_only and not path.exists():
            raise StoreError(f"there is no store at {path}", hint="`drumbeat run` makes one")
        if durable and not read_only:
            refuse_remote(path)
        lock = None if read_only else WriterLock(path)
        db = None
        try:
            if not read_only:
                _private(path)
            db = _connect(path, read_only, busy_seconds)
            if not durable:
                db.execute(_RELAXED)
            elif not read_only:
                refuse_unsafe(db, path)
            migrate(db, path, read_only=read_only, fault=fault)
        except BaseException as error:
            if db is not None:
                db.close()
            if lock is not None:
                lock.release()
            if isinstance(error, sqlite3.Error):
                raise _cannot_open(path, error) from error
            raise
        file = cls(db, path, lock, busy_seconds)
        try:
            if durable:
                file.count_epoch()
        except BaseException:
            file.close()
            raise
        file.fault = fault
        return file

    def count_epoch(self) -> None:
        """Count an opening (or a day) in the store and beside it.

        A store that knows of fewer than its lock file was put back: it is held, see ``runtime/standing.py``.
        """
        if self._lock is None:
            return
        with self.transaction("meta"):
            found = self.rows("meta", "epoch")
            mine = int(found[0][0]) if found else 0
            if mine < self._lock.epoch and found:
                self.write("hold", [(_OLDER,)])
            fresh = max(mine, self._lock.epoch) + 1
            self.write("save_meta", [("epoch", str(fresh))])
        self._epoch = fresh
        self._lock.note(fresh)

    def _fence(self) -> None:
        """Who lost the right to write without knowing it must not commit: the store counted another opening since.

        The lock keeps two writers apart where it holds; on some network file systems, and where somebody removed its
        file, it does not.
        """
        if self._epoch is not None and self.db.execute(Q["meta"], ("epoch",)).fetchone() != (str(self._epoch),):
            raise StoreHeld(f"store {self.path} was opened for writing by another process since", hint=_ONE_WRITER)

    @property
    def place(self) -> str:
        """The path, as people name the store."""
        return str(self.path)

    @property
    def counted(self) -> bool:
        """Whether this opening is counted: the file is written, and kept."""
        return self._epoch is not None

    @property
    def read_only(self) -> bool:
        """Whether this connection may not write."""
        return self._lock is None

    def close(self) -> None:
        """Close the file and give the lock back."""
        self.db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a named query."""
        try:
            return self.db.execute(Q[query], values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(query, error) from error

    def filled(self, query: str, verdict: str, *values: Any) -> list[Any]:
        """All rows of a named query with a question of ours in the place it keeps for one."""
        try:
            return self.db.execute(Q[query].replace("{verdict}", verdict), values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(query, error) from error

    def takes(self, query: str, verdict: str, *values: Any) -> bool:
        """Whether the question is within what this build of SQLite can read."""
        try:
            self.db.execute("explain " + Q[query].replace("{verdict}", verdict), values).fetchone()
        except sqlite3.OperationalError:
            return False
        return True

    def pages(self, query: str, *values: Any, page: int = _PAGE) -> Iterator[Any]:
        """The rows of a named query, read as they are used, so many at a time."""
        try:
            cursor = self.db.execute(Q[query], values)
            while rows := cursor.fetchmany(page):
                yield from rows
        except sqlite3.Error as error:
            raise self._unreadable(query, error) from error

    def names(self, words: Iterable[str | None]) -> bytes:
        """Texts as a query takes them together."""
        return codec.names([*words])

    def _unreadable(self, query: str, error: sqlite3.Error) -> StoreError:
        return StoreError(f"store {self.path} cannot be read ({query}): {error}")

    def write(self, query: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Run a named statement for each row; the number of rows it changed."""
        return max(0, self.db.executemany(Q[query], rows).rowcount)

    def insert(self, query: str, rows: list[tuple[Any, ...]]) -> int:
        """Run a named ``insert`` for many rows, several at a time; the number of rows it added."""
        many, added, whole = _many(query), 0, len(rows) - len(rows) % _ROWS
        for start in range(0, whole, _ROWS):
            added += self.db.execute(many, [*chain.from_iterable(rows[start : start + _ROWS])]).rowcount
        return added + self.write(query, rows[whole:])

    def run(self, statement: str) -> None:
        """A statement that goes in no transaction."""
        try:
            self.db.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def keep_reserve(self) -> bool:
        """See that the reserve is there for a full disk; False: there is no room for it."""
        found = sqlite_reserve.keep(self.path)
        self.full = self.full and not found
        return found

    def _unwritable(self, error: sqlite3.Error) -> StoreError:
        """What a statement that failed means; on a full disk the reserve is given up for what comes next."""
        words = f"store {self.path} cannot be written: {error}"
        if not _is_full(error, self.path):
            beside = f"let the user who runs drumbeat write it, {self.path.name}-wal and {self.path.name}-shm"
            return StoreError(words, hint=beside if "readonly" in str(error) else "")
        self.full = True
        hint = "the reserve beside it was given up: clean up, or make room" if sqlite_reserve.give(self.path) else ""
        return StoreFull(words, hint=hint or "make room on its disk")

    def checkpoint(self, how: str) -> bool:
        """Bring the write-ahead log into the file: passive (as far as nobody waits) or truncate; whether all of it."""
        try:
            busy, log, done = self.db.execute(_CHECKPOINTS[how]).fetchone()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        return not busy and log == done

    def shrink_log(self) -> None:
        """Bring the log into the file and cut it off, as far as that goes without waiting for anybody."""
        self.run("pragma busy_timeout = 0")
        try:
            self.checkpoint("truncate")
        finally:
            self.run(f"pragma busy_timeout = {self._busy}")

    def room(self) -> Room:
        """How much room the file takes and has."""
        log = self.path.with_name(self.path.name + "-wal")
        try:
            free = shutil.disk_usage(self.path.parent).free
            return Room(self.path.stat().st_size, log.stat().st_size if log.exists() else 0, free)
        except OSError as error:
            raise StoreError(f"store {self.path} cannot be looked at: {error.strerror}") from error

    @contextmanager
    def transaction(self, verb: str, committed: Callable[[], None] | None = None) -> Iterator[None]:
        """All or nothing; ``committed`` is called when the changes are durable."""
        if self._lock is None:
            raise StoreError(f"store {self.path} is open for reading only")
        self.fault(f"{verb}.before_begin")
        try:
            self.db.execute("begin immediate")
            try:
                self._fence()
                self.fault(f"{verb}.after_begin")
                yield
                self.fault(f"{verb}.before_commit")
                self.db.execute("commit")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("rollback")
                raise
        except sqlite3.IntegrityError as error:
            raise InternalError(f"store {self.path} refused a batch: {error}") from error
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        if committed is not None:
            committed()
        self.fault(f"{verb}.after_commit")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Queries inside see one state of the file, whatever the writer does meanwhile."""
        if not self.read_only or self.db.in_transaction:
            yield
            return
        self.db.execute("begin")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):  # nothing was written; what was wrong with reading was said already
                self.db.execute("rollback")


_ONE_WRITER = "one process writes a store; is its .lock file removed, or on a file system without locks?"

_RELAXED = "pragma synchronous = off"
"""For a file that is thrown away: what was committed need not survive the loss of power."""


def _private(path: Path) -> None:
    """A new file is for its owner alone: people's data is in it. What SQLite puts beside it gets the same rights."""
    with suppress(OSError):  # that it cannot be made is said, with its reason, by whoever opens it
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether an error comes from a full disk; what lies beside the file (the index of the log) fails otherwise."""
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        return True
    return isinstance(error, sqlite3.OperationalError) and sqlite_reserve.nothing_left(path)


def _cannot_open(path: Path, error: sqlite3.Error) -> StoreError:
    if _is_full(error, path):
        return StoreFull(f"cannot open the store {path}: {error}", hint="make room on its disk")
    if "not a database" in str(error):
        return StoreError(f"{path} is not an SQLite database", hint="name another file as the store")
    if path.is_dir():
        return StoreError(f"cannot open the store {path}: it is a folder", hint=f"name a file: {path / 'drumbeat.db'}")
    return StoreError(f"cannot open the store {path}: {error}", hint="does its folder exist, and may it be written?")


def _connect(path: Path, read_only: bool, busy_seconds: float) -> sqlite3.Connection:
    """A connection with our settings; nothing is written before the file is known to be a database."""
    place = f"file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}"
    db = sqlite3.connect(place, uri=True, timeout=busy_seconds, isolation_level=None, cached_statements=256)
    try:
        for pragma in _PRAGMAS if read_only else _PRAGMAS + _WRITER:
            db.execute(pragma).fetchall()
        db.execute(Q["tables"]).fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db
