"""What ``drumbeat doctor`` looks at: the machine, the program, its surroundings and its store.

Rule 1: looking changes nothing: no file is made, no channel is opened, no lock is taken.
Rule 2: each finding says what is so, and what to do where something is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DrumbeatError
from engine.site import references

OK, WARN, BAD = "ok", "warn", "bad"

_FIXED_PATCH = {(3, 11): 15, (3, 12): 13}
"""Minor version -> patch release from which on the holes of the standard library we know of are shut (addresses; the
last, in mail headers, of March 2026). Of newer minor versions nothing is said. What Drumbeat itself checks of addresses
and headers does not rely on them."""

_WAL_FIXED = (3, 51, 3)
_ROOM = 1 << 30
_STUCK = {
    "unknown": "ask the provider, then drumbeat outbox retry or drumbeat outbox drop",
    "dead": "drumbeat outbox list shows why",
}
_STEP = 1_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: str  #: ok | warn | bad
    text: str  #: what is so
    advice: str = ""  #: what to do


def machine() -> Iterator[Finding]:
    """Python and SQLite."""
    from engine import wiring

    version = sys.version_info
    words = f"Python {version.major}.{version.minor}.{version.micro}"
    wanted = _FIXED_PATCH.get((version.major, version.minor), 0)
    if version.micro < wanted:
        advice = f"move to {version.major}.{version.minor}.{wanted} or newer: it shuts holes of the standard library"
        yield Finding("python", WARN, words, advice)
    else:
        yield Finding("python", OK, words)
    library = wiring.database_version()
    words = "SQLite " + ".".join(map(str, library))
    if library < _WAL_FIXED:
        words += ", which can damage a file that two connections write at once; Drumbeat writes with one"
    yield Finding("sqlite", OK, words)


def program(found: Any) -> Iterator[Finding]:
    """Playbooks, catalog, templates: what ``validate`` says, in one line."""
    words = f"{found.counts.get('playbooks', 0)} playbook(s), {found.errors} error(s), {found.warnings} warning(s)"
    if found.errors:
        yield Finding("program", BAD, words, "drumbeat validate names each place")
    else:
        yield Finding("program", OK, words)


def surroundings(found: Any, env: Mapping[str, str]) -> Iterator[Finding]:
    """Secrets that feeds and channels name, and the folders they need."""
    settings, root = found.settings, found.root
    ways = [(f"channel {name}", fields) for name, fields in settings.channels.items()]
    ways += [(f"feed {word}", fields) for word, fields in settings.feeds]
    for what, fields in ways:
        missing = sorted({name for name in _named(fields) if not _there(name, env, root)})
        if missing:
            advice = "set " + ", ".join(missing) + " in the environment of the daemon"
            yield Finding(what, BAD, f"needs {', '.join(missing)}, not set", advice)
            continue
        yield _folder(what, fields, root)


def _folder(what: str, fields: Mapping[str, Any], root: Path) -> Finding:
    path = fields.get("path")
    if not isinstance(path, str):
        return Finding(what, OK, str(fields.get("via", "ready")))
    if what.startswith("feed"):
        there = any(root.glob(path)) if any(mark in path for mark in "*?[") else (root / path).exists()
        return (
            Finding(what, OK, path) if there else Finding(what, WARN, f"no file matches {path}", "is the path right?")
        )
    folder = (root / path).parent
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK):
        return Finding(what, OK, path)
    return Finding(what, BAD, f"{folder} may not be written", "give the user of the daemon the right to write there")


def _named(value: Any) -> Iterator[str]:
    """Names of variables anywhere in a setting."""
    if isinstance(value, str):
        yield from references(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _named(inner)


def _there(name: str, env: Mapping[str, str], root: Path) -> bool:
    if name.startswith("file:"):
        return (root / name.removeprefix("file:")).is_file()
    return bool(env.get(name))


def store(found: Any, override: str | None, now: int) -> Iterator[Finding]:
    """The store: its disk, its schema, whether it may send, and its clock."""
    from engine import wiring
    from engine.stores.places import FilePlace

    try:
        place = wiring.store_place(found.settings, found.root, override)
    except DrumbeatError as error:
        yield Finding("store", BAD, error.message, error.hint)
        return
    if isinstance(place, FilePlace):
        yield from _disk(place.path)
    try:
        if not place.exists():
            yield Finding("store", OK, f"there is none yet at {place}: the first run makes it")
            return
        opened = wiring.open_store(found.settings, found.root, read_only=True, override=override)
    except DrumbeatError as error:
        yield Finding("store", BAD, error.message, error.hint)
        return
    try:
        yield from _inside(opened, place.mark(opened), now)
        yield from _ledger(found, opened)
        for words, advice in cautions(opened):
            yield Finding("server", WARN, words, advice)
    except DrumbeatError as error:
        yield Finding("store", BAD, error.message, "drumbeat fsck says more; drumbeat restore puts a backup back")
    finally:
        opened.close()


def cautions(opened: Any) -> list[tuple[str, str]]:
    """What the operator should know of the server behind a store, each with the next move."""
    found: list[tuple[str, str]] = opened.cautions() if hasattr(opened, "cautions") else []
    return found


def _inside(opened: Any, place: str, now: int) -> Iterator[Finding]:
    from engine.core.instants import format_instant
    from engine.runtime import standing

    counts = opened.counts()
    yield Finding(
        "store", OK, f"{opened.head_count():,} users, {counts['events']:,} events; drumbeat fsck checks it whole"
    )
    reason = standing.held(opened)
    known = opened.get_meta(standing.PLACE)
    if reason is None and known not in (None, place):
        reason = "it was written on another machine or at another path: the next run holds it as a copy"
    if reason is not None:
        yield Finding("sending", BAD, f"held: {reason}", "drumbeat outbox list, then drumbeat outbox release")
    else:
        yield Finding("sending", OK, "nothing is held")
    for status, advice in _STUCK.items():
        number = len(opened.deliveries(status))
        if number:
            yield Finding("outbox", WARN, f"{number:,} delivery(s) {status}", advice)
    clock = opened.clock()
    if clock > now + 5 * 60 * _STEP:
        words = f"the store's clock {format_instant(clock)} is ahead of this machine's {format_instant(now)}"
        yield Finding("clock", BAD, words, "set the machine's clock: nothing becomes due before it has caught up")
    else:
        yield Finding(
            "clock", OK, f"the store stands at {format_instant(clock)}" if clock else "nothing was decided yet"
        )


def _ledger(found: Any, opened: Any) -> Iterator[Finding]:
    """Whether the ledger adds up, and what was given beyond what the catalog allows."""
    from engine.insight.limits import exceeded

    faults = opened.sums()
    for it in faults:
        words = f"{it.message} ({it.count:,}): {', '.join(it.examples)}"
        yield Finding("ledger", BAD, words, "take a backup now, and look at drumbeat restore")
    over = exceeded(found.plan, opened) if found.plan is not None else []
    for it in over:
        words = f"{it.message} ({it.count:,}): {', '.join(it.examples)}"
        yield Finding("limits", WARN, words, "was the catalog tightened? Nothing more is given until there is room")
    if not faults:
        yield Finding("ledger", OK, "every balance, stock and seat is the sum of its entries")


def _disk(path: Path) -> Iterator[Finding]:
    from engine.stores.sql.sqlite_place import file_system, is_remote

    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    kind = file_system(path if path.exists() else folder)
    if is_remote(kind):
        advice = "put the store on a local disk: run refuses this one; locks and syncing cannot be trusted there"
        yield Finding("disk", BAD, f"{folder} is on {kind}", advice)
    elif free < _ROOM:
        yield Finding("disk", WARN, f"{free // (1 << 20):,} MiB free at {folder}", "make room before it is full")
    else:
        yield Finding("disk", OK, f"{free // _ROOM:,} GiB free")
