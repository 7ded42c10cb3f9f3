"""A Kafka cluster for tests: the mock brokers of librdkafka, on ports of this machine, with brokers that go down.

It keeps records in memory, so it proves what a reader does, and nothing about disks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import confluent_kafka
from wire import Wire

RECORD = tuple[int, "bytes | None"]  #: partition, payload


def _library() -> Any:
    """The very library the client brings along; its mock brokers have no Python."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka*.so*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class KafkaCluster:
    """Brokers in this process; whoever knows ``brokers`` may talk to them, from any process."""

    def __init__(self, number: int = 3) -> None:
        self._library = _library()
        conf, why = ctypes.c_void_p(self._library.rd_kafka_conf_new()), ctypes.create_string_buffer(512)
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", why, ctypes.c_size_t(512))
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(0, conf, why, ctypes.c_size_t(512)))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, number))
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        places = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().split(",")
        # its own way to take a broker down breaks the process now and then, so each stands behind a wire
        self._wires = [Wire(int(it.rpartition(":")[2])) for it in places]
        for n, wire in enumerate(self._wires, 1):
            wire.mend()
            assert not self._library.rd_kafka_mock_broker_set_host_port(self._cluster, n, b"127.0.0.1", wire.port)
        self.numbers = range(1, number + 1)
        self.brokers = ",".join(f"127.0.0.1:{wire.port}" for wire in self._wires)

    def topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        assert not self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 3)

    def down(self, number: int) -> None:
        """A broker closes its connections and takes none."""
        self._wires[number - 1].cut()

    def up(self, number: int) -> None:
        """It is back."""
        self._wires[number - 1].mend()

    def send(
        self, topic: str, records: Iterable[RECORD], around: Callable[[int], dict[str, Any]] = lambda n: {}, **more: Any
    ) -> None:
        """Produce records, each acknowledged by the cluster; ``around``: keys and headers of the n-th."""
        refused: list[str] = []
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.brokers, "enable.idempotence": True, "linger.ms": 5, "log_level": 0, **more}
        )
        for n, (partition, value) in enumerate(records):
            producer.produce(
                topic, value=value, partition=partition, **around(n),
                on_delivery=lambda error, _: refused.append(error.str()) if error is not None else None,
            )  # fmt: skip
            if not n % 1000:
                producer.poll(0)
        assert producer.flush(30) == 0
        assert not refused, refused[:3]

    def told(self, topic: str, partitions: int, group: str = "drumbeat") -> list[int]:
        """The offsets the group has committed, by partition; -1001: none."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.brokers, "group.id": group, "log_level": 0})
        try:
            asked = [confluent_kafka.TopicPartition(topic, it) for it in range(partitions)]
            return [it.offset for it in consumer.committed(asked, timeout=10)]
        finally:
            consumer.close()

    def close(self) -> None:
        """All brokers at once."""
        for wire in self._wires:
            wire.cut()
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)
