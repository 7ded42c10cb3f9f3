"""The pages of what can be wrong with a scenario test beyond YAML and shapes."""

from __future__ import annotations

from typing import Final

from engine.language.diagnostics import Page

_HEAD: Final = "scenario: a first order\nclock: 2026-03-01T09:00:00+08:00\nusers: {u1: {}}\n"
_EVENT: Final = "timeline:\n  - {at: +1d, event: order.paid, user: u1, data: {amount: 5}}\n"
_POINTS: Final = "  - {at: +1d, expect: [{points: 1}]}"

SCENARIO_PAGES: Final[dict[str, Page]] = {
    "scenario-first": Page(
        "'scenario' is not the first key",
        "The first key of a file names its kind, for people as much as for the reader.",
        "clock: 2026-03-01T09:00:00+08:00\nscenario: a first order\nusers: {u1: {}}\n" + _EVENT + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
    "scenario-word": Page(
        "an entry that names nothing",
        "An entry of the timeline is an 'event', a 'trigger', a 'task_done' or an 'expect', and what is expected "
        "begins with one word, such as 'message', 'coupon' or 'entered'. 'docs/reference/scenarios.md' has them all.",
        _HEAD + _EVENT + "  - {at: +1d, expect: [{mesage: welcome/hello}]}",
        _HEAD + _EVENT + _POINTS,
    ),
    "scenario-order": Page(
        "a time before the entry above it",
        "A timeline runs forward, and history lies before its 'clock'. An event that arrives late stands where it "
        "arrives and says in 'time' when it happened.",
        _HEAD + _EVENT + "  - {at: +6h, event: order.paid, user: u1, data: {amount: 7}}\n" + _POINTS,
        _HEAD + _EVENT + "  - {at: +1d, time: +6h, event: order.paid, user: u1, data: {amount: 7}}\n" + _POINTS,
    ),
    "scenario-fixed": Page(
        "chance that cannot be laid down so",
        "'fixed.holdout' says who is treated and who is held out of a playbook; the playbook must have a holdout, and "
        "one of 0 % or 100 % leaves no choice. The same goes for 'control_group' and the program's own. 'jitter' is "
        "shorter than 30m, and 'webhooks' names webhook steps whose answer somebody reads.",
        _HEAD + "fixed: {holdout: {example: {u1: treated}}}\n" + _EVENT + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
    "unknown-arm": Page(
        "an arm that does not exist",
        "'fixed.split' names an arm of a 'split' of the playbook, or step.arm where two splits have one of that name.",
        _HEAD + "fixed: {split: {example: {u1: coupon}}}\n" + _EVENT + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
    "not-manual": Page(
        "a playbook nobody can start by hand",
        "'trigger' stands for 'drumbeat trigger', which starts playbooks with the trigger {manual: true} or "
        "{webhook: true}. What other playbooks are triggered by is an 'event' of the timeline.",
        _HEAD + "timeline:\n  - {trigger: example, user: u1}\n" + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
    "unknown-task": Page(
        "a task no step gives",
        "'task_done' names the step that gave the task: its id, or playbook/step where two playbooks have one of that "
        "name.",
        _HEAD + _EVENT + "  - {task_done: call_back, user: u1}\n" + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
    "unknown-user": Page(
        "a user the scenario does not have",
        "Everybody a scenario speaks of stands under 'users'; '{}' is somebody of whom nothing is known yet.",
        _HEAD + "timeline:\n  - {at: +1d, event: order.paid, user: u2, data: {amount: 5}}\n" + _POINTS,
        _HEAD + _EVENT + _POINTS,
    ),
}
"""Each example is a scenario of the program that the tests of these pages build around it."""
