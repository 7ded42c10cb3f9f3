"""What lanes promise, over every store, with threads that really send: nobody waits for anybody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_outbox import Fake, Wall, plan, reasons, statuses
from test_store import Bench

from engine.actions.webhook import ANSWERED
from engine.core.model import HOUR, MINUTE, SECOND, Effect
from engine.core.starts import by_hand
from engine.errors import StoreError
from engine.ports import Batch, Outgoing, Pace, Sent, Settlement
from engine.runtime.lanes import Lanes
from engine.runtime.outbox import MAX_ATTEMPTS, Outbox, backoff

PATIENCE = float(os.environ.get("DRUMBEAT_TEST_PATIENCE", "60"))  # seconds; only a broken engine needs them


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = Bench(request.param, tmp_path / "s.db").store
    yield made
    made.close()


@pytest.fixture
def wall() -> Wall:
    return Wall()


class Net(Fake):
    """A channel over a network: as told, with a pace."""

    def __init__(
        self,
        answer: Callable[[Outgoing], Sent] | None = None,
        mode: str | None = None,
        name: str = "sms",
        **pace: Any,
    ) -> None:
        super().__init__(answer, mode)
        self.name = name
        self.pace = Pace(**pace)
        self.calls: list[int] = []
        self.threads: set[str] = set()

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        self.calls.append(len(items))
        self.threads.add(threading.current_thread().name)
        return super().send(items)


class Bell:
    """The engine's bell."""

    def __init__(self) -> None:
        self.rung = threading.Semaphore(0)

    def ring(self) -> None:
        self.rung.release()

    def wait(self) -> None:
        assert self.rung.acquire(timeout=PATIENCE), "nobody rang"


def settled(lanes: Lanes, bell: Bell, total: dict[str, int] | None = None) -> dict[str, int]:
    """Drain until nothing is on its way."""
    total = {} if total is None else total
    while True:
        for status, number in lanes.drain().items():
            total[status] = total.get(status, 0) + number
        if not lanes.in_flight():
            return total
        bell.wait()


def passing(item: Outgoing) -> Sent:
    return Sent(ok=False, reason="busy", passing=True)


def test_everything_goes_once(store: Any, wall: Wall) -> None:
    """All that is pending is sent, each message once, by as many threads as the channel says.

    Semantics: outbox.once
    """
    keys = [f"k{number:03d}" for number in range(300)]
    plan(store, *keys)
    channel, bell = Net(concurrency=3, batch=7), Bell()
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"sent": 300}
    assert sorted(channel.given) == keys
    assert max(channel.calls) <= 7
    assert len(channel.threads) <= 3
    assert threading.current_thread().name not in channel.threads
    lanes.close()


def test_drain_does_not_wait_and_a_hanging_channel_holds_nobody(store: Any, wall: Wall) -> None:
    """While one channel hangs with all its threads, the others deliver; what hangs stands as `sending`, durably.

    Semantics: outbox.rates, outbox.once
    Failure: provider.slow
    """
    free = threading.Event()
    plan(store, *(f"h{number}" for number in range(9)), channel="hangs")
    plan(store, *(f"k{number}" for number in range(50)))
    plan(store, "local", channel="box")
    hanging = Net(lambda item: Sent(ok=free.wait(PATIENCE)), name="hangs", concurrency=2, batch=2)
    box = Fake()
    box.name = "box"
    quick, bell = Net(concurrency=2, batch=3), Bell()
    lanes = Lanes(store, {"hangs": hanging, "sms": quick, "box": box}, wall, wake=bell.ring)
    done: dict[str, int] = {}
    while done.get("sent", 0) < 51:
        for status, number in lanes.drain().items():
            done[status] = done.get(status, 0) + number
        if done.get("sent", 0) < 51:
            bell.wait()
    assert lanes.in_flight() == 4
    assert [item.key for item in store.stuck()] == ["h0", "h1", "h2", "h3"]
    free.set()
    assert settled(lanes, bell)["sent"] == 9
    lanes.close()


def test_a_retry_comes_when_it_is_due(store: Any, wall: Wall) -> None:
    """A passing failure is tried again at the instant the backoff says, at most as often as the channel says.

    Semantics: outbox.backoff, outbox.dead
    """
    plan(store, "a")
    channel, bell = Net(passing, attempts=3), Bell()
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    for tries in (1, 2):
        assert settled(lanes, bell) == {"retry": 1}
        assert lanes.next_due() == wall.at + backoff("a", tries)
        wall.at += backoff("a", tries)
    assert settled(lanes, bell) == {"dead": 1}
    assert reasons(store, "dead") == ["given up after 3 tries: busy"]
    lanes.close()


def test_a_new_process_knows_when_to_try_again(store: Any, wall: Wall) -> None:
    """After a restart the instants of retries are known from the store."""
    plan(store, "a", "b")
    bell = Bell()
    settled(Lanes(store, {"sms": Net(passing)}, wall, wake=bell.ring), bell)
    lanes = Lanes(store, {"sms": Net()}, wall)
    assert lanes.next_due() is None
    lanes.recover()
    assert lanes.next_due() == wall.at + min(backoff("a", 1), backoff("b", 1))


def test_retry_after_shuts_the_gate_for_all(store: Any, wall: Wall) -> None:
    """Asked to be left alone, the whole channel waits; no message loses a try by that, however often it happens.

    Semantics: outbox.rates
    Failure: provider.busy
    """
    plan(store, *(f"k{number}" for number in range(4)))
    busy = Sent(ok=False, reason="429", passing=True, retry_after=90 * SECOND)
    channel, bell = Net(lambda item: busy, concurrency=1, batch=2), Bell()
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    for times in range(2 * MAX_ATTEMPTS):
        assert settled(lanes, bell) == {"retry": 2 if times < 2 else 1}
        assert lanes.drain() == {}
        assert lanes.next_due() == wall.at + 90 * SECOND
        wall.at += 90 * SECOND
    assert {it.item.attempts for it in store.outbox("pending")} == {0}
    channel.answer = lambda item: Sent(ok=True)
    assert settled(lanes, bell) == {"sent": 4}
    lanes.close()


def test_a_provider_that_only_puts_off_is_asked_less_and_less(store: Any, wall: Wall) -> None:
    """Asked to wait a second each time, a channel waits longer and longer, up to a minute; one message goes each time.

    Semantics: outbox.rates
    Failure: provider.busy
    """
    plan(store, *(f"k{number:02d}" for number in range(40)))
    asked: list[int] = []
    busy = Sent(ok=False, reason="503", passing=True, retry_after=SECOND)
    channel, bell = Net(lambda item: asked.append(wall.at) or busy, concurrency=2, batch=3), Bell()
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    while len(set(asked)) < 12:
        settled(lanes, bell)
        wall.at = lanes.next_due() or wall.at
    gaps = [later - earlier for earlier, later in pairwise(sorted(set(asked)))]
    assert gaps == sorted(gaps)
    assert gaps[:2] == [SECOND, SECOND]
    assert set(gaps[-3:]) == {MINUTE}
    assert len(asked) == 6 + 6 + 10
    channel.answer = lambda item: Sent(ok=True)
    for _ in range(3):
        wall.at += HOUR
        settled(lanes, bell)
    assert set(statuses(store).values()) == {"sent"}
    lanes.close()


def test_no_time_at_all_is_no_request(store: Any, wall: Wall) -> None:
    """A provider that asks to be left alone for no time has simply failed."""
    plan(store, "a")
    bell = Bell()
    answer = Sent(ok=False, reason="503", passing=True, retry_after=0)
    lanes = Lanes(store, {"sms": Net(lambda item: answer)}, wall, wake=bell.ring)
    settled(lanes, bell)
    assert lanes.next_due() == wall.at + backoff("a", 1)
    lanes.close()


def test_a_claim_that_comes_to_nothing(store: Any, wall: Wall) -> None:
    """What was claimed when something broke before it was sent is sent later, without a doubt about it."""

    class Broken:
        def judge(self, items: Any) -> Any:
            raise StoreError("cannot be read")

    plan(store, "a", "b", purpose="marketing")
    plan(store, "c", channel="box", purpose="marketing")
    box, bell = Fake(), Bell()
    box.name = "box"
    lanes = Lanes(store, {"sms": Net(), "box": box}, wall, Broken(), wake=bell.ring)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        lanes.drain()
    lanes._claims = None
    assert lanes.recover() == {"retry": 2}
    assert settled(lanes, bell) == {"sent": 3}
    lanes.close()


def test_nobody_is_left_alone_for_longer_than_an_hour(store: Any, wall: Wall) -> None:
    """A provider that asks for a day is asked again after an hour.

    Semantics: outbox.rates
    """
    plan(store, "a")
    bell = Bell()
    answer = Sent(ok=False, reason="429", passing=True, retry_after=24 * HOUR)
    lanes = Lanes(store, {"sms": Net(lambda item: answer)}, wall, wake=bell.ring)
    settled(lanes, bell)
    assert lanes.next_due() == wall.at + HOUR
    lanes.close()


@pytest.mark.parametrize(("mode", "status"), [("at_most_once", "unknown"), ("at_least_once", "pending")])
def test_an_answer_that_never_came(store: Any, wall: Wall, mode: str, status: str) -> None:
    """Of unknown outcome, a message is parked or sent again with its key, and that counts as a try.

    Semantics: effect-key.unknown
    """
    plan(store, "a")
    bell = Bell()
    channel = Net(lambda item: Sent(ok=False, reason="time-out", unknown=True), mode)
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    settled(lanes, bell)
    assert statuses(store) == {"a": status}
    if status == "pending":
        wall.at += backoff("a", 1)
        channel.answer = lambda item: Sent(ok=item.attempts == 1)
        assert settled(lanes, bell) == {"sent": 1}
        assert channel.given == ["a", "a"]
    lanes.close()


def test_a_channel_that_raises_or_answers_too_little(store: Any, wall: Wall) -> None:
    """What a channel gave no answer for is in doubt; the thread goes on working."""

    class Short(Net):
        def send(self, items: Sequence[Outgoing]) -> list[Sent]:
            if len(self.given) < 2:
                super().send(items)
                raise SystemExit("a bad library")
            return super().send(items)[:1]

    plan(store, *"abcd", purpose="marketing")
    bell = Bell()
    lanes = Lanes(store, {"sms": Short(batch=2)}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"unknown": 3, "sent": 1}
    assert reasons(store, "unknown")[0] == "nobody knows whether it was sent: SystemExit: a bad library"
    lanes.close()


def test_stop_waits_for_what_is_on_its_way(store: Any, wall: Wall) -> None:
    """Told to stop, lanes claim nothing more and settle what comes back in time; what hangs stays `sending`."""
    plan(store, "hangs", "quick", "later")
    free = threading.Event()

    def answer(item: Outgoing) -> Sent:
        return Sent(ok=free.wait(PATIENCE) if item.key == "hangs" else True)

    lanes = Lanes(store, {"sms": Net(answer, concurrency=2, batch=1)}, wall)
    lanes.drain()
    assert lanes.stop(0.2) in ({"sent": 1}, {})  # a machine may be slow
    assert lanes.drain() in ({}, {"sent": 1})
    assert statuses(store)["hangs"] == "sending"
    assert statuses(store)["later"] == "pending"
    free.set()
    assert "sent" in lanes.stop(PATIENCE)
    assert statuses(store) == {"hangs": "sent", "quick": "sent", "later": "pending"}
    lanes.close()


def test_a_limit_starves_nobody(store: Any, wall: Wall) -> None:
    """However much waits for this machine's channels, the lanes get on; what a limit leaves is due at once."""
    plan(store, *(f"b{number}" for number in range(9)), channel="box")
    plan(store, "k")
    box, net, bell = Fake(), Net(), Bell()
    box.name = "box"
    lanes = Lanes(store, {"box": box, "sms": net}, wall, wake=bell.ring)
    lanes.drain(3)
    bell.wait()
    assert (net.given, len(box.given)) == (["k"], 2)
    assert lanes.next_due() == wall.at + 1
    assert settled(lanes, bell) == {"sent": 8}
    assert lanes.next_due() is None
    lanes.close()


def test_recover_leaves_what_is_on_its_way_alone(store: Any, wall: Wall) -> None:
    """What this process is sending is not taken for what a dead one left."""
    plan(store, "a", "b", purpose="marketing")
    store.claim(["sms"], wall.at, 1)
    free, bell = threading.Event(), Bell()
    lanes = Lanes(store, {"sms": Net(lambda item: Sent(ok=free.wait(PATIENCE)))}, wall, wake=bell.ring)
    lanes.drain()
    assert lanes.recover() == {"unknown": 1}
    free.set()
    settled(lanes, bell)
    assert statuses(store) == {"a": "unknown", "b": "sent"}
    lanes.close()


def test_an_answer_that_could_not_be_written_is_written_later(store: Any, wall: Wall) -> None:
    """A store that cannot be written loses no answer: the next drain settles it."""
    plan(store, "a")
    bell = Bell()
    lanes = Lanes(store, {"sms": Net()}, wall, wake=bell.ring)

    def full(point: str) -> None:
        if point.startswith("settle"):
            raise StoreError("disk full")

    store.fault = full
    lanes.drain()
    bell.wait()
    with pytest.raises(StoreError):
        lanes.drain()
    store.fault = lambda point: None
    assert lanes.drain() == {"sent": 1}
    assert statuses(store) == {"a": "sent"}
    lanes.close()


def test_the_horizon_is_kept_at_the_claim(store: Any, wall: Wall) -> None:
    """A message that waited past the time its provider knows keys is parked, however it came to wait.

    Semantics: outbox.horizon
    Failure: send.horizon
    """
    plan(store, "a", "b")
    bell = Bell()
    channel = Net(passing, horizon=2 * HOUR)
    settled(Lanes(store, {"sms": channel}, wall, wake=bell.ring), bell)
    store.settle([])
    wall.at += 2 * HOUR + 1
    plan(store, "c")
    channel.answer = lambda item: Sent(ok=True)
    lanes = Lanes(store, {"sms": channel}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"dead": 2, "sent": 1}
    assert set(reasons(store, "dead")) == {"retry horizon: its next try would come too late"}
    lanes.close()


def test_the_horizon_is_kept_when_a_retry_is_planned(store: Any, wall: Wall) -> None:
    """A retry that would come too late is not planned, for a failure as for a provider that asks to wait.

    Semantics: outbox.horizon
    """
    for key, answer in (
        ("a", Sent(ok=False, reason="busy", passing=True)),
        ("b", Sent(ok=False, reason="429", passing=True, retry_after=MINUTE)),
    ):
        plan(store, key)
        bell = Bell()
        lanes = Lanes(store, {"sms": Net(lambda item, it=answer: it, horizon=1)}, wall, wake=bell.ring)
        assert settled(lanes, bell) == {"dead": 1}
        lanes.close()
    assert reasons(store, "dead") == ["retry horizon: busy", "retry horizon: 429"]


def test_a_refused_message_goes_on_to_the_next_lane(store: Any, wall: Wall) -> None:
    """Refused for good, a message is tried by its next channel at once, with its whole number of tries.

    Semantics: outbox.once
    """
    from engine.core.model import Spare

    effect = Effect(
        key="a", time=1, playbook="p", step="s", kind="message", user="u1", group=None, status="planned", reason=None,
        detail={"text": "x"}, deliver="sms", purpose="service",
        spares=[Spare("sms", "1", "x"), Spare("mail", "m", "y")],
    )  # fmt: skip
    commit(store, effect)
    bell = Bell()
    sms, mail = Net(lambda item: Sent(ok=False, reason="no such number")), Net(name="mail")
    lanes = Lanes(store, {"mail": mail, "sms": sms}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"passed_on": 1, "sent": 1}
    assert mail.given == ["a"]
    lanes.close()


def commit(store: Any, *effects: Effect) -> None:
    store.commit(Batch(1, [], [], list(effects), [], {}, [], [], [], {}))


# -- answers


def request(key: str) -> Effect:
    """A webhook step's request."""
    return Effect(
        key=key, time=1, playbook="p", step="s", kind="webhook", user="u1", group=None, status="planned", reason=None,
        detail={"url": "https://x.example"}, deliver="hooks",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "data"),
    [
        (Sent(ok=True, status=200, body={"vip": True}), {"status": 200, "body": {"vip": True}}),
        (Sent(ok=False, reason="404", status=404, body="gone"), {"status": 404, "body": "gone"}),
        (Sent(ok=False, reason="no such host"), {"status": None, "body": None}),
        (Sent(ok=True, status=200, body={"n": float("nan")}), {"status": 200, "body": {"n": None}}),
        (Sent(ok=True, status=200, body="x" * 100_000), {"status": 200, "body": None}),
        (Sent(ok=True, status=200, body=object()), {"status": 200, "body": None}),
    ],
)
def test_an_answer_is_an_event(store: Any, wall: Wall, answer: Sent, data: dict[str, Any]) -> None:
    """The answer to a request comes into the inbox with the settlement, once, as no feed could put it there.

    Semantics: webhook-step.answer, outbox.answers
    """
    commit(store, request("a"))
    bell = Bell()
    lanes = Lanes(store, {"hooks": Net(lambda item: answer, name="hooks")}, wall, wake=bell.ring)
    settled(lanes, bell)
    ((_, event),) = store.inbox(0, 9)
    assert (event.type, event.user, event.time, by_hand(event)) == (ANSWERED, "u1", wall.at, True)
    assert event.data == {"webhook": "a", **data}
    lanes.close()


def test_a_request_given_up_fails_at_once(store: Any, wall: Wall) -> None:
    """A request that was tried often enough, came too late or was parked for good tells that no answer will come.

    Semantics: webhook-step.answer, outbox.answers
    """
    commit(store, request("a"))
    bell = Bell()
    busy = Sent(ok=False, reason="503", passing=True, status=503)
    lanes = Lanes(store, {"hooks": Net(lambda item: busy, name="hooks", attempts=2)}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"retry": 1}
    assert store.inbox(0, 9) == []
    wall.at += HOUR
    assert settled(lanes, bell) == {"dead": 1}
    ((_, event),) = store.inbox(0, 9)
    assert event.data == {"webhook": "a", "status": None, "body": None}
    lanes.close()


def test_messages_and_unwanted_answers_make_no_event(store: Any, wall: Wall) -> None:
    """A message tells nobody how it ended, and a request whose channel gives no answer is just sent."""
    commit(store, request("a"))
    plan(store, "m", channel="hooks")
    bell = Bell()
    answers = {"a": Sent(ok=True), "m": Sent(ok=True, status=200)}
    lanes = Lanes(store, {"hooks": Net(lambda item: answers[item.key], name="hooks")}, wall, wake=bell.ring)
    assert settled(lanes, bell) == {"sent": 2}
    assert store.inbox(0, 9) == []
    lanes.close()


def test_what_was_taken_back_tells_nobody(store: Any, wall: Wall) -> None:
    """The answer to a request whose user was erased meanwhile is not put into the inbox; it stays cancelled."""
    commit(store, request("a"))
    free, bell = threading.Event(), Bell()
    answer = Sent(ok=False, reason="404", status=404)
    hooks = Net(lambda item: free.wait(PATIENCE) and answer, name="hooks")
    lanes = Lanes(store, {"hooks": hooks}, wall, wake=bell.ring)
    lanes.drain()
    store.settle([Settlement("a", "cancelled", "erased")])
    free.set()
    settled(lanes, bell)
    assert store.inbox(0, 9) == []
    assert [(it.item.key, it.reason) for it in store.outbox("cancelled")] == [("a", "erased")]
    lanes.close()


def test_the_receipt_is_kept(store: Any, wall: Wall) -> None:
    """The provider's id of a message leads to its key, in the channel that got it."""
    plan(store, "a", "b")
    bell = Bell()
    lanes = Lanes(store, {"sms": Net(lambda item: Sent(ok=True, receipt=f"r-{item.key}"))}, wall, wake=bell.ring)
    settled(lanes, bell)
    assert store.by_receipt("sms", "r-b") == "b"
    assert store.by_receipt("mail", "r-b") is None
    assert store.by_receipt("sms", "r-c") is None
    lanes.close()


# -- the outbox of a run that ends


def test_the_outbox_waits(store: Any, wall: Wall) -> None:
    """`Outbox.drain` comes back when everything is settled, network channels and local ones."""
    plan(store, *(f"k{number}" for number in range(20)))
    plan(store, "local", channel="box")
    box, net = Fake(), Net(concurrency=2, batch=3)
    box.name = "box"
    outbox = Outbox(store, {"box": box, "sms": net}, wall)
    assert outbox.drain(4) == {"sent": 4}
    assert outbox.drain() == {"sent": 17}
    assert outbox.drain() == {}
    assert outbox.in_flight() == 0
    outbox.close()


def test_the_outbox_waits_for_a_rate_and_for_nothing_else(store: Any, wall: Wall) -> None:
    """A rate is waited for; what the provider has put off, and what failed, is left for the next run.

    Semantics: outbox.rates
    """
    plan(store, *(f"k{number}" for number in range(20)))
    paused: list[int] = []

    def pause(microseconds: int) -> None:
        paused.append(microseconds)
        wall.at += microseconds

    outbox = Outbox(store, {"sms": Net(rate=(10, SECOND))}, wall, pause=pause)
    assert outbox.drain() == {"sent": 20}
    assert SECOND <= sum(paused) <= 2 * SECOND
    paused.clear()
    assert outbox.drain() == {}
    assert paused == []
    plan(store, "late")
    busy = Sent(ok=False, reason="429", passing=True, retry_after=MINUTE)
    other = Outbox(store, {"sms": Net(lambda item: busy, rate=(10, SECOND))}, wall, pause=pause)
    assert other.drain() == {"retry": 1}
    assert other.drain() == {}
    assert paused == []
    outbox.close()
    other.close()
