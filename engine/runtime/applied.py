"""A plan that was applied: from then on the store takes applied plans only, whatever its folder says.

Rule 1: what was applied stands in the store as files, whole, written in one transaction: killed at any moment, the
next process begins with the plan before or with this one, never with half of one.
Rule 2: a plan is applied on top of the plan it was made against, and on no other: who comes second is told.
Rule 3: `drumbeat run --follow-files` is the way back.
"""

from __future__ import annotations

import msgspec

from engine.ports import Store

APPLIED = "applied"
"""Name under which a store keeps the plan that was applied last; empty or missing: it follows the files."""

LAST_GOOD = "program"
"""Name under which the store keeps the files of the last program that was whole and at work."""


class Applied(msgspec.Struct, frozen=True):
    """A plan that was applied."""

    plan: str  #: its digest
    pack: str  #: its files, see ``language/keeping.py``


class Apply(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is asked for: ``applied`` on top of a base."""

    base: str  #: ``base_of`` the store when the plan was made
    plan: str  #: digest of what is to be applied
    pack: str  #: its files


def read(store: Store) -> Applied | None:
    """The plan that was applied last; None where the store follows the files."""
    words = store.get_meta(APPLIED)
    return msgspec.json.decode(words, type=Applied) if words else None


def base_of(store: Store) -> str:
    """What a plan is made against: the digest of the plan at work, and that of one which waits to be taken."""
    active, found = store.get_meta("plan") or "", read(store)
    return active if found is None or found.plan == active else f"{active}+{found.plan}"


def apply(store: Store, wanted: Apply) -> str | None:
    """Make a store take a plan; by the thread that writes it. Returns why not: another plan came between."""
    base = base_of(store)
    if base != wanted.base:
        return base or "none"
    store.set_meta(APPLIED, msgspec.json.encode(Applied(wanted.plan, wanted.pack)).decode())
    return None


def follow_files(store: Store) -> bool:
    """What was applied counts no more; whether anything was."""
    found = bool(store.get_meta(APPLIED))
    if found:
        store.set_meta(APPLIED, "")
    return found


class Pin:
    """The applied plan a daemon goes by: replaced as a whole by the engine's thread, read by the reloader's.

    Parameters
    ----------
    store: of the daemon.
    """

    def __init__(self, store: Store) -> None:
        self.words = store.get_meta(APPLIED) or ""

    @property
    def applied(self) -> Applied | None:
        """The plan to take; None: follow the files."""
        words = self.words
        return msgspec.json.decode(words, type=Applied) if words else None

    def heed(self, store: Store) -> bool:
        """Look once more; whether another plan is to be taken. By the engine's thread."""
        words = store.get_meta(APPLIED) or ""
        changed, self.words = words != self.words, words
        return changed
