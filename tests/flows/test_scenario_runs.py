"""Scenario tests run what the daemon runs, and see everything that happens."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scenario_kit import HEAD, last, played, program

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.language.compile import compile_program
from engine.language.scenario_model import Given

SHOP = Path(__file__).parents[1] / "language" / "tea-shop"
PAID = "{order.paid: {amount: 5}, at: -3d, times: 2, every: 1d}"
BUYER = f"users: {{u1: {{consent: {{sms: [marketing]}}, history: [{PAID}]}}}}\n"


def test_the_example_of_the_language_runs_as_written() -> None:
    """The scenario of language.md section 4 passes against the win-back of section 6."""
    found = compile_program(SHOP, scenarios=True)
    (scenario,) = found.scenarios
    result, _ = run_one(found, scenario, Coverage(), update=False)
    assert result.ok, report(result, SHOP, 120)
    assert [len(check.verdict.met) for check in result.checks] == [3, 2, 0]


def test_the_example_of_the_docs_is_a_scenario(tmp_path: Path) -> None:
    """What docs/testing.md shows can be copied as it stands."""
    text = (SHOP.parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    shutil.copytree(SHOP, tmp_path / "shop")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "shop" / "scenarios" / "win-back.yaml").write_text(example, encoding="utf-8")
    found = compile_program(tmp_path / "shop", scenarios=True)
    result, _ = run_one(found, found.scenarios[0], Coverage(), update=False)
    assert result.ok, report(result, SHOP, 120)


def test_an_effect_nobody_expected_fails(tmp_path: Path) -> None:
    """The world is closed: of two effects one is expected, so the other is a fault, and it is named."""
    result = played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, data: {amount: 5}}\n  - {expect: [{points: 10}]}\n",
    )
    assert not result.ok
    assert [fact.kind for fact in last(result).unexpected] == ["message"]


def test_journeys_may_be_left_out(tmp_path: Path) -> None:
    """Closed over effects only: that somebody entered and finished need not be said."""
    assert played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, data: {amount: 5}}\n  - {expect: [{message: hi}, {points: 10}]}\n",
    ).ok


def test_nothing_means_that_nobody_enters(tmp_path: Path) -> None:
    """``expect: nothing`` is refuted by an entry, also by one without any effect."""
    files = {"playbooks/thanks.yaml": "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\nentry: once\n"
             "steps:\n  - wait: 1d\n"}  # fmt: skip
    result = played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, data: {amount: 5}}\n  - {expect: nothing}\n",
        files,
    )
    assert [fact.kind for fact in last(result).unexpected] == ["entered"]


def test_what_happens_behind_the_last_expect_is_unexpected(tmp_path: Path) -> None:
    """An effect after the last expectation fails the test, too."""
    result = played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {expect: nothing}\n  - {event: order.paid, data: {amount: 5}}\n",
    )
    assert sorted(fact.kind for fact in last(result).unexpected) == ["message", "points"]


def test_waits_fire_at_their_own_instants(tmp_path: Path) -> None:
    """The clock stops wherever something is due: each effect has its own time, also far between two entries.

    Semantics: clock.now
    """
    result = played(
        tmp_path,
        BUYER + "playbooks: [offer]\nfixed: {holdout: {offer: {u1: treated}}}\ntimeline:\n"
        "  - at: +20d\n    expect:\n"
        "      - {coupon: tea, at: +8d, expires_at: +13d}\n      - {message: hi, via: sms, at: +8d}\n"
        "      - {suppressed: message, reason: cap, at: +10d, step: again}\n      - {finished: offer, at: +10d}\n",
    )
    assert result.ok, report(result, tmp_path, 120)


def test_different_instants_stand_in_order(tmp_path: Path) -> None:
    """What happened at +8d may not be expected behind what happened at +10d; at one instant any order goes."""
    result = played(
        tmp_path,
        BUYER + "playbooks: [offer]\nfixed: {holdout: {offer: {u1: treated}}}\ntimeline:\n"
        "  - at: +20d\n    expect: [{message: hi}, {suppressed: message}, {coupon: tea}]\n",
    )
    assert not result.ok
    assert last(result).disordered
    assert "another order" in report(result, tmp_path, 120)[0]


def test_a_missing_entry_is_explained(tmp_path: Path) -> None:
    """Why not: the condition that refused, with the value it had and what it needs."""
    result = played(
        tmp_path,
        "users: {u1: {history: [{order.paid: {amount: 5}, at: -2d}]}}\nplaybooks: [offer]\ntimeline:\n"
        "  - {at: +9d, expect: [{entered: offer}]}\n",
    )
    shown = "\n".join(report(result, tmp_path, 120))
    assert not result.ok
    assert "skipped" in shown
    assert "needs 2, has 1" in shown


def test_a_missing_effect_of_somebody_who_never_entered_is_explained(tmp_path: Path) -> None:
    """Why not is told for an effect, too, when the person never began the playbook; and only then."""
    result = played(
        tmp_path,
        "users: {u1: {history: [{order.paid: {amount: 5}, at: -2d}]}}\nplaybooks: [offer]\ntimeline:\n"
        "  - {at: +9d, expect: [{coupon: tea}]}\n",
    )
    assert [why["playbooks"]["offer"]["verdict"] for why in result.checks[0].whys] == ["skipped"]
    result = played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, data: {amount: 5}}\n  - {expect: [{coupon: tea}, {points: 10}, {message: hi}]}\n",
    )
    assert not result.ok
    assert result.checks[0].whys == ()


@pytest.mark.parametrize(("word", "kinds"), [("treated", ["coupon", "message"]), ("held_out", [])])
def test_chance_can_be_laid_down(tmp_path: Path, word: str, kinds: list[str]) -> None:
    """``fixed.holdout`` decides who is treated; what a control subject would have got is no effect."""
    entered = "entered" if word == "treated" else "held_out"
    result = played(
        tmp_path,
        BUYER + f"playbooks: [offer]\nfixed: {{holdout: {{offer: {{u1: {word}}}}}}}\ntimeline:\n"
        f"  - {{at: +8d, expect: [{{{entered}: offer}}]}}\n",
    )
    assert sorted(fact.kind for fact in last(result).unexpected) == kinds


@pytest.mark.parametrize(("arm", "points"), [("a", 1), ("b", 2), ("draw.b", 2)])
def test_an_arm_can_be_laid_down(tmp_path: Path, arm: str, points: int) -> None:
    """``fixed.split`` names the arm, alone or with its step."""
    assert played(
        tmp_path,
        "users: {u1: {history: [{app.opened: , at: -1d}]}}\nplaybooks: [quiet]\n"
        f"fixed: {{split: {{quiet: {{u1: {arm}}}}}}}\ntimeline:\n  - {{at: +9d, expect: [{{points: {points}}}]}}\n",
    ).ok


def test_a_segment_is_entered_by_time_alone(tmp_path: Path) -> None:
    """Somebody known from history alone enters a segment at the very instant its condition turns true.

    Semantics: segment.recompute
    """
    assert played(
        tmp_path,
        "users: {u1: {history: [{app.opened: , at: -1d}]}}\nplaybooks: [quiet]\ntimeline:\n"
        "  - {at: +8d, expect: nothing}\n  - {at: +20d, expect: [{entered: quiet, at: +9d}, {points: 1}]}\n"
        "fixed: {split: {quiet: {u1: a}}}\n",
    ).ok


def test_codes_are_given_in_order_and_run_out(tmp_path: Path) -> None:
    """``fixed.codes`` are all there are: the one after the last is sold out.

    Semantics: coupon.codes
    """
    files = {
        "playbooks/thanks.yaml": "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n  - coupon: tea\n"
    }
    assert played(
        tmp_path,
        "users: {u1: {}, u2: {}}\nplaybooks: [thanks]\nfixed: {codes: {tea: [A-1]}}\ntimeline:\n"
        "  - {event: order.paid, user: u1, data: {amount: 5}}\n  - {event: order.paid, user: u2, data: {amount: 5}}\n"
        "  - {expect: [{coupon: tea, code: A-1, user: u1}, {denied: coupon, reason: sold_out, user: u2}]}\n",
        files,
    ).ok


def test_channels_fail_and_are_tried_again(tmp_path: Path) -> None:
    """A refused message is tried again by the real outbox; one refused for good is not."""
    head = "users: {u1: {}}\nplaybooks: [thanks]\n"
    event = "timeline:\n  - {event: order.paid, data: {amount: 5}}\n"
    effects = "{points: 10}, {message: hi, text: hi u1}"
    assert played(
        tmp_path / "again",
        head + "fixed: {fail: [{channel: box, attempt: [1, 2], reason: busy}]}\n" + event
        + f"  - {{expect: [{effects}]}}\n"
        "  - at: +1d\n    expect: [{failed: hi, attempt: 2, reason: busy}, {sent: hi, via: box, attempt: 3}]\n",
    ).ok
    result = played(
        tmp_path / "never",
        head + "fixed: {fail: [{channel: box, definitive: true}]}\n" + event + f"  - {{expect: [{effects}]}}\n"
        "  - {at: +1d, expect: [{sent: hi}]}\n",
    )
    assert [miss.expected.word for miss in last(result).misses] == ["sent"]


def test_an_error_is_no_silence(tmp_path: Path) -> None:
    """A condition that cannot be judged fails ``expect: nothing``, and can be expected; a failed step has its row.

    Semantics: condition.parked
    """
    files = {
        "playbooks/thanks.yaml": "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\nentry: once\n"
        "when: event.extra > 5\nsteps:\n  - points: 1\n",
        "drumbeat.yaml": HEAD.replace("order_id: text | none", "extra: number | none"),
    }
    event = "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n  - {event: app.opened}\n"
    # what a feed may bring in spite of the declaration
    sent = "  - {event: order.paid, data: {amount: 5, extra: 5}}\n"
    found = program(tmp_path, event + sent + "  - {expect: [{error: thanks}]}\n", files)
    scenario = found.scenarios[0]
    odd = [replace(it, data={"extra": "six"}) if isinstance(it, Given) and it.data else it for it in scenario.timeline]
    result, _ = run_one(found, replace(scenario, timeline=tuple(odd)), Coverage(), update=False)
    assert result.ok, report(result, tmp_path, 120)
    silent = [*odd[:-1], replace(odd[-1], expected=())]
    result, _ = run_one(found, replace(scenario, timeline=tuple(silent)), Coverage(), update=False)
    assert [fact.kind for fact in last(result).unexpected] == ["error"]


def test_limits_and_late_events_can_be_expected(tmp_path: Path) -> None:
    """Who comes over the limit is ``capped`` and begins in the next window; an event too old is ``late``.

    Semantics: limit.told, late.too-old
    """
    files = {
        "playbooks/thanks.yaml": "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\n"
        "entry: {mode: once, limit: 1/day}\nsteps:\n  - points: 1\n"
    }
    result = played(
        tmp_path,
        "users: {u1: {}, u2: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, user: u1, data: {amount: 5}}\n  - {event: order.paid, user: u2, data: {amount: 5}}\n"
        "  - {expect: [{points: 1, user: u1}, {capped: thanks, user: u2}]}\n"
        "  - {at: +1d, expect: [{entered: thanks, user: u2}, {points: 1, user: u2}]}\n"
        "  - {at: +9d, time: +2d, event: order.paid, user: u1, data: {amount: 5}}\n  - {expect: [{late: thanks}]}\n",
        files,
    )
    assert result.ok, report(result, tmp_path, 120)


def test_what_a_control_subject_would_have_got_can_be_expected(tmp_path: Path) -> None:
    """``status: held_out`` names the rows of the control group; a plain word never means them."""
    head = BUYER + "playbooks: [offer]\nfixed: {holdout: {offer: {u1: held_out}}}\ntimeline:\n"
    rows = "{held_out: offer}, {coupon: tea, status: held_out}"
    assert played(tmp_path / "a", head + f"  - {{at: +8d, expect: [{rows}]}}\n").ok
    assert not played(tmp_path / "b", head + "  - {at: +8d, expect: [{coupon: tea}]}\n").ok


def test_history_starts_nothing(tmp_path: Path) -> None:
    """Orders of the past are counted and begin no journey, as with ``ingest --history``."""
    assert played(
        tmp_path,
        "users: {u1: {history: [{order.paid: {amount: 5}, at: -1h}]}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {at: +1d, expect: nothing}\n",
    ).ok


def test_the_same_event_twice_is_one(tmp_path: Path) -> None:
    """A second copy of an id changes nothing; a late event acts while it is young enough.

    Semantics: event.duplicate, late.acts
    """
    assert played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, id: x, data: {amount: 5}}\n  - {event: order.paid, id: x, data: {amount: 7}}\n"
        "  - {expect: [{points: 10, balance: 10}, {message: hi}]}\n"
        "  - {at: +2d, time: +1d12h, event: order.paid, data: {amount: 7}}\n"
        "  - {expect: [{points: 10, balance: 20}, {message: hi}]}\n"
        "  - {at: +3d, time: +1h, event: order.paid, data: {amount: 7}}\n  - {expect: nothing}\n",
    ).ok


def test_what_the_door_refuses_fails_the_test(tmp_path: Path) -> None:
    """An event no feed would get in is said to be refused, with its place."""
    result = played(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        f"  - {{event: app.opened, id: {'x' * 3000}}}\n  - {{expect: nothing}}\n",
    )
    assert not result.ok
    assert "app.opened is refused" in report(result, tmp_path, 120)[0]


def test_only_those_in_play_run_and_drafts_may(tmp_path: Path) -> None:
    """A draft that is named runs as if live; without names those run that would run."""
    named = (
        "fixed: {holdout: {offer: {u1: treated}}}\n"
        "timeline:\n  - {at: +8d, expect: [{entered: offer}, {coupon: tea}, {message: hi}]}\n"
    )
    assert played(tmp_path / "named", BUYER + "playbooks: [offer]\n" + named).ok
    result = played(tmp_path / "all", BUYER + named)
    assert [fact.fields["playbook"] for fact in last(result).unexpected] == ["quiet"]


def test_coverage_counts_entries_steps_branches_and_timeouts(tmp_path: Path) -> None:
    """Each part that was walked is counted, and the others are named."""
    files = {
        "playbooks/thanks.yaml": "playbook: thanks\ntitle: t\n"
        "trigger: [{event: order.paid, id: paid}, {signup: true, id: new}]\n"
        "entry: {mode: parallel, limit: unlimited}\nsteps:\n"
        "  - choose: [{when: event.amount > 100, do: [{badge: star}]}, {otherwise: []}]\n    id: big\n"
        "  - wait_for: {event: app.opened, up_to: 1d, then: [{points: 5}], else: stop}\n    id: seen\n"
    }
    found = program(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n"
        "  - {event: order.paid, data: {amount: 5}}\n  - {at: +2d, expect: [{finished: thanks, reason: stop}]}\n",
        files,
    )
    coverage = Coverage()
    result, _ = run_one(found, found.scenarios[0], coverage, update=False)
    assert result.ok
    row = coverage.rows()["thanks"]
    assert row["missed"] == [
        "entries: new", "steps: badge[0].1[0]", "steps: points[1].1[0]", "branches: big: when[0]",
        "branches: seen: then",
    ]  # fmt: skip
    assert (row["timeouts"], row["percent"]) == ({"covered": 1, "of": 1}, 50)


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    """After a run the steps of the program are the real ones again."""
    found = program(tmp_path, "users: {u1: {}}\ntimeline: [{at: +1d, expect: nothing}]\n")
    assert found.plan is not None
    before = [node.action for playbook in found.plan.playbooks for node in playbook.nodes.values()]
    run_one(found, found.scenarios[0], Coverage(), update=False)
    assert [node.action for playbook in found.plan.playbooks for node in playbook.nodes.values()] == before


def test_an_event_that_does_not_keep_its_schema_fails_a_test(tmp_path: Path) -> None:
    """The door of a scenario is that of the daemon: the event is refused, with the field.

    Semantics: event.schema
    """
    schema = "event_schemas: {order.paid: {properties: {amount: {maximum: 100}}}}\n"
    scenario = "users: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n  - {event: order.paid, data: {amount: 500}}\n"
    result = played(tmp_path, scenario + "  - {expect: nothing}\n", {"playbooks/catalog/schemas.yaml": schema})
    ((_, said),) = result.refused
    assert said.endswith("the schema of 'order.paid' is not kept: 'data.amount' must be at most 100")
    assert not result.ok


@pytest.mark.parametrize("existing", ["enter", "skip"])
def test_a_playbook_that_lets_in_who_is_in_its_segment(tmp_path: Path, existing: str) -> None:
    """A scenario deploys the program where it begins: `existing: enter` lets in whom the past puts into the segment.

    Semantics: publish.existing-segment
    """
    quiet = "playbook: quiet\ntitle: t\ntrigger: {segment: {enters: quiet}, existing: EXISTING}\nentry: once\n"
    expected = "[{points: 1, user: old}]" if existing == "enter" else "nothing"
    result = played(
        tmp_path,
        "playbooks: [quiet]\n"
        "users:\n  old: {history: [{app.opened: {}, at: -20d}]}\n  new: {history: [{app.opened: {}, at: -2d}]}\n"
        f"timeline:\n  - {{expect: {expected}}}\n  - {{at: +8d, expect: [{{points: 1, user: new}}]}}\n"
        "  - {at: +60d, expect: nothing}\n",
        {"playbooks/quiet.yaml": quiet.replace("EXISTING", existing) + "steps: [{points: 1}]\n"},
    )
    assert result.ok, report(result, tmp_path, 120)
