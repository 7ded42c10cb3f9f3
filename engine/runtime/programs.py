"""Which programs a store was run by, and from when on: what lets ``why`` decide the past by what was in force then.

Rule 1: an instant is noted before anything is decided by a program, its files as soon as they are known to be those.
Rule 2: what is not known is not made up: a program whose files nobody kept is a digest and an instant.
Rule 3: every program is kept, however many; a file that several of them have in common stands once, under the hash of
its text. What they take up is bounded: beyond ``MOST_BYTES`` the oldest go, never the one at work nor the one before.
"""

from __future__ import annotations

import base64
import json
import zlib
from hashlib import blake2b
from typing import Any

import msgspec

from engine.ports import Store
from engine.runtime.applied import LAST_GOOD

MOST_BYTES = 32 * 1024 * 1024
"""What the files of all programs may take up in a store."""

_NOTED = "programs"
_PACK = "program:"
_SOURCES = "sources:"
_KEPT = "sources"


class Listing(msgspec.Struct):
    """The files of one program."""

    files: dict[str, tuple[str, str]]  #: path -> (hash of its text, digest of the program that brought it)


class Kept(msgspec.Struct):
    """What is kept, the oldest first."""

    programs: dict[str, list[str]] = msgspec.field(default_factory=dict)  #: digest -> those that brought its files
    sizes: dict[str, int] = msgspec.field(default_factory=dict)  #: digest -> length of the texts it brought
    listings: dict[str, int] = msgspec.field(default_factory=dict)  #: digest -> length of its listing


class AtWork(msgspec.Struct, array_like=True, frozen=True):
    """A program that was put to work."""

    since: int  #: engine clock then
    digest: str  #: of its plan


def note(store: Store, digest: str) -> None:
    """From the store's clock on everything is decided by this program."""
    before = noted(store)
    if before and before[-1].digest == digest:
        return
    if not before and (active := store.get_meta("plan")):
        # it was run before programs were noted: by what, is known of the last one alone, and not since when
        before = [AtWork(store.clock(), active)]
        keep(store, active, store.get_meta(LAST_GOOD) or "")
        if active == digest:
            store.set_meta(_NOTED, msgspec.json.encode(before).decode())
            return
    store.set_meta(_NOTED, msgspec.json.encode([*before, AtWork(store.clock(), digest)]).decode())


def noted(store: Store) -> list[AtWork]:
    """The programs of a store, the first one first."""
    raw = store.get_meta(_NOTED)
    return msgspec.json.decode(raw, type=list[AtWork]) if raw else []


def keep(store: Store, digest: str, packed: str) -> None:
    """Keep the files of a program that is at work.

    Parameters
    ----------
    packed: as ``language/keeping.py`` packs them; "" where they are not known.
    """
    if not packed or store.get_meta(_PACK + digest):
        return
    kept = _kept(store)
    known = dict(_brought(store, kept))
    files: dict[str, tuple[str, str]] = {}
    fresh: dict[str, str] = {}
    for path, text in _unpacked(packed).items():
        hash_ = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        if hash_ not in known:
            fresh[hash_] = text
        files[path] = (hash_, known.get(hash_, digest))
    texts = _packed(fresh) if fresh else ""
    if texts:
        store.set_meta(_SOURCES + digest, texts)
    listing = msgspec.json.encode(Listing(files)).decode()
    store.set_meta(_PACK + digest, listing)
    kept.listings[digest] = len(listing)
    kept.programs[digest] = sorted({by for _, by in files.values()})
    kept.sizes[digest] = len(texts)
    _make_room(store, kept, digest)
    store.set_meta(_KEPT, msgspec.json.encode(kept).decode())


def files_of(store: Store, digest: str) -> str | None:
    """The files of a program as they were packed; None: they are not known."""
    raw = store.get_meta(_PACK + digest)
    if not raw or not raw.startswith("{"):  # one pack each, as stores from before have it
        return raw or None
    files = msgspec.json.decode(raw, type=Listing).files
    texts: dict[str, str] = {}
    for by in {by for _, by in files.values()}:
        texts.update(_unpacked(store.get_meta(_SOURCES + by) or _packed({})))
    if any(hash_ not in texts for hash_, _ in files.values()):
        return None
    return _packed({path: texts[hash_] for path, (hash_, _) in files.items()})


def _kept(store: Store) -> Kept:
    raw = store.get_meta(_KEPT)
    return msgspec.json.decode(raw, type=Kept) if raw else Kept()


def _brought(store: Store, kept: Kept) -> list[tuple[str, str]]:
    """(hash, program that brought it) of all texts."""
    found = []
    for by, size in kept.sizes.items():
        if size:
            found += [(hash_, by) for hash_ in _unpacked(store.get_meta(_SOURCES + by) or _packed({}))]
    return found


def _make_room(store: Store, kept: Kept, digest: str) -> None:
    """Let the oldest programs go, and texts that none names any more, until the rest is small enough."""
    noted_ = [it.digest for it in noted(store)]
    needed = {digest, *noted_[-2:]}
    for old in [it for it in kept.programs if it not in needed]:
        if sum(kept.sizes.values()) + sum(kept.listings.values()) <= MOST_BYTES:
            return
        del kept.programs[old], kept.listings[old]
        store.set_meta(_PACK + old, "")
        named = {by for bys in kept.programs.values() for by in bys}
        for by in [it for it in kept.sizes if it not in named]:
            store.set_meta(_SOURCES + by, "")
            del kept.sizes[by]


def _packed(texts: dict[str, str]) -> str:
    raw = json.dumps(texts, sort_keys=True).encode()
    return base64.b85encode(zlib.compress(raw, 6)).decode()


def _unpacked(packed: str) -> dict[str, str]:
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b85decode(packed)))
    return found
