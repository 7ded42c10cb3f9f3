"""Valid programs made at random: whatever compiles decides every event, or says in its trace why a journey is parked.

Conditions and values are chosen to go wrong while they run: missing fields, wrong types, divisions by zero, times
outside the calendar. Nothing of that may reach the caller as an exception.
"""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest

from engine.feeds.replay import Replay
from engine.language.compile import compile_program
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

SPANS = ("1s", "3d", "2w", "3660d", "{days: 3}", '{days: 3660, at: "23:59"}', "{days: 0}")
UNTIL = (
    *SPANS, '{until: "10:00"}', "{until: now}", "{until: user.created_at}", "{until: user.name}",
    "{until: steps.gift.expires_at}", '{until: now + duration("3660d")}', "{until: event.when}",
)  # fmt: skip
CONDITIONS = (
    'user.name == "x"', "event.amount > 3", 'event.amount > "x"', "user.points / event.amount > 1",
    "user.points % event.amount == 1", '"x" in user.name', "event.items[0].sku == 1", 'user.tags[5] == "x"',
    'count("order.paid", within="1d") >= 1', 'sum("order.paid", "city") > 1', 'min("order.paid", "city") == 1',
    'distinct("order.paid", "items") > 1', 'first("order.paid").amount > 1', 'since("order.paid") > duration("1d")',
    'streak("order.paid") > 1', 'in_segment("s")', "hour(now) > 3", 'user.created_at is older_than("1d")',
    'user.born is older_than("30d")', 'user.tier is at_least("gold")', 'user.get("x") > 5', "not user.name",
    "user.tags | length > 0", "user.name | int > 1", 'today == "2026-01-01"', "event.city.x == 1", "1 < 2 < 3",
)  # fmt: skip
STEP_CONDITIONS = (*CONDITIONS, 'steps.gift.code == "a"', "steps.gift.value.off > 3", "vars.a > 1")
VALUES = (
    "5", "-3", "null", "true", '"{{ user.points }}"', '"{{ event.amount }}"', '"{{ user.name }}"',
    '"a {{ user.name }} b"',
    '"{{ 1 / event.amount }}"', '[1, "{{ user.name }}"]', '{a: "{{ user.tags }}"}', '"{{ user.points * 10 ** 30 }}"',
    "1e90", "99999999999999999999", '"{{ now }}"', '"{{ today }}"', '"{{ steps.gift }}"', '"{{ event }}"',
    "\"{{ last('order.paid') }}\"", '"{{ user.created_at - now }}"',
)  # fmt: skip
TRIGGERS = (
    "{signup: true}", "{event: [order.paid, ping]}", "{inactivity: 3d}", "{tier_change: true}", "{event: user.updated}",
    "{inactivity: {days: 3}, existing: enter, activity: [order.paid]}", "{tier_change: {to: [gold], direction: up}}",
    "{segment: {enters: s}}", "{segment: {leaves: s}}", "{changed: user.name}",
    "{streak: {event: order.paid, days: 2}}",
    "{count: {event: order.paid, at_least: 2, within: 3d}}", "{event: coupon.issued}", "{event: journey.finished}",
    "{count: {event: order.paid, at_least: 2, where: event.amount > 3}}", "{event: points.changed}",
    '{date: {field: user.born, at: "09:00", repeat: yearly, offset: -3d, leap_day: mar1}}',
    '{date: {field: user.born, at: "00:00", repeat: yearly, calendar: lunar}}',
    '{date: {field: user.created, at: "23:59", repeat: once, offset: 2h}}',
)  # fmt: skip
METRICS = (
    'sum("order.paid", "amount")', 'count("order.paid", within="2d")', "user.points", 'user.get("x")',
    'sum("order.paid", "amount") / user.points', 'first("order.paid").amount', 'first("order.paid").items',
)  # fmt: skip
TYPES = (
    "user.signup", "order.paid", "order.paid", "ping", "user.updated", "group.joined", "consent.granted",
    "tier.changed", "user.deleted", "coupon.redeemed",
)  # fmt: skip


class Author:
    """Writes one program from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def span(self) -> str:
        return self.rng.choice(SPANS)

    def value(self) -> str:
        return self.rng.choice(VALUES)

    def condition(self, among: tuple[str, ...] = STEP_CONDITIONS) -> str:
        return f"'{self.rng.choice(among)}'"

    def steps(self, depth: int) -> str:
        return "[" + ", ".join(self.step(depth + 1) for _ in range(self.rng.randrange(3))) + "]"

    def step(self, depth: int = 0) -> str:
        rng, value, condition = self.rng, self.value, self.condition
        bodies = [
            "coupon: gift", "invite: club", "badge: hero", "tag: {add: [a], remove: [b]}", "stop: x",
            f"points: {{{rng.choice(('add', 'take'))}: {rng.choice((5, 2, value()))}}}",
            f"coupon: {{pool: rare, on_exhausted: {rng.choice(('stop', 'skip', '[{points: 1}]'))}}}",
            f"invite: {{groups: [club, club2], match: best, hold: {self.span()}, on_full: stop}}",
            f"set: {{user.stage: {value()}, user.zone: {rng.choice(('x', 'Asia/Tokyo', value()))}}}",
            f"emit: {{type: e1, data: {{x: {value()}}}, user: {rng.choice(('u2', value()))}}}",
            f"message: {{template: hello, purpose: service, with: {{a: {value()}}}}}",
            f"message: {{template: hello, purpose: community, to: {value()}, valid_for: 3d, on_cap: wait}}",
            "message: {template: hello, purpose: community, at: '10:00', on_cap: exit}",
            f"wait: {rng.choice(UNTIL)}",
            f"task: {{assign: li, title: {value()}, due: {self.span()}, outcomes: [x, y]}}",
            f"task: {{assign: {value()}, title: t, escalate: {{after: {self.span()}, to: {value()}}}}}",
            f"webhook: {{url: 'https://x.example/{{{{ user.name }}}}', body: {value()}, headers: {{X: {value()}}}}}",
        ]  # fmt: skip
        if depth < 3:
            until, arms = rng.choice(UNTIL), (self.steps(depth), self.steps(depth))
            inner = self.step(depth + 1)
            bodies += [
                f"wait_for: {{event: order.paid, if: {condition()}, up_to: {until}, then: {arms[0]}, else: {arms[1]}}}",
                f"choose: [{{when: {condition()}, do: {arms[0]}}}, {{otherwise: {arms[1]}}}]",
                f"repeat: {{times: 3, every: 1{rng.choice('sdw')}, until: {condition()}, do: [{inner}]}}",
                f"split: {{arms: [{{name: A, weight: 50, do: {arms[0]}}}, {{name: B, weight: 50, holdout: true}}]}}",
            ]
        guard = f", if: {condition()}" if rng.random() < 0.25 else ""
        rescue = f", on_error: {rng.choice(('stop', 'continue', '[{points: 1}]'))}" if rng.random() < 0.2 else ""
        return "{" + rng.choice(bodies) + guard + rescue + "}"

    def playbook(self) -> str:
        rng = self.rng
        mode = rng.choice(("once", "single", "restart", "queue", "parallel"))
        limit, on_limit = rng.choice(("unlimited", "1/day", "2/hour", "1/run")), rng.choice(("wait", "drop"))
        again = f", again_after: {self.span()}" if rng.random() < 0.3 else ""
        lines = [
            f"playbook: p\ntitle: T\ntrigger: {rng.choice(TRIGGERS)}\nvars: {{a: 1}}",
            f"entry: {{mode: {mode}, limit: {limit}, on_limit: {on_limit}{again}}}",
        ]
        if rng.random() < 0.3:
            lines.append(f"when: [{self.condition(CONDITIONS)}]")
        if rng.random() < 0.3:
            then = rng.choice(("exit", "continue"))
            event = f"event: order.paid, if: {self.condition(CONDITIONS)}"
            lines.append(f"goal: {{{event}, within: {self.span()}, then: {then}}}")
        if rng.random() < 0.4:
            judged = f"{{if: {self.condition(CONDITIONS)}}}"
            lines.append("exit: " + rng.choice(("{event: ping}", "{enters: s}", judged)))
        if rng.random() < 0.2:
            lines.append("holdout: {percent: 50}")
        steps = "".join(f"  - {self.step()}\n" for _ in range(rng.randrange(1, 6)))
        return "\n".join(lines) + "\nsteps:\n  - {coupon: gift, id: gift}\n" + steps

    def catalog(self) -> str:
        rng = self.rng
        plain = tuple(one for one in CONDITIONS if not any(word in one for word in ("event", "in_segment", "since")))
        return (
            f"segments:\n  s: {{if: {self.condition(plain)}}}\n"
            f"tiers:\n  m: {{metric: '{rng.choice(METRICS)}', levels: {{none: 0, gold: 2}}, grace: {self.span()}}}\n"
            f"coupons:\n  gift: {{codes: {{generate: NU}}, value: {{off: 5}}, valid_for: {self.span()},"
            f" limits: {{per_user: {rng.choice(('1', 'unlimited', '1/3d'))}, per_day: 2, total: 3, budget: 12}},"
            " on_exhausted: {use: rare}}\n"
            "  rare: {codes: {file: r.csv}, limits: {per_user: unlimited, total: 2}, on_exhausted: {use: gift}}\n"
            f"groups:\n  club: {{match: {self.condition(plain)}, hold: {self.span()}, rooms: [{{id: A, link: x,"
            f" capacity: 2, soft: 1, expires: {rng.choice(('2026-01-02', '9999-12-31', '0001-01-01'))}}}]}}\n"
            "  club2: {rooms: [{id: B, link: y, capacity: 1}]}\nbadges: {hero: true}\n"
        )

    def files(self) -> dict[str, str]:
        rng = self.rng
        cap = f"{{max: {rng.choice((1, 'never'))}, per: {rng.choice(('day', '1d', '3660d'))}}}"
        return {
            "drumbeat.yaml": (
                f"program: t\ntimezone: {rng.choice(('UTC', 'Asia/Shanghai', 'America/New_York'))}\n"
                "profile: {name: text | none, stage: text | none, zone: text | none, born: date | none}\n"
                "channels: {box: {via: console}}\n"
                f"policies: {{default: {{consent: {{community: none}}, quiet_hours: never, caps: [{cap}]}}}}\n"
            ),
            "playbooks/catalog/c.yaml": self.catalog(),
            "playbooks/p.yaml": self.playbook(),
            "templates/hello.box.j2": "hi {{ user.name }} {{ with.a }}\n",
            "r.csv": "R1\nR2\n",
        }


def feed() -> str:
    """Thirty events of three users, with fields of changing types."""
    rows = []
    for n in range(30):
        data = {
            "amount": n, "name": f"n{n}", "zone": ("Asia/Tokyo", "bad", None)[n % 3], "items": [{"sku": 1}],
            "city": ("x", 5, None)[n % 3], "when": "2026-02-01T00:00:00Z", "group": "club", "room": "A", "to": "gold",
            "born": ("1990-01-01", "x", 5)[n % 3], "x": (1, "a", None)[n % 3], "ladder": "m", "from": "none",
            "purpose": "community", "channel": "box", "code": "R1", "pool": "rare",
        }  # fmt: skip
        time = f"2026-01-{1 + n // 2:02}T{n % 24:02}:00:00Z"
        type_ = TYPES[n % 10 if n % 3 else 1]
        rows.append({"id": f"e{n}", "type": type_, "user": f"u{n % 3}", "time": time, "data": data})
    return "".join(json.dumps(row) + "\n" for row in rows)


def run_one(folder: Path, seed: int) -> bool:
    """Write, compile and simulate the program of a seed; True when it was valid."""
    for name, text in Author(seed).files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = compile_program(folder)
    assert (found.plan is None) == (found.errors > 0)
    if found.plan is None:
        return False
    effects, decisions = io.BytesIO(), io.BytesIO()
    until = 1_780_000_000_000_000 if seed % 2 else None  # far enough for most waits to end
    replay = Replay([folder / "feed.jsonl"])
    simulate(found.plan, replay, MemoryStore(keep_log=False), until=until, effects=effects, decisions=decisions)
    for line in (effects.getvalue() + decisions.getvalue()).splitlines():
        json.loads(line)
    return True


@pytest.mark.parametrize("first", range(0, 160, 40))
def test_what_compiles_runs(tmp_path: Path, first: int) -> None:
    """No program that validates makes the simulator fail, whatever its conditions and values meet."""
    (tmp_path / "feed.jsonl").write_text(feed())
    valid = 0
    for seed in range(first, first + 40):
        try:
            valid += run_one(tmp_path, seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
    assert valid > 10, "most of these programs are meant to be valid"


@pytest.mark.parametrize(
    "step",
    [
        'set: {user.stage: "{{ event }}"}',
        'set: {user.stage: "{{ user.stage }} and {{ user.stage }}"}',
        'set: {user.stage: "{{ user.get(\'stage\') * user.get(\'stage\') }}"}',
        'emit: {type: user.updated, data: {stage: "{{ event }}", name: "{{ event }}"}, user: u9}',
    ],
)
def test_what_a_step_writes_cannot_grow_without_end(tmp_path: Path, step: str) -> None:
    """A step that writes twice what it reads, again and again, meets a limit instead of the end of the memory."""
    playbook = (
        "playbook: p\ntitle: T\ntrigger: {event: user.updated}\nentry: {mode: parallel, limit: unlimited}\n"
        f"steps:\n  - {{{step}}}\n"
    )
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "drumbeat.yaml").write_text("program: t\n")
    (tmp_path / "playbooks" / "p.yaml").write_text(playbook.replace("type: user.updated", "type: profile.updated"))
    rows = [
        {"id": f"e{n}", "type": type_, "user": "u1", "time": f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z", "data": data}
        for n, (type_, data) in enumerate([("user.updated", {"stage": 7, "x": n}) for n in range(200)])
    ]
    (tmp_path / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compile_program(tmp_path)
    assert found.plan is not None, found.problems
    effects = io.BytesIO()
    simulate(found.plan, Replay([tmp_path / "feed.jsonl"]), MemoryStore(keep_log=False), effects=effects)
    assert max(map(len, effects.getvalue().splitlines()), default=0) < 300_000
