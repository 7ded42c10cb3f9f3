"""Where a daemon listens, and how that changes while it runs.

Rule 1: a listener is known by its host and port. What its feeds say of keys, rates, paths and payloads changes between
two requests; what was begun under the old settings ends under them.
Rule 2: what a listener remembers stays: copies of signed requests, and how much each sender has used of its rate.
Rule 3: a change is prepared as a whole (``Api.listen``) before anything of it holds.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Server

from engine.api.keys import Keyring
from engine.api.newcomers import Newcomers
from engine.api.protocol import Connection
from engine.api.rates import Buckets
from engine.api.ways import Gate
from engine.errors import CannotRun
from engine.feeds.http import HttpFeed

if TYPE_CHECKING:
    from engine.api.server import Api

Place = tuple[str, int, int | None]
"""Host, port, and for port 0 the number among such feeds."""


class Switch:
    """An application that can be exchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class Listener:
    """One address, and what answers there."""

    bound: socket.socket
    gate: Gate
    switch: Switch
    connections: type[Connection]
    server: Server
    used: dict[str, tuple[tuple[int, int] | None, Buckets]] = field(default_factory=dict)  #: route -> rate, buckets

    guests: dict[str, tuple[tuple[int, int] | None, Newcomers]] = field(default_factory=dict)  #: new users, alike

    def newcomers(self, route: str, rate: tuple[int, int] | None) -> Newcomers:
        """As ``buckets``, for new users."""
        known = self.guests.get(route)
        if known is None or known[0] != rate:
            known = self.guests[route] = rate, Newcomers(rate, self.gate.elapsed)
        return known[1]

    def buckets(self, route: str, rate: tuple[int, int] | None) -> Buckets:
        """The buckets of a route, those it had while its rate is the same."""
        known = self.used.get(route)
        if known is None or known[0] != rate:
            known = self.used[route] = rate, Buckets(rate, self.gate.elapsed)
        return known[1]


@dataclass
class Change:
    """Other feeds, ready to be served."""

    api: Api
    wanted: Mapping[Place, Sequence[HttpFeed]]
    rings: Mapping[Place, Sequence[Keyring]]  #: keys of each feed
    fresh: dict[Place, socket.socket]  #: bound, and not served yet

    def commit(self) -> None:
        """Serve them."""
        self.api.adopt(self)

    def abandon(self) -> None:
        """Let go of what was bound."""
        for it in self.fresh.values():
            it.close()


def grouped(feeds: Sequence[HttpFeed]) -> dict[Place, list[HttpFeed]]:
    """Feeds by listener; raises CannotRun where two would answer at one place."""
    found: dict[Place, list[HttpFeed]] = {}
    free = 0
    for feed in feeds:
        place: Place = (feed.host, feed.port, free if feed.port == 0 else None)
        free += feed.port == 0
        shared = found.setdefault(place, [])
        if any(feed.path == other.path for other in shared):
            message = f"two feeds of kind http listen at {feed.host}:{feed.port}{feed.path}"
            raise CannotRun(message, hint="give one of them another path or port")
        shared.append(feed)
    return found
