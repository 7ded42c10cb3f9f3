"""Which program a verb that looks back goes by: the one the store is run by, and those before it.

Rule 1: what was decided is told by the program that decided it, wherever the folder stands by now.
Rule 2: where that program is not known as a whole, the folder's is taken, and the answer says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.core.instants import format_instant
from engine.insight.eras import Era


@dataclass
class Past:
    """The programs of a store."""

    found: Any  #: the one at work, compiled
    eras: list[Era] = field(default_factory=list)  #: all in order, that one last; none: nothing is known of them
    remarks: list[str] = field(default_factory=list)  #: what is to be said about them


def at_work(found: Any, store: Any) -> tuple[Any, list[str]]:
    """(the program a store is run by, what is to be said about it); ``found``: that of the folder."""
    from engine import wiring
    from engine.runtime import applied, programs

    active = store.get_meta("plan")
    pinned = applied.read(store)
    if active in (None, found.plan.digest):
        waits = pinned is not None and pinned.plan != active
        return wiring.with_older(found, store), ["a plan that was applied waits to be taken"] if waits else []
    packs = [programs.files_of(store, active), store.get_meta(applied.LAST_GOOD)]
    packs.insert(0, pinned.pack if pinned is not None and pinned.plan == active else None)
    how = "run by a plan that was applied, not by the folder" if pinned else "not yet run by what the folder holds"
    for packed in packs:
        kept = _compiled(packed, found, store, active)
        if kept is not None:
            return kept, [f"the store is {how}: what is said is by the program at work, {active[:12]}"]
    return wiring.with_older(found, store), []


def past(found: Any, store: Any, first: int = 0) -> Past:
    """The program at work on a store, and those before it, as far as they are known.

    Parameters
    ----------
    found: the folder's program.
    first: programs that were replaced before this instant need not be known.
    """
    from engine.runtime import programs

    now, remarks = at_work(found, store)
    noted = programs.noted(store)
    if not noted or noted[-1].digest != now.plan.digest:
        return Past(now, [], remarks)
    after = [it.since for it in noted[1:]]
    needed = [it for it, end in zip(noted, [*after, None], strict=True) if end is None or end >= first]
    plans = {now.plan.digest: now}
    eras: list[Era] = []
    for at in reversed(needed):
        if at.digest not in plans:
            kept = _compiled(programs.files_of(store, at.digest), found, store, at.digest)
            if kept is None:
                break
            plans[at.digest] = kept
        one = plans[at.digest]
        eras.insert(0, Era(at.since, one.plan, one.audiences.segments))
    if len(eras) < len(needed) or (needed[0] is noted[0] and noted[0].since > first):
        until = format_instant(eras[0].since)
        remarks.append(f"the programs before {until} are not known as a whole: that of then is taken for them")
    return Past(now, eras, remarks)


def _compiled(packed: str | None, found: Any, store: Any, digest: str) -> Any:
    from engine.language.keeping import compile_pack

    if not packed:
        return None
    kept = compile_pack(packed, found.root, store.versions(used=False))
    return kept if kept.plan is not None and kept.plan.digest == digest else None
