"""A small real program with a bit of everything, random feeds for it, and one way to run them.

Effects must come out the same from ``simulate`` and from every ``run``: so coupon codes come from files, for generated
ones hang on the store's own secret.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engine import wiring
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, MINUTE, Effect
from engine.core.subjects import PROGRAM
from engine.feeds.replay import Replay
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.ports import Store
from engine.runtime.claims import Claims
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Done, Pump
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

BASE = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SECRET = b"one key for every run"

FILES = {
    "drumbeat.yaml": """\
program: flows
timezone: Asia/Shanghai
activity: [order.paid, app.opened]
profile: {city: text | none, inviter: text | none}
events:
  user.signup: {city: text | none, inviter: text | none}
  order.paid: {amount: money}
  app.opened: {}
  thanks: {}
  "*": %(others)s
feeds: [{file: feed/*.jsonl}]
channels:
  ads: {via: file, path: out/ads.jsonl, mode: at_most_once}
  box: {via: file, path: out/box.jsonl, mode: at_least_once}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 3, per: 7d}]
late_events: {act_within: 24h}
""",
    "playbooks/welcome.yaml": """\
playbook: welcome
title: Welcome with a code
trigger: {signup: true}
entry: {mode: once, limit: 4/day}
goal: {event: order.paid, within: 7d, then: continue}
steps:
  - coupon: {pool: hello, on_exhausted: skip}
    id: gift
  - message: {template: hello, via: box, purpose: service}
  - emit: {type: thanks, user: "{{ user.inviter }}"}
    if: user.inviter is not none
  - wait: 1d
  - message: {template: offer, via: ads, purpose: marketing}
  - invite: {groups: [club], match: first, hold: 3d, on_full: skip}
    id: seat
  - message: {template: seat, via: box, purpose: community}
    if: steps.seat is not none
""",
    "playbooks/thank.yaml": """\
playbook: thank
title: Thanks for a friend
trigger: {event: thanks}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 10
  - message: {template: hello, via: box, purpose: service}
""",
    "playbooks/idle.yaml": """\
playbook: idle
title: Nothing seen for two days
trigger: {inactivity: 2d}
entry: {mode: single, again_after: 1d}
holdout: {percent: 25}
goal: {event: order.paid, within: 3d}
steps:
  - coupon: {pool: back, on_exhausted: stop}
    id: gift
  - message: {template: offer, via: ads, purpose: marketing}
  - wait_for: {event: app.opened, up_to: 1d, then: [{points: 5}], else: [{tag: {add: [quiet]}}]}
""",
    "playbooks/regular.yaml": """\
playbook: regular
title: Two orders in three days
trigger: {count: {event: order.paid, at_least: 2, within: 3d}}
when: sum("order.paid", "amount", within="3d") >= 20
entry: {mode: restart, limit: unlimited}
exit: [{event: app.opened}]
steps:
  - badge: regular
  - message: {template: offer, via: ads, purpose: marketing}
  - wait: {days: 1, at: "09:00"}
  - message: {template: hello, via: box, purpose: service}
""",
    "playbooks/catalog/catalog.yaml": """\
coupons:
  hello: {title: Hello, value: {off: 5}, codes: {file: lists/hello.csv}, valid_for: 7d,
          limits: {per_user: 1, total: 12}, on_exhausted: {use: spare}}
  spare: {title: Spare, value: {off: 1}, codes: {file: lists/spare.csv}, valid_for: 7d, limits: {per_user: 1, total: 3}}
  back: {title: Back, value: {off: 2}, codes: {file: lists/back.csv}, valid_for: 7d,
         limits: {per_user: "1/2d", total: 9}}
badges: {regular: {title: Regular, once: true}}
points: {main: {title: Points}}
groups:
  club: {title: Club, topic: tea, rotate: fill_first, hold: 3d, owner: ops,
         rooms: [{id: a, link: "https://g.example/a", capacity: 3}, {id: b, link: "https://g.example/b", capacity: 2}]}
""",
    "templates/hello.box.j2": "hello {{ user.id }}",
    "templates/seat.box.j2": "come to {{ steps.seat.room }}",
    "templates/offer.ads.j2": "an offer for {{ user.id }}",
    "lists/hello.csv": "".join(f"H{n:03d}\n" for n in range(12)),
    "lists/spare.csv": "".join(f"S{n:03d}\n" for n in range(3)),
    "lists/back.csv": "".join(f"B{n:03d}\n" for n in range(9)),
}


def write_program(root: Path, *, others: str = "open") -> Path:
    """The program's folder; ``others``: whether undeclared event types are let in."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text % {"others": others} if name == "drumbeat.yaml" else text, encoding="utf-8")
    return root


def write_program_files(root: Path, files: dict[str, str]) -> Path:
    """A program's folder of these files."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def compiled(root: Path) -> Compiled:
    """The program, which must be valid."""
    found = compile_program(root)
    assert found.plan is not None, [str(problem) for problem in found.problems]
    return found


# ---------------------------------------------------------------- feeds


def make_events(seed: int, count: int, users: int = 12) -> list[dict[str, Any]]:
    """A feed in order of time: sign-ups, orders, visits; many instants are a round number of days apart, many equal."""
    rng = random.Random(seed)
    steps = [0, 0, 0, MINUTE, HOUR, HOUR, 3 * HOUR, 12 * HOUR, DAY]
    at, events, known = BASE, [], []
    for number in range(count):
        at += rng.choice(steps)
        user = f"u{rng.randrange(users):02d}"
        data: dict[str, Any] = {}
        if user not in known:
            kind = "user.signup"
            data = {"inviter": rng.choice([*known, user])}
            known.append(user)
        else:
            kind = rng.choice(["order.paid", "app.opened", "app.opened", "page.seen"])
            data = {"amount": rng.choice([5, 12.5, 20])} if kind == "order.paid" else {}
        events.append({"id": f"e{number:05d}", "type": kind, "time": format_instant(at), "user": user, "data": data})
    return events


def lines_of(events: Iterable[dict[str, Any]]) -> bytes:
    """Events as the bytes of a feed."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def write_feed(root: Path, content: bytes, name: str = "a.jsonl") -> Path:
    """A feed file of the program."""
    path = root / "feed" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------- running


class Wall:
    """A machine clock that stands still, after every event of these feeds."""

    def __init__(self, at: int = BASE + 1_000 * DAY) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


def run(
    program: Compiled,
    root: Path,
    *,
    batch: int = 500,
    fault: Callable[[str], object] | None = None,
    store_class: Any = SqliteStore,
    pump_class: type[Pump] = Pump,
    outbox_class: type[Outbox] = Outbox,
    deliver: bool = True,
    wall: Wall | None = None,
) -> Done:
    """``drumbeat run --until-idle`` in this process, over the store ``s.db`` and the feeds of a folder."""
    watch = fault or (lambda point: None)
    wall = wall or Wall()
    store = store_class.open(root / "s.db", fault=watch)
    channels = wiring.open_channels(program.settings, root)
    try:
        for channel in channels.values():
            channel.fault = watch  # type: ignore[attr-defined]
        program = wiring.with_older(program, store)
        assert program.plan is not None
        outbox = outbox_class(store, channels, wall, Claims(program.plan, store, wall)) if deliver else None
        feeds = wiring.open_feeds(program.settings, root)
        pump = pump_class(
            program.plan, store, feeds, outbox, wall, secret=SECRET, known_types=program.known_types, batch=batch,
            fault=watch,
        )  # fmt: skip
        return pump.until_idle()
    finally:
        for channel in channels.values():
            channel.close()
        store.close()


def simulated(program: Compiled, feed: Path, *, batch: int = 500) -> list[Effect]:
    """The effects of ``drumbeat simulate`` over a feed."""
    assert program.plan is not None
    program.plan.env.published.clear()
    store = MemoryStore()
    simulate(program.plan, Replay([feed]), store, batch_size=batch, known_types=program.known_types)
    return [effect for effect, _ in store.effects()]


def effects_of(root: Path) -> list[Effect]:
    """The effects in the store of a folder."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        return [effect for effect, _ in store.effects()]
    finally:
        store.close()


def sent_keys(root: Path, channel: str) -> list[str]:
    """The keys in a channel's file, line by line."""
    path = root / "out" / f"{channel}.jsonl"
    return [json.loads(line)["key"] for line in path.read_bytes().splitlines()] if path.exists() else []


def picture(root: Path) -> dict[str, Any]:
    """Everything in the store of a folder that a crash must not change."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        return picture_of(store, root)
    finally:
        store.close()


def picture_of(store: Store, root: Path) -> dict[str, Any]:
    """As ``picture``, of a store that is open; the feeds are those of the folder."""
    subjects = list(store.subjects())
    users = [state.id for state in subjects]
    return {
        "subjects": subjects,
        # which events the program hears hangs on the plan: a store may name more
        "events": [list(store.events(user)) for user in users if user != PROGRAM],
        "effects": [effect for effect, _ in store.effects()],
        "answers": [store.answers(user) for user in users],
        "ledger": list(store.ledger()),
        "decisions": [list(store.decisions(user)) for user in users],
        "resources": store.resources(),
        "quarantine": list(store.quarantine()),
        "inbox": store.inbox(0, 10_000),
        # what exits and goals take back depends on what was sent before them
        "counts": {name: n for name, n in store.counts().items() if name != "cancelled"},
        "summary": store.summary(),
        "clock": store.clock(),
        "positions": {path.name: store.position(f"file:feed/{path.name}") for path in (root / "feed").glob("*")},
    }
