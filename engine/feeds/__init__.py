"""Feeds: sources of records. A word of the ``feeds:`` list in drumbeat.yaml names the class behind it.

A kind has ``shape``, the keys of its setting, and ``open(fields, site)``, which makes its feeds; ``check(fields)``,
where it has one, says what is wrong with keys that are right each by itself. Its docstring is its manual page. One that
goes on while the daemon runs is a ``LiveFeed`` (engine/ports.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.registry import Registry

if TYPE_CHECKING:
    from engine.ports import Feed

FEEDS: Registry[Feed] = Registry(
    "feed",
    {
        "file": "engine.feeds.files:JsonlFeed",
        "http": "engine.feeds.http:HttpFeed",
        "kafka": "engine.feeds.kafka:KafkaFeed",
        "nats": "engine.feeds.nats:NatsFeed",
        "rabbitmq": "engine.feeds.rabbitmq:RabbitFeed",
        "redis": "engine.feeds.redis:RedisFeed",
        "stdin": "engine.feeds.stdin:StdinFeed",
    },
)
