"""Events over HTTP, as a word of ``feeds:``; the server itself is ``engine/api``.

Rule 1: a feed is only a setting here: where to listen, who may send, how much. Its events go through the inbox of the
store, so there is nothing to read and no position.
Rule 2: secrets are looked up when the daemon begins to serve, and shown to nobody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from engine.core.model import HOUR, MINUTE, SECOND
from engine.core.shapes import Int, Many, Map, Text, optional, required
from engine.errors import CannotRun
from engine.feeds.mapping import SHAPE, PayloadMap, check_map
from engine.ports import Lag, Record
from engine.site import Secret, Site

EVENTS: Final = "/v1/events"  #: where events are sent to, unless the feed says otherwise
NEW_USERS: Final = "60000/min"  #: users that nobody knows yet, unless the feed says otherwise
CONNECTIONS: Final = 2_000  #: open at once, unless the feed says otherwise

_UNITS: Final = {"s": SECOND, "min": MINUTE, "h": HOUR}


class HttpFeed:
    """Events that others send: ``POST /v1/events``, one JSON event or a batch of JSON lines.

    ``auth`` is the bearer token a sender shows, ``secret`` the secret it signs with (Standard Webhooks); of both
    there may be several, so that a new one can be brought in before the old one goes. Without either, only an address
    of this machine may be listened on. ``rate`` holds for each key and for each address that sends, and so
    does ``new_users``: over it only requests that bring users nobody knows are refused.

    Example:
        - http: {port: 8080, auth: "${INGEST_TOKEN}", rate: 2000/s}
    """

    shape = Map(
        {
            "port": required(Int(low=0, high=65535), "port to listen on; 0: any that is free"),
            "host": optional(Text(what="address"), "address to listen on (127.0.0.1)"),
            "path": optional(Text(pattern=r"/[A-Za-z0-9_/-]*[A-Za-z0-9_-]", what="path"), f"path ({EVENTS})"),
            "auth": optional(Many(Text()), "bearer token, or several"),
            "secret": optional(Many(Text()), "secret of signed requests (Standard Webhooks), or several"),
            "rate": optional(Text(pattern=r"[1-9][0-9]{0,6}/(s|min|h)", what="rate such as 100/s"), "most records"),
            "new_users": optional(
                Text(pattern=r"unlimited|[1-9][0-9]{0,6}/(s|min|h)", what="rate such as 1000/min, or unlimited"),
                f"most users that nobody knows yet ({NEW_USERS})",
            ),
            "connections": optional(Int(low=1, high=10_000), f"connections open at once ({CONNECTIONS})"),
            "map": optional(SHAPE, "which fields of a payload form an event"),
            "name": optional(Text(pattern=r"[a-z0-9][a-z0-9_-]*", what="name"), "name of the feed (http)"),
        },
        short="port",
    )

    def __init__(self, fields: Mapping[str, Any], site: Site) -> None:
        self._fields = fields
        self._site = site
        self.name = str(fields.get("name", "http"))
        self.host = str(fields.get("host", "127.0.0.1"))
        self.port = int(fields["port"])
        self.path = str(fields.get("path", EVENTS))
        self.connections = int(fields.get("connections", CONNECTIONS))
        self.rate = _rate(fields.get("rate"))
        self.new_users = _rate(str(fields.get("new_users", NEW_USERS)))
        mapping = PayloadMap.of(fields["map"]) if "map" in fields else None
        self._taken = 0  #: records that were answered 202, since the process began
        self._newest: int | None = None  #: time of the newest event of them
        self.reader: Callable[[bytes], bytes] | None = mapping.event_bytes if mapping is not None else None
        """Makes a record of ours of what was sent; raises EventRejected. None: it is one already."""

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[HttpFeed]:
        """The feed of a setting. Whether its secrets are there is asked when the daemon begins to serve."""
        return [cls(fields, site)]

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What a shape cannot say of the setting; raises UsageError."""
        check_map(fields)

    def tokens(self) -> list[Secret]:
        """Bearer tokens; raises CannotRun where one is not set or empty."""
        return self._secrets("auth")

    def secrets(self) -> list[Secret]:
        """Secrets of signatures; raises CannotRun where one is not set or empty."""
        return self._secrets("secret")

    @property
    def local(self) -> bool:
        """Can only this machine reach it?"""
        return is_loopback(self.host)

    def _secrets(self, key: str) -> list[Secret]:
        what = f"feeds.http.{key}"
        found = [self._site.secret(text, what) for text in _several(self._fields.get(key))]
        if not all(found):
            raise CannotRun(f"{what} is empty", hint="a token has at least one character; better 32 by chance")
        return found

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """Nothing: what is sent lies in the inbox, from where it is read."""
        return iter(())

    def acknowledge(self, position: int) -> None:
        """Nothing to forget: each sender was answered after the commit."""

    def took(self, records: int, newest: int | None) -> None:
        """Records were made durable and are answered 202; ``newest`` is the time of the latest event among them."""
        self._taken += records
        if newest is not None:
            self._newest = newest if self._newest is None else max(newest, self._newest)

    def lag(self) -> Lag:
        """Nothing is behind: what was answered is in the store. What waits there to be decided is the inbox's."""
        return Lag(position=self._taken, behind=0, brought=self._newest)

    def close(self) -> None:
        """Nothing is open here."""


def is_loopback(host: str) -> bool:
    """Can an address be reached from this machine alone? Names other than ``localhost`` are not trusted to be."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _several(value: Any) -> Iterable[str]:
    return [value] if isinstance(value, str) else value or []


def _rate(text: str | None) -> tuple[int, int] | None:
    """(records, microseconds) of a rate such as ``100/s``."""
    if text is None or text == "unlimited":
        return None
    number, _, unit = text.partition("/")
    return int(number), _UNITS[unit]
