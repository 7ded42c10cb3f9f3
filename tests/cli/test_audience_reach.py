"""``drumbeat audience``: whom a message reaches, who had the coupon, holdouts, overlaps; against counting by hand."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run

PEOPLE = 60
PROGRAM = """\
program: tea
timezone: Asia/Shanghai
profile: {city: text | none, phone: text | none}
feeds: [{file: feed.jsonl}]
channels:
  app: {via: file, path: out/app.jsonl}
  sms: {via: file, path: out/sms.jsonl, address: user.phone, quota: {max: 2, per: month}}
control_group: {percent: 20, applies_to: [marketing]}
policies:
  default: {quiet_hours: never, caps: [{purpose: marketing, max: 1, per: 7d, channel: app}]}
"""
FILES = {
    "drumbeat.yaml": PROGRAM,
    "playbooks/catalog/all.yaml": """\
segments:
  上海人: {if: 'user.city == "上海"'}
  buyers: {if: 'count("order.paid") >= 1'}
  regulars: {if: 'count("order.paid") >= 2'}
  nobody: {if: 'user.city == "Atlantis"'}
coupons:
  gift: {title: 礼券, value: {off: 10, currency: CNY}, codes: {generate: G}, valid_for: 7d,
         limits: {per_user: 1, total: 500}}
""",
    "playbooks/thanks.yaml": """\
playbook: thanks
title: 谢谢
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
holdout: {percent: 30}
steps:
  - id: gift
    coupon: {pool: gift}
  - message: {template: hi, via: [sms, app], purpose: marketing}
""",
    "templates/hi.app.j2": "hi\n",
    "templates/hi.sms.j2": "hi\n",
}


def orders(number: int) -> int:
    """How many orders a user has."""
    return (0, 1, 1, 2, 3)[number % 5]


def city(number: int) -> str | None:
    return ("上海", "Oslo", None)[number % 3]


def happened() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for n in range(PEOPLE):
        user = f"u{n}"
        data = {"city": city(n), "phone": f"+86{n}" if n % 4 else None}
        rows.append({"type": "user.signup", "user": user, "time": "2026-03-01T00:00:00Z", "data": data})
        if n % 7:
            rows.append({"type": "consent.granted", "user": user, "time": "2026-03-01T00:00:01Z",
                         "data": {} if n % 2 else {"channel": "app"}})  # fmt: skip
        rows += [
            {"type": "order.paid", "user": user, "time": f"2026-03-0{2 + k}T00:00:00Z", "data": {}}
            for k in range(orders(n))
        ]
    rows.sort(key=lambda it: it["time"])
    return [{"id": f"e{place}", **row} for place, row in enumerate(rows)]


def bucket(salt: str, user: str) -> int:
    """As the semantics say, without the engine's code."""
    return int.from_bytes(sha256(f"{salt}:{user}".encode()).digest()[:8], "big") % 10_000


@pytest.fixture(scope="module")
def tea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose people bought, agreed, were given coupons and written to."""
    root = tmp_path_factory.mktemp("reach") / "tea"
    feed = "".join(json.dumps(row) + "\n" for row in happened())
    for file, text in {**FILES, "feed.jsonl": feed}.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(root), "--quiet"]) == 0
    return root


def written_to(tea: Path) -> Counter[tuple[str, str]]:
    """(channel, user) -> messages that went out."""
    found: Counter[tuple[str, str]] = Counter()
    for channel in ("app", "sms"):
        path = tea / "out" / f"{channel}.jsonl"
        found.update((channel, json.loads(line)["user"]) for line in path.read_text().splitlines())
    return found


def test_whom_a_message_reaches(tea: Path, drumbeat: Any) -> None:
    """Consent, address, caps and quota by channel, the control group and the holdout: as counted one by one by hand."""
    row = drumbeat("audience", "buyers", "--for", "thanks", "--program", tea, "--format", "json").json["reach"]
    sent = written_to(tea)
    assert sent
    expected: dict[str, Counter[str]] = {"app": Counter(), "sms": Counter()}
    control = held = reached = 0
    for n in range(PEOPLE):
        user = f"u{n}"
        if not orders(n):
            continue
        controlled = bucket("control_group", user) < 2_000
        kept = not controlled and bucket("thanks", user) < 3_000
        control, held, ways = control + controlled, held + kept, 0
        for channel, most in (("app", 1), ("sms", 2)):
            agreed = bool(n % 7) and (channel == "app" or bool(n % 2))
            address = channel == "app" or bool(n % 4)
            room = sent[channel, user] < most
            expected[channel].update(
                consented=agreed, with_address=address, not_capped=room,
                reachable=agreed and address and room and not controlled and not kept,
            )  # fmt: skip
            ways += agreed and address and room and not controlled and not kept
        reached += ways > 0
    assert {it.pop("channel"): Counter(it) for it in row["channels"]} == expected
    assert (row["reachable"], row["control_group"], row["holdout"]["count"]) == (reached, control, held)
    assert min(reached, control, held, expected["app"]["reachable"]) > 0
    said = drumbeat("audience", "buyers", "--for", "thanks", "--program", tea).out
    assert f"a marketing message by playbook thanks reaches {reached} of them" in said
    assert f"holdout of 30 %: {held} are kept out" in said
    wrong = drumbeat("audience", "buyers", "--for", "thank", "--program", tea)
    assert (wrong.code, "did you mean 'thanks'?" in wrong.err) == (1, True)


def test_a_holdout_of_any_size(tea: Path, drumbeat: Any) -> None:
    """Without a playbook: every channel, the default policy, the size asked for; of a service nobody is controlled."""
    words = ("audience", "buyers", "--purpose", "service", "--holdout", "12.5%", "--program", tea, "--format", "json")
    row = drumbeat(*words).json["reach"]
    buyers = [f"u{n}" for n in range(PEOPLE) if orders(n)]
    held = sum(bucket("audience", user) < 1_250 for user in buyers)
    assert row["holdout"] == {"percent": 12.5, "salt": "audience", "count": held}
    assert (row["control_group"], row["reachable"]) == (0, len(buyers) - held)
    assert drumbeat("audience", "buyers", "--holdout", "many", "--program", tea).code == 2


def test_who_has_had_the_coupon_gets_none(tea: Path, drumbeat: Any) -> None:
    """Those at their limit are counted and cost nothing."""
    row = drumbeat("audience", "true", "--coupon", "gift", "--program", tea, "--format", "json").json["coupon"]
    had = sum(orders(n) > 0 and bucket("thanks", f"u{n}") >= 3_000 for n in range(PEOPLE))
    assert (row["had_theirs"], row["would_get"], row["cost"]) == (had, PEOPLE - had, 10 * (PEOPLE - had))
    assert 0 < had < PEOPLE
    said = drumbeat("audience", "true", "--coupon", "gift", "--program", tea).out
    assert f"{had} of {PEOPLE} have had theirs (at most 1 a person) and get none" in said


def sets() -> dict[str, set[int]]:
    return {
        "buyers": {n for n in range(PEOPLE) if orders(n) >= 1},
        "nobody": set(),
        "regulars": {n for n in range(PEOPLE) if orders(n) >= 2},
        "上海人": {n for n in range(PEOPLE) if city(n) == "上海"},
        'user.city == "Oslo"': {n for n in range(PEOPLE) if city(n) == "Oslo"},
    }


def test_overlap_of_segments(tea: Path, drumbeat: Any) -> None:
    """Sizes, intersections and Jaccard of all segments and the condition: as sets say; Chinese columns stand right."""
    words = ("audience", 'user.city == "Oslo"', "--overlap", "--program", tea)
    found = drumbeat(*words, "--format", "json").json["overlap"]
    by_hand = sets()
    assert {it["segment"]: it["size"] for it in found["segments"]} == {name: len(it) for name, it in by_hand.items()}
    pairs = {(it["a"], it["b"]): (it["both"], it["either"], it["jaccard"]) for it in found["pairs"]}
    assert pairs.keys() == set(combinations(by_hand, 2))
    for (a, b), (both, either, jaccard) in pairs.items():
        one, other = by_hand[a], by_hand[b]
        assert (both, either) == (len(one & other), len(one | other))
        assert jaccard == pytest.approx(len(one & other) / len(one | other), abs=0.0005)
    assert found["in_any"] == len(set.union(*by_hand.values()))
    said = drumbeat("audience", "--overlap", "--segment", "上海人", "--segment", "buyers", "--program", tea).out
    both = len(by_hand["上海人"] & by_hand["buyers"])
    share = 100 * both / len(by_hand["上海人"] | by_hand["buyers"])
    assert said.splitlines()[3:] == [
        "  segment   size        and 2",
        "  --------  ----  -----------",
        f"  1 上海人    20  {both} ({share:.1f} %)",
        "  2 buyers    48",
        "  in both, and in brackets their share of all who are in either (Jaccard)",
    ]
    assert drumbeat("audience", "--segment", "buyer", "--program", tea).err.count("did you mean 'buyers'?") == 1
    assert drumbeat("audience", "--program", tea).code == 2


def test_people_of_a_feed(tea: Path, tmp_path: Path, drumbeat: Any) -> None:
    """With --events people are as after these files: the same answers as the store gives that read them, and no store
    is made or read."""
    words = ("audience", "buyers", "--for", "thanks", "--coupon", "gift", "--overlap", "--program", tea,
             "--format", "json")  # fmt: skip
    kept = drumbeat(*words).json
    before = (tea / "drumbeat.db").read_bytes()
    played = drumbeat(*words, "--events", tea / "feed.jsonl").json
    assert {**played, "seconds": 0} == {**kept, "seconds": 0}
    assert (tea / "drumbeat.db").read_bytes() == before
    assert drumbeat(*words, "--events", tea / "feed.jsonl", "--store", "sqlite:///x.db").code == 2
    assert drumbeat(*words, "--events", tmp_path / "none.jsonl").code == 1
