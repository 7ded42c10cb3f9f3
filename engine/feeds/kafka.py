"""A Kafka topic as a live feed, by a consumer group: each partition is a feed of its own.

Rule 1: the offset in our store decides where a partition goes on. Kafka is told offsets after the commit that holds
their records, and asked for them only where the store knows nothing, or where another store decided meanwhile.
Rule 2: a partition that is taken away is given up when what was read of it is committed; given again, it goes on where
the store stands then. Order within a partition is kept.
Rule 3: what Kafka has no more, because it was kept too short, is not passed over in silence: a record in quarantine
says which offsets are gone. A topic whose offsets began again is not read under the name of the one before.
Rule 4: the library connects again by itself; whether the brokers answer is asked every second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from engine.core.model import SECOND
from engine.core.shapes import Flag, Int, Map, Text, optional, required
from engine.door import MAX_EVENT
from engine.errors import CannotRun, UsageError
from engine.feeds.around import Offer, around, check_around, only_around, text
from engine.feeds.files import KEPT
from engine.feeds.kafka_client import MECHANISMS, client_settings, headers_of, words_of
from engine.feeds.mapping import SHAPE, PayloadMap
from engine.feeds.partition import Partition
from engine.feeds.receiving import Receiving, need_library, read_record
from engine.ports import Feed, Lag, Record
from engine.site import Site

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

AT_ONCE: Final = 500  #: messages taken from the library at once
WAIT: Final = 0.1  #: seconds it waits for a message
ANSWER: Final = 5.0  #: seconds brokers may take to answer
SILENT: Final = 10_000  #: milliseconds after which a reader that died is known to be gone
LEAVING: Final = 10.0  #: seconds a partition that is taken away waits for the commit of what was read of it
AROUND: Final = ("key", "headers", "topic", "partition", "offset", "timestamp")
"""What stands around a payload, for ``map``."""

_TELL: Final = SECOND  #: between two times at which Kafka is told offsets
_LOOK: Final = SECOND  #: between two looks at the brokers
_NAME: Final = Text(pattern=r"[A-Za-z0-9._-]{1,200}", what="name")
_SECRET: Final = "secret"  # noqa: S105 - the name of the record by which a store is known again
_OURS: Final = "drumbeat:"


class KafkaFeed(Receiving):
    """A Kafka topic, read by a consumer group; each partition has a position of its own in the store.

    The payload of a record is an event as JSON, or whatever ``map`` says; there ``@.key`` is the key of the record,
    ``@.headers.NAME`` a header, and ``@.timestamp`` its time (``time_unit: ms``). Records without an id are refused,
    unless ``id: offset`` lets topic, partition and offset stand for it. A record without payload (a tombstone) is
    refused, unless ``tombstones: skip``. One store reads a group. Needs ``pip install 'drumbeat[kafka]'``.

    Example:
        - kafka: {brokers: "${KAFKA_BROKERS}", topic: shop-events, id: offset}
    """

    shape = Map(
        {
            "brokers": required(Text(what="addresses such as ${KAFKA_BROKERS}"), "host:port, or several with commas"),
            "topic": required(_NAME, "the topic, which must be there"),
            "group": optional(_NAME, "consumer group (drumbeat)"),
            "from": optional(Text(("beginning", "new")), "where a new group begins (beginning)"),
            "id": optional(
                Text(("payload", "offset")), "offset: topic, partition and offset, where a record has no id"
            ),
            "tombstones": optional(Text(("refuse", "skip")), "records without payload: quarantine (refuse) or nothing"),
            "era": optional(Int(low=2), "2, 3 ... after the topic was made anew and its offsets began again"),
            "tls": optional(Flag(), "true: the brokers are spoken to over TLS"),
            "ca": optional(Text(what="path"), "file with the certificates that are trusted, instead of the system's"),
            "user": optional(Text(what="name, or ${KAFKA_USER}"), "name for SASL"),
            "password": optional(Text(what="${KAFKA_PASSWORD}"), "password for SASL; a secret"),
            "mechanism": optional(Text(MECHANISMS), "how name and password are shown (SCRAM-SHA-512)"),
            "map": optional(SHAPE, "which fields of a payload form an event"),
        }
    )

    def __init__(self, fields: Mapping[str, Any], site: Site) -> None:
        self._own_ids = fields.get("id") == "offset"
        mapping = PayloadMap.of(fields["map"], id_needed=not self._own_ids) if "map" in fields else None
        self._topic = str(fields["topic"])
        self._called = f"{self._topic}@{fields['era']}" if "era" in fields else self._topic
        super().__init__(f"kafka:{self._called}", site, mapping)
        self._skip = fields.get("tombstones") == "skip"
        self._only_new = fields.get("from") == "new"
        self._settings = client_settings(fields, site, SILENT, ANSWER)
        self._partitions: dict[int, Partition] = {}  #: those given to us
        self._leaving: list[Partition] = []  #: taken away, and what was read of them is not committed yet
        self._joined = False  #: the group has said which partitions are ours
        self._trouble = ""  #: the library's last complaint
        self._owner = ""  #: by what our offsets are known in the group
        self._looked: dict[str, int] = {}
        self._share = 1
        self._connect().close()  # settings the library does not take are said now

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        if ("user" in fields) != ("password" in fields):
            raise UsageError("user and password belong together", hint='password: "${KAFKA_PASSWORD}"')
        check_around(fields, AROUND, id_needed=fields.get("id") != "offset")

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[KafkaFeed]:
        """The feed of a setting; raises CannotRun without the library, UsageError for a wrong mapping.

        Whether the brokers answer is found out later, again and again.
        """
        return [cls(fields, site)]

    # ------------------------------------------------------------------ the program's side

    def members(self) -> Sequence[Feed]:
        """The partitions that are ours now. Where everything has to be done, waits until the group has said which."""
        if self._thread is None and not self._stop.is_set():
            notes = self._site.notes
            secret = notes.get_meta(_SECRET) if notes is not None else None
            self._owner = _OURS + hashlib.sha256(f"kafka {secret}".encode()).hexdigest()[:16] if secret else ""
        self._begin_work()
        while self._site.final and not self._joined and not self._stop.is_set():
            if (failure := self._hand.failure()) is not None:
                raise failure
            self._hand.wait_for_work(WAIT)
        return [*self._leaving, *sorted(self._partitions.values(), key=lambda it: it.number)]

    def read(self, position: int, limit: int) -> Any:
        """Nothing of its own: the partitions are read."""
        return iter(())

    def acknowledge(self, position: int) -> None:
        """Nothing of its own."""

    def lag(self) -> Lag:
        """All our partitions together."""
        lags = [it.lag() for it in list(self._partitions.values())]
        known = [it.behind for it in lags if it.behind is not None]
        failure = self._hand.failure()
        words = failure.message if failure is not None else ""
        return Lag(0, None, sum(known) if len(known) == len(lags) and lags else None, words, failure is not None)

    def close(self) -> None:
        """Tell Kafka what is committed, and leave the group."""
        for member in list(self._partitions.values()):
            member.close()
        super().close()

    def _failed(self, failure: CannotRun) -> None:
        self._hand.failed(failure)
        for member in list(self._partitions.values()):
            member.failed(failure)

    # ------------------------------------------------------------------ the thread

    def _connect(self) -> Consumer:
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError as error:
            raise need_library(self.name, "kafka", error) from None
        try:
            return Consumer({**self._settings, "error_cb": self._complained, "on_commit": self._heard})
        except (KafkaException, ValueError) as error:
            hint = "look at brokers, tls, ca and user"
            raise CannotRun(f"feed '{self.name}': {words_of(error)}", hint=hint) from None

    def _complained(self, error: KafkaError) -> None:
        self._trouble = error.str()

    def _heard(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """What became of offsets Kafka was told; where it did not take them, it is told once more."""
        for it in places:
            if (error or it.error) is not None and (member := self._partitions.get(it.partition)) is not None:
                member.tell_again()

    def _session(self) -> None:
        consumer = self._connect()
        try:
            self._look(consumer)
            consumer.subscribe([self._topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._lost)
            while not self._stop.is_set():
                for message in consumer.consume(self._room(), timeout=WAIT):
                    self._take(message)
                self._begin(consumer)
                self._mind_room(consumer)
                if self._is_time("tell", _TELL):
                    self._tell(consumer, list(self._partitions.values()), wait=False)
                if self._is_time("look", _LOOK):
                    self._look(consumer)
        except Exception as error:
            self._failed(error if isinstance(error, CannotRun) else CannotRun(f"{self.name}: {words_of(error)}"))
            raise
        finally:
            consumer.close()  # gives the partitions back, by _taken
            self._let_go(list(self._partitions))
            self._leaving = []

    def _look(self, consumer: Consumer) -> None:
        """Do the brokers answer, and is the topic there?"""
        from confluent_kafka import KafkaException

        try:
            found = consumer.list_topics(self._topic, timeout=ANSWER).topics[self._topic]
        except (KafkaException, KeyError) as error:
            failure = CannotRun(f"{self.name}: the brokers do not answer: {self._trouble or words_of(error)}")
            if not self._partitions and not self._joined:
                raise failure from None
            self._failed(failure)
            self._site.wake()
            return
        if found.error is not None or not found.partitions:
            words = f": {found.error.str()}" if found.error is not None else ""
            raise CannotRun(f"{self.name}: there is no topic {self._topic!r}{words}", hint="make it first")
        self._share = len(found.partitions)
        for member in filter(lambda it: it.begun, self._partitions.values()):
            member.end = max(member.next, consumer.get_watermark_offsets(self._place(member.number), cached=True)[1])
        if self._hand.failure() is not None:
            self._hand.quiet()
            for member in list(self._partitions.values()):
                member.hand.well()
        self._trouble = ""
        self._went_well()

    def _take(self, message: Message) -> None:
        from confluent_kafka import KafkaError

        error = message.error()
        member = self._partitions.get(message.partition() or 0)
        if error is None:
            if member is not None:
                self._put(member, message)
        elif error.code() == KafkaError._PARTITION_EOF:
            if member is not None:
                member.end = member.next = max(member.next, message.offset() or 0)
                member.hand.quiet()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET or error.fatal():
            raise CannotRun(f"{self.name}: {error.str()}")  # the next session looks where it can go on
        else:
            self._trouble = error.str()

    def _is_time(self, what: str, every: int) -> bool:
        now = self._site.now()
        if what in self._looked and 0 <= now - self._looked[what] < every:
            return False
        self._looked[what] = now
        return True

    # ------------------------------------------------------------------ partitions come and go

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group gives us partitions: they are read as soon as the program has said where it stands."""
        consumer.incremental_assign([])  # ours to call, or the library would begin where the group stands
        for it in partitions:
            self._partitions[it.partition] = Partition(
                f"kafka:{self._called}/{it.partition}", it.partition, self._site, self._share
            )
        self._joined = True
        self._hand.stir()
        self._site.wake()

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group takes partitions away, or we give them back."""
        gone = self._let_go([it.partition for it in partitions])
        until = self._site.elapsed() + LEAVING
        while any(it.hand.being_decided() for it in gone) and self._site.elapsed() < until:
            if self._stop.wait(WAIT / 2):  # whoever closes us decides nothing any more
                break
        self._tell(consumer, gone, wait=self._hand.failure() is None)
        self._unassign(consumer, gone)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Somebody else has them already: nothing is told."""
        self._unassign(consumer, self._let_go([it.partition for it in partitions]))

    def _let_go(self, numbers: list[int]) -> list[Partition]:
        gone = [self._partitions[it] for it in numbers if it in self._partitions]
        self._leaving = gone
        for member in gone:
            del self._partitions[member.number]
            member.close()
        return gone

    def _unassign(self, consumer: Consumer, gone: list[Partition]) -> None:
        consumer.incremental_unassign([self._place(it.number) for it in gone if it.begun])
        self._leaving = []

    def _place(self, number: int, offset: int | None = None) -> TopicPartition:
        from confluent_kafka import TopicPartition

        if offset is None:
            return TopicPartition(self._topic, number)
        return TopicPartition(self._topic, number, offset, self._owner)

    def _begin(self, consumer: Consumer) -> None:
        """Read partitions of which the program has said where it stands."""
        from confluent_kafka import KafkaException

        ready = [it for it in self._partitions.values() if not it.begun and it.begin is not None]
        if not ready:
            return
        try:
            every = [self._place(number) for number in range(max(self._share, 1 + max(it.number for it in ready)))]
            told = {it.partition: it for it in consumer.committed(every, timeout=ANSWER)}
            if self._only_new and all(it.offset < 0 for it in told.values()):
                for place in every:  # also those of others, or one that comes later would begin where it is then
                    place.offset = consumer.get_watermark_offsets(place, timeout=ANSWER)[1]
                told = {it.partition: it for it in consumer.commit(offsets=every, asynchronous=False)}
            for member in ready:
                low, high = consumer.get_watermark_offsets(self._place(member.number), timeout=ANSWER)
                start = self._start(member, told[member.number], low, high)
                consumer.incremental_assign([self._place(member.number, start)])
                member.next, member.end, member.begun = start, high, True
                if start == high:
                    member.hand.quiet()
        except KafkaException as error:
            self._trouble = words_of(error)  # tried again at once; whether the brokers answer is looked at elsewhere

    def _start(self, member: Partition, told: TopicPartition, low: int, high: int) -> int:
        """The offset a partition goes on from."""
        start = member.begin or 0
        if not start:
            start = told.offset if told.offset >= 0 else low
        elif told.offset > start and self._is_of_another(told.metadata):
            start = told.offset
        if start > high:
            hint = "if the topic was made anew, say era: 2; its records are read from the beginning then"
            message = f"{self.name}: partition {member.number} ends at {high}, and the store has read up to {start}"
            raise CannotRun(message, hint=hint)
        if start < low:
            message = f"offsets {start} to {low - 1} of {member.name} were deleted by Kafka before they were read"
            raw = only_around({"topic": self._topic, "partition": member.number, "offset": start})
            member.put(Record(member.name, 0, raw, reason="gone", message=message), low - 1)
            start = low
        return start

    def _is_of_another(self, owner: str | None) -> bool:
        """Did another store decide what was read up to an offset of the group?"""
        return bool(self._owner and owner and owner.startswith(_OURS) and owner != self._owner)

    def _mind_room(self, consumer: Consumer) -> None:
        """Fetch nothing where there is no room."""
        for member in filter(lambda it: it.begun, self._partitions.values()):
            if member.full() != member.paused:
                member.paused = not member.paused
                (consumer.pause if member.paused else consumer.resume)([self._place(member.number)])

    def _room(self) -> int:
        """How many messages may come, if all of them are of the fullest partition that is read."""
        return min([AT_ONCE, *(it.hand.room() for it in self._partitions.values() if it.begun and not it.paused)]) or 1

    def _tell(self, consumer: Consumer, members: Sequence[Partition], *, wait: bool) -> None:
        """Tell Kafka what is committed; ``wait`` until it has heard."""
        from confluent_kafka import KafkaException

        done = [self._place(it.number, offset) for it in members if (offset := it.to_tell()) is not None]
        if done:
            try:
                if wait:
                    consumer.commit(offsets=done, asynchronous=False)
                else:
                    consumer.commit(offsets=done, asynchronous=True)
            except KafkaException as error:  # our store knows; the next offset says this one, too
                self._trouble = words_of(error)

    # ------------------------------------------------------------------ one record

    def _put(self, member: Partition, message: Message) -> None:
        offset = message.offset() or 0
        raw = message.value()
        if raw is None and self._skip:
            member.next = offset + 1
            return
        member.put(self._record(member, message, offset, raw), offset)

    def _record(self, member: Partition, message: Message, offset: int, raw: bytes | str | None) -> Record:
        def offer() -> Offer:
            kind, instant = message.timestamp()
            headers = {name: words for name, value in headers_of(message) if (words := text(value)) is not None}
            return {
                "key": text(message.key()), "headers": headers, "topic": self._topic, "partition": member.number,
                "offset": offset, "timestamp": instant if kind else None,
            }  # fmt: skip

        if raw is None:
            words = "the record has no payload (a tombstone); tombstones: skip passes over such records"
            return Record(member.name, 0, only_around(offer()), reason="tombstone", message=words)
        payload = raw.encode() if isinstance(raw, str) else bytes(raw)
        own_id = f"{self._called}/{member.number}/{offset}" if self._own_ids else None
        record = read_record(member.name, around(payload, self._mapping, offer), self._mapping, own_id)
        if len(record.raw) > MAX_EVENT:
            record.raw = payload[:KEPT]
        return record
