"""The HTTP side of a daemon, put together: listeners, the socket for verbs, metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.api.engine import Engine, Program, Trouble
from engine.api.gathering import Gathering
from engine.api.links import LinkDoor
from engine.api.meters import Meters
from engine.api.metrics import registry
from engine.api.server import Api
from engine.api.unix import socket_path
from engine.api.ways import Way
from engine.core.links import signing_key
from engine.feeds.http import HttpFeed
from engine.runtime.jobs import Jobs
from engine.runtime.state import DaemonState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.ports import Clock, Feed, Store
    from engine.runtime.daemon import Daemon
    from engine.runtime.fittings import Change

_TICK = 0.1


class Front:
    """What a daemon shows to others.

    Parameters
    ----------
    jobs, state, clock: of the daemon.
    store: opened for writing, by the thread that calls ``goodbye``.
    path: the file of the store; the socket for verbs is beside it.
    feeds: the feeds of the program; those of kind ``http`` are listened for.
    secret: of the store; links are signed with it.
    """

    def __init__(
        self, jobs: Jobs, state: DaemonState, clock: Clock, store: Store, path: Path, feeds: Iterable[Feed],
        secret: bytes,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._state = state
        self._store = store
        self._program: Callable[[], Program | None] = lambda: None
        listened = [feed for feed in feeds if isinstance(feed, HttpFeed)]
        engine = Engine(jobs, clock, lambda: self._program(), self._troubles, self._notes)
        self._broke: Callable[[], None] = lambda: None
        signing = signing_key(secret)

        def more(gathering: Gathering, meters: Meters) -> Iterable[Way]:
            # Also when the program says nothing of links any more: those in mails that went out must go on working.
            return LinkDoor(engine, gathering, signing, meters).ways()

        self.api = Api(
            engine, listened, socket=socket_path(path), registry=registry(state), more=more, broke=lambda: self._broke()
        )

    def open(self, daemon: Daemon) -> None:
        """Let events in for a daemon; raises CannotRun where an address cannot be had."""
        self._program, self._broke = lambda: daemon.program, daemon.stop
        self.api.start()

    def listen(self, feeds: Iterable[Feed]) -> Change:
        """Prepare for the feeds of another program; by the engine's thread. Raises CannotRun."""
        return self.api.listen([feed for feed in feeds if isinstance(feed, HttpFeed)])

    def goodbye(self) -> None:
        """Let nothing new in, and answer what is under way; by the engine's thread, which does its jobs meanwhile."""
        self.api.stop()
        while not self.api.stopped:
            self._jobs.do(self._store)
            self._jobs.wait(_TICK)
        self.api.join()

    def _notes(self) -> list[Trouble]:
        return [Trouble("restart", self._state.waiting)] if self._state.waiting else []

    def _troubles(self) -> list[Trouble]:
        return [Trouble(code, message) for code, message in self._state.troubles]
