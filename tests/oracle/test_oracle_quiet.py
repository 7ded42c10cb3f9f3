"""Quiet hours, consent and caps together against ``oracle_quiet``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import oracle_policies as policies
import oracle_quiet as quiet
import oracle_time as clock
import pytest
from oracle_harness import (
    SEEDS,
    Ev,
    Program,
    Row,
    by_user,
    compare,
    end_of,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
RULES = {"marketing": "required", "service": "opt_out", "transactional": "none"}
ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"]
NIGHTS = {"default": quiet.Night("22:00", "08:00"), "early": quiet.Night("00:30", "03:10"),
          "noon": quiet.Night("12:00", "13:30")}  # fmt: skip
ASKS = [
    quiet.Ask("a-low", "marketing", "box", 10),
    quiet.Ask("b-high", "marketing", "pad", 90),
    quiet.Ask("c-mid", "service", "box", 50),
    quiet.Ask("d-now", "transactional", "box", 50),
]
CAPS = [policies.Cap(1, DAY, purpose="marketing"), policies.Cap(3, 3 * DAY)]


def books() -> list[dict[str, Any]]:
    """One playbook a voice, all of them at every ``say``; some also at ``again``."""
    return [
        {
            "playbook": ask.book,
            "priority": ask.priority,
            "trigger": {"event": ["say", "again"] if ask.priority > 20 else ["say"]},
            "entry": {"mode": "parallel", "limit": "unlimited"},
            "steps": [
                {"id": "m", "message": {"template": "x", "via": ask.channel, "purpose": ask.purpose}},
                {"id": "t", "tag": {"add": ["after"]}},
            ],
        }
        for ask in ASKS
    ]


def feed(seed: int, users: int) -> list[Ev]:
    """Days around those on which clocks are changed, at all hours; people who travel and change their mind."""
    rng = random.Random(seed)
    events = []
    starts = [clock.at(f"{day}T00:00:00Z") for day in ("2026-03-05", "2026-03-27", "2026-04-02", "2026-10-30")]
    for number in range(users):
        user, start = f"u{number:03d}", rng.choice(starts)
        events.append(Ev(start - DAY, "user.updated", user, {"zone": rng.choice(ZONES)}))
        events.append(Ev(start - DAY, "consent.granted", user))
        for _ in range(rng.randrange(4, 14)):
            at = start + rng.randrange(0, 6 * 96) * 15 * clock.MINUTE
            kind, data = rng.choice(["say", "say", "again"]), {}
            chance = rng.random()
            if chance < 0.15:
                kind = rng.choice(["consent.revoked", "consent.granted"])
            elif chance < 0.25:
                kind, data = "user.updated", {"zone": rng.choice(ZONES)}
            events.append(Ev(at, kind, user, data))
    return shuffled(rng, events)


@pytest.mark.parametrize("name", list(NIGHTS))
@pytest.mark.parametrize("seed", SEEDS)
def test_messages_wait_for_the_users_morning(tmp_path: Path, seed: int, name: str) -> None:
    """Semantics: gates.order, quiet.release, quiet.again, cap.order — every message at its very instant, planned or
    with its reason."""
    night, events = NIGHTS[name], feed(seed, scaled(20))
    caps = [{"purpose": "marketing", "max": 1, "per": "1d"}, {"max": 3, "per": "3d"}]
    policy: dict[str, Any] = {"consent": RULES, "caps": caps}
    if name != "default":
        policy["quiet_hours"] = {"from": night.start, "to": night.end}
    run = simulate(Program(books(), policy=policy).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    asks = {"say": ASKS, "again": [ask for ask in ASKS if ask.priority > 20]}
    expected: list[Row] = []
    for user, story in by_user(events).items():
        said = quiet.messages(story, asks, policies.Gate(RULES, CAPS), night, end_of(events))
        for at, ask, refused in said:
            detail = {"template": "x", "via": ask.channel, "purpose": ask.purpose, "text": f"hi {user}"}
            status = "suppressed" if refused else "planned"
            expected.append(row(at, ask.book, "m", "message", user, detail, status, refused))
            expected.append(row(at, ask.book, "t", "tag", user, {"add": ["after"]}))
    compare(expected, rows_of(run), events, f"seed {seed} {name}")
    assert {item[6] for item in expected} >= {None, "consent", "cap"}
