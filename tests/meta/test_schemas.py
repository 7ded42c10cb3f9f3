"""The JSON Schemas are valid, fresh, let in all that is shipped, and refuse what the reader refuses for its shape."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from meta_harness import (
    CATALOG_PARTS,
    PLAYBOOK_PARTS,
    PROGRAM_PARTS,
    ROOT,
    codes,
    compiled,
    files_of,
    step,
    write_program,
)

from engine.cli.schema import text_of
from engine.language.codes import PAGES
from engine.language.jsonschema import program_names, schemas
from engine.language.pages import PLAYBOOK_PAGES, PROGRAM_PAGES, SHAPE_PAGES
from engine.language.source import read_source

PROGRAMS = [ROOT, ROOT / "examples/cdnow", ROOT / "bench/w1", ROOT / "tests/language/tea-shop"]
COMMAND = "drumbeat schema --write schemas"


@cache
def validator(kind: str) -> Any:
    """The validator of one kind of file."""
    return jsonschema.Draft7Validator(schemas()[kind])


def plain(text: str) -> Any:
    """What an editor sees of a YAML text."""
    root = read_source(text.encode(), "x.yaml").root
    assert root is not None
    return root.plain()


def kind_of(name: str, value: Any) -> str:
    """The kind of a file of a program."""
    if name == "drumbeat.yaml":
        return "program"
    if "scenario" in value:
        return "scenario"
    return "playbook" if "playbook" in value else "catalog"


def faults(root: Path) -> list[str]:
    """What the schemas say against the files of a program."""
    found = []
    files = [path for folder in ("playbooks", "scenarios") for path in sorted((root / folder).rglob("*.yaml"))]
    for path in [root / "drumbeat.yaml", *files]:
        name = path.relative_to(root).as_posix()
        value = plain(path.read_text(encoding="utf-8"))
        for error in validator(kind_of(name, value)).iter_errors(value):
            found.append(f"{name}: {error.json_path}: {error.message}")
    return found


@pytest.mark.parametrize("kind", ["playbook", "catalog", "program", "scenario", "event"])
def test_valid_draft_7(kind: str) -> None:
    """Each schema is a valid draft 7 schema whose references all lead somewhere."""
    schema = schemas()[kind]
    jsonschema.Draft7Validator.check_schema(schema)
    wanted = set(re.findall(r'"#/definitions/([^"]+)"', json.dumps(schema)))
    assert wanted == set(schema.get("definitions", {}))


@pytest.mark.parametrize("kind", ["playbook", "catalog", "program", "scenario", "event"])
def test_fresh(kind: str) -> None:
    """``schemas/`` holds what the code makes."""
    path = ROOT / "schemas" / f"{kind}.schema.json"
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert written == text_of(schemas()[kind]), f"stale; run: {COMMAND}"


def test_no_wall() -> None:
    """No schema offers alternatives: the verb or the type chooses, so an editor shows one fault."""
    for kind, schema in schemas().items():
        assert not re.search(r'"(oneOf|anyOf)"', json.dumps(schema)), kind


@pytest.mark.parametrize("root", PROGRAMS, ids=lambda path: path.name)
def test_shipped_files_pass(root: Path) -> None:
    """Every YAML file of every shipped program passes its schema."""
    assert faults(root) == []


GOOD = {
    code: page.good
    for code, page in {**SHAPE_PAGES, **PLAYBOOK_PAGES, **PROGRAM_PAGES}.items()
    if not page.good.startswith("(")
}


@pytest.mark.parametrize("code", list(GOOD))
def test_good_examples_pass(code: str, tmp_path: Path) -> None:
    """What a page shows as good passes the schemas too."""
    assert faults(write_program(tmp_path, files_of(GOOD[code]))) == []


BROKEN = [
    "playbook: {a: b}",
    "playbook: Big-Name",
    "status: on",
    "subject: team",
    "priority: high",
    "priority: 101",
    "colour: red",
    "vars: [a]",
    "trigger: order.paid",
    "trigger: {}",
    "trigger: {evnt: order.paid}",
    "trigger: {event: order.paid, signup: true}",
    "trigger: {event: {type: order.paid}}",
    "trigger: {event: order.paid, existing: skip}",
    "trigger: {signup: false}",
    "trigger: {inactivity: sixty days}",
    'trigger: {inactivity: {days: 3, at: "24:00"}}',
    "trigger: {inactivity: 60d, existing: maybe}",
    "trigger: {segment: {enters: dormant, leaves: dormant}}",
    "trigger: {segment: {}}",
    "trigger: {changed: city}",
    "trigger: {count: {event: order.paid}}",
    "trigger: {count: {event: order.paid, at_least: 0}}",
    "trigger: {streak: {event: checkin, days: 1.5}}",
    "trigger: {tier_change: {direction: sideways}}",
    "trigger: [{event: order.paid}, {id: door}]",
    "when: {either: [user.city == 'Oslo']}",
    "when: {any: user.city == 'Oslo'}",
    "when: []",
    "entry: twice",
    "entry: {limit: 5/day}",
    "entry: {mode: queue, limit: 5/week}",
    "entry: {mode: single, again_after: soon}",
    "goal: {event: order.paid}",
    "goal: {event: order.paid, within: 7d, then: stop}",
    "exit: []",
    "holdout: 10",
    'holdout: {percent: "10"}',
    "holdout: {percent: 101}",
    "steps: []",
    "steps: {points: 1}",
    "steps:\n  - points",
    "steps:\n  - {}",
    "steps:\n  - note: nothing",
    "steps:\n  - pionts: 1",
    "steps:\n  - points: 1\n    badge: gold-club",
    "steps:\n  - points: {add: 1, take: 1}",
    "steps:\n  - points: {reason: none given}",
    "steps:\n  - points: 1\n    id: Gift",
    "steps:\n  - points: 1\n    on_error: halt",
    "steps:\n  - message: welcome/hello",
    "steps:\n  - message: {template: welcome/hello}",
    "steps:\n  - message: {template: welcome/hello, purpose: sales}",
    "steps:\n  - message: {template: welcome/hello, purpose: service, with: [a]}",
    "steps:\n  - message: {template: welcome/hello, purpose: service, valid_for: {days: 1}}",
    "steps:\n  - coupon: [new-user-20]",
    "steps:\n  - coupon: {pool: new-user-20, on_exhausted: wait}",
    "steps:\n  - invite: {groups: [newcomers], match: any}",
    "steps:\n  - tag: {add: [VIP]}",
    "steps:\n  - tag: {add: 0}",
    "trigger: {event: 5}",
    "trigger: {inactivity: 3d, activity: [true]}",
    "steps:\n  - task: {assign: [li], title: t}",
    "steps:\n  - task: {assign: li, title: }",
    "steps:\n  - message: {template: welcome/hello, purpose: service, to: [a]}",
    "steps:\n  - emit: {type: a.b, user: {a: b}}",
    "steps:\n  - set: {city: Oslo}",
    "steps:\n  - emit: {data: {a: 1}}",
    "steps:\n  - wait: 3 days",
    "steps:\n  - wait: {}",
    'steps:\n  - wait: {until: "10:00", days: 1}',
    "steps:\n  - repeat: {times: 51, every: 1d, do: [{points: 1}]}",
    "steps:\n  - repeat: {times: 3, do: [{points: 1}]}",
    "steps:\n  - repeat: {times: 3, every: 1d, do: []}",
    "steps:\n  - start: [thanks]",
    "steps:\n  - task: call back",
    "steps:\n  - task: {assign: li}",
    "steps:\n  - task: {assign: li, title: t, outcomes: ok}",
    "steps:\n  - task: {assign: li, title: t, escalate: {to: boss}}",
    "steps:\n  - webhook: {body: x}",
    "steps:\n  - webhook: {url: 'https://x.example', method: FETCH}",
    "steps:\n  - webhook: {url: 'https://x.example', headers: [a]}",
    "trigger: {manual: false}",
    "trigger: {called: yes}",
    'business_hours: {from: "09:00"}',
    'business_hours: {from: nine, to: "18:00"}',
    "steps:\n  - wait_for: {event: checkin}",
    "steps:\n  - wait_for: {event: checkin, up_to: 1d, else: continue}",
    "steps:\n  - wait_for: {event: checkin, up_to: 1d, then: [{points: 1, tag: {add: a}}]}",
    "steps:\n  - choose: []",
    "steps:\n  - split: {arms: {a: 50, b: 50}}",
    "steps:\n  - split: {arms: [{name: a, weight: heavy, do: []}]}",
    "steps:\n  - stop:",
    "segments: {a: {}}",
    "segments: {a: {if: user.city == 'Oslo', list: lists/a.csv}}",
    "segments: [dormant]",
    "coupons: {a: {codes: {generate: A}}}",
    "coupons: {a: {codes: {generate: A}, limits: {per_user: 1}}}",
    "coupons: {a: {codes: {generate: A}, limits: {per_user: 0, total: 5}}}",
    "coupons: {a: {codes: {generate: A}, limits: {per_user: 1, total: none}}}",
    "coupons: {a: {codes: {}, limits: {per_user: 1, total: 5}}}",
    "coupons: {a: {codes: {generate: small}, limits: {per_user: 1, total: 5}}}",
    "tiers: {a: {levels: {low: 0}}}",
    "tiers: {a: {metric: count('checkin'), levels: {low: none}}}",
    "groups: {a: {rooms: {id: a, link: x, capacity: 5}}}",
    "groups: {a: {rooms: [{id: a, link: x, capacity: none}]}}",
    "groups: {a: {rooms: [{id: a, link: x, capacity: 5, expires: soon}]}}",
    "badges: {a: }",
    "badges: {a: {once: sometimes}}",
    "program: {name: a}",
    "language: 2",
    "profile: shut",
    "profile: {city: string}",
    "profile: {first name: text}",
    "events: {order.paid: {amount: [1, 2]}}",
    "events: {'*': ajar}",
    "channels: {sms: {path: out/a.jsonl}}",
    "channels: {sms: {via: file, max_chars: 0}}",
    "channels: {sms: {via: file, mode: twice}}",
    "hosts: {'https://crm.example': {rate: 5/s}}",
    "hosts: {crm.example: {rate: often}}",
    "hosts: {crm.example: 5/s}",
    "feeds: [{file: 3}]",
    "channels: {box: {via: file, path: 3}}",
    "policies: {default: {consent: {marketing: maybe}}}",
    "policies: {default: {quiet_hours: always}}",
    "policies: {default: {quiet_hours: {from: '22:00'}}}",
    "policies: {default: {caps: {max: 1, per: 7d}}}",
    "policies: {default: {caps: [{max: 1}]}}",
    "late_events: {act_within: {days: 1}}",
    "trigger: []",
    "segments: {Bad Name: {if: user.city == 'Oslo'}}",
]


def refused_by_schema(root: Path, name: str) -> list[str]:
    """What the schema says against one file."""
    value = plain((root / name).read_text(encoding="utf-8"))
    return [error.message for error in validator(kind_of(name, value)).iter_errors(value)]


@pytest.mark.parametrize("text", BROKEN)
def test_both_refuse(text: str, tmp_path: Path) -> None:
    """A fault of shape is refused by the reader and by the schema alike."""
    found = compiled(tmp_path, text)
    assert found.errors, "the reader takes it"
    assert refused_by_schema(tmp_path, next(iter(files_of(text)))), f"the schema takes it, the reader: {codes(found)}"


TAKEN = [
    "trigger: {tier_change: true}",
    "trigger: [{event: [a, b], if: event.x is none}, {signup: true, id: door}]",
    "when: {any: [user.city == 'Oslo', {none: [user.tier == 'gold']}]}",
    "when: true",
    "entry: {mode: restart, limit: unlimited, key: event.order_id}",
    "exit: {event: order.paid}",
    "title: 2026",
    "owner: true",
    step('message: {template: welcome/hello, purpose: service, at: "09:00", with: {coupon: "{{ steps.gift }}"}}'),
    step("points: {take: 5}"),
    step("points: '{{ 5 + 5 }}'"),
    step("wait: {until: steps.gift.expires_at}"),
    step("invite: [sh-runners, newcomers]"),
    step("coupon: {pool: new-user-10, on_exhausted: [{points: 5}]}"),
    step("set: {user.stage: none, user.first_amount: 1.5}"),
    step('repeat: {times: 50, every: {days: 1, at: "10:00"}, until: [user.stage == "x"], do: [{points: 1}]}'),
    step("task: {assign: li, title: 7, body: {a: [1]}, due: {days: 1}, escalate: {after: 1h, to: x}, outcomes: [a]}"),
    step("webhook: {url: '{{ user.stage }}', method: GET, body: [1, x], headers: {X-A: 1}, timeout: 5s}"),
    "trigger: [{manual: true, if: event.x > 1}, {webhook: true, id: crm}, {called: true}]",
    'business_hours: {from: "09:00", to: "18:00"}',
    "badges: {gold: true}",
    "coupons: {a: {codes: {generate: A1}, limits: {per_user: unlimited, total: unlimited, budget: 1.5}}}",
    "profile: open",
    "events: {a: {}, '*': closed}",
    "feeds: [{file: feed/*.jsonl}]",
    "policies: {default: {quiet_hours: never, caps: [{max: never, per: day}]}}",
]


@pytest.mark.parametrize("text", TAKEN)
def test_both_take(text: str, tmp_path: Path) -> None:
    """What the reader takes the schema takes, in every form a value may have."""
    write_program(tmp_path, files_of(text))
    assert faults(tmp_path) == []
    unwanted = {"wrong-type", "wrong-value", "unknown-key", "missing-key", "out-of-range", "conflict", "bad-name"}
    assert not codes(compiled(tmp_path, text)) & unwanted


def test_one_fault_one_message() -> None:
    """A slip inside a step is told once, at its place."""
    value = plain("playbook: a\ntitle: A\ntrigger: {signup: true}\nentry: once\nsteps: [{message: {templte: a}}]")
    messages = [error.message for error in validator("playbook").iter_errors(value)]
    assert len(messages) == 3  # the unknown key, and the two keys that are missing
    assert any("'templte' was unexpected" in message for message in messages)


def test_names_become_choices(tmp_path: Path) -> None:
    """With a program, its own names are the only ones an editor offers or takes; also while the program is broken."""
    write_program(tmp_path, files_of("steps:\n  - coupon: no-such"))
    names = program_names(tmp_path)
    assert names["coupon"] == {"new-user-20", "new-user-10"}
    assert names["template"] == {"survey/nps", "welcome/hello"}
    assert names["channel"] == {"sms", "wecom", "box", "webhook"}
    own = jsonschema.Draft7Validator(schemas(names)["playbook"])
    good = plain("\n".join(PLAYBOOK_PARTS.values()))
    assert own.is_valid(good)
    assert own.is_valid({**good, "steps": [{"coupon": "new-user-20"}]})
    assert not own.is_valid({**good, "steps": [{"coupon": "new-user-2O"}]})
    assert not own.is_valid({**good, "steps": [{"badge": "silver-club"}]})
    assert not own.is_valid({**good, "entry": {"mode": "once", "in": ["nobody"]}})


def test_the_parts_pass() -> None:
    """What the harness builds around examples is itself without fault."""
    for kind, parts in (("playbook", PLAYBOOK_PARTS), ("program", PROGRAM_PARTS), ("catalog", CATALOG_PARTS)):
        assert validator(kind).is_valid(plain("\n".join(parts.values())))


EVENT = {"id": "e1", "type": "order.paid", "time": "2026-03-01T09:00:00+08:00", "user": "u1", "data": {"amount": 5}}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"user": None, "group": "g1"}, True),
        ({"data": None, "id": None}, True),
        ({"user": None}, False),
        ({"user": 7}, False),
        ({"time": "2026-03-01T09:00:00"}, False),
        ({"type": ""}, False),
        ({"data": []}, False),
        ({"amount": 5}, False),
    ],
)
def test_events(change: dict[str, Any], good: bool) -> None:
    """The schema of an event says what the door says."""
    from engine.door import read_event
    from engine.errors import EventRejected

    record = {**EVENT, **change}
    try:
        read_event(json.dumps(record).encode(), fallback_id="f:1")
        taken = True
    except EventRejected:
        taken = False
    assert (validator("event").is_valid(record), taken) == (good, good)


def test_pages_are_known() -> None:
    """The codes named in this file exist."""
    assert {"wrong-type", "wrong-value", "unknown-key", "missing-key", "out-of-range", "conflict"} <= PAGES.keys()
