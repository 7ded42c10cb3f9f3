"""The store for verbs that change something: the file itself when nobody else writes it, else through the daemon.

Rule 1: reading stays with a connection of our own, which only reads; writing is a call on the daemon's socket.
Rule 2: a call is answered after its commit. One that was not answered may be given again: ids make it harmless.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from engine import wiring
from engine.api.calls import CALLS, Drop, ImportCodes, Ingest, Redrive, Release, ReleaseOutbox, Settle, decode, encode
from engine.api.unix import short_name, socket_path
from engine.core.model import Event
from engine.errors import CannotRun, StoreError, UsageError
from engine.language.compiled import Settings
from engine.ports import Imported, Rejected, Settlement, Store
from engine.runtime import applied, byhand, standing

_PIECE = 4 * 1024 * 1024
"""Bytes of records one call carries at most, together with what describes them well below the server's limit."""

_KEYS = 2_000
"""Keys one call carries at most: what the daemon does between two of its transactions stays short."""

_CONNECT = 3.0
_ANSWER = 120.0
"""Seconds: the daemon answers between two of its transactions."""


def open_writer(settings: Settings, root: Path, override: str | None = None) -> Store:
    """The program's store for writing, made when there is none.

    While a daemon holds it, a ``RemoteStore``, which writes through the daemon.
    """
    place = wiring.store_place(settings, root, override)
    link = Link.find(socket_path(place.beside))
    if link is None:
        return wiring.open_store(settings, root, override=override, beside=True)
    reader = wiring.open_store(settings, root, read_only=True, override=override)
    return cast("Store", RemoteStore(link, reader))  # reads by __getattr__, which a type checker cannot see through


def through_daemon(store: object) -> bool:
    """Does what is written go to a running daemon, which decides it at once?"""
    return isinstance(store, RemoteStore)


def redrive(store: Store, keys: Sequence[str]) -> int:
    """As ``byhand.redrive``, also through a daemon."""
    if not isinstance(store, RemoteStore):
        return byhand.redrive(store, keys)
    return sum(store.call("redrive", Redrive(some)) for some in _some(keys))


def drop(store: Store, keys: Sequence[str], now: int) -> int:
    """As ``byhand.drop``, also through a daemon, which looks once more where each delivery stands."""
    if not isinstance(store, RemoteStore):
        return byhand.drop(store, keys, now)
    return sum(store.call("drop", Drop(some, now)) for some in _some(keys))


def release_outbox(store: Store, place: str) -> str | None:
    """As ``standing.release``, also through a daemon; ``place`` counts where there is none."""
    if not isinstance(store, RemoteStore):
        return standing.release(store, place)
    reason: str | None = store.call("release_outbox", ReleaseOutbox())
    return reason


def apply(store: Store, wanted: applied.Apply) -> str | None:
    """As ``applied.apply``, also through a daemon, which takes the plan at once."""
    if not isinstance(store, RemoteStore):
        return applied.apply(store, wanted)
    other: str | None = store.call("apply", wanted)
    return other


def _some(keys: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), _KEYS):
        yield list(keys[start : start + _KEYS])


class Link:
    """The way to a daemon."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def find(cls, path: Path) -> Link | None:
        """The way to the daemon behind a socket, None when nobody answers there."""
        if not path.is_socket():
            return None
        link = cls(path)
        try:
            link._connect(_CONNECT).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except PermissionError as error:
            raise StoreError(
                f"a daemon writes the store, and {path} may not be opened by this user",
                hint="call the verb as the user the daemon runs as",
            ) from error
        return link

    def call(self, name: str, words: msgspec.Struct) -> Any:
        """Have the daemon call a method of its store; raises CannotRun."""
        status, body = self._post(f"/admin/{name}", encode(words))
        if status == 200:
            return decode(body, CALLS[name].answer)
        raise _refused(status, body)

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("localhost", timeout=_ANSWER)
        try:
            connection.sock = self._connect(_ANSWER)
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CannotRun(
                f"the daemon did not answer ({type(error).__name__}): whether the change was made is not known",
                hint="call the verb again: what was done before is not done twice",
            ) from error
        finally:
            connection.close()

    def _connect(self, seconds: float) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(seconds)
        try:
            with short_name(self._path) as name:
                made.connect(name)
        except BaseException:
            made.close()
            raise
        return made


class RemoteStore:
    """A store that is read here and written by the daemon. What is not written below is asked of the reader."""

    def __init__(self, link: Link, reader: Store) -> None:
        self._link = link
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        """Close the reading connection."""
        self._reader.close()

    def call(self, name: str, words: msgspec.Struct) -> Any:
        """Have the daemon do one of ``CALLS``; raises CannotRun."""
        return self._link.call(name, words)

    def ingest(self, events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]) -> tuple[int, int]:
        """As ``Store.ingest``; a large batch is several transactions, which given again hold only duplicates."""
        accepted = repeated = 0
        for some, refused in _pieces(events, rejected):
            done = self._link.call("ingest", Ingest(some, refused))
            accepted, repeated = accepted + done[0], repeated + done[1]
        return accepted, repeated

    def release(self, numbers: Sequence[int], events: Sequence[tuple[Event, bytes]] = ()) -> tuple[int, int]:
        """As ``Store.release``."""
        done = self._link.call("release", Release(list(numbers), list(events)))
        return done[0], done[1]

    def add_codes(self, pool: str, codes: Sequence[str]) -> Imported:
        """As ``Store.add_codes``."""
        done: Imported = self._link.call("import_codes", ImportCodes(pool, list(codes)))
        return done

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """As ``Store.settle``."""
        self._link.call("settle", Settle(list(settlements)))


def _pieces(
    events: Sequence[tuple[Event, bytes]], rejected: Sequence[Rejected]
) -> Iterator[tuple[list[tuple[Event, bytes]], list[Rejected]]]:
    """Records in pieces that fit into one call; at least one piece."""
    some: list[tuple[Event, bytes]] = []
    refused: list[Rejected] = []
    size = 0
    for event, raw in events:
        if size + len(raw) > _PIECE:
            yield some, refused
            some, refused, size = [], [], 0
        some.append((event, raw))
        size += len(raw)
    for it in rejected:
        if size + len(it.raw) > _PIECE:
            yield some, refused
            some, refused, size = [], [], 0
        refused.append(it)
        size += len(it.raw)
    yield some, refused


def _refused(status: int, body: bytes) -> CannotRun | UsageError:
    try:
        error = msgspec.json.decode(body)["error"]
        message, hint = str(error["message"]), str(error["hint"])
    except (msgspec.MsgspecError, LookupError, TypeError):
        return CannotRun(f"the daemon answered {status}, and not as a daemon of this version does")
    if status == 409:
        return UsageError(message, hint=hint)
    return CannotRun(f"the daemon did not do it: {message}", hint=hint)
