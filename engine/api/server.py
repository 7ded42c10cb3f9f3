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
from uvicorn import Config, Server

from engine.api import admin, health, unix
from engine.api.coupons import Redeeming
from engine.api.engine import Engine
from engine.api.events import Events
from engine.api.gathering import Gathering
from engine.api.guard import application
from engine.api.keys import Keyring
from engine.api.limits import Limits
from engine.api.meters import Meters
from engine.api.openapi import document
from engine.api.playbooks import Webhooks
from engine.api.protocol import connection_class
from engine.api.rates import Buckets
from engine.api.receipts import Receipts
from engine.api.ways import Gate, Way
from engine.errors import CannotRun, InternalError
from engine.feeds.http import HttpFeed

_SPARE_FILES = 200  #: descriptors left for everything that is no connection
_log = logging.getLogger(__name__)

MoreWays = Callable[[Gathering], Iterable[Way]]
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
        more: MoreWays = lambda gathering: (),
        limits: Limits | None = None,
        grace: float = 20.0,
        broke: Callable[[], object] = lambda: None,
    ) -> None:
        self.addresses: list[tuple[str, int]] = []  #: host and port of each listener, once started
        self._engine = engine
        self._feeds = feeds
        self._socket = socket
        self._registry = registry
        self._meters = Meters(registry)
        self._more = more
        self._limits = limits or Limits()
        self._grace = grace
        self._broke = broke
        self._servers: list[Server] = []
        self._ready = Event()
        self._error: BaseException | None = None
        self._thread: Thread | None = None
        self._stopping = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Bind every address and serve; raises CannotRun when one cannot be had or needs keys."""
        planned = [(listener, self._bind(listener)) for listener in self._listeners()]
        admin_socket = None
        try:
            if self._socket is not None:
                admin_socket = unix.listen(self._socket)
        except BaseException:
            for _, bound in planned:
                bound.close()
            raise
        self.addresses = [bound.getsockname()[:2] for _, bound in planned]
        _allow_files(sum(max(feed.connections for feed in listener) for listener, _ in planned))
        self._thread = Thread(target=self._run, args=(planned, admin_socket), name="api", daemon=True)
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

    # ------------------------------------------------------------------ listeners

    def _listeners(self) -> list[list[HttpFeed]]:
        """Feeds by listener; raises CannotRun where two would answer at one place."""
        found: dict[Any, list[HttpFeed]] = {}
        for number, feed in enumerate(self._feeds):
            place = (feed.host, feed.port, number if feed.port == 0 else None)
            shared = found.setdefault(place, [])
            if any(feed.path == other.path for other in shared):
                message = f"two feeds of kind http listen at {feed.host}:{feed.port}{feed.path}"
                raise CannotRun(message, hint="give one of them another path or port")
            shared.append(feed)
        return list(found.values())

    def _bind(self, listener: Sequence[HttpFeed]) -> socket.socket:
        first = listener[0]
        for feed in listener:
            if not feed.local and not _keys(feed):
                raise CannotRun(
                    f"feed http at {feed.host}:{feed.port}{feed.path} can be reached by others and has no keys",
                    hint='auth: "${INGEST_TOKEN}", or host: 127.0.0.1',
                )
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

    def _run(self, planned: list[tuple[list[HttpFeed], socket.socket]], admin_socket: socket.socket | None) -> None:
        try:
            asyncio.run(self._serve(planned, admin_socket))
        except BaseException as error:
            self._error = error
            _log.error("the HTTP server broke down: %s", type(error).__name__, exc_info=error)
        finally:
            for bound in [it for _, it in planned] + ([] if admin_socket is None else [admin_socket]):
                bound.close()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.unlink()
            self._ready.set()
            self._engine.jobs.ring()  # whoever waits for the end need not wait longer
            if self._error is not None:
                self._broke()

    async def _serve(
        self, planned: list[tuple[list[HttpFeed], socket.socket]], admin_socket: socket.socket | None
    ) -> None:
        limits = self._limits
        gathering = Gathering(self._engine.jobs, commit=limits.commit, waiting=limits.waiting)
        serving = []
        for listener, bound in planned:
            ways, gate = self._ways(listener, gathering)
            cap = max(feed.connections for feed in listener)
            serving.append(self._server([gate.route(way) for way in ways], cap).serve([bound]))
        if admin_socket is not None:
            gate = self._gate(Keyring(), local=True, trusted=True)
            routes = [gate.route(way) for way in admin.ways(self._engine)]
            serving.append(self._server(routes, 64).serve([admin_socket]))
        tasks = [asyncio.create_task(it) for it in serving]
        while not all(server.started for server in self._servers) and not any(task.done() for task in tasks):
            await asyncio.sleep(0.005)
        self._ready.set()
        if self._stopping:
            self.stop()
        await asyncio.gather(*tasks)

    def _gate(self, keys: Keyring, *, local: bool, trusted: bool = False) -> Gate:
        elapsed = asyncio.get_running_loop().time
        return Gate(keys, self._limits, self._engine.clock, elapsed, local=local, trusted=trusted)

    def _ways(self, listener: Sequence[HttpFeed], gathering: Gathering) -> tuple[list[Way], Gate]:
        """The routes of one listener, and what they share."""
        rings = [_keys(feed) for feed in listener]
        limits = self._limits
        keys = sum(rings, Keyring())
        gate = self._gate(keys, local=all(feed.local for feed in listener))
        ways: list[Way] = []
        for feed, ring in zip(listener, rings, strict=True):
            buckets = Buckets(feed.rate, gate.elapsed)
            ways.append(Events(feed, self._engine, gathering, limits, self._meters).way(ring, buckets))
        ways.append(Redeeming(self._engine).way(Buckets(listener[0].rate, gate.elapsed)))
        ways.append(Webhooks(self._engine, gathering).way(Buckets(listener[0].rate, gate.elapsed)))
        ways.append(Receipts(self._engine, gathering, limits).way(Buckets(listener[0].rate, gate.elapsed)))
        ways += self._more(gathering)
        written: dict[str, Any] = {}
        ways += health.ways(self._engine, self._registry, lambda: written)
        written.update(document(ways, locked=bool(keys), signs=keys.signs, local=gate.local))
        return ways, gate

    def _server(self, routes: list[Any], cap: int) -> Server:
        limits = self._limits
        config = Config(
            application(routes, limits, self._meters),
            http=connection_class(cap, limits.header_seconds, limits.body_seconds),
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
