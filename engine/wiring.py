"""From the program's settings to adapters; the only module that names them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.channels import CHANNELS
from engine.errors import CannotRun, EventRejected, StoreError, StoreOlder
from engine.feeds import FEEDS
from engine.feeds.files import Layout, Line, Source, is_blank, kept, split_lines
from engine.feeds.mapping import PayloadMap
from engine.language.compile import compile_program
from engine.language.compiled import Compiled, Settings
from engine.ports import Allowed, Channel, Feed, Outgoing, Record, Store, Wire
from engine.runtime.clock import SystemClock
from engine.site import Site, masked
from engine.stores import exporting, sealing
from engine.stores.places import FilePlace, SchemaPlace
from engine.stores.sql import sqlite_copy
from engine.stores.sql.sqlite_file import LIBRARY
from engine.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from engine.stores.postgres import PgStore
    from engine.stores.sql.postgres_parts import PgParts

StorePlace = FilePlace | SchemaPlace

_SECRET = "secret"  # noqa: S105 - the name of the record that holds it


def store_place(settings: Settings, root: Path, override: str | None = None) -> StorePlace:
    """Where the program's store is, its secrets looked up."""
    url = override or settings.store
    if url.startswith("postgresql://"):
        return SchemaPlace(site_of(root).secret(url, "store"), root)
    if not url.startswith("sqlite:///"):
        raise CannotRun(f"there is no store {masked(url)!r}", hint="use sqlite:///drumbeat.db")
    return FilePlace(root / url.removeprefix("sqlite:///"))


def store_path(settings: Settings, root: Path, override: str | None = None) -> Path:
    """The file of the program's store, for what can be done with a file alone."""
    place = store_place(settings, root, override)
    if isinstance(place, SchemaPlace):
        raise CannotRun(f"store {place} is no file", hint="this can be done with a store in a file: sqlite:///name.db")
    return place.path


def open_store(
    settings: Settings, root: Path, *, read_only: bool = False, override: str | None = None, for_good: bool = False,
    beside: bool = False,
) -> SqliteStore | PgStore:
    """Open the program's store; a missing one is made unless it is only to be read.

    Parameters
    ----------
    for_good: by a daemon.
    beside: where somebody else decides, and the store lets others take events in meanwhile, only for that.
    """  # fmt: skip
    place = store_place(settings, root, override)
    seal = _seal(settings, root, lenient=read_only)
    store: SqliteStore | PgStore
    if isinstance(place, SchemaPlace):
        store = place.open(read_only=read_only, beside=beside, gentle=for_good)
    else:
        if read_only and not place.exists():
            raise CannotRun(f"there is no store at {place}", hint="drumbeat run --until-idle makes it")
        place.path.parent.mkdir(parents=True, exist_ok=True)
        store = SqliteStore.open(place.path, read_only=read_only, gentle=for_good)
    try:
        if for_good and not isinstance(store, SqliteStore) and store.parted:
            raise CannotRun(
                f"store {place} is in parts: a run with --workers was cut short",
                hint="drumbeat run --until-idle finishes it",
            )
        store.seal(seal)
    except BaseException:
        store.close()
        raise
    return store


def open_parts(settings: Settings, root: Path, override: str | None = None) -> PgParts:
    """A session that decides parts of the program's store, beside others; it has been parted, see ``parted``."""
    place = store_place(settings, root, override)
    if not isinstance(place, SchemaPlace):
        raise CannotRun(f"store {place} is written by one process", hint="several need a store in PostgreSQL")
    parts: PgParts = place.parts()
    try:
        parts.store.seal(_seal(settings, root, lenient=False))
    except BaseException:
        parts.close()
        raise
    return parts


def stores_to_move(settings: Settings, root: Path, source: StorePlace, target: StorePlace) -> tuple[Any, Any, Any]:
    """A store that is there and one to move it into, both open for writing, and how coupon codes stand; the caller
    closes them. No seal is put to the new one, since that would write into it."""
    if str(source) == str(target):
        raise CannotRun(f"{source} is moved to itself", hint="name two stores")
    if isinstance(target, FilePlace) and isinstance(source, FilePlace):
        raise CannotRun(
            f"{source} and {target} are both files, and a file is moved as a file",
            hint="stop whoever writes it and mv it with what begins with its name, or drumbeat backup; then "
            "drumbeat outbox release",
        )
    if not source.exists():
        raise CannotRun(f"there is no store at {source}")
    old = _open_to_write(source)
    try:
        seal = _seal(settings, root, lenient=True)
        old.seal(seal)
        return old, _open_to_write(target), seal
    except BaseException:
        old.close()
        raise


def _open_to_write(place: StorePlace) -> Any:
    return place.open() if isinstance(place, SchemaPlace) else SqliteStore.open(place.path)


def _seal(settings: Settings, root: Path, *, lenient: bool) -> sealing.Seal:
    """How coupon codes stand in the store. ``lenient``: without the key everything but a code can be read."""
    if settings.coupon_key is None:
        return sealing.seal_of(None)
    try:
        return sealing.seal_of(site_of(root).text(settings.coupon_key, "coupon_key"))
    except CannotRun as error:
        if lenient:
            return sealing.Locked(error)
        raise


def database_version() -> tuple[int, ...]:
    """Version of the SQLite library at work."""
    return LIBRARY


def restore_store(settings: Settings, root: Path, backup: Path, now: str, override: str | None = None) -> Path | None:
    """Make a backup the program's store; where the one that was there went."""
    place = store_place(settings, root, override)
    if isinstance(place, SchemaPlace):
        with closing(place.open()) as empty:
            exporting.put_into(empty, backup)
        return None
    path = place.path
    aside = path.with_name(f"{path.name}.before-{now.replace(':', '').replace('.', '')}") if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    sqlite_copy.put_back(backup, path, aside or path)
    return aside


def store_to_read(
    settings: Settings, root: Path, until: ExitStack, override: str | None = None
) -> tuple[SqliteStore | PgStore, str | None]:
    """(the program's store, open for reading, what is to be said about it). ``until`` closes it.

    One of an older schema, such as a backup, is not touched: a copy of it is brought to this one and read.
    """
    from tempfile import TemporaryDirectory

    store: SqliteStore | PgStore
    try:
        store, said = open_store(settings, root, read_only=True, override=override), None
    except StoreOlder as error:
        folder = Path(until.enter_context(TemporaryDirectory(prefix="drumbeat-read-")))
        store = trial_store(settings, root, folder, "copy.db", override, lenient=True)
        said = f"{error.message}; a copy of it was brought there and read, the store is as it was"
    until.callback(store.close)
    return store, said


def trial_store(
    settings: Settings, root: Path, folder: Path, name: str = "trial.db", override: str | None = None, *,
    lenient: bool = False,
) -> SqliteStore:  # fmt: skip
    """A copy of the program's store, to try a program on; the store itself is only read, also beside a daemon.

    ``lenient``: without the key of coupon codes, too. Raises CannotRun where the folder has no room for it.
    """
    place = store_place(settings, root, override)
    if isinstance(place, SchemaPlace):
        return _trial_of(settings, root, place, folder / name, lenient)
    path = place.path
    size = sum(it.stat().st_size for it in (path, path.with_name(path.name + "-wal")) if it.exists())
    free = shutil.disk_usage(folder).free
    if free < 2 * size:  # the trial writes, too
        raise CannotRun(
            f"a copy of the store needs about {2 * size:,} bytes in {folder}: {free:,} are free",
            hint="name a folder with more room: TMPDIR=/var/tmp drumbeat ...",
        )
    seal = _seal(settings, root, lenient=lenient)
    try:
        sqlite_copy.scratch(path, folder / name)
        store = SqliteStore.open(folder / name, durable=False)
    except StoreError as error:  # what is wrong with the copy is wrong with the store
        error.message = error.message.replace(f"cannot copy {path} to {folder / name}", f"cannot copy {path}")
        error.message = error.message.replace(str(folder / name), str(path))
        raise
    try:
        store.seal(seal)
    except BaseException:
        store.close()
        raise
    return store


def _trial_of(settings: Settings, root: Path, place: SchemaPlace, path: Path, lenient: bool) -> SqliteStore:
    """A copy of a store in a database as a file."""
    with closing(place.open(read_only=True)) as store:
        store.copy(path)
    copy = SqliteStore.open(path, durable=False)
    try:
        copy.seal(_seal(settings, root, lenient=lenient))
    except BaseException:
        copy.close()
        raise
    return copy


def scratch_store(folder: Path) -> SqliteStore:
    """A new store of the kind the daemon uses, for a test to work on."""
    return SqliteStore.open(folder / "scratch.db", durable=False)


def with_older(found: Compiled, store: Store) -> Compiled:
    """The program compiled together with the older versions of its playbooks that somebody may still be on.

    Whoever runs a program on a store needs it so; a program whose playbooks did not change is given back as it is.
    """
    present = {(it.id, it.version) for it in found.playbooks}
    older = store.versions()
    if found.plan is None or all((it.playbook, it.hash) in present for it in older):
        return found
    return compile_program(found.root, older)


def site_of(
    root: Path, *, final: bool = True, wake: Callable[[], None] = lambda: None, notes: Store | None = None
) -> Site:
    """The surroundings of a program; ``final``, ``wake`` and ``notes`` as in ``Site``."""
    clock = SystemClock()
    return Site(root, os.environ, final, wake, clock.now, clock.elapsed, notes)


def open_feeds(settings: Settings, root: Path, site: Site | None = None) -> list[Feed]:
    """The feeds of the program file; kinds of a later version are refused."""
    return [feed for word, fields in settings.feeds for feed in open_feed(word, fields, site or site_of(root))]


def open_feed(word: str, fields: Mapping[str, Any], site: Site) -> list[Feed]:
    """The feeds of one entry of ``feeds:``."""
    if word not in FEEDS:
        raise CannotRun(f"feed '{word}' comes with a later version", hint="use file:, or drumbeat ingest")
    kind: Any = FEEDS.get(word)
    return list(kind.open(fields, site))


def payload_shaper(settings: Settings) -> Callable[[str, bytes], bytes]:
    """Feed and payload to the bytes of an event, by the ``map`` of the feed; what needs none stays as it is."""
    maps = [
        (f"file:{fields['path']}" if word == "file" else word, PayloadMap.of(fields["map"], id_needed=False))
        for word, fields in settings.feeds
        if "map" in fields
    ]

    def shaped(feed: str, raw: bytes) -> bytes:
        for name, mapping in maps:
            if fnmatchcase(feed, name) or feed.startswith(f"{name}:"):
                return mapping.event_bytes(raw)
        return raw

    return shaped


def read_records(source: Path | BinaryIO, layout: Layout | None = None) -> Iterator[Record]:
    """The records of a file, or of an open stream of JSON lines; their position is the number of the line."""
    stream = None if isinstance(source, Path) else source
    name = source.name if isinstance(source, Path) else "stdin"
    reader = Source(source if isinstance(source, Path) else Path(name), name, *(layout or Layout()))
    return _records(reader, f"ingest:{name}", reader.lines() if stream is None else split_lines(stream))


def _records(reader: Source, feed: str, lines: Iterable[Line]) -> Iterator[Record]:
    for line in lines:
        if is_blank(line.raw):
            continue
        try:
            event = reader.event(line.raw)
        except EventRejected as error:
            yield Record(feed, line.number, kept(line.raw), reason=error.reason, message=error.message)
        else:
            yield Record(feed, line.number, line.raw.rstrip(b"\r\n"), event)


def open_channels(settings: Settings, root: Path, site: Site | None = None) -> dict[str, Channel]:
    """The channels of the program file."""
    return {name: open_channel(name, fields, site or site_of(root)) for name, fields in settings.channels.items()}


def hosts_of(settings: Settings) -> dict[str, Allowed]:
    """What the program file says of hosts, by their names as they are compared; raises CannotRun for what is none."""
    if not settings.hosts:
        return {}
    # few programs need it, and it brings what speaks HTTP with it
    from engine.channels.guard import Refused
    from engine.channels.network import listed_host
    from engine.channels.pace import allowed_of

    found = {}
    for name, fields in settings.hosts.items():
        try:
            found["*" if name == "*" else listed_host(name)] = allowed_of(fields)
        except Refused as error:
            raise CannotRun(f"'hosts' has '{name}': {error}", hint="hosts: {crm.example: {rate: 5/s}}") from None
    return found


def open_channel(name: str, fields: Mapping[str, Any], site: Site) -> Channel:
    """One channel of the program file."""
    kind: Any = CHANNELS.get(fields["via"])
    channel: Channel = kind.open(name, fields, site)
    return channel


def wire_of(settings: Settings, root: Path, item: Outgoing) -> Wire:
    """What the channel of a message would hand over; nothing is sent, and no file is opened."""
    fields = settings.channels[item.channel]
    kind: Any = CHANNELS.get(fields["via"])
    if hasattr(kind, "wire_of"):
        bare: Wire = kind.wire_of(item.channel, item)
        return bare
    channel: Any = kind.open(item.channel, fields, site_of(root))
    try:
        found: Wire = channel.wire(item)
    finally:
        channel.close()
    return found


def secret_of(store: Store) -> bytes:
    """The key of generated coupon codes: made once for a store, kept in it."""
    found = store.get_meta(_SECRET)
    if found is None:
        found = os.urandom(32).hex()
        store.set_meta(_SECRET, found)
    return bytes.fromhex(found)
