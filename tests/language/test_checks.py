"""Where checks beyond shape speak, where they keep silent, and how they are silenced."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.language.compile import compile_program
from engine.language.compiled import Compiled

Write = Callable[..., Compiled]

PROGRAM = """\
program: t
timezone: Asia/Shanghai
profile: {name: text | none, city: text | none, plan: [free, pro, none]}
events:
  user.signup: {source: [app, import, none]}
  order.paid: {order_id: text, amount: money, note: text | none}
channels:
  app: {via: file, path: out/app.jsonl}
  sms: {via: file, path: out/sms.jsonl, max_chars: 20}
policies:
  default:
    consent: {marketing: none}
    quiet_hours: {from: "22:00", to: "08:00"}
    caps: [{purpose: marketing, max: 2, per: 7d}]
"""
CATALOG = """\
tiers: {member: {metric: 'sum("order.paid", "amount")', levels: {bronze: 0, gold: 500}}}
coupons:
  gift: {value: {off: 5}, codes: {generate: NU}, limits: {per_user: 1, total: 50}}
"""
SILENT = {"not-kept", "unused"}


@pytest.fixture
def check(tmp_path: Path) -> Write:
    """(steps, ...) -> the compiled program."""

    def make(
        steps: str = "- points: 1",
        *,
        files: Mapping[str, str] | None = None,
        trigger: str = "{event: order.paid}",
        head: str = "",
        name: str = "p",
        text: str = "Hello.",
    ) -> Compiled:
        lines = "".join(f"  {line}\n" for line in steps.strip("\n").split("\n"))
        entry = "" if "entry:" in head else "entry: once\n"
        playbook = f"playbook: {name}\ntitle: T\nowner: o\ntrigger: {trigger}\n{entry}{head}steps:\n{lines}"
        everything = {
            "drumbeat.yaml": PROGRAM,
            "playbooks/catalog/c.yaml": CATALOG,
            "templates/hi.app.j2": text,
            "templates/hi.sms.j2": "Hello.",
            f"playbooks/{name}.yaml": playbook,
            **(files or {}),
        }
        for file, content in everything.items():
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return compile_program(tmp_path)

    return make


def told(found: Compiled) -> list[str]:
    """The codes, in order, without those that are about the program around the piece."""
    return [problem.code for problem in found.problems if problem.code not in SILENT]


MESSAGE = "message: {template: hi, via: app, purpose: marketing%s}"

CASES = yaml.safe_load((Path(__file__).parent / "golden" / "check_cases.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_speaks_or_keeps_silent(check: Write, case: dict[str, Any]) -> None:
    """Each check says what it should, and says nothing about its neighbour that is fine."""
    around = {key: value for key, value in case.items() if key not in ("name", "codes")}
    assert told(check(**around)) == case["codes"]


OTHER = f"""\
playbook: q
title: T
owner: o
trigger: {{event: order.paid%s}}
entry: once
steps:
  - {MESSAGE % ""}
"""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", ["double-greeting"]),
        (", if: event.amount < 5", []),
        (", if: event.amount < 50", ["double-greeting"]),
    ],
)
def test_greetings_that_cannot_meet(check: Write, condition: str, expected: list[str]) -> None:
    """Two playbooks whose conditions exclude each other greet nobody twice."""
    trigger = "{event: order.paid, if: event.amount >= 5}"
    assert told(check(f"- {MESSAGE % ''}", trigger=trigger, files={"playbooks/q.yaml": OTHER % condition})) == expected


def test_unused_definitions_wait_for_a_program_without_errors(check: Write) -> None:
    """While a file is broken, nothing it may use is called unused, and no comment about it is called idle."""
    allow = " # allow: unused — kept"
    spare = f"  spare: {{codes: {{generate: SP}}, limits: {{per_user: 1, total: 9}}}}{allow}\n"
    catalog = CATALOG.replace("  gift:", f"{spare}  gift:")
    broken = check("- coupon: gfit", files={"playbooks/catalog/c.yaml": catalog})
    assert [problem.code for problem in broken.problems if problem.code != "not-kept"] == ["unknown-coupon"]
    found = check("- coupon: gift", files={"playbooks/catalog/c.yaml": catalog})
    assert [problem.code for problem in found.problems if "spare" in problem.message or "allow" in problem.code] == []
    bare = check("- coupon: gift", files={"playbooks/catalog/c.yaml": catalog.replace(allow, "")})
    unused = [problem.message for problem in bare.problems if problem.code == "unused"]
    assert [message for message in unused if "coupon" in message] == ["nothing uses coupon 'spare'"]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("{# allow: may-be-empty — the form demands a name #}", []),
        ("{# allow: may-be-empty #}", ["allow-without-reason"]),
        ("{# allow: may-be-emtpy — why #}", ["may-be-empty", "unused-allow"]),
        ("{# allow: template-field — why #}", ["may-be-empty", "unused-allow"]),
    ],
)
def test_silenced_in_a_template(check: Write, comment: str, expected: list[str]) -> None:
    """A comment in a template silences its line, with a reason; one that is wrong is told."""
    found = check(f"- {MESSAGE % ''}", text="Hello {{ user.name }}." + comment)
    assert told(found) == expected


def test_a_comment_in_a_template_is_not_idle_while_its_playbook_is_broken(check: Write) -> None:
    """What a template may print hangs on the playbook that sends it, so nothing is said before that can be read."""
    text = "Hello {{ user.name }}.{# allow: may-be-empty — the form demands a name #}"
    assert told(check(f"- {MESSAGE % ''}\n- coupon: gfit", text=text)) == ["unknown-coupon"]


def test_an_unknown_code_is_told_with_the_nearest(check: Write) -> None:
    """A misspelt code is not taken for one that has nothing to do."""
    found = check("- stop: x\n- points: 1 # allow: dead-stpe — why")
    told_ = [(problem.code, problem.message, problem.hint) for problem in found.problems if "allow" in problem.code]
    assert told_ == [("unused-allow", "no problem is called 'dead-stpe'", "did you mean 'dead-step'?")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("via: smtp, from: hi@shop.example, url: 'smtp://u:pass1234@mail.example'", ["secret"]),
        ("via: smtp, from: hi@shop.example, url: 'smtp://u:${PW}@mail.example'", []),
        ("via: http, url: 'https://sms.example', headers: {Authorization: 'Bearer ${TOKEN}'}", []),
        ("via: http, url: 'https://sms.example', headers: {Authorization: 'Bearer abcdef123456'}", ["secret"]),
        ("via: http, url: 'https://sms.example', form: {note: 'sk-abcdefghijklmnopqrstuvwxyz'}", ["secret"]),
        ("via: http, url: 'https://sms.example', form: {api_key: '${KEY}'}", []),
        ("via: http, url: 'https://sms.example', body: {app: 9f86d081884c7d659a2feaa0c55ad015a3bf}", ["maybe-secret"]),
        ("via: webhook, secret: whsec_not_so_good", ["secret"]),
        ("via: webhook, secret: '${file:/run/keys/webhook}'", []),
        ("via: smtp, from: hi@shop.example, url: 'smtp://u:${file:pw}@mail.example'", []),
        ("via: webhook, secret: '${file:}'", ["secret"]),
        ("via: file, path: out/a-rather-long-name-of-a-file-2026.jsonl", []),
    ],
)
def test_secrets(check: Write, options: str, expected: list[str]) -> None:
    """What is certainly a secret is an error, what looks like one a warning, and ${NAME} is fine.

    Semantics: secret.program
    Threat: secret.program
    """
    program = PROGRAM.replace("via: file, path: out/app.jsonl", options)
    found = check(files={"drumbeat.yaml": program})
    assert told(found) == expected
    assert (found.plan is None) is (expected == ["secret"])


def test_a_misspelt_field_is_placed_behind_chinese(check: Write) -> None:
    """The place in a template counts characters, the front matter's lines included."""
    text = "---\nsubject: 你好\n---\n第一行\n您好，{{ user.nmae }}！\n"
    found = check(f"- {MESSAGE % ''}", text=text)
    problem = next(problem for problem in found.problems if problem.code == "template-field")
    assert (problem.file, problem.line, problem.col, problem.length) == ("templates/hi.app.j2", 5, 12, 4)
    assert re.split(r"\n", text)[4][problem.col - 1 :][:4] == "nmae"


def test_a_list_whose_name_no_disk_can_hold(check: Write) -> None:
    """A NUL in the name of a list file is told like a missing file; nothing breaks."""
    found = check(files={"playbooks/catalog/s.yaml": 'segments: {staff: {list: "\\0"}}\n'})
    assert any("cannot be read" in problem.message for problem in found.problems)


def test_the_quiet_hours_nobody_wrote(check: Write) -> None:
    """A fixed time inside the default quiet hours is told as one inside written ones; `never` says nothing."""
    steps = "- message: {template: hi, via: app, purpose: marketing, at: \"03:00\"}"
    bare = "program: p\nchannels: {app: {via: console}, sms: {via: console}}\n%s"
    assert "quiet-time" in told(check(steps, files={"drumbeat.yaml": bare % ""}))
    never = bare % "policies: {default: {quiet_hours: never}}\n"
    assert "quiet-time" not in told(check(steps, files={"drumbeat.yaml": never}))


@pytest.mark.parametrize("wall", ["25:00", "9:30", "10:60", "１０：００"])
def test_a_wall_time_that_is_none_is_no_expression(check: Write, wall: str) -> None:
    """One slip, one problem: what looks like a wall time is told as one, not taken apart as an expression."""
    assert told(check(f'- wait: {{until: "{wall}"}}')) == ["bad-time"]


@pytest.mark.parametrize("amount", ["[1]", "{a: 1}", "many"])
def test_points_need_a_number_in_any_form(check: Write, amount: str) -> None:
    """A list or a mapping for a number of points is told like a word, before anything runs."""
    assert "wrong-type" in told(check(f"- points: {{add: {amount}}}"))
