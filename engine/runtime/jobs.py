"""The way to the thread that owns the store: others hand it work and wait for the result.

Rule 1: one thread, the engine's, has the store; whoever else wants something of it submits a function.
Rule 2: work is done in order of arrival, between two transactions of the pump, each in transactions of its own.
Rule 3: after ``close`` nothing is accepted, and what was accepted before is still done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeVar

from engine.errors import CannotRun
from engine.ports import Store

if TYPE_CHECKING:
    from engine.runtime.pump import Pump

T = TypeVar("T")


class Jobs:
    """Work for the engine's thread, and its bell."""

    def __init__(self) -> None:
        self._work: deque[tuple[Callable[[Store], Any], Future[Any], bool]] = deque()
        self.touched = False  #: a job changed subjects; whoever holds some of them reads them again
        self._bell = Condition()
        self._rung = False
        self._closed = False
        self.deciding: Callable[[Callable[[Pump, int], Any]], Any] | None = None  #: set by who decides: see ``decide``

    def decide(self, work: Callable[[Pump, int], T]) -> Future[T]:
        """Have a function called with the pump and the instant it is, by the engine's thread: it may decide events.

        Raises CannotRun as ``submit`` does.
        """

        def work_through(store: Store) -> T:
            if self.deciding is None:
                raise CannotRun("nobody decides here", hint="try again when the engine is up")
            done: T = self.deciding(work)
            return done

        return self.submit(work_through)

    def submit(self, work: Callable[[Store], T], *, subjects: bool = False) -> Future[T]:
        """Have a function called with the store, by the engine's thread; may be called by any thread.

        ``subjects``: it changes states of subjects (an erasure does; what goes through the inbox does not).

        Raises CannotRun when the engine is shutting down.
        """
        promise: Future[T] = Future()
        with self._bell:
            if self._closed:
                raise CannotRun("the engine is shutting down", hint="try again when it is up")
            self._work.append((work, promise, subjects))
            self._rung = True
            self._bell.notify()
        return promise

    def ring(self) -> None:
        """Wake the engine's thread; may be called by any thread and by a signal handler's helper thread."""
        with self._bell:
            self._rung = True
            self._bell.notify()

    def wait(self, seconds: float | None) -> None:
        """Sleep until somebody rings or submits, at most so many seconds; the engine's thread alone calls it."""
        with self._bell:
            if not self._rung:
                self._bell.wait(seconds)
            self._rung = False

    def do(self, store: Store) -> int:
        """Do what is waiting; how many pieces. An exception goes to whoever waits for the result."""
        done = 0
        while self._work:
            work, promise, subjects = self._work.popleft()
            done += 1
            if not promise.set_running_or_notify_cancel():
                continue
            self.touched = self.touched or subjects
            try:
                promise.set_result(work(store))
            except BaseException as error:
                promise.set_exception(error)
                if not isinstance(error, Exception):
                    raise
        return done

    def refuse(self, error: Exception) -> None:
        """Nothing of what is waiting can be done now: whoever waits for it is told."""
        while self._work:
            _, promise, _ = self._work.popleft()
            if promise.set_running_or_notify_cancel():
                promise.set_exception(error)

    def close(self) -> None:
        """Accept nothing more."""
        with self._bell:
            self._closed = True
            self._rung = True
            self._bell.notify()
