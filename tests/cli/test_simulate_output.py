"""``--effects``, ``--decisions`` and the summary, field by field, on a feed small enough to be worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make, Said

PROGRAM = {
    "drumbeat.yaml": """\
program: tea
timezone: Asia/Shanghai
profile: {name: text | none, phone: text | none, stage: text | none}
channels:
  box: {via: file, path: out/box.jsonl}
  sms: {via: file, path: out/sms.jsonl, address: user.phone}
policies:
  default:
    consent: {marketing: required, community: none}
    quiet_hours: never
    caps: [{purpose: community, max: 1, per: 7d}]
""",
    "playbooks/catalog/c.yaml": """\
tiers:
  member: {metric: 'sum("order.paid", "amount")', levels: {bronze: 0, silver: 100}}
coupons:
  gift: {codes: {generate: NU}, value: {off: 20, currency: CNY}, valid_for: 7d, limits: {per_user: 1, total: 50}}
  rare: {codes: {file: lists/rare.csv}, limits: {per_user: unlimited, total: 1}}
groups:
  club: {rooms: [{id: c1, link: "https://x.example/1", capacity: 1}]}
badges: {hero: true}
""",
    "lists/rare.csv": "code\nRARE1\n",
    "templates/hello.box.j2": "你好 {{ user.name }}\n",
    "templates/hello.sms.j2": "hi\n",
    "templates/need.box.j2": "{{ with.missing }}\n",
    "templates/thanks.box.j2": "---\nsubject: 谢谢\n---\n多谢\n",
    "playbooks/thanks.yaml": """\
playbook: all
title: every kind
trigger: {signup: true}
entry: once
goal: {event: order.paid, within: 30d}
steps:
  - {coupon: gift, id: s01}
  - {coupon: rare, id: s02}
  - {coupon: gift, id: s03}
  - {invite: club, id: s04}
  - {invite: club, id: s05}
  - {badge: hero, id: s06}
  - {badge: hero, id: s07}
  - {points: {add: 5, reason: welcome}, id: s08}
  - {points: {take: 9}, id: s09}
  - {tag: {add: [new], remove: [old]}, id: s10}
  - {set: {user.stage: active}, id: s11}
  - {emit: {type: welcomed, data: {n: "{{ user.points }}"}}, id: s12}
  - {message: {template: hello, via: box, purpose: service}, id: s13}
  - {message: {template: hello, via: box, purpose: marketing}, id: s14}
  - {message: {template: hello, via: box, purpose: community}, id: s15}
  - {message: {template: hello, via: box, purpose: community}, id: s16}
  - {message: {template: need, via: box, purpose: service}, id: s17}
  - {message: {template: hello, via: sms, purpose: service}, id: s18}
""",
    "playbooks/held.yaml": """\
playbook: held
title: everybody is held out
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
when: [event.amount > 10, user.name is not none]
holdout: {percent: 100}
steps:
  - {coupon: gift, id: h1}
  - {message: {template: hello, via: box, purpose: service}, id: h2}
  - {points: 3, id: h3}
  - {wait: 1h, id: h4}
  - stop: done
""",
}

_FIRST, _SECOND, _THIRD = "2026-03-01T02:00:00Z", "2026-03-01T02:00:00.250Z", "2026-03-02T02:00:00Z"
_HERE = "2026-03-01T10:00:00+08:00"
FEED = "".join(
    json.dumps(row, ensure_ascii=False) + "\n"
    for row in (
        {"id": "s1", "type": "user.signup", "user": "u1", "time": _HERE, "data": {"name": "小王"}},
        {"id": "s2", "type": "user.signup", "user": "u2", "time": _SECOND, "data": {"name": "李"}},
        {"id": "o1", "type": "order.paid", "user": "u1", "time": _THIRD, "data": {"amount": 120}},
        {"id": "o1", "type": "order.paid", "user": "u1", "time": _THIRD, "data": {"amount": 1}},
        {"id": "o2", "type": "order.paid", "user": "u2", "time": _THIRD, "data": {"amount": 5}},
        {"id": "x", "type": "order.paid", "user": None, "time": "2026-03-02T03:30:00Z", "data": {"amount": 5}},
        {"id": "y", "type": "ping", "user": "u3", "time": "2026-03-02T04:00:00Z"},
    )
)

GIFT = {"off": 20, "currency": "CNY"}
CODE = "<a code>"


def message(template: str, via: str, purpose: str, text: str | None) -> dict[str, Any]:
    return {"template": template, "via": via, "purpose": purpose, "text": text}


def no_coupon(pool: str) -> dict[str, Any]:
    return {"pool": pool, "code": None, "expires_at": None, "value": None}


def welcome(name: str, expires: str, first: bool) -> list[tuple[Any, ...]]:
    """(step, kind, status, reason, detail) of one sign-up; the first one gets the rare coupon and the only seat."""
    seat = {"group": "club", "room": "c1", "link": "https://x.example/1"}
    no_seat = {"group": "club", "room": None, "link": None}
    rare = {"pool": "rare", "code": "RARE1", "expires_at": None, "value": None}
    hello = f"你好 {name}"
    return [
        ("s01", "coupon", "planned", None, {"pool": "gift", "code": CODE, "expires_at": expires, "value": GIFT}),
        ("s02", "coupon", "planned", None, rare) if first else
        ("s02", "coupon", "denied", "sold_out", no_coupon("rare")),
        ("s03", "coupon", "denied", "per_user", no_coupon("gift")),
        ("s04", "invite", "planned", None, seat) if first else ("s04", "invite", "denied", "full", no_seat),
        ("s05", "invite", "denied", "already" if first else "full", no_seat),
        ("s06", "badge", "planned", None, {"name": "hero"}),
        ("s07", "badge", "denied", "already", {"name": "hero"}),
        ("s08", "points", "planned", None, {"account": "main", "delta": 5, "balance": 5, "reason": "welcome"}),
        ("s09", "points", "denied", "insufficient", {"account": "main", "delta": -9, "balance": 5, "reason": None}),
        ("s10", "tag", "planned", None, {"add": ["new"], "remove": ["old"]}),
        ("s11", "set", "planned", None, {"field": "user.stage", "value": "active"}),
        ("s12", "emit", "planned", None, {"type": "welcomed", "data": {"n": 5}}),
        ("s13", "message", "planned", None, message("hello", "box", "service", hello)),
        ("s14", "message", "suppressed", "consent", message("hello", "box", "marketing", None)),
        ("s15", "message", "planned", None, message("hello", "box", "community", hello)),
        ("s16", "message", "suppressed", "cap", message("hello", "box", "community", hello)),
        ("s17", "message", "suppressed", "missing_variable", message("need", "box", "service", None)),
        ("s18", "message", "suppressed", "no_address", message("hello", "sms", "service", None)),
    ]  # fmt: skip


HELD = [
    ("h1", "coupon", "held_out", "holdout",
     {"pool": "gift", "code": None, "expires_at": "2026-03-09T02:00:00Z", "value": GIFT}),
    ("h2", "message", "held_out", "holdout", message("hello", "box", "service", None)),
    ("h3", "points", "held_out", "holdout", {"account": "main", "delta": 3, "balance": 5, "reason": None}),
]  # fmt: skip
TIER = (None, "tier", "planned", None, {"ladder": "member", "from": "bronze", "to": "silver"})


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def simulated(drumbeat: Drumbeat, make: Make) -> tuple[Path, Said]:
    """(folder with e.jsonl and d.jsonl, what was said)."""
    root = make(PROGRAM, FEED)
    words = ["simulate", "--program", root, "--events", root / "feed.jsonl", "--format", "json"]
    said = drumbeat(*words, "--effects", root / "e.jsonl", "--decisions", root / "d.jsonl")
    assert said.code == 0, said.err
    return root, said


def test_effects(simulated: tuple[Path, Said]) -> None:
    """Every kind of effect and every status, each row whole: ten fields, and the detail of its kind."""
    found = rows(simulated[0] / "e.jsonl")
    expected = [
        *[("all", "u1", _FIRST, *row) for row in welcome("小王", "2026-03-08T02:00:00Z", first=True)],
        *[("all", "u2", _SECOND, *row) for row in welcome("李", "2026-03-08T02:00:00.250Z", first=False)],
        (None, "u1", _THIRD, *TIER),
        *[("held", "u1", _THIRD, *row) for row in HELD],
    ]
    fields = ("playbook", "user", "time", "step", "kind", "status", "reason", "detail")
    for row in found:
        assert list(row) == ["key", "time", "playbook", "step", "kind", "user", "group", "status", "reason", "detail"]
        assert row["group"] is None
        code = row["detail"].get("code")
        if code is not None and code != "RARE1":
            assert re.fullmatch(r"NU-[A-Z0-9]{16}", code)
            row["detail"]["code"] = CODE
    shown = [tuple(row[field] for field in fields) for row in found]
    order = [str((row[2], row[0], row[3])) for row in expected]
    assert sorted(shown, key=lambda row: str((row[2], row[0], row[3]))) == [
        row for _, row in sorted(zip(order, expected, strict=True), key=lambda pair: pair[0])
    ]


def test_effects_are_sorted_and_named_once(simulated: tuple[Path, Said]) -> None:
    """Rows stand in order of time and key, and no key stands twice."""
    found = [(row["time"].replace("Z", ".000Z") if "." not in row["time"] else row["time"], row["key"])
             for row in rows(simulated[0] / "e.jsonl")]  # fmt: skip
    assert found == sorted(found)
    assert len({key for _, key in found}) == len(found)


def test_decisions(simulated: tuple[Path, Said]) -> None:
    """One row for each playbook looked at, with its cause, its verdict, and the conditions that were judged.

    What begins and ends at one event is ``entered``; a last step taken is ``finished``.
    """
    found = rows(simulated[0] / "d.jsonl")
    amount = {"at": "when[0]", "text": "event.amount > 10"}
    name = {"at": "when[1]", "value": True, "text": "user.name is not none", "seen": {"user.name": "小王"}}
    assert found == [
        verdict(_FIRST, "all", "u1", {"event": "s1"}, "entered", gates("2026-03-08T02:00:00Z")),
        verdict(_SECOND, "all", "u2", {"event": "s2"}, "entered", gates("2026-03-08T02:00:00.250Z")),
        verdict(_THIRD, "held", "u1", {"event": "o1"}, "held_out",
                [{**amount, "value": True, "seen": {"event.amount": 120}}, name]),
        verdict(_THIRD, "held", "u2", {"event": "o2"}, "skipped",
                [{**amount, "value": False, "seen": {"event.amount": 5}}]),
        verdict("2026-03-02T03:00:00Z", "held", "u1", {"wake": "wait"}, "finished",
                [{"at": "end", "value": True, "text": "stop", "seen": {}}]),
    ]  # fmt: skip
    assert list(found[0]) == ["time", "playbook", "user", "group", "cause", "verdict", "why"]


def gates(again: str) -> list[dict[str, Any]]:
    """What the gates said of the messages they refused."""
    said = [
        ("s14: consent", "marketing by box is required, and was never given"),
        ("s16: cap", f"no room for community by box; room again: {again}"),
        ("s17: render", "templates/need.box.j2:1: 'with.missing' is missing (give it a default: "
         "{{ ...|default('...') }}, or ask with {% if %})"),
        ("s18: address", "no address for sms: phone is empty"),
    ]  # fmt: skip
    return [{"at": at, "value": False, "text": text, "seen": {}} for at, text in said]


def verdict(time: str, playbook: str, user: str, cause: dict[str, str], word: str, why: list[Any]) -> dict[str, Any]:
    who = {"time": time, "playbook": playbook, "user": user, "group": None}
    return {**who, "cause": cause, "verdict": word, "why": why}


def test_summary(simulated: tuple[Path, Said]) -> None:
    """The summary counts what the files hold; only the speed is not known beforehand."""
    found = simulated[1].json
    assert found.pop("seconds") >= 0
    assert found.pop("events_per_second") >= 0
    # a playbook's figures may grow; the three of the contract are there
    found["playbooks"] = {
        name: {word: it[word] for word in ("entered", "effects", "goals")} for name, it in found["playbooks"].items()
    }
    assert found == {
        "events": {"read": 7, "accepted": 5, "duplicate": 1, "quarantined": 1, "late": 0, "reasons": {"no_subject": 1}},
        "users": 3,
        "journeys": {"started": 3, "finished": 3, "running": 0},
        "effects": {
            "badge": {"denied": 2, "planned": 2},
            "coupon": {"denied": 3, "held_out": 1, "planned": 3},
            "emit": {"planned": 2},
            "invite": {"denied": 3, "planned": 1},
            "message": {"held_out": 1, "planned": 4, "suppressed": 8},
            "points": {"denied": 2, "held_out": 1, "planned": 2},
            "set": {"planned": 2},
            "tag": {"planned": 2},
            "tier": {"planned": 1},
        },
        "playbooks": {
            "all": {"entered": 2, "effects": 36, "goals": 2},
            "held": {"entered": 1, "effects": 3, "goals": 0},
        },
        "clock": {"from": _FIRST, "until": "2026-03-02T04:00:00Z"},
    }


def test_the_summary_as_text(drumbeat: Drumbeat, make: Make) -> None:
    """The text says the same, with a table of the playbooks under ``--report``."""
    root = make(PROGRAM, FEED)
    said = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--report")
    assert re.sub(r"took .*", "took", said.out).splitlines() == [
        "events     5 accepted of 7 read (1 duplicate, 1 quarantined)",
        "clock      2026-03-01T02:00:00Z .. 2026-03-02T04:00:00Z",
        "users      3",
        "journeys   3 started, 3 finished, 0 running",
        "           quarantined: no_subject 1",
        "badge      2 denied, 2 planned",
        "coupon     3 denied, 1 held_out, 3 planned",
        "emit       2 planned",
        "invite     3 denied, 1 planned",
        "message    1 held_out, 4 planned, 8 suppressed",
        "points     2 denied, 1 held_out, 2 planned",
        "set        2 planned",
        "tag        2 planned",
        "tier       1 planned",
        "",
        "playbook  entered  held out  effects  goals  title",
        "--------  -------  --------  -------  -----  ---------------------",
        "all             2         0       36      2  every kind",
        "held            1         1        3      0  everybody is held out",
        "",
        "kept back",
        "playbook  effects  why",
        "--------  -------  -------------------------------------",
        "all            18  already 3, per_user 2, insufficient 2",
        "held            3  holdout 3",
        "",
        "took",
    ]


def test_batches_change_nothing(simulated: tuple[Path, Said], drumbeat: Drumbeat) -> None:
    """Effects and decisions are the same bytes for every size of a batch."""
    root, _ = simulated
    for size in (1, 2, 7):
        words = ["simulate", "--program", root, "--events", root / "feed.jsonl", "--batch", size, "--quiet"]
        drumbeat(*words, "--effects", root / "e2.jsonl", "--decisions", root / "d2.jsonl")
        assert (root / "e2.jsonl").read_bytes() == (root / "e.jsonl").read_bytes()
        assert (root / "d2.jsonl").read_bytes() == (root / "d.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("until", "events", "journeys", "clock"),
    [
        ("2026-03-02T02:59:59Z", 4, (3, 2, 1), "2026-03-02T02:59:59Z"),
        ("2026-03-02T03:00:00Z", 4, (3, 3, 0), "2026-03-02T03:00:00Z"),
        ("2026-03-02T11:00:00+08:00", 4, (3, 3, 0), "2026-03-02T03:00:00Z"),
        ("2026-03-01T02:00:00Z", 1, (1, 1, 0), _FIRST),
        ("2026-02-01T00:00:00Z", 0, (0, 0, 0), "2026-02-01T00:00:00Z"),
        ("2026-04-01T00:00:00Z", 5, (3, 3, 0), "2026-04-01T00:00:00Z"),
    ],
)
def test_until(
    drumbeat: Drumbeat, make: Make, until: str, events: int, journeys: tuple[int, int, int], clock: str
) -> None:
    """Events after ``--until`` are not read; wake-ups up to and including it fire; others leave journeys running."""
    root = make(PROGRAM, FEED)
    words = ["simulate", "--program", root, "--events", root / "feed.jsonl", "--until", until, "--format", "json"]
    found = drumbeat(*words).json
    assert found["events"]["accepted"] == events
    assert tuple(found["journeys"].values()) == journeys
    assert found["clock"]["until"] == clock


def test_the_clock_ends_at_the_last_well_formed_event(drumbeat: Drumbeat, make: Make) -> None:
    """A record without subject is in quarantine, but its time is known, and wake-ups up to it fire."""
    feed = "".join(line + "\n" for line in FEED.splitlines()[:6])
    root = make(PROGRAM, feed)
    found = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--format", "json").json
    assert found["clock"]["until"] == "2026-03-02T03:30:00Z"
    assert found["journeys"]["running"] == 0


def test_a_subject_line_is_shown(drumbeat: Drumbeat, make: Make) -> None:
    """The detail of a message has its subject exactly when the template has one."""
    steps = "steps:\n  - {message: {template: thanks, via: box, purpose: service}, id: m}\n"
    playbook = "playbook: all\ntitle: T\ntrigger: {signup: true}\nentry: once\n" + steps
    root = make({**PROGRAM, "playbooks/thanks.yaml": playbook}, FEED)
    drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--effects", root / "e.jsonl")
    details = [row["detail"] for row in rows(root / "e.jsonl") if row["step"] == "m"]
    message_ = {"template": "thanks", "via": "box", "purpose": "service"}
    assert details == [{**message_, "subject": "谢谢", "text": "多谢"}] * 2


def test_an_empty_feed(drumbeat: Drumbeat, make: Make) -> None:
    """A file without events is no error: everything is zero, the clock has no ends, the output files are empty."""
    root = make(PROGRAM, "\n\n")
    words = ["simulate", "--program", root, "--events", root / "feed.jsonl", "--format", "json"]
    said = drumbeat(*words, "--effects", root / "e.jsonl", "--decisions", root / "d.jsonl")
    assert said.code == 0
    assert said.json["clock"] == {"from": None, "until": None}
    assert said.json["events"]["read"] == 0
    assert (root / "e.jsonl").read_bytes() == (root / "d.jsonl").read_bytes() == b""


def test_an_empty_feed_in_words(drumbeat: Drumbeat, make: Make) -> None:
    """Where there is no instant the summary shows a dash, and no word of a programming language."""
    root = make(PROGRAM, "\n\n")
    said = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl")
    assert said.out.splitlines()[1] == "clock      - .. -"
