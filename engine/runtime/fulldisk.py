"""What a daemon does while the disk of its store is full: it decides nothing, takes nothing in, and cleans up.

Rule 1: the reserve beside the store (``FileStore.keep_reserve``) was given up when the disk was found full. What it
gave is for cleaning up alone: settling what is on its way out, what people ask for by a verb, erasures, housekeeping.
Rule 2: it is over when the reserve can be made again, with as much room beside it.
"""

from __future__ import annotations

import logging

from engine.core.plan import Plan
from engine.errors import StoreFull
from engine.ports import FileStore, Store
from engine.runtime.erasure import DELETED, erase_user
from engine.runtime.state import DaemonState

SOON = 0.5
"""Seconds between two looks at the room."""

_WAITING = 10_000  # events of the inbox that are looked through for erasures

_log = logging.getLogger(__name__)


class FullDisk:
    """Knows whether the disk is full.

    Parameters
    ----------
    store: opened for writing, by the thread that calls this.
    state: what is told.
    """

    def __init__(self, store: Store, state: DaemonState) -> None:
        self._store = store
        self._file = store if isinstance(store, FileStore) else None
        self._state = state
        self._asked = False  #: somebody may have asked for an erasure since the last look

    @property
    def full(self) -> bool:
        """Whether the disk was found full, and there was no room since."""
        return self._file is not None and self._file.full

    def check(self) -> None:
        """Raise StoreFull while there is no room."""
        if self.full:
            raise StoreFull("its disk is full", hint="make room; work goes on by itself")

    def begin(self) -> None:
        """A daemon begins: the reserve is made, or it is said that there is none."""
        if self._file is None:
            return
        self._state.reserve = self._file.keep_reserve()
        if not self._state.reserve:
            _log.warning("there is no room for a reserve beside the store: a full disk could not be cleaned up")

    def over(self) -> bool:
        """Whether there is room again."""
        if self._file is None:
            return True
        self._state.reserve = self._file.keep_reserve()
        return self._state.reserve

    def found(self) -> None:
        """The disk is full: what may be done on the reserve begins."""
        self._state.reserve = False
        self._asked = True

    def asked(self) -> None:
        """Somebody asked for something by a verb."""
        self._asked = True

    def erase(self, plan: Plan, secret: bytes) -> bool:
        """Do the erasures that people asked for and that wait to be decided; whether there were any.

        The events stay where they are: when they are decided one day they are repeated ones.
        """
        if not self._asked:
            return False
        done = False
        for _, event in self._store.inbox(0, _WAITING):
            if not (event.internal and event.type == DELETED and event.user is not None):
                continue
            if self._store.erased([event.user]).get(event.user, event.time - 1) < event.time:
                erase_user(plan, self._store, event.user, event.time, secret)
                done = True
        self._asked = False
        return done
