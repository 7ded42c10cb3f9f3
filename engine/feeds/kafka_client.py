"""How the Kafka library is set up, and what it gives back, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from engine.site import Site

if TYPE_CHECKING:
    from confluent_kafka import Message

MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def client_settings(fields: Mapping[str, Any], site: Site, silent: int, answer: float) -> dict[str, Any]:
    """What the library is told; raises CannotRun for a variable that is not set.

    Parameters
    ----------
    fields: the setting of the feed.
    site: the surroundings.
    silent: milliseconds after which a reader that died is known to be gone.
    answer: seconds brokers may take to answer.
    """
    settings: dict[str, Any] = {
        "bootstrap.servers": site.text(str(fields["brokers"]), "feeds.kafka.brokers"),
        "group.id": str(fields.get("group", "drumbeat")),
        "client.id": "drumbeat",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # where to begin is our decision, see kafka.py
        "enable.partition.eof": True,
        "partition.assignment.strategy": "cooperative-sticky",
        "socket.timeout.ms": int(2 * answer * 1000),
        "session.timeout.ms": silent,
        "heartbeat.interval.ms": silent // 10,
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,  # one that is on its way holds up a partition that has room again
        "fetch.queue.backoff.ms": 100,
        "queued.min.messages": 10_000,
        "queued.max.messages.kbytes": 16_384,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": 0,
    }
    secure = "SASL" if "user" in fields else ""
    if fields.get("tls"):
        secure = f"{secure}_SSL" if secure else "SSL"
    elif secure:
        secure += "_PLAINTEXT"
    if secure:
        settings["security.protocol"] = secure
    if "ca" in fields:
        settings["ssl.ca.location"] = str(site.root / fields["ca"])
    if "user" in fields:
        settings["sasl.mechanism"] = fields.get("mechanism", "SCRAM-SHA-512")
        settings["sasl.username"] = site.text(str(fields["user"]), "feeds.kafka.user")
        settings["sasl.password"] = site.secret(str(fields["password"]), "feeds.kafka.password").reveal()
    return settings


def words_of(error: Exception) -> str:
    """What the library says, without the object around it."""
    first: object = error.args[0] if error.args else error
    said = getattr(first, "str", None)
    return str(said() if said is not None else first)


def headers_of(message: Message) -> list[tuple[str, Any]]:
    """The headers; one that comes twice counts as it came last."""
    found: Any = message.headers()
    return list(found.items()) if isinstance(found, dict) else list(found or ())
