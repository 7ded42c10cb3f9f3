"""Watches the files of a program and compiles them again, in a thread of its own and without the store.

Rule 1: what is handed over is whole: it compiled without an error, and no file changed while it was read.
Rule 2: a broken state of the files is told once; the program at work stays as it is.
Rule 3: the engine's thread takes what is ready when it has time (``take``); nothing is pushed into its work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from engine.errors import CannotRun
from engine.ports import Version

P = TypeVar("P")

POLL = 0.5
"""Seconds between two looks at the files."""

_RESTLESS = 4
"""Looks after which files that change all the time are compiled all the same."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built(Generic[P]):
    """What came of the files: a program, or why there is none."""

    program: P | None
    problem: str = ""  #: the first things that are wrong, for the operator


class Reloader(Generic[P]):
    """Looks at the files now and then.

    Parameters
    ----------
    look: how the files stand; equal values: nothing changed.
    build: compiles them with these older versions; called in the reloader's thread.
    older: asks the engine's thread for the versions the store keeps.
    ring: called when there is something to take.
    """

    def __init__(
        self,
        look: Callable[[], object],
        build: Callable[[Sequence[Version]], Built[P]],
        older: Callable[[], Future[list[Version]]],
        ring: Callable[[], object],
        *,
        poll: float = POLL,
    ) -> None:
        self._look = look
        self._build = build
        self._older = older
        self._ring = ring
        self._poll = poll
        self._known = look()  #: the state of the files that was compiled last
        self._seen = self._known
        self._restless = 0
        self._forced = False
        self._wanted = Event()
        self._closed = False
        self._ready: Built[P] | None = None
        self._thread = Thread(target=self._run, name="drumbeat-reload", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def force(self) -> None:
        """Compile now, whether anything changed or not; may be called by a signal handler."""
        self._forced = True
        self._wanted.set()

    def take(self) -> Built[P] | None:
        """What has been built since the last call."""
        ready, self._ready = self._ready, None
        return ready

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closed:
            self._wanted.wait(self._poll)
            self._wanted.clear()
            if self._closed:
                return
            try:
                self._once()
            except Exception:  # the thread must outlive whatever it meets: the files will change again
                _log.exception("the program's files cannot be looked at")

    def _once(self) -> None:
        now = self._look()
        if now == self._known and not self._forced:
            self._seen, self._restless = now, 0
            return
        if now != self._seen and not self._forced and self._restless < _RESTLESS:
            self._seen, self._restless = now, self._restless + 1  # somebody may be writing: look once more
            return
        try:
            older = self._older().result()
        except CannotRun:
            return  # the engine is leaving, or its store is in trouble: the next look tries again
        built = self._try(older)
        if built is None:
            return
        self._known = self._seen = now
        self._forced, self._restless = False, 0
        self._ready = built
        self._ring()

    def _try(self, older: Sequence[Version]) -> Built[P] | None:
        """Compile; None when files changed meanwhile."""
        before = self._look()
        built: Built[Any]
        try:
            built = self._build(older)
        except CannotRun as error:
            built = Built(None, str(error))
        except Exception as error:  # a fault of ours: the daemon goes on, and says so
            _log.exception("compiling the program failed")
            built = Built(None, f"compiling failed: {type(error).__name__}: {error}")
        return built if self._look() == before else None
