"""Redis Streams as a live feed, by a consumer group.

Rule 1: an entry is acknowledged (XACK) after the commit that holds its event, never before. Killed in between, the
entry comes again and its event is dropped by its id.
Rule 2: after a start, and after each broken connection, entries given to us and not acknowledged are read first; those
given to consumers that went silent are taken over (XAUTOCLAIM).
Rule 3: an answer that was lost on the way is never asked for again by the library: the session begins anew, so that
rule 2 finds the entries.

A position is the entry id, ``milliseconds << 20 | sequence``; where that does not grow (an entry that comes again, ids
made by hand) it is one more than the last. The group remembers where reading goes on, not the position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engine.core.model import MINUTE, SECOND
from engine.core.plan import Span
from engine.core.shapes import Duration, Map, Text, optional, required
from engine.door import MAX_EVENT, read_payload
from engine.errors import CannotRun, EventRejected
from engine.feeds.files import KEPT
from engine.feeds.mapping import SHAPE, PayloadMap, check_map
from engine.feeds.receiving import Receiving, need_library, read_record
from engine.ports import Record
from engine.site import Site

if TYPE_CHECKING:
    from redis import Redis

AT_ONCE: Final = 500  #: entries one command asks for, or acknowledges
BLOCK: Final = 500  #: milliseconds Redis waits for an entry before it answers that there is none
STALE: Final = Span(text="5m", elapsed=5 * MINUTE)  #: after which entries of another consumer are taken over
_MEASURE: Final = SECOND  #: between two looks at the length of the stream
_ID: Final = re.compile(rb"([0-9]{1,13})-([0-9]{1,6})")
_NAME: Final = Text(pattern=r"[^\s]{1,200}", what="name")

_Entry = Sequence[Any]  #: [id, [field, value, field, value ...]]; None in place of the fields of a deleted one


class RedisFeed(Receiving):
    """A Redis stream, read by a consumer group that is made where it is missing.

    ``field`` names the field of an entry that holds the event as JSON. Without it the fields of an entry are the
    payload, each a text (``data`` is JSON): ``id type user time data``, or whatever ``map`` says. Records without an
    id are refused, unless ``id: entry`` lets the stream and the entry id stand for it. One daemon reads a group;
    give each of several consumers a name of its own. Needs ``pip install 'drumbeat[redis]'``.

    Example:
        - redis: {url: "${REDIS_URL}", stream: shop-events, field: payload}
    """

    shape = Map(
        {
            "url": required(Text(what="address such as ${REDIS_URL}"), "redis://, rediss:// or unix://; a secret"),
            "stream": required(_NAME, "the stream"),
            "group": optional(_NAME, "consumer group (drumbeat)"),
            "consumer": optional(_NAME, "name of this consumer (drumbeat)"),
            "field": optional(_NAME, "field with the payload as JSON; left out: the fields are the payload"),
            "from": optional(Text(("beginning", "new")), "where a new group begins (beginning)"),
            "id": optional(Text(("payload", "entry")), "entry: stream and entry id, where a record has no id"),
            "take_over": optional(Duration(), "after which entries other consumers hold are taken over (5m)"),
            "map": optional(SHAPE, "which fields of a payload form an event"),
        }
    )

    def __init__(self, fields: Mapping[str, Any], site: Site) -> None:
        own_ids = fields.get("id") == "entry"
        mapping = PayloadMap.of(fields["map"], id_needed=not own_ids) if "map" in fields else None
        stream = str(fields["stream"])
        super().__init__(f"redis:{stream}", site, mapping)
        self._own_ids = own_ids
        self._stream = stream
        self._group = str(fields.get("group", "drumbeat"))
        self._consumer = str(fields.get("consumer", "drumbeat"))
        self._field = fields["field"].encode() if "field" in fields else None
        self._begin = "$" if fields.get("from") == "new" else "0"
        self._stale = fields.get("take_over", STALE).elapsed
        self._url = site.secret(str(fields["url"]), "feeds.redis.url")
        self._connect().close()  # an address that is none is said now
        self._looked: dict[str, int] = {}  #: what was done when

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        check_map(fields, id_needed=fields.get("id") != "entry")

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[RedisFeed]:
        """The feed of a setting; raises CannotRun for an address that is none, UsageError for a wrong mapping.

        Whether the server answers is found out later, again and again.
        """
        return [cls(fields, site)]

    # ------------------------------------------------------------------ the thread

    def _connect(self) -> Redis:
        try:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise need_library("redis", "redis", error) from None
        try:
            client = Redis.from_url(
                self._url.reveal(), protocol=2, socket_timeout=10, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
            )
        except ValueError:  # its words may hold the password
            hint = "redis://[user:password@]host:port/0, rediss://... or unix:///path"
            raise CannotRun(f"feed '{self.name}': url is no address of a Redis server", hint=hint) from None
        for command in ("XREADGROUP", "XAUTOCLAIM"):
            client.response_callbacks.pop(command, None)  # as they come: a dict would hide fields that come twice
        return client

    def _session(self) -> None:
        client = self._connect()
        try:
            self._make_group(client)
            self._unacknowledged(client)
            while not self._stop.is_set():
                self._tell(client)
                self._take_over(client)
                self._measure(client)
                room = self._hand.room()
                if not room:
                    self._hand.wait_for_room(BLOCK / 1000)
                elif not self._fetch(client, ">", room):
                    self._hand.quiet()
                    if self._site.final:
                        self._hand.wait_for_work(BLOCK / 1000)
                self._went_well()
            self._tell(client)
        finally:
            client.close()

    def _make_group(self, client: Redis) -> None:
        from redis.exceptions import ResponseError

        try:
            client.xgroup_create(self._stream, self._group, id=self._begin, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # it is there already, which is the usual case
                raise

    def _unacknowledged(self, client: Redis) -> None:
        """Entries given to this consumer before and not acknowledged."""
        last: bytes | str = "0"
        while not self._stop.is_set():
            self._tell(client)
            room = self._hand.room()
            if not room:
                self._hand.wait_for_room(BLOCK / 1000)
                continue
            entries = self._fetch(client, last, room)
            if not entries:
                return
            last = entries[-1][0]

    def _fetch(self, client: Redis, after: bytes | str, room: int) -> list[_Entry]:
        # waiting belongs to new entries only; in a hurry to be done there is no waiting at all
        wait = ["BLOCK", BLOCK] if after == ">" and not self._site.final else []
        found = self._ask(
            client, "XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", min(room, AT_ONCE), *wait,
            "STREAMS", self._stream, after,
        )  # fmt: skip
        entries: list[_Entry] = found[0][1] if found else []
        self._put(client, entries)
        return entries

    @staticmethod
    def _ask(client: Any, *command: Any) -> Any:
        """The answer as it came: the library knows no types here."""
        return client.execute_command(*command)

    def _take_over(self, client: Redis) -> None:
        """Entries of consumers that do not answer any more."""
        if not self._is_time("take over", min(self._stale, MINUTE)):
            return
        cursor: Any = "0-0"
        while not self._stop.is_set() and (room := self._hand.room()):
            cursor, entries, *_ = self._ask(
                client, "XAUTOCLAIM", self._stream, self._group, self._consumer, self._stale // 1000, cursor,
                "COUNT", min(room, AT_ONCE),
            )  # fmt: skip
            self._put(client, [entry for entry in entries if entry is not None])
            if cursor in (b"0-0", "0-0"):
                return

    def _put(self, client: Redis, entries: Sequence[_Entry]) -> None:
        gone = []
        for id, pairs in entries:
            if pairs is None:  # deleted from the stream before anybody decided it
                gone.append(id)
            else:
                self._hand.put(self._record(id, pairs), _place(id), id)
        if gone:
            client.xack(self._stream, self._group, *gone)

    def _tell(self, client: Redis) -> None:
        """Acknowledge what is committed."""
        done = self._hand.committed()
        for start in range(0, len(done), AT_ONCE):
            part = done[start : start + AT_ONCE]
            client.xack(self._stream, self._group, *part)
            self._hand.told(part)

    def _measure(self, client: Redis) -> None:
        if not self._is_time("measure", _MEASURE):
            return
        for group in client.xinfo_groups(self._stream):
            if _text(group["name"]) == self._group:
                self._undelivered = group.get("lag")  # Redis 7; none where entries were deleted
        newest = client.xinfo_stream(self._stream)["last-generated-id"]
        self._newest = _place(newest if isinstance(newest, bytes) else str(newest).encode()) or None

    def _is_time(self, what: str, every: int) -> bool:
        now = self._site.now()
        if what in self._looked and 0 <= now - self._looked[what] < every:
            return False
        self._looked[what] = now
        return True

    # ------------------------------------------------------------------ one entry

    def _record(self, id: bytes, pairs: Sequence[bytes]) -> Record:
        own_id = f"{self._stream}/{id.decode()}" if self._own_ids else None
        fields = list(zip(pairs[::2], pairs[1::2], strict=True))
        try:
            raw = self._payload(fields)
        except EventRejected as error:
            return Record(self.name, 0, _visible(fields), reason=error.reason, message=error.message)
        record = read_record(self.name, raw, self._mapping, own_id)
        if len(raw) > MAX_EVENT:
            record.raw = raw[:KEPT]
        return record

    def _payload(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if self._field is not None:
            found = [value for name, value in fields if name == self._field]
            if len(found) != 1:
                often = "no field" if not found else "more than one field"
                raise EventRejected("unmapped", f"the entry has {often} {_text(self._field)!r}")
            return found[0]
        payload: dict[str, Any] = {}
        for name, value in fields:
            key = _strict(name)
            if key in payload:
                raise EventRejected("duplicate_key", f"field {key[:40]!r} comes twice in one entry")
            is_json = key == "data" and self._mapping is None
            payload[key] = read_payload(value) if is_json else _strict(value)
        return _encode(payload)


_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def _place(id: bytes) -> int:
    found = _ID.fullmatch(id)
    return int(found[1]) << 20 | int(found[2]) if found and int(found[2]) < 1 << 20 else 0


def _strict(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EventRejected("utf8", f"byte {error.start + 1} of a field is not UTF-8") from None


def _text(text: bytes | str) -> str:
    return text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text


def _visible(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """What quarantine keeps of an entry that is no payload."""
    return msgspec.json.encode([[_text(name[:KEPT]), _text(value[:MAX_EVENT])] for name, value in fields])[:MAX_EVENT]
