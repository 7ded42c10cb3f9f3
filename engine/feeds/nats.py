"""NATS JetStream as a live feed, by a durable pull consumer.

Rule 1: a message is acknowledged after the commit that holds its event, never before. Killed in between, the server
hands it out again after ``ack_wait`` and its event is dropped by its id.
Rule 2: one session is one connection. Whatever breaks it, a new one begins with what is in hand; the consumer, which
the server keeps, remembers the rest.
Rule 3: what is in hand and not committed when the feed is closed is given back at once.

A position is ``stream sequence << 20``; where that does not grow (a message that comes again) it is one more than the
last. The consumer remembers where reading goes on, not the position. JetStream is never the system of record: it may
acknowledge before the disk has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from engine.core.model import SECOND
from engine.core.plan import Span
from engine.core.shapes import Duration, Map, Text, optional, required
from engine.door import MAX_EVENT
from engine.errors import CannotRun
from engine.feeds.around import around, check_around
from engine.feeds.files import KEPT
from engine.feeds.mapping import SHAPE, PayloadMap
from engine.feeds.receiving import Receiving, need_library, read_record
from engine.ports import Record
from engine.site import Site

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

AT_ONCE: Final = 500  #: messages one request asks for
EXPIRES: Final = 0.5  #: seconds after which the server answers that there is none
ACK_WAIT: Final = Span(
    text="30s", elapsed=30 * SECOND
)  #: after which the server hands out again what was not acknowledged
MOST_PENDING: Final = 25_000  #: messages a consumer made by us may have out
_CONNECT: Final = 2  #: seconds one server may take to let us in
_ANSWER: Final = 5  #: seconds a server may take to answer
_NAME: Final = Text(pattern=r"[^\s.*>/\\]{1,200}", what="name")
AROUND: Final = ("subject", "headers")  #: what stands around a payload, for ``map``
_NONE: Final = ("404", "408")  #: there is no message; the request has expired


class NatsFeed(Receiving):
    """A NATS JetStream stream, read by a durable consumer that is made where it is missing.

    The payload of a message is an event as JSON, or whatever ``map`` says; there ``@.subject`` and ``@.headers.NAME``
    stand beside it. A message without an id is refused, unless ``id: sequence`` lets stream and sequence stand for it.
    ``subject`` leaves out messages of other subjects. One daemon reads a durable consumer. Needs
    ``pip install 'drumbeat[nats]'``.

    Example:
        - nats: {url: "${NATS_URL}", stream: SHOP, durable: drumbeat, subject: "shop.>"}
    """

    shape = Map(
        {
            "url": required(Text(what="address such as ${NATS_URL}"), "nats:// or tls://, or several; a secret"),
            "stream": required(_NAME, "the stream, which must be there"),
            "durable": optional(_NAME, "name of the consumer (drumbeat)"),
            "subject": optional(Text(pattern=r"[^\s]{1,200}", what="subject"), "only messages of these subjects"),
            "from": optional(Text(("beginning", "new")), "where a new consumer begins (beginning)"),
            "id": optional(Text(("payload", "sequence")), "sequence: stream and its number, where a payload has no id"),
            "ack_wait": optional(Duration(), "after which what is not committed comes again (30s)"),
            "credentials": optional(Text(what="path"), "file with the credentials of a NATS account"),
            "map": optional(SHAPE, "which fields of a payload form an event"),
        }
    )

    def __init__(self, fields: Mapping[str, Any], site: Site) -> None:
        try:
            import nats  # noqa: F401 - only to know that it is there before anything begins
        except ImportError as error:
            raise need_library("nats", "nats", error) from None
        stream = str(fields["stream"])
        self._own_ids = fields.get("id") == "sequence"
        mapping = PayloadMap.of(fields["map"], id_needed=not self._own_ids) if "map" in fields else None
        super().__init__(f"nats:{stream}", site, mapping)
        self._stream = stream
        self._durable = str(fields.get("durable", "drumbeat"))
        self._subject: str | None = fields.get("subject")
        self._only_new = fields.get("from") == "new"
        self._ack_wait = fields.get("ack_wait", ACK_WAIT).elapsed / SECOND
        self._url = site.secret(str(fields["url"]), "feeds.nats.url")
        self._credentials = site.root / fields["credentials"] if "credentials" in fields else None
        self._replies: dict[int, str] = {}  #: stream sequence -> where its message is acknowledged

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        check_around(fields, AROUND, id_needed=fields.get("id") != "sequence")

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[NatsFeed]:
        """The feed of a setting; raises CannotRun without the library, UsageError for a wrong mapping.

        Whether the server answers is found out later, again and again.
        """
        return [cls(fields, site)]

    # ------------------------------------------------------------------ the thread, and the loop in it

    def _session(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        client = await self._connect()
        try:
            await self._make_consumer(client)
            inbox = client.new_inbox()
            subscription = await client.subscribe(inbox)
            while not self._stop.is_set():
                await self._tell(client)
                room = self._hand.room()
                if not room:
                    await asyncio.sleep(EXPIRES / 10)
                    continue
                if not await self._pull(client, subscription, inbox, min(room, AT_ONCE)):
                    await self._measure(client)
                    self._hand.quiet()
                    await asyncio.sleep(EXPIRES / 10 if self._site.final else 0)
                self._went_well()
            await self._tell(client)
            await self._give_back(client)
        finally:
            with contextlib.suppress(Exception):  # it may be broken already; then there is nothing to be closed
                await asyncio.wait_for(client.close(), _ANSWER)

    async def _connect(self) -> Client:
        from nats.aio.client import Client

        client = Client()
        try:
            await asyncio.wait_for(
                client.connect(
                    servers=[it.strip() for it in self._url.reveal().split(",")],
                    connect_timeout=_CONNECT,
                    allow_reconnect=False,  # a broken connection ends the session, and the next begins it (rule 2)
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    error_cb=_silent,
                    user_credentials=str(self._credentials) if self._credentials is not None else None,
                ),
                2 * _CONNECT,
            )
        except Exception as error:  # its words may hold the address, and the address a password
            raise CannotRun(f"{self.name}: no connection: {type(error).__name__}") from None
        return client

    async def _make_consumer(self, client: Client) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
        from nats.js.errors import NotFoundError

        stream = client.jetstream(timeout=_ANSWER)
        try:
            await stream.stream_info(self._stream)
        except NotFoundError:
            raise CannotRun(f"{self.name}: there is no stream {self._stream!r}", hint="make it first") from None
        try:
            await stream.consumer_info(self._stream, self._durable)
        except NotFoundError:
            await stream.add_consumer(
                self._stream,
                ConsumerConfig(
                    durable_name=self._durable,
                    ack_policy=AckPolicy.EXPLICIT,
                    deliver_policy=DeliverPolicy.NEW if self._only_new else DeliverPolicy.ALL,
                    ack_wait=self._ack_wait,
                    filter_subject=self._subject,
                    max_ack_pending=MOST_PENDING,
                ),
            )

    async def _pull(self, client: Client, subscription: Subscription, inbox: str, number: int) -> int:
        """Ask for messages and take in what comes; how many came."""
        request = {"batch": number, "no_wait": True} if self._site.final else {
            "batch": number, "expires": int(EXPIRES * 1e9),
        }  # fmt: skip
        await client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}", msgspec.json.encode(request), reply=inbox
        )
        taken = 0
        while taken < number:
            try:
                message = await subscription.next_msg(timeout=EXPIRES + _ANSWER)
            except TimeoutError:
                raise CannotRun(f"{self.name}: the server does not answer") from None
            status = (message.headers or {}).get("Status") if not message.data else None
            if status is None:
                self._take(message)
                taken += 1
            elif status in _NONE:
                break
            elif status == "409" and self._hand.waiting():
                await asyncio.sleep(EXPIRES)  # most likely as many are out as may be: some must be committed first
                break
            elif status != "100":
                what = (message.headers or {}).get("Description", "")
                raise CannotRun(f"{self.name}: the server refuses messages: {status} {what}")
        return taken

    def _take(self, message: Msg) -> None:
        if ".ACK." not in (message.reply or ""):
            return
        sequence = message.metadata.sequence.stream
        self._undelivered = message.metadata.num_pending
        self._replies[sequence] = message.reply
        self._hand.put(self._record(message, sequence), sequence << 20, sequence)

    async def _tell(self, client: Client) -> None:
        """Acknowledge what is committed; the server has read it when the flush is back, and acts on it soon after."""
        done = self._hand.committed()
        if not done:
            return
        for sequence in done:
            await client.publish(self._replies[sequence], b"+ACK")
        await client.flush(timeout=_ANSWER)
        for sequence in done:
            self._replies.pop(sequence, None)
        self._hand.told(done)

    async def _give_back(self, client: Client) -> None:
        for reply in self._replies.values():
            await client.publish(reply, b"-NAK")
        await client.flush(timeout=_ANSWER)

    async def _measure(self, client: Client) -> None:
        stream = client.jetstream(timeout=_ANSWER)
        consumer = await stream.consumer_info(self._stream, self._durable)
        state = (await stream.stream_info(self._stream)).state
        self._undelivered = consumer.num_pending
        self._newest = state.last_seq << 20

    def _record(self, message: Msg, sequence: int) -> Record:
        raw = message.data
        payload = around(raw, self._mapping, lambda: {"subject": message.subject, "headers": message.headers or {}})
        record = read_record(self.name, payload, self._mapping, f"{self._stream}/{sequence}" if self._own_ids else None)
        if len(record.raw) > MAX_EVENT:
            record.raw = raw[:KEPT]
        return record


async def _silent(error: Exception) -> None:
    """The library would print it; the session raises it anyway."""
