"""No host is asked more than it takes, whatever channel asks: a world of hosts on a clock moved by hand, one thread."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from provider_world import START, Time, busiest

from engine.channels.network import host_of_address
from engine.core.model import DAY, HOUR, MINUTE, SECOND, Effect
from engine.ports import Allowed, Batch, Outgoing, Pace, Sent
from engine.runtime.hosts import EVERY, Hosts, Line
from engine.runtime.lanes import Lanes
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store in memory, or where a test asks for it in a file: what both must hold stands in tests/contracts."""
    made: Any = SqliteStore.open(tmp_path / "s.db") if getattr(request, "param", "") == "sqlite" else MemoryStore()
    yield made
    made.close()


class Net:
    """A channel that asks hosts; ``own``: the one host of all its messages, None: each names its own."""

    once = False
    mode = "at_least_once"

    def __init__(self, world: World, name: str, own: str | None, pace: Pace) -> None:
        self.world = world
        self.name = name
        self.pace = pace
        self.host = own
        if own is None:
            self.host_of = lambda item: host_of_address(item.effect.detail["url"])

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        return [self.world.answer(self, item) for item in items]

    def close(self) -> None:
        """Nothing is open."""


class World:
    """Hosts that write down who asked them when, and one process that asks."""

    def __init__(self, store: Any, limits: Mapping[str, Allowed], channels: Mapping[str, tuple[str | None, Pace]]):
        self.store = store
        self.time = Time()
        self.limits = limits
        self.channels = channels
        self.takes: Callable[[str, int], int] = lambda host, at: SECOND // 20  #: how long a request takes
        self.says: Callable[[Outgoing], Sent] = lambda item: Sent(ok=True)
        self.asked: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)  #: host -> (instant, channel, key)
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()  #: requests at once
        self.tries: Counter[int] = Counter()  #: tries before, as the channel was told
        self.claims = 0  #: messages that were claimed, each time
        self._calls: list[tuple[int, int, str, Callable[[], None]]] = []
        self._number = 0
        self.begin()

    def begin(self) -> None:
        """A process starts; what another had on its way is lost."""
        self._calls.clear()
        self.busy.clear()
        self.hosts = Hosts(self.limits)
        nets = {name: Net(self, name, own, pace) for name, (own, pace) in self.channels.items()}
        self.lanes = Lanes(self.store, nets, self.time, crew=lambda name, width: self, hosts=self.hosts)
        claim = self.store.claim
        if not hasattr(claim, "func"):
            self.store.claim = partial(self._counting, claim)
        keys = getattr(self.store, "claim_keys", None)
        if keys is not None and not hasattr(keys, "func"):
            self.store.claim_keys = partial(self._counting, keys)
        self.lanes.recover()

    def _counting(self, claim: Any, *more: Any) -> Any:
        found = claim(*more)
        self.claims += len(found)
        return found

    def give(self, work: Callable[[], None]) -> None:
        (item,) = work.args[0]  # type: ignore[attr-defined]  # the messages of the call
        lane: Any = work.func.__self__  # type: ignore[attr-defined]
        host = lane.channel.host or host_of_address(item.effect.detail["url"])
        self.asked[host].append((self.time.at, lane.name, item.key))
        self.tries[item.attempts] += 1
        self.busy[host] += 1
        self.most[host] = max(self.most[host], self.busy[host])
        self._number += 1
        heappush(self._calls, (self.time.at + self.takes(host, self.time.at), self._number, host, work))

    def answer(self, net: Net, item: Outgoing) -> Sent:
        return self.says(item)

    def close(self) -> None:
        """Nobody has to go."""

    def run(self, until: int | None = None) -> None:
        """Let time pass until nothing is left to do, or up to an instant (microseconds from the start)."""
        end = None if until is None else START + until
        while True:
            self.lanes.drain()
            call = self._calls[0][0] if self._calls else None
            at = min((it for it in (self.lanes.next_due(), call) if it is not None), default=None)
            if at is None or (end is not None and at > end):
                self.time.at = max(self.time.at, end or 0)
                return
            self.time.at = max(self.time.at, at)
            while self._calls and self._calls[0][0] <= self.time.at:
                _, _, host, work = heappop(self._calls)
                self.busy[host] -= 1
                work()

    def plan(self, channel: str, urls: Sequence[str | None], name: str = "m") -> list[str]:
        """A request is decided for each address, in this order."""
        effects = [
            Effect(
                key=f"{name}{number:06d}", time=START, playbook="p", step="s", kind="webhook" if url else "message",
                user=f"u{number}", group=None, status="planned", reason=None,
                detail={"url": url} if url else {"text": "hi"}, deliver=channel, purpose=None if url else "service",
            )
            for number, url in enumerate(urls)
        ]  # fmt: skip
        self.store.commit(
            Batch(
                clock=START, states=[], events=[], effects=effects, answers=[], resources={}, decisions=[], goals=[],
                rejected=[], positions={},
            )
        )  # fmt: skip
        return [it.key for it in effects]

    def statuses(self) -> Counter[str]:
        return Counter(delivery for _, delivery in self.store.effects())

    def instants(self, host: str) -> list[int]:
        return [at for at, _, _ in self.asked[host]]

    def keys(self, host: str) -> list[str]:
        return [key for _, _, key in self.asked[host]]


WIDE = Pace(concurrency=8, batch=1)
STEPS: dict[str, tuple[str | None, Pace]] = {"hooks": (None, WIDE)}


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_a_host_is_asked_no_more_than_it_takes(store: Any) -> None:
    """Thousands wait for one host: it gets them at its rate, so many at once, in order of decision, each once and with
    no try counted; other hosts are asked meanwhile as if it were not there, and no message is claimed again and again.

    Semantics: outbox.hosts, outbox.once
    Threat: outgoing.rate
    """
    world = World(store, {"crm.example": Allowed(rate=(20, SECOND), concurrency=2)}, STEPS)
    urls = ["https://crm.example/x" if number % 10 else f"https://h{number % 3}.example/y" for number in range(2_000)]
    keys = world.plan("hooks", urls)
    world.run(until=20 * SECOND)
    assert sum(len(world.asked[f"h{number}.example"]) for number in range(3)) == 200, "they wait for nobody"
    assert len(world.asked["crm.example"]) <= 401
    world.run()
    assert world.statuses() == {"sent": 2_000}
    assert busiest(world.instants("crm.example")) == 20
    assert world.most["crm.example"] <= 2
    assert world.instants("crm.example")[-1] < START + 1.06 * 90 * SECOND, "and it is kept busy"
    for host in world.asked:
        assert world.keys(host) == [key for key, url in zip(keys, urls, strict=True) if f"//{host}/" in url]
    assert world.tries == {0: 2_000}
    assert world.claims < 2.5 * 2_000
    assert not any(lane.hosts or len(lane.line or ()) for lane in world.lanes._lanes.values())
    assert not any(host.busy or host.held or host.lines for host in world.hosts._hosts.values())


def test_nothing_has_to_be_written(store: Any) -> None:
    """Without a word in the program a host gets 50 requests a second and 6 at once; one that a channel names in its
    ``url`` gets what that channel says where it is more.

    Semantics: outbox.hosts
    """
    fast = Pace(rate=(200, SECOND), concurrency=16, batch=1)
    world = World(store, {}, {**STEPS, "sms": ("sms.example", fast), "push": ("push.example", WIDE)})
    world.plan("hooks", ["https://crm.example/x"] * 300)
    world.plan("sms", [None] * 600, "s")
    world.plan("push", [None] * 200, "p")
    world.takes = lambda host, at: SECOND // 10 if at < START + 2 * SECOND else SECOND // 4
    world.run()
    assert world.statuses() == {"sent": 1_100}
    assert 45 <= busiest(world.instants("crm.example")) <= 50
    assert 100 < busiest(world.instants("sms.example")) <= 200
    assert 45 <= busiest(world.instants("push.example")) <= 50
    assert world.most == {"crm.example": 6, "sms.example": 16, "push.example": 8}
    assert Allowed(rate=(50, SECOND), concurrency=6) == EVERY


def test_channels_share_a_host(store: Any) -> None:
    """Two channels with an address and a webhook step that lead to one host get its rate together, and each of them
    gets its share, however much waits for another.

    Semantics: outbox.hosts
    Threat: outgoing.rate
    """
    ways = {**STEPS, "mail": ("one.example", WIDE), "sms": ("one.example", WIDE)}
    world = World(store, {"one.example": Allowed(rate=(30, SECOND), concurrency=4)}, ways)
    world.plan("mail", [None] * 3_000, "a")
    world.plan("hooks", ["https://ONE.example.:8443/x"] * 300, "b")
    world.plan("sms", [None] * 300, "c")
    world.run(until=31 * SECOND)
    found = world.asked["one.example"]
    assert busiest([at for at, _, _ in found]) == 30
    assert world.most["one.example"] <= 4
    shares = Counter(channel for _, channel, _ in found)
    assert min(shares.values()) >= 0.9 * 30 * 30 / 3, shares
    steps = [key for _, channel, key in found if channel == "hooks"]
    assert steps == sorted(steps)


def test_names_below_one_name(store: Any) -> None:
    """``.shop.example`` is one host with all that is below it; ``*`` says what every other host takes.

    Semantics: outbox.hosts
    """
    limits = {".shop.example": Allowed(rate=(10, SECOND)), "*": Allowed(rate=(20, SECOND), concurrency=1)}
    world = World(store, limits, STEPS)
    world.plan("hooks", [f"https://u{number}.shop.example/" for number in range(100)] + ["https://b.example"] * 100)
    world.run()
    assert world.statuses() == {"sent": 200}
    below = sorted(at for host in world.asked if host.endswith(".shop.example") for at in world.instants(host))
    assert (len(below), busiest(below)) == (100, 10)
    assert (busiest(world.instants("b.example")), world.most["b.example"]) == (20, 1)
    assert set(world.hosts._hosts) == {".shop.example", "b.example"}


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_a_host_that_hangs_holds_nobody(store: Any) -> None:
    """While one host lets everybody wait for 15 seconds, the requests to others leave as soon as they are decided.

    Semantics: outbox.hosts
    Threat: outgoing.rate
    Failure: provider.slow
    """
    world = World(store, {}, STEPS)
    world.takes = lambda host, at: 15 * SECOND if host == "hangs.example" else SECOND // 20
    world.plan("hooks", ["https://hangs.example"] * 1_000)
    world.run(until=20 * SECOND)
    for number in range(40):
        world.plan("hooks", [f"https://h{number % 4}.example"] * 5, f"n{number:02d}")
        world.run(until=(21 + number) * SECOND)
        done = {key for host in world.asked if host[0] == "h" and host != "hangs.example" for key in world.keys(host)}
        assert len(done) == 5 * (number + 1), "within the second"
    assert world.most["hangs.example"] == 6
    assert world.claims < 3 * 1_200, "who waits is not asked for again and again"
    world.takes = lambda host, at: SECOND // 20
    world.run()
    assert world.statuses() == {"sent": 1_200}
    assert world.keys("hangs.example") == [f"m{number:06d}" for number in range(1_000)]


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_waiting_is_no_try(store: Any) -> None:
    """Who waits for a host longer than the provider knows keys was not tried meanwhile, and is sent.

    Semantics: outbox.hosts, outbox.horizon
    """
    pace = Pace(concurrency=8, batch=1, attempts=1, horizon=HOUR)
    world = World(store, {"slow.example": Allowed(rate=(1, MINUTE))}, {"hooks": (None, pace)})
    world.plan("hooks", ["https://slow.example"] * 90)
    world.run()
    assert world.statuses() == {"sent": 90}
    assert world.tries == {0: 90}
    assert {later - earlier for earlier, later in pairwise(world.instants("slow.example"))} == {MINUTE}


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_a_process_that_ends(store: Any) -> None:
    """Killed, a process leaves nobody in line behind; leaving in order, it lets whoever waits be claimed at once.

    Semantics: outbox.hosts
    """
    world = World(store, {"slow.example": Allowed(rate=(10, SECOND), concurrency=1)}, STEPS)
    world.plan("hooks", ["https://slow.example"] * 600)
    for seconds in (3, 9, 15):
        world.run(until=seconds * SECOND)
        world.begin()
    assert world.statuses()["pending"] > 400
    world.run()
    assert world.statuses() == {"sent": 600}
    assert 600 <= len(world.asked["slow.example"]) <= 603, "what was on its way is sent again"
    assert world.instants("slow.example")[-1] < START + 2.2 * 60 * SECOND
    world.plan("hooks", ["https://slow.example"] * 50, "z")
    world.run(until=world.time.at - START + SECOND)
    world.lanes.stop(0)
    assert world.store.waits("hooks", world.time.at)
    assert {it.next_at for it in store.outbox("pending") if it.reason is None} <= {world.time.at, None}


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_what_is_dropped_keeps_no_place(store: Any) -> None:
    """Of messages that an operator takes back while they wait nothing is left in the line, and the others go on.

    Semantics: outbox.hosts
    """
    world = World(store, {"slow.example": Allowed(rate=(10, SECOND), concurrency=3)}, STEPS)
    keys = world.plan("hooks", ["https://slow.example"] * 100)
    world.run(until=2 * SECOND)
    waiting = {it.item.key: it.reason for it in store.outbox("pending")}
    assert set(waiting.values()) == {"waits for its turn at slow.example"}
    dropped = [key for key in keys[1::2] if key in waiting]
    store.drop(dropped)
    world.run()
    assert world.statuses() == {"sent": 100 - len(dropped), "cancelled": len(dropped)}
    assert world.keys("slow.example") == [key for key in keys if key not in dropped]
    assert world.instants("slow.example")[-1] < START + 12 * SECOND


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
def test_failures_among_them(store: Any) -> None:
    """A request that failed comes again after its pause, behind those who wait: its tries are its own.

    Semantics: outbox.hosts, outbox.backoff
    """
    world = World(store, {"slow.example": Allowed(rate=(10, SECOND), concurrency=2)}, STEPS)
    world.says = lambda item: Sent(ok=item.attempts > 0 or int(item.key[1:]) % 7 > 0, reason="503", passing=True)
    world.plan("hooks", ["https://slow.example"] * 140)
    world.run()
    assert world.statuses() == {"sent": 140}
    assert world.tries == {0: 140, 1: 20}
    assert busiest(world.instants("slow.example")) <= 10


def test_other_limits_while_at_work(store: Any) -> None:
    """Another limit in the program file counts at once, also for who waits already.

    Semantics: outbox.hosts
    """
    world = World(store, {"crm.example": Allowed(rate=(60, HOUR))}, STEPS)
    world.plan("hooks", ["https://crm.example"] * 100)
    world.run(until=5 * MINUTE)
    assert len(world.asked["crm.example"]) <= 6
    world.hosts.allow({"crm.example": Allowed(rate=(10, SECOND))})
    world.run(until=7 * MINUTE)
    assert world.statuses() == {"sent": 100}
    assert busiest(world.instants("crm.example")) <= 10


def test_hosts_nobody_talks_to_are_forgotten() -> None:
    """However many hosts events name, memory holds those that are asked now."""
    hosts, line = Hosts(), Line()
    for number in range(5_000):
        host = hosts.at(f"h{number}.example", number * SECOND)
        host.take()
        host.back(1, number * SECOND)
    assert len(hosts._hosts) <= 1_025
    assert len(line) == 0
    kept = hosts.at("busy.example", DAY)
    kept.take()
    for number in range(5_000):
        hosts.at(f"x{number}.example", DAY + number * SECOND)
    assert hosts.at("busy.example", 2 * DAY) is kept
