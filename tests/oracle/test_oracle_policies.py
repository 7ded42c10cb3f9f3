"""Consent and rolling caps against ``oracle_policies``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import oracle_policies as policies
import oracle_time as clock
import pytest
from oracle_harness import (
    SEEDS,
    Ev,
    Program,
    Row,
    by_user,
    check_file_shape,
    compare,
    end_of,
    grid,
    row,
    rows_of,
    scaled,
    shuffled,
    simulate,
    write_feed,
)

DAY = clock.DAY
RULES = {"marketing": "required", "community": "required", "service": "opt_out", "transactional": "none"}
PURPOSES = list(RULES)
CHANNELS = ["box", "pad"]

SETS: dict[str, tuple[list[dict[str, Any]], list[policies.Cap]]] = {
    "none": ([], []),
    "purpose": (
        [{"purpose": "marketing", "max": 1, "per": "7d"}, {"purpose": "service", "max": 2, "per": "2d"}],
        [policies.Cap(1, 7 * DAY, purpose="marketing"), policies.Cap(2, 2 * DAY, purpose="service")],
    ),
    "ladder": (
        [{"purpose": "marketing", "max": 1, "per": "1d"}, {"purpose": "marketing", "max": 3, "per": "7d"}],
        [policies.Cap(1, DAY, purpose="marketing"), policies.Cap(3, 7 * DAY, purpose="marketing")],
    ),
    "channel": (
        [{"channel": "box", "max": 2, "per": "7d"}, {"purpose": "service", "channel": "pad", "max": 1, "per": "12h"}],
        [policies.Cap(2, 7 * DAY, channel="box"), policies.Cap(1, DAY // 2, purpose="service", channel="pad")],
    ),
    "program": (
        [{"max": 3, "per": "7d"}, {"purpose": "transactional", "max": 1, "per": "2d"}],
        [policies.Cap(3, 7 * DAY), policies.Cap(1, 2 * DAY, purpose="transactional")],
    ),
}


def books() -> list[dict[str, Any]]:
    """One playbook for each purpose and channel: event ``say_<purpose>_<channel>`` asks for one message."""
    out: list[dict[str, Any]] = []
    for purpose in PURPOSES:
        for channel in CHANNELS:
            body = {"template": "x", "via": channel, "purpose": purpose, "on_cap": "skip"}
            out.append(
                {
                    "playbook": f"{purpose}-{channel}",
                    "trigger": {"event": f"say_{purpose}_{channel}"},
                    "entry": {"mode": "parallel", "limit": "unlimited"},
                    "steps": [{"id": "m", "message": body}, {"id": "t", "tag": {"add": ["after"]}}],
                }
            )
    return out


def feed(seed: int, users: int) -> list[Ev]:
    """Grids on which the caps' windows end exactly at another message; grants and revocations of every breadth."""
    rng = random.Random(seed)
    events = []
    for number in range(users):
        step, days = rng.choice([(DAY // 2, 8), (DAY, 15), (7 * DAY, 70), (clock.HOUR, 2)])
        jitter = number % 2 == 1
        if number % 3 == 0:
            events.append(Ev(grid(rng, 0, DAY, False) - DAY, "consent.granted", f"u{number:04d}"))
        favourites = rng.sample(PURPOSES, 2)
        for _ in range(rng.randrange(2, 20)):
            kind, data = f"say_{rng.choice(favourites)}_{rng.choice(CHANNELS)}", {}
            if rng.random() < 0.3:
                kind = rng.choice(["consent.granted", "consent.granted", "consent.revoked"])
                if rng.random() < 0.6:
                    data["purpose"] = rng.choice(favourites)
                if rng.random() < 0.5:
                    data["channel"] = rng.choice(CHANNELS)
            events.append(Ev(grid(rng, days, step, jitter), kind, f"u{number:04d}", data))
    return shuffled(rng, events)


@pytest.mark.parametrize("name", list(SETS))
@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_gate_that_refuses_names_the_reason(tmp_path: Path, seed: int, name: str) -> None:
    """Consent, then rolling caps by purpose, channel and program; suppressed messages have rows and take no slot.

    Semantics: consent.modes, cap.windows, gates.slot, gates.reason
    """
    written, caps = SETS[name]
    events = feed(seed, scaled(80))
    policy: dict[str, Any] = {"consent": RULES, "quiet_hours": "never"}
    if written:
        policy["caps"] = written
    run = simulate(Program(books(), policy=policy).write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    expected: list[Row] = []
    for user, story in by_user(events).items():
        gate = policies.Gate(RULES, caps)
        for index, event in enumerate(story):
            if not event.type.startswith("say_"):
                continue
            _, purpose, channel = event.type.split("_")
            refused = gate.judge(story[: index + 1], event.time, purpose, channel)
            book = f"{purpose}-{channel}"
            detail = {"template": "x", "via": channel, "purpose": purpose, "text": f"hi {user}"}
            status = "suppressed" if refused else "planned"
            expected.append(row(event.time, book, "m", "message", user, detail, status, refused))
            expected.append(row(event.time, book, "t", "tag", user, {"add": ["after"]}))
    compare(expected, rows_of(run), events, f"seed {seed} caps {name}")
    check_file_shape(run)
    wanted = {
        status: sum(1 for item in expected if item[3] == "message" and item[5] == status)
        for status in ("planned", "suppressed")
    }
    counted = run.summary["effects"]["message"]
    assert {status: counted.get(status, 0) for status in wanted} == wanted
    assert end_of(events) == clock.at(run.summary["clock"]["until"])


def test_purposes_a_policy_does_not_name_keep_their_defaults(tmp_path: Path) -> None:
    """Without a word: marketing and community need a grant, service may be refused, transactional always goes.

    Semantics: consent.defaults
    """
    base = clock.at("2026-01-01T00:00:00Z")
    events = [Ev(base, f"say_{purpose}_box", "fresh") for purpose in PURPOSES]
    events.append(Ev(base, "consent.revoked", "gone"))
    events += [Ev(base + 1, f"say_{purpose}_box", "gone") for purpose in PURPOSES]
    for line, event in enumerate(events):
        event.line, event.id = line, f"e{line}"
    program = Program(books(), policy={"quiet_hours": "never"})
    run = simulate(program.write(tmp_path), [write_feed(tmp_path / "feed.jsonl", events)])
    passed = {
        (record["user"], record["detail"]["purpose"])
        for record in run.rows
        if record["kind"] == "message" and record["status"] == "planned"
    }
    assert passed == {("fresh", "service"), ("fresh", "transactional"), ("gone", "transactional")}
    reasons = {record["reason"] for record in run.rows if record["status"] == "suppressed"}
    assert reasons == {"consent"}
