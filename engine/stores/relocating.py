"""Moving a store into another database: all of it, once, and checked on both sides.

Rule 1: from the first step on the old store sends nothing (it is held), and the new one sends nothing before everything
in it was read back and found equal; so nothing goes out twice.
Rule 2: whoever is interrupted begins again with the same words. What was being written is gone as if it had never been
there; what was written but not compared yet is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.errors import CannotRun
from engine.stores import moving
from engine.stores.moving import HELD, MOVING, Sum

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Moved:
    """What a move came to."""

    sums: dict[str, Sum]  #: of each kind of record, the same on both sides
    resumed: bool  #: it was written before, and only compared now
    held: str | None  #: why the new store sends nothing; as the old one did


def relocate(source: Any, target: Any, names: tuple[str, str], seal: Any, progress: Progress) -> Moved:
    """Move a store into an empty one.

    Parameters
    ----------
    source, target: stores, open for writing.
    names: of both, as people know them.
    seal: how the coupon codes of the source stand.
    progress: told what is done, in a few words.

    Raises CannotRun when the source breaks a promise, or the target does not hold what was written; StoreError when the
    target is not empty.
    """
    resumed = target.get_meta(MOVING) == names[0]
    progress("checking the store")
    _sound(source, names[0])
    before = _hold(source, names[1])
    there = target.moving()
    if resumed:
        read = moving.sums(source.moving(), lambda kind: progress(f"reading {kind}"))
    else:
        with there.whole():
            read = moving.move(source.moving(), there, lambda kind: progress(f"writing {kind}"))
            there.note(MOVING, names[0])
            there.note(HELD, f"it was moved from {names[0]}, and not compared with it yet")
        target = target.anew()
        there = target.moving()
    found = moving.sums(there, lambda kind: progress(f"comparing {kind}"))
    if wrong := moving.differing(read, found):
        raise CannotRun(
            f"{names[1]} does not hold what {names[0]} holds: {', '.join(wrong)}",
            hint="drop that schema and move again; the old store is as it was, and held",
        )
    progress("checking the new store")
    target.seal(seal)
    _sound(target, names[1])
    source.set_meta(HELD, f"it was moved to {names[1]}")
    target.set_meta(HELD, before)
    target.set_meta(MOVING, "")
    return Moved(found, resumed, before or None)


def _sound(store: Any, name: str) -> None:
    if faults := store.check():
        words = "; ".join(f"{it.check} ({it.count:,})" for it in faults)
        raise CannotRun(f"{name} does not keep every promise: {words}", hint="drumbeat fsck shows what is wrong")


def _hold(source: Any, target: str) -> str:
    """The source sends nothing from now on. Returns why it sent nothing before; empty: it did."""
    kept = source.get_meta(MOVING)
    before: str = msgspec.json.decode(kept, type=str) if kept else source.get_meta(HELD) or ""
    source.set_meta(MOVING, msgspec.json.encode(before).decode())
    source.set_meta(HELD, f"it is being moved to {target}")
    return before
