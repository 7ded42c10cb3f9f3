"""``task``: rows, waiting for people, what closes a task, escalation and business hours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live

from engine.core.instants import format_instant
from engine.core.model import Effect

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
GO = event("1", "a", "10:00", name="小明")
ASK = """steps:
  - task: {assign: ops-li, title: "回访 {{ event.name }}", due: 2h, outcomes: [reached, no_answer]}
    id: call
  - set: {user.call: "{{ steps.call.outcome }}", user.by: "{{ steps.call.by }}"}
"""


def done(id_: str, time: str, task: str, **data: Any) -> Row:
    """The word of somebody that a task is done."""
    return event(id_, "task.done", time, task=task, **data)


def key_of(live: Live) -> str:
    """The key of the first task."""
    return live.effects("task")[0].key


def brief(effects: list[Effect]) -> list[tuple[str, str, Any]]:
    """(time, field, value) of each ``set``."""
    return [(format_instant(it.time)[11:16], it.detail["field"], it.detail["value"]) for it in effects]


def test_the_row(tmp_path: Path) -> None:
    """A task has its row: `{assign, title, due}`, with what else the step says.

    Semantics: task.row
    """
    steps = "steps: [{task: {assign: '{{ user.get(\"owner\") }}', title: t, body: {n: '{{ event.n }}', of: [1]}}}]\n"
    feed = [event("0", "user.updated", "09:00", owner="ops-li"), event("1", "a", "10:00", n=1.50), END]
    rows = play(tmp_path, {"p": ENTRY + steps}, feed).effects
    assert [(row["kind"], row["detail"]) for row in rows] == [
        ("task", {"assign": "ops-li", "title": "t", "due": None, "body": {"n": 1.5, "of": [1]}})
    ]
    rows = play(tmp_path, {"p": ENTRY + ASK}, [GO, END]).effects
    assert rows[0]["detail"] == {
        "assign": "ops-li",
        "title": "回访 小明",
        "due": "2026-03-01T12:00:00Z",
        "outcomes": ["reached", "no_answer"],
    }


def test_without_outcomes_nobody_waits(tmp_path: Path) -> None:
    """A task without `outcomes` is given and the journey goes on; any `task.done` closes it.

    Semantics: task.row
    """
    live = Live(tmp_path, {"p": ENTRY + "steps: [{task: {assign: li, title: t, due: 1d}}, {tag: {add: [x]}}]\n"})
    live.run(GO)
    assert [it.kind for it in live.effects()] == ["task", "tag"]
    assert [task.title for task in live.state().tasks] == ["t"]
    live.run(done("2", "11:00", "another"))
    assert len(live.state().tasks) == 1
    live.run(done("3", "12:00", key_of(live), outcome="whatever"))
    assert len(live.state().tasks) == 0


@pytest.mark.parametrize("own", [True, False])
def test_with_outcomes_the_journey_waits(tmp_path: Path, own: bool) -> None:
    """Semantics: task.outcome — "outcome event": `task.done` with the task and one of its outcomes goes on, whoever
    sent it."""
    live = Live(tmp_path, {"p": ENTRY + ASK})
    live.run(GO)
    key = key_of(live)
    live.run(done("2", "10:10", "x" * 32, outcome="reached"), own=own)
    live.run(done("3", "10:20", key, outcome="lunch"), own=own)
    live.run(event("4", "task.done", "10:25", "u2", task=key, outcome="reached"), own=own)
    assert live.running() == ["p"]
    assert len(live.state().tasks) == 1
    live.run(done("5", "10:30", key, outcome="reached", by="li"), own=own)
    assert brief(live.effects("set")) == [("10:30", "user.call", "reached"), ("10:30", "user.by", "li")]
    assert (live.running(), list(live.state().tasks)) == ([], [])
    live.check_replay("u1", "u2")


def test_named_by_its_step(tmp_path: Path) -> None:
    """A system that does not keep keys names playbook and step: the task of this user that stands open there."""
    live = Live(tmp_path, {"p": ENTRY + ASK})
    live.run(GO, event("2", "a", "10:00", "u2", name="x"))
    live.run(event("3", "task.done", "10:10", playbook="p", step="other", outcome="reached"))
    live.run(event("4", "task.done", "10:11", outcome="reached"))
    assert live.running() == ["p"]
    live.run(event("5", "task.done", "10:12", playbook="p", step="call", outcome="reached"))
    assert (live.running(), list(live.state().tasks), live.running("u2")) == ([], [], ["p"])
    live.check_replay("u1", "u2")


@pytest.mark.parametrize(("time", "outcome", "at"), [("12:00", "reached", "12:00"), ("12:01", None, "12:00")])
def test_due(tmp_path: Path, time: str, outcome: str | None, at: str) -> None:
    """Semantics: task.due — "due": then, inclusive, the journey goes on with outcome none; a late word closes the
    task."""
    live = Live(tmp_path, {"p": ENTRY + ASK})
    live.run(GO)
    live.run(done("2", time, key_of(live), outcome="reached"))
    assert brief(live.effects("set"))[0] == (at, "user.call", outcome)
    assert list(live.state().tasks) == []
    live.check_replay("u1")


def test_without_due_it_waits_as_long_as_it_takes(tmp_path: Path) -> None:
    """Nobody is hurried on when no `due` is written."""
    live = Live(tmp_path, {"p": ENTRY + ASK.replace("due: 2h, ", "")})
    live.run(GO, event("2", "b", "2028-01-01T00:00:00Z"))
    assert (live.running(), live.state().wake_at) == (["p"], None)
    live.run(event("3", "task.done", "2028-01-02T00:00:00Z", task=key_of(live), outcome="no_answer"))
    assert [it.detail["value"] for it in live.effects("set")] == ["no_answer", None]


@pytest.mark.parametrize(
    ("frame", "last"),
    [
        ("exit: [{event: b}]\n", event("2", "b", "11:00")),
        ("goal: {event: b, within: 1d}\n", event("2", "b", "11:00")),
        ("", event("2", "user.deleted", "11:00")),
    ],
)
def test_the_end_of_the_journey_withdraws_what_it_waits_for(tmp_path: Path, frame: str, last: Row) -> None:
    """Semantics: task.withdrawn — "ends the run at that event": the task it stands at is withdrawn; erasure too."""
    steps = "steps: [{task: {assign: x, title: free}}, {task: {assign: li, title: asked, outcomes: [ok]}}]\n"
    live = Live(tmp_path, {"p": ENTRY + frame + steps})
    live.run(GO)
    assert [task.title for task in live.state().tasks] == ["free", "asked"]
    live.run(last)
    left = [task.title for task in live.state().tasks]
    assert left == ([] if last["type"] == "user.deleted" else ["free"])


def test_escalation(tmp_path: Path) -> None:
    """Semantics: task.escalation — "escalation": tells another person by time, once, in a row of its own; not when it
    is done."""
    steps = "steps: [{task: {assign: li, title: t, due: 1h, escalate: {after: 3h, to: boss}}}]\n"
    live = Live(tmp_path, {"p": ENTRY + steps})
    live.run(GO, event("2", "a", "10:00", "u2"))
    second = next(it for it in live.effects("task") if it.user == "u2")
    live.run(event("3", "task.done", "13:00", "u2", task=second.key))  # exactly then is in time
    live.run(event("4", "b", "20:00", "u3"))
    rows = [it for it in live.effects("task") if "escalates" in it.detail]
    first = next(it for it in live.effects("task") if it.user == "u1")
    assert [(it.user, format_instant(it.time), it.playbook, it.status) for it in rows] == [
        ("u1", "2026-03-01T13:00:00Z", "p", "planned")
    ]
    due = "2026-03-01T11:00:00Z"
    assert rows[0].detail == {"assign": "boss", "title": "t", "due": due, "escalates": first.key}
    assert rows[0].key != first.key
    live.check_replay("u1", "u2")


def test_the_held_out_and_the_shadows_get_no_task(tmp_path: Path) -> None:
    """Held-out subjects and shadow playbooks bother nobody, and walk on.

    Semantics: holdout.walks
    """
    for frame, status in (("holdout: {percent: 100}\n", "held_out"), ("status: shadow\n", "suppressed")):
        live = Live(tmp_path / status, {"p": frame + ENTRY + ASK})
        live.run(GO)
        assert {it.status for it in live.effects()} == {status}
        assert (live.running(), list(live.state().tasks)) == ([], [])


def test_business_hours(tmp_path: Path) -> None:
    """Semantics: task.business-hours — "business-hours calendar": `due` and `after` count in it, in the program's
    zone."""
    head = HEAD + 'timezone: Asia/Shanghai\nbusiness_hours: {from: "09:00", to: "18:00", calendar: off}\n'
    catalog = "calendars: {off: {holidays: CN, days_off: [2026-03-09]}}\n"
    steps = "steps: [{task: {assign: li, title: t, due: 4h, escalate: {after: 1d, to: boss}, outcomes: [ok]}}]\n"
    live = Live(tmp_path, {"p": ENTRY + steps}, head=head, catalog=catalog)
    # Friday 17:00 in Shanghai; Monday is off; the user's own zone is not asked
    live.run(event("0", "user.updated", "2026-03-06T08:00:00Z", zone="America/New_York"))
    live.run(event("1", "a", "2026-03-06T09:00:00Z"), END)
    rows = live.effects("task")
    assert rows[0].detail["due"] == "2026-03-10T04:00:00Z"
    assert format_instant(rows[1].time) == "2026-03-10T09:00:00Z"


def test_in_every_round_of_a_repeat(tmp_path: Path) -> None:
    """Each round gives a task of its own; a word about the first does not close the second."""
    steps = """steps:
  - repeat:
      times: 3
      every: 1d
      until: steps.call.outcome == "reached"
      do:
        - task: {assign: li, title: t, due: 4h, outcomes: [reached, no_answer]}
          id: call
"""
    live = Live(tmp_path, {"p": ENTRY + steps})
    live.run(GO)
    first = key_of(live)
    live.run(done("2", "11:00", first, outcome="no_answer"))
    live.run(event("3", "b", "2026-03-02T11:00:00Z"))
    tasks = live.effects("task")
    assert len({it.key for it in tasks}) == len(tasks) == 2
    live.run(event("4", "task.done", "2026-03-02T11:30:00Z", task=first, outcome="reached"))
    assert live.running() == ["p"]
    live.run(event("5", "task.done", "2026-03-02T12:00:00Z", task=tasks[1].key, outcome="reached"))
    assert live.running() == []


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("{assign: li, title: '{{ event.gone }}'}", "missing_variable"),
        ("{assign: '{{ event.gone }}', title: t}", "missing_variable"),
        ("{assign: li, title: t, escalate: {after: 1h, to: '{{ event.gone }}'}}", "missing_variable"),
        ("{assign: li, title: '{{ event.name + 1 }}'}", "error"),
    ],
)
def test_a_task_that_cannot_be_worked_out(tmp_path: Path, step: str, reason: str) -> None:
    """What cannot be worked out is given to nobody; its row says why, and the journey goes on per `on_error`."""
    live = Live(tmp_path, {"p": ENTRY + f"steps: [{{task: {step}}}, {{tag: {{add: [x]}}}}]\n"})
    live.run(GO)
    assert [(it.kind, it.reason) for it in live.effects()] == [("task", reason), ("tag", None)]
    assert list(live.state().tasks) == []
