"""Which programs a store was run by, and from when on: what lets ``why`` decide the past by what was in force then.

Rule 1: an instant is noted before anything is decided by a program, its files as soon as they are known to be those.
Rule 2: what is not known is not made up: a program whose files nobody kept is a digest and an instant.
Rule 3: the files of one program stand once, however often it comes back; those of the oldest go when there are many.
"""

from __future__ import annotations

import msgspec

from engine.ports import Store
from engine.runtime.applied import LAST_GOOD

MOST = 100
"""Programs whose files are kept."""

_NOTED = "programs"
_PACK = "program:"


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
    """Keep the files of a program that is at work."""
    if not packed or store.get_meta(_PACK + digest):
        return
    store.set_meta(_PACK + digest, packed)
    order = list(dict.fromkeys(it.digest for it in reversed(noted(store))))
    for old in order[MOST:]:
        if store.get_meta(_PACK + old):
            store.set_meta(_PACK + old, "")


def files_of(store: Store, digest: str) -> str | None:
    """The files of a program as they were packed; None: they are not known."""
    return store.get_meta(_PACK + digest) or None
