"""The server: a thread with a loop of its own, started and stopped by the daemon.

Use, by the thread that runs the engine::

    api = Api(Engine(jobs, clock, program, troubles), feeds, socket=socket_path(store), registry=registry)
    with api.serving():      # bound and serving, or CannotRun
        ...                  # the engine's loop does jobs.do(store), and jobs.close() when it leaves

What was submitted before the jobs were closed is committed and answered 202; what comes later is 503, and its sender
comes again. An engine that would rather answer everything calls ``stop`` first, and does jobs until ``stopped``.

Rule 1: an address that others can reach is not listened on without keys.
Rule 2: ``stop`` returns at once, since requests that are under way wait for jobs of the very thread that calls it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute
from starlette.types import ASGIApp
from uvicorn import Config, Server

from engine.api import admin, health, unix
from engine.api.coupons import Redeeming
from engine.api.engine import Engine
from engine.api.events import Events
from engine.api.gathering import Gathering
from engine.api.guard import application
from engine.api.keys import Keyring
from engine.api.limits import Limits
from engine.api.listening import Change, Listener, Place, Switch, grouped
from engine.api.meters import Meters
from engine.api.openapi import document
from engine.api.playbooks import Webhooks
from engine.api.protocol import Connection, connection_class
from engine.api.receipts import Receipts
from engine.api.ways import Gate, Way
from engine.errors import CannotRun, InternalError
from engine.feeds.http import HttpFeed

_SPARE_FILES = 200  #: descriptors left for everything that is no connection
_log = logging.getLogger(__name__)

MoreWays = Callable[[Gathering, Meters], Iterable[Way]]
"""Routes of another part, which may put what they bring into the inbox."""


class Api:
    """The HTTP side of a daemon.

    Parameters
    ----------
    engine: the engine behind it.
    feeds: the feeds of kind ``http``; those of one host and port share a listener.
    socket: path of the Unix socket for verbs; None: none.
    registry: metrics to show; None: no route for them.
    more: routes of other parts, on every listener.
    grace: seconds that requests under way may take after ``stop``.
    broke: called, by the server's thread, when it breaks down instead of being stopped: let the daemon leave then.
    """

    def __init__(
        self,
        engine: Engine,
        feeds: Sequence[HttpFeed],
        *,
        socket: Path | None = None,
        registry: CollectorRegistry | None = None,
        more: MoreWays = lambda gathering, meters: (),
        limits: Limits | None = None,
        grace: float = 20.0,
        broke: Callable[[], object] = lambda: None,
    ) -> None:
        self.addresses: list[tuple[str, int]] = []  #: host and port of each listener, once started
        self._engine = engine
        self._feeds = feeds
        self._socket = socket
        self._registry = registry
        self.meters = Meters(registry)
        self._more = more
        self._limits = limits or Limits()
        self._gathering = Gathering(engine.jobs, commit=self._limits.commit, waiting=self._limits.waiting)
        self._grace = grace
        self._broke = broke
        self._servers: list[Server] = []
        self._live: dict[Place, Listener] = {}  #: belongs to the loop
        self._places: set[Place] = set()  #: as of the last change; belongs to the engine's thread
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = Event()
        self._error: BaseException | None = None
        self._thread: Thread | None = None
        self._stopping = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Bind every address and serve; raises CannotRun when one cannot be had or needs keys."""
        change = self.listen(self._feeds)
        admin_socket = None
        try:
            if self._socket is not None:
                admin_socket = unix.listen(self._socket)
        except BaseException:
            change.abandon()
            raise
        self._places = set(change.wanted)
        self.addresses = [it.getsockname()[:2] for it in change.fresh.values()]
        _allow_files(sum(max(feed.connections for feed in found) for found in change.wanted.values()))
        self._thread = Thread(target=self._run, args=(change, admin_socket), name="api", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise InternalError(f"the HTTP server did not start: {self._error}") from self._error

    def stop(self) -> None:
        """Let nothing new in, and end when what is under way is answered; returns at once, from any thread."""
        self._stopping = True
        for server in self._servers:
            server.should_exit = True

    @property
    def stopped(self) -> bool:
        """Has the server ended, as it was told or not?"""
        return self._thread is None or not self._thread.is_alive()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end; raises InternalError when the server broke down instead of being stopped."""
        if self._thread is not None:
            self._thread.join(seconds)
        if self._error is not None:
            raise InternalError(f"the HTTP server broke down: {self._error}") from self._error

    @contextmanager
    def serving(self) -> Iterator[Api]:
        """Serve as long as a block lasts. A server that broke down meanwhile is an error at the end of it."""
        self.start()
        try:
            yield self
        finally:
            self.stop()
            self.join(self._grace + 5)

    # ------------------------------------------------------------------ other feeds

    def listen(self, feeds: Sequence[HttpFeed]) -> Change:
        """Prepare for other feeds: keys are looked up, new addresses bound. Nothing changes before ``commit``.

        Called by the engine's thread. Raises CannotRun for a key that is not there or an address that cannot be had.
        """
        wanted = grouped(feeds)
        rings = {place: [_keys(feed) for feed in found] for place, found in wanted.items()}
        change = Change(self, wanted, rings, {})
        try:
            for place, found in wanted.items():
                _guarded(found)
                if place not in self._places:
                    change.fresh[place] = self._bind(found)
        except BaseException:
            change.abandon()
            raise
        return change

    def adopt(self, change: Change) -> None:
        """Serve other feeds from now on; by the engine's thread."""
        loop = self._loop
        if loop is None or self._stopping:
            change.abandon()
            return
        _allow_files(sum(max(feed.connections for feed in found) for found in change.wanted.values()))
        self._places = set(change.wanted)
        with contextlib.suppress(RuntimeError):  # the loop has just ended, and so has the listening
            loop.call_soon_threadsafe(self._adopt, change)

    def _adopt(self, change: Change) -> None:
        """In the loop."""
        for place, bound in change.fresh.items():
            gate = self._gate(Keyring(), local=all(feed.local for feed in change.wanted[place]))
            connections, switch = self._connections(0), Switch(application([], self._limits, self.meters))
            made = Listener(bound, gate, switch, connections, self._server(switch, connections))
            self._live[place] = made
            self._tasks.add(asyncio.create_task(self._start(made)))
        for place in [place for place in self._live if place not in change.wanted]:
            gone = self._live.pop(place)
            gone.switch.app = application([], self._limits, self.meters)  # it takes nothing more while it closes
            gone.server.should_exit = True
        for place, feeds in change.wanted.items():
            self._dress(self._live[place], feeds, change.rings[place])
        if self._stopping:
            self.stop()
        self.addresses = [it.bound.getsockname()[:2] for it in self._live.values()]

    # ------------------------------------------------------------------ listeners

    def _bind(self, listener: Sequence[HttpFeed]) -> socket.socket:
        first = listener[0]
        try:
            family = socket.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)[0][0]
            # Said to be TCP, so that the loop sends each piece of an answer at once (no delay of 40 ms).
            made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as error:
            raise CannotRun(f"feed http: there is no address {first.host!r}: {error.strerror}") from error
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((first.host, first.port))
        except OSError as error:
            made.close()
            message = f"feed http cannot listen on {first.host}:{first.port}: {error.strerror}"
            raise CannotRun(message, hint="does another process have this port?") from error
        return made

    # ------------------------------------------------------------------ the thread

    def _run(self, change: Change, admin_socket: socket.socket | None) -> None:
        try:
            asyncio.run(self._serve(change, admin_socket))
        except BaseException as error:
            self._error = error
            _log.error("the HTTP server broke down: %s", type(error).__name__, exc_info=error)
        finally:
            self._loop = None
            change.abandon()
            for listener in self._live.values():
                listener.bound.close()
            if admin_socket is not None:
                admin_socket.close()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.unlink()
            self._ready.set()
            self._engine.jobs.ring()  # whoever waits for the end need not wait longer
            if self._error is not None:
                self._broke()

    async def _serve(self, change: Change, admin_socket: socket.socket | None) -> None:
        limits = self._limits
        self._loop = asyncio.get_running_loop()
        self._adopt(change)
        if admin_socket is not None:
            gate = self._gate(Keyring(), local=True, trusted=True)
            routes: list[BaseRoute] = [gate.route(way) for way in admin.ways(self._engine)]
            made = self._server(application(routes, limits, self.meters), self._connections(64))
            self._tasks.add(asyncio.create_task(made.serve([admin_socket])))
        while not all(server.started for server in self._servers) and not any(task.done() for task in self._tasks):
            await asyncio.sleep(0.005)
        self._ready.set()
        if self._stopping:
            self.stop()
        while self._tasks:  # there may be others by then
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._tasks -= done
            for task in done:
                task.result()

    async def _start(self, listener: Listener) -> None:
        await listener.server.serve([listener.bound])
        self._servers.remove(listener.server)
        listener.bound.close()

    def _dress(self, listener: Listener, feeds: Sequence[HttpFeed], rings: Sequence[Keyring]) -> None:
        """Have a listener answer for these feeds."""
        gate = listener.gate
        gate.keys = sum(rings, Keyring())
        ways = self._ways(listener, feeds, rings)
        listener.switch.app = application([gate.route(way) for way in ways], self._limits, self.meters)
        listener.connections.cap = max(feed.connections for feed in feeds)

    def _connections(self, cap: int) -> type[Connection]:
        return connection_class(cap, self._limits.header_seconds, self._limits.body_seconds)

    def _gate(self, keys: Keyring, *, local: bool, trusted: bool = False) -> Gate:
        elapsed = asyncio.get_running_loop().time
        return Gate(keys, self._limits, self._engine.clock, elapsed, local=local, trusted=trusted)

    def _ways(self, listener: Listener, feeds: Sequence[HttpFeed], rings: Sequence[Keyring]) -> list[Way]:
        """The routes of one listener."""
        gate, gathering, limits = listener.gate, self._gathering, self._limits
        ways: list[Way] = []
        for feed, ring in zip(feeds, rings, strict=True):
            buckets = listener.buckets(feed.path, feed.rate)
            newcomers = listener.newcomers(feed.path, feed.new_users)
            ways.append(Events(feed, self._engine, gathering, limits, self.meters, newcomers).way(ring, buckets))
        ways.append(Redeeming(self._engine).way(listener.buckets("redeem", feeds[0].rate)))
        newcomers = listener.newcomers(feeds[0].path, feeds[0].new_users)
        ways.append(Webhooks(self._engine, gathering, newcomers).way(listener.buckets("webhook", feeds[0].rate)))
        receipts = Receipts(self._engine, gathering, limits, self.meters)
        ways.append(receipts.way(listener.buckets("receipts", feeds[0].rate)))
        ways += self._more(gathering, self.meters)
        written: dict[str, Any] = {}
        ways += health.ways(self._engine, self._registry, lambda: written)
        written.update(document(ways, locked=bool(gate.keys), signs=gate.keys.signs, local=gate.local))
        return ways

    def _server(self, app: ASGIApp, connections: type[Connection]) -> Server:
        limits = self._limits
        config = Config(
            app,
            http=connections,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=512,
            timeout_keep_alive=max(1, round(limits.header_seconds)),
            timeout_graceful_shutdown=max(1, round(self._grace)),
            h11_max_incomplete_event_size=limits.header,
        )
        server = Server(config)
        self._servers.append(server)
        return server


def _guarded(feeds: Sequence[HttpFeed]) -> None:
    """Raise CannotRun for a feed that others can reach and that asks for no key."""
    for feed in feeds:
        if not feed.local and not _keys(feed):
            raise CannotRun(
                f"feed http at {feed.host}:{feed.port}{feed.path} can be reached by others and has no keys",
                hint='auth: "${INGEST_TOKEN}", or host: 127.0.0.1',
            )


def _keys(feed: HttpFeed) -> Keyring:
    return Keyring(feed.tokens(), feed.secrets())


def _allow_files(connections: int) -> None:
    """Ask the system for as many descriptors as the connections need, as far as it lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
