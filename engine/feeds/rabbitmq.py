"""A RabbitMQ queue as a live feed.

Rule 1: a message is acknowledged after the commit that holds its event, never before. Killed in between, it comes again
and its event is dropped by its id.
Rule 2: one session is one connection. What was not read when it broke is let go of, for the broker gives it again; what
was read is decided, and dropped by its id when it comes again.
Rule 3: a queue numbers nothing, so a message needs an id of its own: in its payload, in ``message_id``, or put together
by ``map``.

Positions only count what was read; the broker keeps what is not acknowledged, not where reading goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.core.model import SECOND
from engine.core.shapes import Int, Map, Text, optional, required
from engine.door import MAX_EVENT
from engine.errors import CannotRun, UsageError
from engine.feeds import inhand
from engine.feeds.around import Offer, around, check_around, text
from engine.feeds.files import KEPT
from engine.feeds.mapping import SHAPE, PayloadMap
from engine.feeds.receiving import Receiving, need_library, read_record
from engine.ports import Record
from engine.site import Site

PREFETCH: Final = 1_000  #: messages the broker hands out before any of them is acknowledged
WAIT: Final = 0.1  #: seconds one look at the connection takes
AROUND: Final = ("message_id", "headers", "app_id", "type", "exchange", "routing_key", "queue", "timestamp", "user_id")
"""What stands around a payload, for ``map``."""

_ANSWER: Final = 5.0  #: seconds the broker may take to answer
_HEARTBEAT: Final = 30  #: seconds after which a silent connection is given up
_LOOK: Final = SECOND  #: between two looks at the length of the queue
_NAME: Final = Text(pattern=r"[^\s]{1,200}", what="name")

_Key = tuple[int, int]  #: number of the session, number the broker gave the message in it


class RabbitFeed(Receiving):
    """A RabbitMQ queue, which must be there; make it a quorum queue.

    The payload of a message is an event as JSON, or whatever ``map`` says; there ``@.message_id``, ``@.headers.NAME``,
    ``@.app_id``, ``@.routing_key`` and ``@.timestamp`` (``time_unit: s``) stand beside it. A message without an id is
    refused, unless ``id: message`` lets queue and ``message_id`` stand for it; a publisher's own sequence is an id by
    ``map: {id: ["@.app_id", "@.headers.sequence"], ...}``. Needs ``pip install 'drumbeat[rabbitmq]'``.

    Example:
        - rabbitmq: {url: "${RABBITMQ_URL}", queue: shop-events, id: message}
    """

    shape = Map(
        {
            "url": required(Text(what="address such as ${RABBITMQ_URL}"), "amqp:// or amqps://; a secret"),
            "queue": required(_NAME, "the queue, which must be there"),
            "id": optional(Text(("payload", "message")), "message: queue and message_id, where a payload has no id"),
            "prefetch": optional(Int(low=1, high=25_000), "messages that may be on their way to a commit (1000)"),
            "map": optional(SHAPE, "which fields of a payload form an event"),
        }
    )

    def __init__(self, fields: Mapping[str, Any], site: Site) -> None:
        self._own_ids = fields.get("id") == "message"
        mapping = PayloadMap.of(fields["map"], id_needed=not self._own_ids) if "map" in fields else None
        self._queue = str(fields["queue"])
        super().__init__(f"rabbitmq:{self._queue}", site, mapping)
        most = inhand.MOST if site.final else int(fields.get("prefetch", PREFETCH))  # a transaction may want them all
        self._prefetch = min(most, inhand.MOST)
        self._hand = inhand.InHand(site.wake, most=self._prefetch)
        self._url = site.secret(str(fields["url"]), "feeds.rabbitmq.url")
        self._parameters()  # an address that is none is said now
        self._number = 0  #: of the session
        self._fetched = 0  #: messages that came in this session
        self._looked: int | None = None

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        own_ids = fields.get("id") == "message"
        if not own_ids and "id" not in (fields.get("map") or {"id"}):
            words = "map: id is required: a queue numbers nothing, and an id is never guessed"
            hint = "id: message beside map takes message_id; or map: {id: ['@.app_id', '@.headers.sequence'], ...}"
            raise UsageError(words, hint=hint)
        check_around(fields, AROUND, id_needed=not own_ids)

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[RabbitFeed]:
        """The feed of a setting; raises CannotRun for an address that is none, UsageError for a wrong mapping.

        Whether the broker answers is found out later, again and again.
        """
        return [cls(fields, site)]

    # ------------------------------------------------------------------ the thread

    def _parameters(self) -> Any:
        try:
            from pika import URLParameters  # type: ignore[import-untyped]  # the library has no types
        except ImportError as error:
            raise need_library(self.name, "rabbitmq", error) from None
        url = self._url.reveal()
        try:
            if not url.startswith(("amqp://", "amqps://")):
                raise ValueError
            found = URLParameters(url)
        except Exception:  # its words may hold the password
            hint = "amqp://user:password@host:5672/vhost, or amqps://..."
            raise CannotRun(f"feed '{self.name}': url is no address of a RabbitMQ broker", hint=hint) from None
        found.connection_attempts, found.socket_timeout, found.stack_timeout = 1, _ANSWER, 2 * _ANSWER
        found.blocked_connection_timeout, found.heartbeat = 2 * _ANSWER, _HEARTBEAT
        return found

    def _session(self) -> None:
        connection = self._connect()
        self._number += 1
        self._fetched = 0
        self._hand.forget_fresh()
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=self._prefetch)
            channel.queue_declare(self._queue, passive=True)
            channel.basic_consume(self._queue, self._take)
            while not self._stop.is_set():
                self._wait(connection)
                self._tell(channel)
                self._look(channel)
            self._tell(channel)
        except CannotRun:
            raise
        except Exception as error:
            raise CannotRun(f"{self.name}: {self._words(error)}") from None
        finally:
            if connection.is_open:
                connection.close()  # gives back what was not acknowledged

    def _connect(self) -> Any:
        from pika import BlockingConnection

        try:
            return BlockingConnection(self._parameters())
        except Exception as error:  # its words may hold the address, and the address a password
            raise CannotRun(f"{self.name}: no connection: {type(error).__name__}") from None

    def _words(self, error: Exception) -> str:
        said = getattr(error, "reply_text", None)
        return f"{type(error).__name__}: {said}" if said else type(error).__name__

    def _wait(self, connection: Any) -> None:
        """Take in what comes; not for long, for what is committed must be told."""
        before = self._fetched
        connection.process_data_events(time_limit=WAIT)
        if self._fetched == before and self._hand.waiting() and not self._site.final:
            self._hand.wait_for_work(WAIT)

    def _take(self, channel: Any, method: Any, properties: Any, raw: bytes) -> None:
        self._fetched += 1
        key: _Key = (self._number, method.delivery_tag)
        self._hand.put(self._record(method, properties, raw), 0, key)

    def _tell(self, channel: Any) -> None:
        """Acknowledge what is committed; what another session brought comes again, and is dropped by its id."""
        done: list[_Key] = self._hand.committed()
        if not done:
            return
        ours = [tag for number, tag in done if number == self._number]
        if ours:
            channel.basic_ack(max(ours), multiple=True)  # commits go by the order in which messages came
        self._hand.told(done)

    def _look(self, channel: Any) -> None:
        """How much there is, and whether that is nothing."""
        now = self._site.now()
        hurry = self._site.final and not self._hand.waiting()
        if not hurry and self._looked is not None and 0 <= now - self._looked < _LOOK:
            return
        self._looked = now
        before = self._fetched
        self._undelivered = channel.queue_declare(self._queue, passive=True).method.message_count
        if not self._undelivered and self._fetched == before:  # deliveries arrive before the answer that says none
            self._hand.quiet()
        else:
            self._hand.well()
        self._went_well()

    # ------------------------------------------------------------------ one message

    def _record(self, method: Any, properties: Any, raw: bytes) -> Record:
        def offer() -> Offer:
            given = properties.headers or {}
            return {
                "message_id": properties.message_id, "app_id": properties.app_id, "type": properties.type,
                "headers": {str(name): words for name, value in given.items() if (words := text(value)) is not None},
                "exchange": method.exchange, "routing_key": method.routing_key, "queue": self._queue,
                "timestamp": properties.timestamp, "user_id": properties.user_id,
            }  # fmt: skip

        own_id = f"{self._queue}/{properties.message_id}" if self._own_ids and properties.message_id else None
        record = read_record(self.name, around(raw, self._mapping, offer), self._mapping, own_id)
        if record.reason == "no_id":
            record.message += "; a queue numbers nothing: the publisher must set one, see id: and map: of this feed"
        if len(record.raw) > MAX_EVENT:
            record.raw = raw[:KEPT]
        return record
