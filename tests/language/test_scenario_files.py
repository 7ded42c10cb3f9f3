"""Scenario files are read as strictly as playbooks: every slip at its very word, with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.language.codes import PAGES
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import Diagnostic, render_text
from engine.language.scenario_forms import EFFECTS, REFUSALS, WORDS
from engine.language.scenario_model import Check, Given
from engine.language.scenario_pages import SCENARIO_PAGES

FILES = {
    "drumbeat.yaml": (
        "program: example\ntimezone: Asia/Shanghai\nprofile: {name: text | none, age: integer | none}\n"
        "events: {order.paid: {amount: money, channel: [web, app, none]}, '*': closed}\n"
        "channels: {sms: {via: file, path: out.jsonl}}\n"
    ),
    "playbooks/example.yaml": (
        "playbook: example\ntitle: t\ntrigger: {event: order.paid}\nentry: once\nsteps:\n  - points: 1\n"
        "  - split: {arms: [{name: gift, weight: 50, do: []}, {name: none, weight: 50, do: []}]}\n    id: draw\n"
    ),
    "playbooks/catalog/c.yaml": "coupons:\n  tea: {codes: {generate: T}, limits: {per_user: 1, total: 9}}\n",
    "templates/hi.sms.j2": "hi",
}
HEAD = "scenario: test\nclock: 2026-03-01T09:00:00+08:00\nusers: {u1: {}}\n"
TIMELINE = "timeline: [{at: +1d, expect: nothing}]\n"


def read(root: Path, text: str) -> Compiled:
    """The program with one scenario."""
    for name, content in {**FILES, "scenarios/s.yaml": text}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return compile_program(root, scenarios=True)


def told(found: Compiled) -> list[Diagnostic]:
    """What is said, but for the loose ends of the program around the scenario."""
    return [it for it in found.problems if it.code not in ("unused", "missing-owner", "untested")]


def shown(found: Compiled) -> str:
    """What is said of the scenario."""
    return render_text([it for it in found.problems if it.file == "scenarios/s.yaml"], found.sources)


def test_times_are_counted_from_the_clock(tmp_path: Path) -> None:
    """``+20d12h`` is elapsed time, ``{days, at}`` a wall time in the program's zone, an instant stands for itself."""
    found = read(
        tmp_path,
        HEAD + "timeline:\n  - {at: +1d12h, event: order.paid, data: {amount: 5}}\n"
        '  - {at: {days: 2, at: "10:00"}, expect: nothing}\n  - {at: 2026-03-05T00:00:00Z, expect: nothing}\n'
        "  - {expect: nothing}\n",
    )
    (scenario,) = found.scenarios
    day = 24 * 3_600 * 1_000_000
    assert [entry.at - scenario.clock for entry in scenario.timeline] == [
        day * 3 // 2, 2 * day + day // 24, 3 * day + 23 * day // 24, 3 * day + 23 * day // 24,
    ]  # fmt: skip


def test_events_may_be_repeated(tmp_path: Path) -> None:
    """``times`` and ``every`` make several events of one entry, in history and in the timeline."""
    found = read(
        tmp_path,
        HEAD.replace("u1: {}", "u1: {history: [{order.paid: {amount: 5}, at: -3d, times: 3, every: 1d}]}")
        + "timeline: [{event: order.paid, times: 2, every: 1h, data: {amount: 1}}, {expect: nothing}]\n",
    )
    (scenario,) = found.scenarios
    assert len(scenario.people[0].history) == 3
    assert [type(entry) for entry in scenario.timeline] == [Given, Given, Check]
    assert scenario.timeline[2].at == scenario.timeline[1].at


@pytest.mark.parametrize(
    ("piece", "code", "words"),
    [
        ("playbooks: [exmaple]\n" + TIMELINE, "unknown-playbook", "did you mean 'example'?"),
        ("timline: []\n" + TIMELINE, "unknown-key", "unknown key 'timline' in 'scenario'"),
        ("timeline: [{at: +1d, evnt: order.paid}]\n", "scenario-word", "did you mean 'event'?"),
        ("timeline: [{at: +1d, event: order.payed}]\n", "unknown-event", "did you mean 'order.paid'?"),
        ("timeline: [{at: 1d, expect: nothing}]\n", "wrong-value", "time such as +20d"),
        ("timeline: [{at: +1d, expect: nothng}]\n", "wrong-type", "did you mean 'nothing'?"),
        ("timeline: [{at: +1d, expect: []}]\n", "empty", "write expect: nothing"),
        ("timeline: [{at: +1d, expect: [{cupon: tea}]}]\n", "scenario-word", "did you mean 'coupon'?"),
        ("timeline: [{at: +1d, expect: [{coupon: tee}]}]\n", "unknown-coupon", "did you mean 'tea'?"),
        ("timeline: [{at: +1d, expect: [{coupon: tea, cod: X}]}]\n", "unknown-key", "did you mean 'code'?"),
        ("timeline: [{at: +1d, expect: [{message: hii}]}]\n", "unknown-template", "did you mean 'hi'?"),
        ("timeline: [{expect: [{message: hi, text: {contain: x}}]}]\n", "unknown-key", "did you mean 'contains'?"),
        ("timeline: [{at: +1d, expect: [{suppressed: mesage}]}]\n", "wrong-value", "did you mean 'message'?"),
        ("timeline: [{expect: [{message: hi, text: {matches: '('}}]}]\n", "wrong-value", "is no regular expression"),
        ("timeline: [{at: +1d, expect: [{points: ten}]}]\n", "wrong-type", "a whole number"),
        ("timeline: [{event: order.paid, user: u2}]\n", "unknown-user", "defined: u1"),
        ("timeline: [{event: order.paid, data: {amout: 5}}]\n", "unknown-field", "did you mean 'amount'?"),
        ("timeline: [{event: order.paid, data: {amount: five}}]\n", "wrong-type", "'order.paid.amount' needs a number"),
        ("timeline: [{event: order.paid, data: {channel: wep}}]\n", "wrong-type", "did you mean 'web'?"),
        ("timeline: [{event: order.paid, times: 3}, {expect: nothing}]\n", "missing-key", "go together"),
        ("timeline: [{at: +2d, expect: nothing}, {at: +1d, expect: nothing}]\n", "scenario-order", "in order of time"),
        ("fixed: {codes: {tee: [A]}}\n" + TIMELINE, "unknown-coupon", "did you mean 'tea'?"),
        ("fixed: {holdout: {example: {u1: treated}}}\n" + TIMELINE, "scenario-fixed", "has no 'holdout'"),
        ("fixed: {split: {example: {u1: gft}}}\n" + TIMELINE, "unknown-arm", "did you mean 'gift'?"),
        ("fixed: {fail: [{channel: smss}]}\n" + TIMELINE, "unknown-channel", "did you mean 'sms'?"),
    ],
)  # fmt: skip
def test_a_slip_is_told_at_its_word(tmp_path: Path, piece: str, code: str, words: str) -> None:
    """One slip, one message: with its code, and with what was meant or is needed."""
    found = read(tmp_path, HEAD + piece)
    here = [it for it in found.problems if it.file == "scenarios/s.yaml"]
    assert [it.code for it in here] == [code], shown(found)
    assert words in shown(found)
    assert found.scenarios == ()


@pytest.mark.parametrize(
    ("user", "code", "words"),
    [
        ("{nam: x}", "unknown-field", "did you mean 'name'?"),
        ("{age: old}", "wrong-type", "'user.age' needs a whole number"),
        ("{consent: {sms: [marketting]}}", "wrong-value", "did you mean 'marketing'?"),
        ("{consent: {smss: [marketing]}}", "unknown-channel", "did you mean 'sms'?"),
        ("{history: [{order.paid: {amount: 5}}]}", "missing-key", "'at'"),
        ("{history: [{order.paid: {amount: 5}, at: +1d}]}", "scenario-order", "history lies before 'clock'"),
        ("{history: [{at: -1d}]}", "scenario-word", "one event type"),
    ],
)
def test_users_are_checked_against_the_program(tmp_path: Path, user: str, code: str, words: str) -> None:
    """Traits, consents and history are as the program declares them."""
    found = read(tmp_path, HEAD.replace("u1: {}", f"u1: {user}") + TIMELINE)
    assert code in {it.code for it in found.problems}, shown(found)
    assert words in shown(found)


def test_the_caret_stands_under_the_word(tmp_path: Path) -> None:
    """Place, line, caret and hint, as for any other file; also behind Chinese."""
    found = read(tmp_path, HEAD + 'timeline: [{at: +1d, note: 第一天, expect: [{coupon: tee}]}]\n')
    assert shown(found) == (
        "scenarios/s.yaml:4:51: error[unknown-coupon]: unknown coupon 'tee' in 'timeline[0].expect[0].coupon'\n"
        "  4 | timeline: [{at: +1d, note: 第一天, expect: [{coupon: tee}]}]\n"
        "    |                                                      ^^^ did you mean 'tea'?"
    )


def test_all_slips_of_an_entry_at_once(tmp_path: Path) -> None:
    """A wrong time does not hide what is wrong with what is expected there."""
    found = read(tmp_path, HEAD + "timeline: [{at: +20, expect: [{mesage: hi}]}]\n")
    assert [it.code for it in told(found)] == ["wrong-value", "scenario-word"]


def test_a_broken_test_does_not_stop_the_program(tmp_path: Path) -> None:
    """What is wrong with a test is an error of the test: the program itself still has its plan."""
    for text in ("scenario: [\n", HEAD + "timeline: [{at: +1d, expect: [{coupon: tee}]}]\n", "", "clock: x\n"):
        found = read(tmp_path, text)
        assert found.plan is not None
        assert found.errors
        assert found.scenarios == ()


def test_a_broken_program_does_not_hide_the_test(tmp_path: Path) -> None:
    """All problems of all files in one pass: those of the tests, too."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "bad.yaml").write_text("playbook: bad\ntitle: t\n", encoding="utf-8")
    found = read(tmp_path, HEAD + "timeline: [{at: +1d, expect: [{coupon: tee}]}]\n")
    assert found.plan is None
    assert {"scenarios/s.yaml", "playbooks/bad.yaml"} <= {it.file for it in found.problems}


def test_tests_are_read_only_on_demand(tmp_path: Path) -> None:
    """``run`` and ``simulate`` neither read the tests nor fail because of them."""
    read(tmp_path, "scenario: [\n")
    found = compile_program(tmp_path)
    assert told(found) == []
    assert found.plan is not None


@pytest.mark.parametrize("code", list(SCENARIO_PAGES))
def test_pages_say_the_truth(code: str, tmp_path: Path) -> None:
    """The bad example of a page has its code, the good one is a scenario without it."""
    assert code in PAGES
    bad = read(tmp_path, SCENARIO_PAGES[code].bad + "\n")
    assert code in {it.code for it in bad.problems}, shown(bad)
    good = read(tmp_path, SCENARIO_PAGES[code].good + "\n")
    assert not told(good), shown(good)
    assert len(good.scenarios) == 1


def test_every_kind_of_effect_can_be_expected() -> None:
    """cli.md's list of kinds, with those added since (docs/architecture.md says why), and the words of ``expect`` are
    one: a new kind needs a word. ``start`` is an ``emit``."""
    kinds = {
        "message", "coupon", "invite", "points", "badge", "tag", "tier", "task", "webhook", "emit", "post",
        "nominate", "draw", "set", "redeem", "rank", "select", "survey",
    }  # fmt: skip
    assert set(EFFECTS) == kinds | {"start"}
    assert {*EFFECTS, *REFUSALS, "entered", "goal", "finished", "exited", "held_out"} <= WORDS.keys()
