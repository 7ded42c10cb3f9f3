"""What the outbox promises, over every store: retry, give up, park, recover, and nothing twice."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_store import Bench

from engine.channels.file import FileChannel
from engine.core.model import HOUR, SECOND, Effect
from engine.ports import Batch, Outgoing, Sent, Settlement
from engine.runtime.outbox import MAX_ATTEMPTS, Outbox, backoff
from engine.stores.sqlite import SqliteStore


class Wall:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at = 1000

    def now(self) -> int:
        return self.at


class Fake:
    """A channel that answers as told and remembers what it was given."""

    once = False

    def __init__(self, answer: Callable[[Outgoing], Sent] | None = None, mode: str | None = None) -> None:
        self.name = "sms"
        self.mode = mode
        self.answer = answer or (lambda item: Sent(ok=True))
        self.given: list[str] = []

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        self.given += [item.key for item in items]
        return [self.answer(item) for item in items]

    def close(self) -> None:
        """Nothing is open."""


class Proving(Fake):
    """A channel that can tell what it sent."""

    def written(self, keys: Sequence[str]) -> set[str]:
        return set(keys) & {"k0"}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = Bench(request.param, tmp_path / "s.db").store
    yield made
    made.close()


@pytest.fixture
def wall() -> Wall:
    return Wall()


def plan(store: Any, *keys: str, purpose: str = "service", channel: str = "sms") -> None:
    """Decide messages."""
    effects = [
        Effect(
            key=key,
            time=1,
            playbook="p",
            step="s",
            kind="message",
            user="u1",
            group=None,
            status="planned",
            reason=None,
            detail={"text": key},
            deliver=channel,
            purpose=purpose,
        )
        for key in keys
    ]
    store.commit(
        Batch(
            clock=1,
            states=[],
            events=[],
            effects=effects,
            answers=[],
            resources={},
            decisions=[],
            goals=[],
            rejected=[],
            positions={},
        )
    )


def statuses(store: Any) -> dict[str, str]:
    return {effect.key: delivery for effect, delivery in store.effects()}


def reasons(store: Any, status: str) -> list[str | None]:
    return [reason for _, reason in store.deliveries(status)]


def test_drain_sends_everything_once(store: Any, wall: Wall) -> None:
    """Everything pending is sent in order of decision and settled; a second drain sends nothing.

    Semantics: outbox.once
    """
    channel = Fake()
    keys = [f"k{n}" for n in range(1203)]
    plan(store, *keys)
    outbox = Outbox(store, {"sms": channel}, wall)
    assert outbox.drain() == {"sent": 1203}
    assert channel.given == keys
    assert outbox.drain() == {}
    assert set(statuses(store).values()) == {"sent"}


def test_drain_keeps_to_its_limit(store: Any, wall: Wall) -> None:
    """At most ``limit`` messages are sent in one call."""
    channel = Fake()
    plan(store, *(f"k{n}" for n in range(9)))
    outbox = Outbox(store, {"sms": channel}, wall)
    assert outbox.drain(4) == {"sent": 4}
    assert outbox.drain(0) == {}
    assert len(channel.given) == 4


def test_other_channels_wait(store: Any, wall: Wall) -> None:
    """Messages of a channel that is not configured stay pending, also after a crash."""
    plan(store, "a", channel="fax")
    plan(store, "b")
    assert Outbox(store, {"sms": Fake()}, wall).drain() == {"sent": 1}
    store.claim(["fax"], 1, 1)
    assert Outbox(store, {"sms": Fake()}, wall).recover() == {}
    assert statuses(store) == {"a": "sending", "b": "sent"}


def test_sending_is_durable_before_the_wire(store: Any, wall: Wall) -> None:
    """While a channel sends, the message stands as ``sending`` in the store.

    Semantics: outbox.once
    """
    seen: list[str] = []
    plan(store, "a")
    channel = Fake(lambda item: seen.append(statuses(store)[item.key]) or Sent(ok=True))
    Outbox(store, {"sms": channel}, wall).drain()
    assert seen == ["sending"]


def test_retry_until_given_up(store: Any, wall: Wall) -> None:
    """A passing failure is tried again after growing pauses, at most eight times, then dead with the reason.

    Semantics: outbox.backoff, outbox.dead
    """
    channel = Fake(lambda item: Sent(ok=False, reason="busy", passing=True))
    plan(store, "a")
    outbox = Outbox(store, {"sms": channel}, wall)
    for tries in range(1, MAX_ATTEMPTS + 1):
        assert outbox.drain() == ({"retry": 1} if tries < MAX_ATTEMPTS else {"dead": 1})
        assert outbox.drain() == {}
        wall.at += backoff("a", tries) - 1
        assert outbox.drain() == {}
        wall.at += 1
    wall.at += 10**15
    assert outbox.drain() == {}
    assert len(channel.given) == MAX_ATTEMPTS
    assert reasons(store, "dead") == ["given up after 8 tries: busy"]


def test_retry_succeeds(store: Any, wall: Wall) -> None:
    """A message that fails first and succeeds later is sent."""
    channel = Fake(lambda item: Sent(ok=item.attempts == 2, reason="busy", passing=True))
    plan(store, "a")
    outbox = Outbox(store, {"sms": channel}, wall)
    for _ in range(3):
        outbox.drain()
        wall.at += HOUR
    assert statuses(store) == {"a": "sent"}


def test_definitive_failure_is_dead_at_once(store: Any, wall: Wall) -> None:
    """A definitive refusal is not tried again and keeps its reason; the others of the batch go on.

    Semantics: outbox.dead
    """
    plan(store, "a", "b")
    channel = Fake(lambda item: Sent(ok=item.key == "b", reason="no such number"))
    assert Outbox(store, {"sms": channel}, wall).drain() == {"dead": 1, "sent": 1}
    assert reasons(store, "dead") == ["no such number"]


def test_backoff() -> None:
    """Pauses are spread over a span that doubles up to an hour, the same for the same key and try.

    Semantics: outbox.backoff
    """
    for tries in range(1, 9):
        pauses = [backoff(f"k{n}", tries) for n in range(500)]
        span = min(HOUR, 30 * SECOND * 2 ** (tries - 1))
        assert all(0 < pause <= span for pause in pauses)
        assert min(pauses) < span / 20
        assert max(pauses) > span * 19 / 20
        assert pauses == [backoff(f"k{n}", tries) for n in range(500)]
    assert backoff("k", 1000) <= HOUR


def broken(item: Outgoing) -> Sent:
    raise ConnectionResetError("peer went away")


@pytest.mark.parametrize(
    ("mode", "purpose", "status"),
    [
        *((None, purpose, "pending") for purpose in ("service", "transactional", "community")),
        (None, "marketing", "unknown"),
        *(("at_most_once", purpose, "unknown") for purpose in ("service", "marketing")),
        *(("at_least_once", purpose, "pending") for purpose in ("service", "marketing")),
    ],
)
def test_doubt(store: Any, wall: Wall, mode: str | None, purpose: str, status: str) -> None:
    """A message of which nobody knows whether it went out is parked or sent again, by mode, else by purpose.

    That holds for a channel that raises as for a process that died.

    Semantics: effect-key.unknown
    Failure: send.unknown — by mode and purpose
    """
    plan(store, "a", purpose=purpose)
    Outbox(store, {"sms": Fake(broken, mode)}, wall).drain()
    assert statuses(store) == {"a": status}
    plan(store, "b", purpose=purpose)
    wall.at += 1
    claimed = store.claim(["sms"], wall.at, 9)
    assert [item.key for item in claimed] == ["b"]
    Outbox(store, {"sms": Fake(mode=mode)}, wall).recover()
    assert statuses(store) == {"a": status, "b": status}
    if status == "unknown":
        assert reasons(store, "unknown") == [
            "nobody knows whether it was sent: ConnectionResetError: peer went away",
            "nobody knows whether it was sent: the process died while sending",
        ]


def test_parked_is_never_sent_by_itself(store: Any, wall: Wall) -> None:
    """A parked message stays parked however often the outbox is recovered and drained."""
    plan(store, "a", purpose="marketing")
    store.claim(["sms"], 1, 1)
    channel = Fake()
    outbox = Outbox(store, {"sms": channel}, wall)
    for _ in range(3):
        outbox.recover()
        outbox.drain()
        wall.at += HOUR
    assert channel.given == []
    assert statuses(store) == {"a": "unknown"}


def test_recovered_is_sent_at_once(store: Any, wall: Wall) -> None:
    """After a crash a message that may be sent again is sent in the first drain."""
    plan(store, "a")
    store.claim(["sms"], wall.at, 1)
    channel = Fake()
    outbox = Outbox(store, {"sms": channel}, wall)
    assert outbox.recover() == {"retry": 1}
    assert outbox.drain() == {"sent": 1}


def test_message_that_kills_the_process_is_given_up(store: Any, wall: Wall) -> None:
    """A message whose every try ends with the death of the process is dead after eight of them."""
    plan(store, "a")
    for _ in range(MAX_ATTEMPTS):
        assert len(store.claim(["sms"], wall.at, 1)) == 1
        Outbox(store, {"sms": Fake()}, wall).recover()
    assert statuses(store) == {"a": "dead"}


@pytest.mark.parametrize("mode", ["at_most_once", "at_least_once"])
def test_proof_settles_doubt(store: Any, wall: Wall, mode: str) -> None:
    """What the channel's own records show as sent is settled as sent, and not sent again."""
    plan(store, "k0", "k1")
    store.claim(["sms"], wall.at, 9)
    channel = Proving(mode=mode)
    outbox = Outbox(store, {"sms": channel}, wall)
    outbox.recover()
    outbox.drain()
    assert statuses(store)["k0"] == "sent"
    assert channel.given == ([] if mode == "at_most_once" else ["k1"])


def test_missing_answers_are_doubt(store: Any, wall: Wall) -> None:
    """Messages a channel gave no answer for are treated as of unknown outcome."""

    class Short(Fake):
        def send(self, items: Sequence[Outgoing]) -> list[Sent]:
            return super().send(items)[:1]

    plan(store, "a", "b", purpose="marketing")
    assert Outbox(store, {"sms": Short()}, wall).drain() == {"sent": 1, "unknown": 1}


def test_one_broken_channel_does_not_stop_another(store: Any, wall: Wall) -> None:
    """A channel that raises leaves the messages of the others alone."""
    plan(store, "a", channel="fax")
    plan(store, "b")
    other = Fake()
    assert Outbox(store, {"fax": Fake(broken), "sms": other}, wall).drain() == {"retry": 1, "sent": 1}
    assert other.given == ["b"]


POINTS = [
    f"{verb}.{edge}" for verb in ("claim", "settle") for edge in ("before_begin", "before_commit", "after_commit")
]


@pytest.mark.parametrize("mode", ["at_most_once", "at_least_once"])
@pytest.mark.parametrize("point", [*POINTS, "send.half", "send.done"])
def test_killed_while_draining_to_a_file(tmp_path: Path, wall: Wall, point: str, mode: str) -> None:
    """A process killed anywhere while it drains to a file: nothing twice ever; at least once also loses nothing.

    What ``at_most_once`` did not write stands parked, so written and parked together are all.
    """
    path, out = tmp_path / "s.db", tmp_path / "out.jsonl"
    keys = [f"k{n}" for n in range(7)]
    store = SqliteStore.open(path)
    plan(store, *keys, channel="box")
    store.close()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            die_at(point, path, out, mode)
        os.waitpid(child, 0)
    store = SqliteStore.open(path)
    box = FileChannel("box", out, mode=mode)
    outbox = Outbox(store, {"box": box}, wall)
    outbox.recover()
    outbox.drain()
    written = Counter(json.loads(line)["key"] for line in out.read_text().splitlines())
    parked = [item.key for item, _ in store.deliveries("unknown")]
    assert max(written.values(), default=0) <= 1
    assert sorted([*written, *parked]) == keys
    assert mode == "at_most_once" or parked == []
    assert store.stuck() == []
    store.close()


def die_at(point: str, path: Path, out: Path, mode: str) -> None:
    """Recover and drain three messages at a time in this process, and die at a point."""

    def fault(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    store = SqliteStore.open(path)
    box = FileChannel("box", out, mode=mode)
    append = box._append

    def torn(block: bytes) -> str | None:
        if point == "send.half":
            os.write(box._fd, block[: len(block) * 2 // 3])
        else:
            append(block)
        fault(point if point.startswith("send") else "")
        return None

    box._append = torn  # type: ignore[method-assign]
    outbox = Outbox(store, {"box": box}, Wall())
    outbox.recover()
    store.fault = fault
    while outbox.drain(3):
        pass
    os._exit(0)


def test_what_was_claimed_and_not_begun_was_not_tried(store: Any, wall: Wall) -> None:
    """Put back as untried, a message has neither a try nor a first instant; one that was tried before keeps both.

    Semantics: outbox.hosts
    """
    plan(store, "a")
    (item,) = store.claim(["sms"], wall.at, 1)
    store.settle([Settlement("a", "retry", "waits", wall.at + 9, uncounted=True, untried=True)])
    wall.at += 9
    (again,) = store.claim(["sms"], wall.at, 1)
    assert (item.first, again.first, again.attempts) == (1_000, 1_009, 0)
    store.settle([Settlement("a", "retry", "busy", wall.at + 9)])
    wall.at += 9
    (once,) = store.claim(["sms"], wall.at, 1)
    store.settle([Settlement("a", "retry", "waits", wall.at + 9, uncounted=True)])
    wall.at += 9
    (twice,) = store.claim(["sms"], wall.at, 1)
    assert (once.first, once.attempts, twice.first, twice.attempts) == (1_009, 1, 1_009, 1)


def test_claimed_by_key(store: Any, wall: Wall) -> None:
    """A store that claims by key gives those that are pending, whatever their instants, in order of decision, once; and
    its number tells whenever something else than an answer makes a delivery pending.

    Semantics: outbox.hosts
    """
    if not hasattr(store, "claim_keys"):
        pytest.skip("this store claims in order alone")
    before = store.stirred
    plan(store, "a", "b", "c", "d")
    assert store.stirred > before
    store.claim(["sms"], wall.at, 4)
    later = [Settlement(key, "retry", "waits", wall.at + SECOND) for key in "abc"]
    store.settle([*later, Settlement("d", "dead", "no")])
    found = store.claim_keys(["c", "a", "d", "nobody"], wall.at)
    assert [(item.key, item.attempts, item.first) for item in found] == [("a", 1, 1_000), ("c", 1, 1_000)]
    assert statuses(store) == {"a": "sending", "b": "pending", "c": "sending", "d": "dead"}
    assert store.claim_keys(["a", "c"], wall.at) == []
    before = store.stirred
    store.redrive(["d"])
    assert store.stirred > before
