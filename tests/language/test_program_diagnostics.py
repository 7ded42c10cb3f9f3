"""The exact texts of what is wrong with a program: every slip, every kind of unknown name, every broken rule once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text

Write = Callable[[Mapping[str, str]], Compiled]

PROGRAM = """\
program: t
timezone: Asia/Shanghai
profile: {name: text | none, city: text | none, since: date | none, blocked: bool | none}
events:
  user.signup: {source: [app, import, none]}
  order.paid: {order_id: text, amount: money}
channels:
  box: {via: file, path: out/box.jsonl}
  sms: {via: file, path: out/sms.jsonl}
policies:
  default: {consent: {marketing: none}, quiet_hours: never}
"""

CATALOG = """\
segments:
  dormant: {if: 'user.last_active_at is older_than("30d")'}
tiers:
  member: {metric: 'sum("order.paid", "amount")', levels: {bronze: 0, silver: 500, gold: 2000}}
coupons:
  gift: {codes: {generate: NU}, limits: {per_user: 1, total: 50}}
groups:
  club: {rooms: [{id: c1, link: "https://x.example/1", capacity: 10}]}
badges: {hero: true}
points: {main: {}}
"""

COMMON = {
    "drumbeat.yaml": PROGRAM,
    "playbooks/catalog/c.yaml": CATALOG,
    "templates/hello.box.j2": "hello",
    "templates/hello.sms.j2": "hello",
    "templates/only-box.box.j2": "hello",
}

# Each case: where the piece stands, its name, the piece, and every problem of the whole program as people read it.
GOLDEN = (Path(__file__).parent / "golden" / "program_diagnostics.txt").read_text(encoding="utf-8")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Files -> the compiled program."""

    def make(files: Mapping[str, str]) -> Compiled:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return compile_program(tmp_path)

    return make


def shown(found: Compiled) -> str:
    """Everything that is wrong; what the program around a piece leaves unused is not."""
    around = ("playbooks/catalog", "templates")
    told = [problem for problem in found.problems if problem.code != "unused" or not problem.file.startswith(around)]
    return render_text(told, found.sources)


def playbook(
    steps: str = "- stop: x",
    *,
    name: str = "p",
    trigger: str = "{event: order.paid}",
    entry: str = "once",
    head: str = "",
) -> str:
    """A playbook file; ``head`` may bring an entry of its own."""
    entry_line = "" if "entry:" in head else f"entry: {entry}\n"
    lines = "".join(f"  {line}\n" for line in steps.rstrip().split("\n"))
    return f"playbook: {name}\ntitle: T\ntrigger: {trigger}\n{entry_line}{head}steps:\n{lines}owner: ops\n"


def placed(kind: str, piece: str) -> dict[str, str]:
    """The program around a piece."""
    files = dict(COMMON)
    if kind == "program":
        return {"drumbeat.yaml": piece}
    if kind == "catalog":
        return files | {"playbooks/catalog/d.yaml": piece}
    if kind == "closed":
        files["drumbeat.yaml"] = PROGRAM.replace("  order.paid", '  "*": closed\n  order.paid')
    words = {
        "steps": {"steps": piece}, "trigger": {"trigger": piece.strip()}, "closed": {"trigger": piece.strip()},
        "head": {"head": piece},
    }  # fmt: skip
    return files | {"playbooks/p.yaml": playbook(**words[kind])}


CASES = re.findall(r"^### (\w+): (.*)\n((?:.*\n)*?)--->\n((?:.*\n)*?)(?=\n###|\Z)", GOLDEN, re.MULTILINE)


@pytest.mark.parametrize(("kind", "name", "piece", "expected"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES])
def test_golden(write: Write, kind: str, name: str, piece: str, expected: str) -> None:
    """One slip gives one problem, with these very words, at this very place."""
    assert shown(write(placed(kind, piece))) == expected.rstrip("\n")


def test_every_case_was_read() -> None:
    """No case is lost in the reading of this file."""
    assert len(CASES) == GOLDEN.count("\n### ")


def test_the_two_examples_of_the_language(write: Write) -> None:
    """The examples of the language's description come out of whole programs word by word."""
    welcome = (
        "playbook: welcome\ntitle: T\nsteps:\n  - message:\n"
        "      templte: welcome/hello\n      purpose: service\n"
    )
    tier = (
        "playbook: tier\ntitle: T\nsteps:\n  - stop: x\n"
        '    if: user.city == "上海" and user.teir in ["golden", "diamond"]\n'
    )
    frame = "trigger: {signup: true}\nentry: once\n"
    catalog = "tiers: {member: {metric: 'count(\"order.paid\")', levels: {golden: 1, diamond: 9}}}\n"
    files = {
        "drumbeat.yaml": "program: tea\nprofile: {city: text | none}\n",
        "playbooks/catalog/tiers.yaml": catalog,
        "playbooks/welcome.yaml": welcome + frame,
        "playbooks/tier.yaml": tier + frame,
    }
    assert shown(write(files)) == (
        "playbooks/tier.yaml:5:36: error[unknown-field]: 'user' has no field 'teir'\n"
        '  5 |     if: user.city == "上海" and user.teir in ["golden", "diamond"]\n'
        "    |                                      ^^^^ did you mean 'tier'?\n"
        "playbooks/welcome.yaml:5:7: error[unknown-key]: unknown key 'templte' in 'message'\n"
        "  5 |       templte: welcome/hello\n"
        "    |       ^^^^^^^ did you mean 'template'?"
    )


def test_an_empty_playbook_is_told_everything_it_needs(write: Write) -> None:
    """A frame without trigger, entry and steps names all three; nothing is a default that could do harm.

    Semantics: entry.required
    """
    found = write({**COMMON, "playbooks/p.yaml": "playbook: p\n"})
    assert [problem.message for problem in found.problems] == [
        "'playbook' needs 'title'",
        "'playbook' needs 'trigger'",
        "'playbook' needs 'entry'",
        "'playbook' needs 'steps'",
    ]


def test_a_misspelt_key_is_not_also_missing(write: Write) -> None:
    """One slip is one problem: the key that was meant is not called missing, at any depth."""
    piece = "playbook: p\ntitel: T\ntriger: {signup: true}\nentri: once\nstep: [{stop: x}]\n"
    found = write({**COMMON, "playbooks/p.yaml": piece})
    assert [(problem.code, problem.line) for problem in found.problems] == [("unknown-key", n) for n in range(2, 6)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_loop_is_told_once_file_by_file(write: Write, number: int) -> None:
    """A circle of emitted events, through one, two or three playbooks, is refused with the whole way around it.

    Semantics: loop.seen
    """
    names = ["first", "second", "third"][:number]
    files = {
        f"playbooks/{name}.yaml": playbook(
            f"- emit: {{type: e{(place + 1) % number}}}",
            name=name,
            trigger=f"{{event: e{place}}}",
            entry="{mode: parallel, limit: unlimited}",
        )
        for place, name in enumerate(names)
    }
    found = write({**COMMON, **files})
    way = [f"{name} (playbooks/{name}.yaml) emits e{(place + 1) % number}" for place, name in enumerate(names)]
    assert [problem.message for problem in found.problems] == ["trigger loop: " + " -> ".join([*way, "first"])]
    assert found.problems[0].file == "playbooks/first.yaml"
    assert found.plan is None


def test_a_chain_of_events_is_no_loop(write: Write) -> None:
    """Playbooks may start each other as long as nothing comes back."""
    files = {
        f"playbooks/{name}.yaml": playbook(f"- emit: {{type: {says}}}", name=name, trigger=f"{{event: {hears}}}")
        for name, hears, says in (("a", "e0", "e1"), ("b", "e1", "e2"), ("c", "e1", "e2"))
    }
    assert shown(write({**COMMON, **files})) == ""


def test_two_playbooks_of_one_name(write: Write) -> None:
    """The second one is refused and the first one named; a name that cannot be read is no second 'same name'."""
    found = write({**COMMON, "playbooks/a.yaml": playbook(), "playbooks/b.yaml": playbook()})
    assert shown(found) == (
        "playbooks/b.yaml:1:11: error[duplicate-playbook]: two playbooks are called 'p'\n"
        "  1 | playbook: p\n"
        "    |           ^ the first one is in playbooks/a.yaml"
    )


def test_names_that_cannot_be_read_are_not_called_equal(write: Write) -> None:
    """Two playbooks whose names are lists have one problem each."""
    text = playbook().replace("playbook: p", "playbook: [p]")
    found = write({**COMMON, "playbooks/a.yaml": text, "playbooks/b.yaml": text})
    assert [(problem.file[-6:], problem.code) for problem in found.problems] == [
        ("a.yaml", "wrong-type"),
        ("b.yaml", "wrong-type"),
    ]


def test_all_problems_of_all_files_in_one_pass(write: Write) -> None:
    """Program file, catalog, playbooks, templates and YAML itself: one run shows them all, sorted."""
    found = write(
        {
            **COMMON,
            "drumbeat.yaml": PROGRAM.replace("via: file, path: out/sms.jsonl", "via: fiel, path: out/sms.jsonl"),
            "playbooks/catalog/d.yaml": "coupons:\n  tea: {codes: {generate: T}, limits: {per_user: 1}}\n",
            "playbooks/p.yaml": playbook("- badge: heor\n- wait: soon", head="when: user.citty\n"),
            "playbooks/q.yaml": "playbook: q\n\ttitle: x\n",
            "templates/bad.sms.j2": "{{ user.name",
        }
    )
    assert [(problem.file, problem.line, problem.code) for problem in found.problems] == [
        ("drumbeat.yaml", 9, "unknown-channel-kind"),
        ("playbooks/catalog/d.yaml", 2, "missing-key"),
        ("playbooks/p.yaml", 5, "unknown-field"),
        ("playbooks/p.yaml", 7, "unknown-badge"),
        ("playbooks/p.yaml", 8, "bad-duration"),
        ("playbooks/q.yaml", 2, "yaml-tab"),
        ("templates/bad.sms.j2", 1, "template-syntax"),
    ]


@pytest.mark.parametrize(
    "steps",
    [
        "- chose: [{when: user.blocked, do: [{coupon: gift, id: g}]}]\n- stop: x\n  if: steps.g.code is none",
        "- {coupon: gift, badge: hero, id: g}\n- stop: x\n  if: steps.g.code is none",
        "- coupon: gfit\n  id: g\n- message: {template: hello, purpose: service, with: {a: '{{ steps.g.code }}'}}",
        "- coupon: gift\n  id: g\n  iff: user.blocked\n- stop: x\n  if: steps.g is none",
        "- message: {template: helo, purpose: service, via: [box, sms]}",
        "- stop: x\n  if: user.citty == 'a' and user.citty.street > 5 and not user.citty",
    ],
)
def test_an_unknown_name_silences_its_follow_ups(write: Write, steps: str) -> None:
    """What was reported once is not reported again by whatever builds on it, except the same slip written again."""
    found = write({**COMMON, "playbooks/p.yaml": playbook(steps)})
    assert len({(problem.code, problem.message) for problem in found.problems}) == 1, shown(found)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("playbooks/catalog/c.yaml", "segments:\n  dormant: {if: user.blocked\nbadges: {hero: true}\n"),
        ("drumbeat.yaml", "program: t\nprofile: {city: text\nchannels: {box: {via: console}}\n"),
        ("templates/hello.sms.j2", "{{ user.name"),
    ],
)
def test_names_behind_a_syntax_error_are_not_called_unknown(write: Write, file: str, text: str) -> None:
    """A file that cannot be read to its end is one problem, and not one for each name it would have defined."""
    steps = "- coupon: gift\n- badge: hero\n- message: {template: hello, purpose: service, via: [box, sms]}"
    head = "when: in_segment('dormant') and user.tier == 'gold' and user.city == 'x'\n"
    found = write({**COMMON, file: text, "playbooks/p.yaml": playbook(steps, head=head)})
    assert [(problem.file, problem.severity) for problem in found.problems] == [(file, "error")], shown(found)


def test_steps_of_another_branch_may_be_asked_for(write: Write) -> None:
    """A step of a branch not taken is none, so asking for it is no error."""
    steps = (
        "- choose:\n    - {when: user.blocked, do: [{coupon: gift, id: g}]}\n"
        "    - otherwise: [{stop: x, if: steps.g is none}]\n- stop: x\n  if: steps.g.code is none"
    )
    assert shown(write({**COMMON, "playbooks/p.yaml": playbook(steps)})) == ""


def test_positions_are_no_names(write: Write) -> None:
    """A step without an id cannot be named, so the ids the engine derives are never proposed."""
    found = write({**COMMON, "playbooks/p.yaml": playbook("- badge: hero\n- stop: x\n  if: steps.badge is none")})
    assert [(problem.code, problem.hint) for problem in found.problems] == [("unknown-step", "")]


def test_carets_stand_under_the_word_in_cjk_text(write: Write) -> None:
    """Full-width characters take two cells, before and under the caret."""
    found = write({**COMMON, "playbooks/p.yaml": playbook("- tag: {add: [老客户], remove: [新客]}")})
    assert shown(found).split("\n")[:3] == [
        "playbooks/p.yaml:6:17: error[wrong-value]: 'tag.add[0]' needs a tag, got '老客户'",
        "  6 |   - tag: {add: [老客户], remove: [新客]}",
        "    |                 ^^^^^^ small letters, digits, - and _",
    ]


def test_a_program_without_program_file(write: Write) -> None:
    """Playbooks alone are no program; that is the one thing said about names the program file would define."""
    files = {name: text for name, text in COMMON.items() if name != "drumbeat.yaml"}
    found = write({**files, "playbooks/p.yaml": playbook("- message: {template: hello, purpose: service, via: box}")})
    assert [problem.code for problem in found.problems] == ["no-program"]
    assert found.plan is None


def test_a_program_needs_no_more_than_its_name(write: Write) -> None:
    """Everything in the program file but its name has a default."""
    found = write({"drumbeat.yaml": "program: tea\n", "playbooks/p.yaml": playbook("- points: 5")})
    assert shown(found) == ""
    assert found.plan is not None
