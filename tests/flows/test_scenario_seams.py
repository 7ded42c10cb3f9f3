"""Scenario tests with every trigger, step and belt of the language: one compact program each."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_kit import HEAD, played, program

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.insight.rehearsal import Rehearsed

ALWAYS = "entry: {mode: parallel, limit: unlimited}\n"
TEMPLATES = {"templates/hi.box.j2": "hi {{ user.id }}", "templates/hi.sms.j2": "hi {{ user.id }} by sms"}


def book(body: str, name: str = "p", entry: str = ALWAYS) -> dict[str, str]:
    """The file of one playbook."""
    return {f"playbooks/{name}.yaml": f"playbook: {name}\ntitle: t\n{entry}{body}\n"}


def policy(text: str, more: str = "") -> dict[str, str]:
    """The program file with belts of its own."""
    head = HEAD.split("policies:")[0] + "policies:\n  default:\n"
    consent = "consent: {marketing: required, community: none, service: opt_out, transactional: none}"
    return {"drumbeat.yaml": f"{head}    {consent}\n    {text}\n{more}"}


def ok(root: Path, scenario: str, *files: dict[str, str]) -> None:
    """The scenario holds."""
    given: dict[str, str] = {}
    for one in files:
        given |= one
    result = played(root, scenario, given)
    assert result.ok, "\n".join(report(result, root, 120))
    assert result.checks


def wrong(root: Path, scenario: str, *files: dict[str, str]) -> Rehearsed:
    """The scenario does not hold."""
    given: dict[str, str] = {}
    for one in files:
        given |= one
    result = played(root, scenario, given)
    assert not result.ok
    return result


# ---------------------------------------------------------------------- triggers

EVERY_DAY = book("trigger: {schedule: {cron: '0 10 * * *', audience: user.city == '上海'}}\nsteps: [{points: 1}]")


def test_slots_come_at_their_own_time(tmp_path: Path) -> None:
    """Semantics: schedule.when — nobody sends an event; slots begin with the scenario's clock, one at it is over."""
    ok(
        tmp_path,
        "clock: 2026-03-01T10:00:00Z\nusers: {u1: {city: 上海}, u2: {city: 杭州}}\nplaybooks: [p]\ntimeline:\n"
        "  - {at: +23h, expect: nothing}\n"
        "  - {at: +3d, expect: [{points: 1, user: u1, at: +1d}, {points: 1, at: +2d}, {points: 1, at: +3d}]}\n",
        EVERY_DAY,
    )


def test_an_event_at_the_instant_of_a_slot_comes_first(tmp_path: Path) -> None:
    """Semantics: order.events-first — who moves to the city at the very instant of a slot is in its audience."""
    ok(
        tmp_path,
        "clock: 2026-03-01T09:00:00Z\nusers: {u1: {city: 杭州}}\nplaybooks: [p]\ntimeline:\n"
        "  - {at: +1h, event: user.updated, data: {city: 上海}}\n  - {expect: [{points: 1, at: +1h}]}\n",
        EVERY_DAY,
    )


def test_slots_in_the_zone_of_each_user(tmp_path: Path) -> None:
    """Semantics: schedule.when — with zone: user the same wall time comes at another instant for each."""
    ok(
        tmp_path,
        "clock: 2026-03-01T00:00:00Z\nusers: {u1: {zone: Asia/Shanghai, city: a}, u2: {city: a}}\nplaybooks: [p]\n"
        "timeline:\n  - {at: +12h, expect: [{points: 1, user: u1, at: +2h}, {points: 1, user: u2, at: +10h}]}\n",
        policy("quiet_hours: never"),
        {"drumbeat.yaml": policy("quiet_hours: never")["drumbeat.yaml"].replace("{name:", "{zone: text | none, name:")},
        book("trigger: {schedule: {cron: '0 10 * * *', zone: user, audience: true}}\nsteps: [{points: 1}]"),
    )


def test_days_of_a_calendar(tmp_path: Path) -> None:
    """Semantics: calendar.when — the eve of a window of the catalog, once, in the program's zone."""
    ok(
        tmp_path,
        "clock: 2026-11-01T00:00:00Z\nusers: {u1: {city: a}}\nplaybooks: [p]\ntimeline:\n"
        "  - at: +20d\n    expect: [{entered: p, at: '2026-11-07T20:00:00Z'}, {points: 1, user: u1}]\n",
        {"playbooks/catalog/c.yaml": "calendars: {sale: {dates: [2026-11-08..2026-11-12]}}\n"},
        book("trigger: {calendar: {name: sale, offset: -1d, at: '20:00', audience: true}}\nsteps: [{points: 1}]"),
    )


def test_a_day_of_the_users_own(tmp_path: Path) -> None:
    """Semantics: date.when, date.missing — a trait of the past plus offset, each year; without the trait never."""
    head = HEAD.replace("{name:", "{birthday: date | none, name:")
    ok(
        tmp_path,
        "clock: 2026-03-01T00:00:00Z\nusers: {u1: {birthday: '1990-03-08'}, u2: {city: a}}\nplaybooks: [p]\n"
        "timeline:\n  - {at: +30d, expect: [{points: 9, user: u1, at: '2026-03-05T09:00:00Z'}]}\n"
        "  - {at: +380d, expect: [{points: 9, user: u1, at: '2027-03-05T09:00:00Z'}]}\n",
        {"drumbeat.yaml": head},
        book(
            "trigger: {date: {field: user.birthday, offset: -3d, at: '09:00', repeat: yearly}}\nsteps: [{points: 9}]"
        ),
    )


MANUAL = book("trigger: {manual: true, if: event.reason == '道歉'}\nsteps: [{points: '{{ event.points }}'}]")


def test_started_by_hand(tmp_path: Path) -> None:
    """Semantics: webhook.request — the entry stands for drumbeat trigger: its data is the event, its id counts once."""
    ok(
        tmp_path,
        "users: {u1: {}, u2: {}}\nplaybooks: [p]\ntimeline:\n"
        "  - {trigger: p, user: u1, data: {reason: 道歉, points: 7}, id: r1}\n"
        "  - {at: +1h, trigger: p, user: u1, data: {reason: 道歉, points: 7}, id: r1}\n"
        "  - {at: +1h, trigger: p, user: u2, data: {reason: other, points: 7}}\n"
        "  - {expect: [{entered: p, user: u1, at: +0h}, {points: 7, user: u1}]}\n",
        MANUAL,
    )


def test_no_event_can_stand_for_the_verb(tmp_path: Path) -> None:
    """A record of a feed starts nothing, also in a scenario: its type alone does not make it the verb."""
    ok(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [p]\ntimeline:\n"
        "  - {event: 'playbook.manual:p', data: {reason: 道歉, points: 7}}\n  - {expect: nothing}\n",
        MANUAL,
    )


def test_started_by_another_system(tmp_path: Path) -> None:
    """Semantics: webhook.request — the same entry starts a playbook with the trigger webhook."""
    ok(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [p]\ntimeline:\n  - {trigger: p}\n  - {expect: [{points: 3}]}\n",
        book("trigger: {webhook: true}\nsteps: [{points: 3}]"),
    )


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{trigger: thanks}", "not-manual"),
        ("{trigger: thank}", "unknown-playbook"),
        ("{trigger: p, data: 5}", "wrong-type"),
        ("{task_done: nobody}", "unknown-task"),
        ("{task_done: call, outcome: reachd}", "wrong-value"),
        ("{task_done: call}", "wrong-value"),
        ("{task_done: p/call, outcome: reached, user: u9}", "unknown-user"),
    ],
)
def test_a_verb_that_cannot_be_meant(entry: str, code: str, tmp_path: Path) -> None:
    """Unknown names in a test are errors: the playbook, the step, the outcome, the user."""
    task = "{task: {assign: li, title: call, due: 1d, outcomes: [reached, gone]}, id: call}"
    found = program(
        tmp_path, f"users: {{u1: {{}}}}\ntimeline: [{entry}]\n", book(f"trigger: {{manual: true}}\nsteps: [{task}]")
    )
    assert [it.code for it in found.problems if it.file.startswith("scenarios/")] == [code]


# ---------------------------------------------------------------------- steps

CALLED = book("trigger: {called: true}\nsteps: [{points: 5}]", "after")
STARTS = book("trigger: {event: app.opened}\nsteps: [{start: after}]")


def test_one_playbook_begins_another(tmp_path: Path) -> None:
    """``start`` is told by its own word; the other begins at the same instant. One that does not run is denied."""
    ok(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [p, after]\ntimeline:\n  - {event: app.opened}\n"
        "  - {expect: [{start: after, playbook: p}, {entered: after}, {points: 5, playbook: after}]}\n",
        STARTS,
        CALLED,
    )
    ok(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [p]\ntimeline:\n  - {event: app.opened}\n"
        "  - {expect: [{denied: start, starts: after, reason: not_running}]}\n",
        STARTS,
        CALLED,
    )


REPEAT = book(
    "trigger: {event: app.opened}\nsteps:\n"
    "  - {repeat: {times: 3, every: 1d, until: count('order.paid') >= 1, do: [{points: 1}]}, id: again}"
)


def test_rounds(tmp_path: Path) -> None:
    """``repeat``: each round at its own time, and no further one once ``until`` holds; both ways are covered."""
    files = {**REPEAT}
    text = (
        "users: {u1: {}, u2: {}}\nplaybooks: [p]\ntimeline:\n"
        "  - {event: app.opened, user: u1}\n  - {event: app.opened, user: u2}\n"
        "  - {at: +1d, expect: [{points: 1, user: u1, at: +0h}, {points: 1, user: u2, at: +0h}, "
        "{points: 1, user: u1, at: +1d}, {points: 1, user: u2, at: +1d}]}\n"
        "  - {at: +30h, event: order.paid, user: u2, data: {amount: 5}}\n"
        "  - {at: +9d, expect: [{points: 1, user: u1, at: +2d}, {finished: p, user: u1, at: +2d}, "
        "{finished: p, user: u2, at: +2d}]}\n"
    )
    ok(tmp_path, text, files)
    assert covered(tmp_path, text, files) == (set(), {"again: until", "again: times"})
    only = text.replace("  - {at: +30h, event: order.paid, user: u2, data: {amount: 5}}\n", "")
    assert covered(tmp_path, only, files)[0] == {"branches: again: until"}


def covered(root: Path, scenario: str, files: dict[str, str], name: str = "p") -> tuple[set[str], set[str]]:
    """(what no test went through, the branches and timeouts that were) of one playbook."""
    found = program(root, scenario, files)
    seen = Coverage()
    run_one(found, found.scenarios[0], seen, update=False)
    parts = seen.playbooks[name]
    gone = {it for part in ("branches", "timeouts") for it, hits in parts.hits[part].items() if hits}
    return set(parts.missed()), gone


TASK = book(
    "trigger: {event: app.opened}\nsteps:\n"
    "  - task: {assign: li, title: 'call {{ user.id }}', due: 1d, outcomes: [reached, gone], "
    "escalate: {after: 4h, to: zhou}}\n    id: call\n"
    "  - choose:\n      - {when: steps.call.outcome == 'reached', do: [{points: 8}]}\n      - otherwise: [{points: 1}]"
)


def test_tasks_and_their_outcomes(tmp_path: Path) -> None:
    """A task is closed by the entry or by the event, or is too late; it escalates while it is open.

    Semantics: task.outcome, task.due — a step for a human: owner, due, escalation, outcome.
    """
    text = (
        "users: {u1: {}, u2: {}, u3: {}}\nplaybooks: [p]\ntimeline:\n"
        "  - {event: app.opened, user: u1}\n  - {event: app.opened, user: u2}\n  - {event: app.opened, user: u3}\n"
        "  - {expect: [{task: call u1, assign: li, due: +1d, escalated: false}, {task: call u2}, {task: call u3}]}\n"
        "  - {at: +1h, task_done: call, user: u1, outcome: reached, by: li}\n"
        "  - {expect: [{points: 8, user: u1, at: +1h}]}\n"
        "  - {at: +2h, event: task.done, user: u2, data: {playbook: p, step: call, outcome: gone}}\n"
        "  - {expect: [{points: 1, user: u2}]}\n"
        "  - {at: +2d, expect: [{task: call u3, assign: zhou, escalated: true, at: +4h}, "
        "{points: 1, user: u3, at: +1d}]}\n"
    )
    ok(tmp_path, text, TASK)
    assert covered(tmp_path, text, TASK) == (
        set(), {"call: reached", "call: gone", "call: due", "choose[1]: when[0]", "choose[1]: otherwise"}
    )  # fmt: skip
    only = text.partition("  - {at: +1h")[0]
    assert {"branches: call: reached", "timeouts: call: due"} <= covered(tmp_path, only, TASK)[0]


WEBHOOK = {
    **book(
        "trigger: {event: app.opened}\nsteps:\n"
        "  - webhook: {url: 'https://crm.example/a', body: {user: '{{ user.id }}'}}\n    id: ask\n"
        "    on_error: [{points: 99}]\n"
        "  - {points: 2, if: steps.ask.status == 200 and steps.ask.body.vip}"
    ),
    "drumbeat.yaml": HEAD.replace("channels: {", "channels: {webhook: {via: file, path: w.jsonl}, "),
}


@pytest.mark.parametrize(
    ("answer", "then", "parts"),
    [
        ("{status: 200, body: {vip: true}}", [", {points: 2}"], {"ask: answer"}),
        ("{status: 404}", [""], {"ask: answer"}),
        ("no_answer", [", {points: 99}"], {"ask: no answer"}),
    ],
)
def test_answers_of_another_system(answer: str, then: list[str], parts: set[str], tmp_path: Path) -> None:
    """What another system answers is laid down, also that it never does; the step goes on accordingly."""
    text = (
        f"users: {{u1: {{}}}}\nplaybooks: [p]\nfixed: {{webhooks: {{p/ask: {answer}}}}}\ntimeline:\n"
        "  - {event: app.opened}\n"
        f"  - {{expect: [{{webhook: 'https://crm.example/a', method: POST, body: {{user: u1}}}}{then[0]}]}}\n"
    )
    ok(tmp_path, text, WEBHOOK)
    assert covered(tmp_path, text, WEBHOOK)[1] == parts


@pytest.mark.parametrize(
    "fixed",
    [
        "webhooks: {p/aks: {status: 200}}",
        "webhooks: {p/ask: {body: 5}}",
        "webhooks: {p/ask: nothing}",
        "control_group: {u1: treated}",
        "jitter: 30m",
        "jitter: {u9: 5m}",
    ],
)
def test_what_cannot_be_laid_down(fixed: str, tmp_path: Path) -> None:
    """A step that calls nobody, an answer without status, a control group there is not, too much jitter: errors."""
    found = program(
        tmp_path, f"users: {{u1: {{}}}}\nfixed: {{{fixed}}}\ntimeline: [{{expect: nothing}}]\n", WEBHOOK
    )
    assert {it.severity for it in found.problems if it.file.startswith("scenarios/")} == {"error"}


# ---------------------------------------------------------------------- belts

SAY = book("trigger: {event: app.opened}\nsteps: [{message: {template: hi, via: box, purpose: service}}]")
NIGHT = policy('quiet_hours: {from: "22:00", to: "08:00"}')
WAITS = (
    "clock: 2026-03-01T23:00:00Z\nusers: {u1: {}, u2: {}}\nplaybooks: [p]\nfixed: {jitter: JITTER}\ntimeline:\n"
    "  - {event: app.opened, user: u1}\n  - {event: app.opened, user: u2}\n  - {at: +8h59m, expect: [{entered: p}]}\n"
)


def test_quiet_hours_end_at_their_own_instant(tmp_path: Path) -> None:
    """Semantics: quiet.release — the clock stops at the release; its jitter is laid down, for all or user by user."""
    ok(
        tmp_path,
        WAITS.replace("JITTER", "0s")
        + "  - {at: +1d, expect: [{message: hi, user: u1, at: +9h}, {message: hi, user: u2, at: +9h}]}\n",
        NIGHT,
        SAY,
    )
    ok(
        tmp_path,
        WAITS.replace("JITTER", "{u1: 0s, u2: 29m}")
        + "  - {at: +1d, expect: [{message: hi, user: u1, at: +9h}, {message: hi, user: u2, at: +9h29m}]}\n",
        NIGHT,
        SAY,
    )


def test_without_it_the_jitter_is_that_of_the_daemon(tmp_path: Path) -> None:
    """Nothing is laid down unless it is written: then two users are not released at one instant."""
    text = WAITS.replace("fixed: {jitter: JITTER}\n", "") + "  - {at: +1d, expect: [{message: hi, at: +9h}]}\n"
    wrong(tmp_path, text, NIGHT, SAY)


CONTROL = "control_group: {percent: 5, salt: x, applies_to: [marketing]}\n"
OFFER = book("trigger: {event: app.opened}\nsteps: [{message: {template: hi, via: [sms, box], purpose: marketing}}]")
AGREED = "{consent: {sms: [marketing], box: [marketing]}}"


@pytest.mark.parametrize(
    ("word", "then"),
    [("treated", "{message: hi}"), ("held_out", "{message: hi, status: held_out, reason: control_group}")],
)
def test_the_control_group_is_laid_down(word: str, then: str, tmp_path: Path) -> None:
    """The program's control group: who is in it is said, whatever the hash says."""
    for user in ("u1", "u2"):
        ok(
            tmp_path,
            f"users: {{{user}: {AGREED}}}\nplaybooks: [p]\nfixed: {{control_group: {{{user}: {word}}}}}\n"
            f"timeline:\n  - {{event: app.opened}}\n  - {{expect: [{then}]}}\n",
            policy("quiet_hours: never", CONTROL),
            OFFER,
        )


def test_the_hour_of_the_user(tmp_path: Path) -> None:
    """``at: best_hour`` goes by the history of the scenario."""
    ok(
        tmp_path,
        "clock: 2026-03-01T00:00:00Z\nplaybooks: [p]\n"
        "users: {u1: {history: [{app.opened: {}, at: '2026-02-20T19:10:00Z', times: 4, every: 1d}]}}\n"
        "timeline:\n  - {event: order.paid, data: {amount: 5}}\n  - {at: +1d, expect: [{message: hi, at: +19h}]}\n",
        policy("quiet_hours: never"),
        book(
            "trigger: {event: order.paid}\n"
            "steps: [{message: {template: hi, via: box, purpose: service, at: best_hour}}]"
        ),
    )


def test_the_next_channel_after_a_definitive_failure(tmp_path: Path) -> None:
    """Semantics: channel.next — refused for good the next one carries it, at once and as one message."""
    ok(
        tmp_path,
        f"users: {{u1: {AGREED}}}\nplaybooks: [p]\nfixed: {{fail: [{{channel: sms, definitive: true}}]}}\ntimeline:\n"
        "  - {event: app.opened}\n"
        "  - {expect: [{message: hi, via: sms}, {failed: hi, via: sms, text: hi u1 by sms}, "
        "{sent: hi, via: box, text: hi u1, attempt: 1, at: +0h}]}\n",
        policy("quiet_hours: never"),
        OFFER,
    )


FLAKY = "fixed: {fail: [{channel: sms, attempt: 1}]}\n"
ONE_WAY = (
    "trigger: {event: app.opened}\nsteps:\n  - message: {template: hi, via: sms, purpose: marketing}\n  - wait: 3d\n"
)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [("goal: {event: order.paid, within: 3d}\n", "goal"), ("exit: [{event: order.paid}]\n", "exit[0]")],
)
def test_what_waits_is_taken_back(ends: str, reason: str, tmp_path: Path) -> None:
    """Semantics: exit.cancels — cancels what is queued: a message that waited for its second try is never sent."""
    ok(
        tmp_path,
        f"users: {{u1: {AGREED}}}\nplaybooks: [p]\n{FLAKY}timeline:\n  - {{event: app.opened}}\n"
        "  - {expect: [{message: hi}, {failed: hi, attempt: 1}]}\n"
        "  - {event: order.paid, data: {amount: 5}}\n"
        f"  - {{at: +1d, expect: [{{cancelled: hi, reason: '{reason}', via: sms, at: +0h}}]}}\n",
        policy("quiet_hours: never"),
        book(ends + ONE_WAY),
    )
    wrong(
        tmp_path,
        f"users: {{u1: {AGREED}}}\nplaybooks: [p]\n{FLAKY}timeline:\n  - {{event: app.opened}}\n"
        "  - {expect: [{message: hi}]}\n  - {event: order.paid, data: {amount: 5}}\n"
        "  - {at: +1d, expect: [{sent: hi}]}\n",
        policy("quiet_hours: never"),
        book(ends + ONE_WAY),
    )


def test_consent_is_judged_again_before_sending(tmp_path: Path) -> None:
    """Semantics: consent.twice — withdrawn between decision and sending: what waited for a second try is taken back."""
    ok(
        tmp_path,
        f"users: {{u1: {AGREED}}}\nplaybooks: [p]\n{FLAKY}timeline:\n  - {{event: app.opened}}\n"
        "  - {expect: [{message: hi}, {failed: hi, attempt: 1}]}\n"
        "  - {event: consent.revoked, data: {channel: sms, purpose: marketing}}\n"
        "  - {at: +1d, expect: [{cancelled: hi, reason: consent, user: u1, playbook: p}]}\n",
        policy("quiet_hours: never"),
        book(ONE_WAY),
    )


def test_days_of_silence(tmp_path: Path) -> None:
    """Semantics: gates.freeze — within the calendar it is suppressed; what is decided the day after goes out."""
    ok(
        tmp_path,
        f"clock: 2026-11-12T23:00:00Z\nusers: {{u1: {AGREED}}}\nplaybooks: [p]\ntimeline:\n"
        "  - {event: app.opened}\n  - {expect: [{suppressed: message, template: hi, reason: freeze}]}\n"
        "  - {at: +2h, event: app.opened}\n  - {expect: [{message: hi}]}\n",
        policy("quiet_hours: never\n    freeze: [sale]"),
        {"playbooks/catalog/c.yaml": "calendars: {sale: {dates: [2026-11-08..2026-11-12]}}\n"},
        OFFER,
    )


# ---------------------------------------------------------------------- statuses


@pytest.mark.parametrize("status", ["draft", "shadow", "paused", "archived"])
def test_a_playbook_that_is_named_is_live(status: str, tmp_path: Path) -> None:
    """What a test names is tested as if it were live, whatever its status."""
    ok(
        tmp_path,
        "users: {u1: {}}\nplaybooks: [p]\ntimeline:\n  - {event: app.opened}\n"
        "  - {expect: [{entered: p}, {message: hi}, {sent: hi}]}\n",
        policy("quiet_hours: never"),
        {"playbooks/p.yaml": SAY["playbooks/p.yaml"] + f"status: {status}\n"},
    )


@pytest.mark.parametrize(
    ("status", "then"),
    [("draft", "nothing"), ("paused", "nothing"), ("shadow", "[{entered: p}, {suppressed: message, reason: shadow}]")],
)
def test_a_playbook_that_is_not_named_has_its_status(status: str, then: str, tmp_path: Path) -> None:
    """A test that names nobody runs the program as it would be deployed."""
    ok(
        tmp_path,
        f"users: {{u1: {{}}}}\ntimeline:\n  - {{event: app.opened}}\n  - {{expect: {then}}}\n",
        policy("quiet_hours: never"),
        {"playbooks/p.yaml": SAY["playbooks/p.yaml"] + f"status: {status}\n"},
    )
