"""A crowd in flight over edits of every kind of step: each person ends as if its version had been the only one ever.

The oracle is the engine itself on a program that was never edited: for each version a world of its own, with the people
who came while that version was the newest. ``DRUMBEAT_CROWD`` sets the number of people a version (default 30).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from editing_kit import HEAD, World

from engine.core.model import Effect

PEOPLE = int(os.environ.get("DRUMBEAT_CROWD", "30"))
PACE = 0.8  # days between two versions
END = 30

PLAYBOOK = """\
playbook: crowd
title: Crowd
vars: {much: 10}
trigger: {signup: true}
when: not user.get("blocked")
entry: once
goal: {event: order.paid, if: event.amount >= 40, within: 6d, then: continue}
exit: [{event: left}]
holdout: {percent: 20}
steps:
  - coupon: gift
    id: gift
  - message: {template: first, via: box, purpose: service, with: {code: "{{ steps.gift.code }}"}}
    id: first
  - wait: 1d
    id: pause
  - choose:
      - when: count("app.opened", within="2d") >= 1
        do: [{points: 3, id: active}]
      - otherwise: [{tag: {add: [quiet]}, id: quiet}]
    id: ways
  - split:
      arms:
        - {name: a, weight: 50, do: [{points: 1, id: in_a}]}
        - {name: b, weight: 30, do: [{wait: 12h, id: wait_b}, {points: 2, id: in_b}]}
        - {name: c, weight: 20, holdout: true}
    id: test
  - wait_for: {event: order.paid, if: event.amount >= 20, up_to: 2d, then: [{badge: buyer, id: buyer}], else: [{set: {user.cold: true}, id: cold}]}
    id: look
  - invite: {groups: [club], match: first, on_full: skip}
    id: seat
  - emit: {type: joined, data: {n: 1}}
    id: told
  - task: {assign: li, title: "see {{ user.id }}", due: 6h}
    id: asked
  - webhook: {url: "https://crm.example/{{ user.id }}"}
    id: hook
  - repeat: {times: 2, every: 6h, do: [{points: 1, id: each}]}
    id: rounds
  - start: called
    id: calls
  - message: {template: second, via: box, purpose: marketing, at: "10:00"}
    id: second
    if: sum("order.paid", "amount", within="9d") >= vars.much
  - wait: {days: 2, at: "09:00"}
    id: rest
  - stop: enough
    id: enough
    if: user.get("cold") and count("app.opened") == 0
  - points: {add: 7, reason: end}
    id: last
"""  # noqa: E501

CATALOG = """\
coupons:
  gift: {codes: {generate: G}, valid_for: 7d, limits: {per_user: 1, total: unlimited}}
  other: {codes: {generate: O}, valid_for: 7d, limits: {per_user: 1, total: unlimited}}
badges: {buyer: {}, keen: {}}
groups:
  club: {rooms: [{id: r, link: "https://g.example/r", capacity: 99999}]}
  circle: {rooms: [{id: s, link: "https://g.example/s", capacity: 99999}]}
"""

EDITS: list[tuple[str, str]] = [
    ("coupon: gift", "coupon: other"),
    ("template: first, via", "template: second, via"),
    ("wait: 1d", "wait: 2d"),
    ('within="2d") >= 1', 'within="4d") >= 2'),
    ("{points: 3, id: active}", "{points: 4, id: active}"),
    ("{tag: {add: [quiet]}, id: quiet}", "{tag: {add: [silent]}, id: quiet}"),
    (
        "weight: 50, do: [{points: 1, id: in_a}]}\n        - {name: b, weight: 30",
        "weight: 20, do: [{points: 1, id: in_a}]}\n        - {name: b, weight: 60",
    ),
    ("wait: 12h", "wait: 36h"),
    ("if: event.amount >= 20, up_to: 2d", "if: event.amount >= 30, up_to: 3d"),
    ("badge: buyer, id", "badge: keen, id"),
    ("user.cold: true", "user.cold: false"),
    ("groups: [club]", "groups: [circle]"),
    ("emit: {type: joined, data: {n: 1}}", "emit: {type: met, data: {n: 2}}"),
    ('at: "10:00"}', 'at: "15:00", valid_for: 3d}'),
    ("vars: {much: 10}", "vars: {much: 60}"),
    ('{days: 2, at: "09:00"}', "{days: 1}"),
    ('if: user.get("cold") and', 'if: user.get("cold") == false and'),
    ("add: 7", "add: 8"),
    ("holdout: {percent: 20}", "holdout: {percent: 40, salt: neu}"),
    ("within: 6d, then: continue", "within: 9d, then: exit"),
    ("exit: [{event: left}]", "exit: [{event: gone}]"),
    ('"see {{ user.id }}", due: 6h', '"ask {{ user.id }}", due: 12h'),
    ("https://crm.example/", "https://erp.example/"),
    ("times: 2, every: 6h", "times: 3, every: 8h"),
    ("start: called", "start: other"),
    ("  - emit: {type: met, data: {n: 2}}\n    id: told\n", ""),
    ("  - wait: 2d\n    id: pause\n", ""),
    ("    id: look\n", "    id: look\n  - message: {template: first, via: box, purpose: service}\n    id: extra\n"),
    ("    id: extra\n", "    id: renamed\n"),
    ("title: Crowd", "title: 人群\npriority: 70"),
    ("trigger: {signup: true}", "trigger: {event: app.opened}"),
]
TEMPLATE_EDITS = {3: "another first {{ user.id }} {{ with.code|default('') }}", 5: "FIRST {{ user.id }}"}
AT_ONCE = 3  # edits between two versions
MOVED = 7  # the version with which the file moves


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def versions() -> list[dict[str, str]]:
    """The files of each version in turn."""
    text, first = PLAYBOOK, "first {{ user.id }} {{ with.code|default('') }}"
    made = []
    for number in range(len(EDITS) // AT_ONCE + 1):
        for old, new in EDITS[max(0, number - 1) * AT_ONCE : number * AT_ONCE]:
            assert old in text, old
            text = text.replace(old, new)
        first = TEMPLATE_EDITS.get(number, first)
        name = "playbooks/crowd.yaml" if number < MOVED else "playbooks/moved/elsewhere.yaml"
        made.append({name: text, "templates/first.box.j2": first})
    return made


def life(seed: int, kinds: int) -> list[list[tuple[float, str, str, dict[str, Any]]]]:
    """For each version what its people do: (day, type, user, data)."""
    rng = random.Random(seed)
    found = []
    for number in range(kinds):
        begin, rows = number * PACE, []
        for place in range(PEOPLE):
            user = f"v{number:02d}-{place:05d}"
            came = begin + 0.01 + rng.random() * (PACE - 0.02)
            rows += [(came, "user.signup", user, {}), (came + 0.02, "app.opened", user, {})]
            for _ in range(rng.randrange(8)):
                kind = rng.choice(["app.opened", "app.opened", "order.paid", "order.paid", "left"])
                kind = "app.opened" if kind == "left" and rng.random() < 0.7 else kind
                data = {"amount": rng.choice([5, 25, 45])} if kind == "order.paid" else {}
                rows.append((came + 0.05 + rng.random() * 9, kind, user, data))
        found.append(sorted(rows, key=lambda row: row[0]))
    return found


def put(world: World, rows: list[tuple[float, str, str, dict[str, Any]]]) -> None:
    for day, kind, user, data in rows:
        world.happen(kind, day, [user], **data, write=False)


def by_user(world: World) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = {}
    for effect, _ in world.effects():
        found.setdefault(effect.user or "", []).append(effect)
    return found


CALLED = """\
playbook: {}
title: Called
trigger: {{called: true}}
entry: {{mode: parallel, limit: unlimited}}
steps: [{{wait: 5h}}, {{badge: {}}}]
"""
BASE_FILES = {
    "drumbeat.yaml": HEAD.replace("channels: {", "channels: {webhook: {via: file, path: out/hooks.jsonl}, "),
    "playbooks/called.yaml": CALLED.format("called", "keen"),
    "playbooks/other.yaml": CALLED.format("other", "buyer"),
    "playbooks/catalog.yaml": CATALOG,
    "templates/second.box.j2": "second {{ user.id }}",
}


def test_a_crowd_in_flight(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Over edits of every kind of step, everybody gets exactly what its own version gives, and nobody enters twice.

    Semantics: edit.pinned, entry.published-again
    Failure: edit.running — a crowd
    """
    files = versions()
    # from the last version on an app.opened begins journeys: for those who are in, or were, it must begin none
    lives = life(7, len(files))
    rows = sorted((row for one in lives for row in one), key=lambda row: row[0])
    chain = World(tmp_path / "chain", {**BASE_FILES, **files[0]})
    used = in_flight = 0
    for number, version in enumerate(files):
        if number == MOVED:
            chain.write({"playbooks/crowd.yaml": None})
        chain.write(version)
        until = (number + 1) * PACE if number + 1 < len(files) else END
        now = [row for row in rows if row[0] <= until]
        put(chain, now[used:])
        used = len(now)
        in_flight = max(in_flight, chain.until(until).published.older)
    assert in_flight > 2 * PEOPLE
    got = by_user(chain)
    assert chain.summary("crowd")["entered"] == PEOPLE * len(files)
    kinds = {(it.kind, it.status) for effects in got.values() for it in effects}
    assert kinds >= {
        (kind, "planned")
        for kind in ("coupon", "message", "points", "badge", "tag", "set", "invite", "emit", "task", "webhook")
    } | {("coupon", "held_out"), ("points", "held_out")}
    seen = 0
    for number, (version, own) in enumerate(zip(files, lives, strict=True)):
        alone = World(tmp_path / f"alone{number}", {**BASE_FILES, **version})
        put(alone, own)
        alone.until(END)
        wanted = by_user(alone)
        for user in {row[2] for row in own}:
            assert got.get(user, []) == wanted.get(user, []), (number, user)
            seen += len(wanted.get(user, []))
    assert seen == sum(map(len, got.values())) > PEOPLE * len(files) * 3
    record_property("people", PEOPLE * len(files))
    record_property("in_flight_on_older_versions", in_flight)
