"""Playbooks begun by name: ``start`` and ``called``, ``manual`` and ``webhook``."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, event, play
from steps_kit import Live, seen, write

from engine.core.model import MAX_DEPTH, Event, State
from engine.core.moment import Moment

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ANY = "entry: {mode: parallel, limit: unlimited}\n"
CALLER = "trigger: {event: a}\n" + ANY + "steps: [{start: called}, {points: 1}]\n"
CALLED = "trigger: {called: true}\n" + ANY + "steps: [{tag: {add: [t]}}]\n"


def test_start_begins_the_other_for_the_same_subject(tmp_path: Path) -> None:
    """`start: playbook` begins the playbook at the very instant, and the caller goes on; its row is an `emit`."""
    programs = {"caller": CALLER, "called": "trigger: {called: true, if: event.caller == 'caller'}\n" + CALLED[24:]}
    rows = play(tmp_path, programs, [event("1", "a", "10:00"), END]).effects
    assert {(row["playbook"], row["kind"], row["time"], row["user"]) for row in rows} == {
        ("caller", "emit", "2026-03-01T10:00:00Z", "u1"),
        ("caller", "points", "2026-03-01T10:00:00Z", "u1"),
        ("called", "tag", "2026-03-01T10:00:00Z", "u1"),
    }
    emit = next(row for row in rows if row["kind"] == "emit")
    assert emit["detail"] == {"type": "playbook.called:called", "data": {"caller": "caller"}}


@pytest.mark.parametrize(
    ("entry", "feed", "begun"),
    [
        ("entry: once\n", ["10:00", "11:00"], ["10:00"]),
        ("entry: {mode: single, again_after: 2h}\n", ["10:00", "11:00", "12:00"], ["10:00", "12:00"]),
        ("when: count('a') >= 2\n" + ANY, ["10:00", "11:00"], ["11:00"]),
    ],
)
def test_the_entry_rules_of_the_called_one_apply(
    tmp_path: Path, entry: str, feed: list[str], begun: list[str]
) -> None:
    """Who is called still has to pass `when` and `entry` of the playbook."""
    called = "trigger: {called: true}\n" + entry + "steps: [{tag: {add: [t]}}]\n"
    events = [event(str(place), "a", time) for place, time in enumerate(feed)]
    rows = play(tmp_path, {"caller": CALLER, "called": called}, [*events, END]).effects
    assert [row["time"][11:16] for row in rows if row["kind"] == "tag"] == begun
    assert sum(row["kind"] == "emit" for row in rows) == len(feed)


def test_nobody_else_begins_a_called_playbook(tmp_path: Path) -> None:
    """A feed that sends the reserved type starts nothing, in `simulate` and in `run`.

    Semantics: reserved.requests
    """
    forged = event("1", "playbook.called:called", "10:00", caller="caller")
    assert play(tmp_path / "a", {"called": CALLED}, [forged, END]).effects == []
    live = Live(tmp_path / "b", {"called": CALLED})
    live.run(forged)
    live.run(event("2", "playbook.called:called", "11:00"), own=True)
    assert live.effects() == []


@pytest.mark.parametrize("status", ["draft", "paused", "archived"])
def test_one_that_is_not_running_is_denied(tmp_path: Path, status: str) -> None:
    """A start that begins nothing has its row too, with the reason."""
    rows = play(tmp_path, {"caller": CALLER, "called": f"status: {status}\n" + CALLED}, [event("1", "a", "10:00"), END])
    assert [(row["kind"], row["status"], row["reason"]) for row in rows.effects if row["kind"] != "points"] == [
        ("emit", "denied", "not_running")
    ]


def test_the_held_out_start_nothing(tmp_path: Path) -> None:
    """Semantics: holdout.walks — "a held-out subject walks the journey without external effects"."""
    caller = CALLER.replace("steps:", "holdout: {percent: 100}\nsteps:")
    rows = play(tmp_path, {"caller": caller, "called": CALLED}, [event("1", "a", "10:00"), END]).effects
    assert {(row["playbook"], row["kind"], row["status"]) for row in rows} == {
        ("caller", "emit", "held_out"),
        ("caller", "points", "held_out"),
    }


def test_a_chain_of_starts_is_cut(tmp_path: Path) -> None:
    """Semantics: loop.depth — "an emitted event carries a depth; 16 is the limit", for a chain too long and not a
    circle."""
    books = {"p00": "trigger: {event: a}\n" + ANY + "steps: [{start: p01}]\n"}
    for place in range(1, 20):
        step = f"{{start: p{place + 1:02d}}}" if place < 19 else "{points: 1}"
        books[f"p{place:02d}"] = "trigger: {called: true}\n" + ANY + f"steps: [{step}]\n"
    rows = play(tmp_path, books, [event("1", "a", "10:00"), END]).effects
    assert sum(row["status"] == "planned" for row in rows) == MAX_DEPTH
    assert [row["reason"] for row in rows if row["status"] != "planned"] == ["depth"]


def test_a_circle_of_starts_is_refused(tmp_path: Path) -> None:
    """Semantics: loop.seen — "`validate` rejects the cycles it can see": a start is an edge like an emit."""
    both = "trigger: [{event: a}, {called: true}]\n" + ANY
    found = write(tmp_path, {"p": both + "steps: [{start: q}]\n", "q": both + "steps: [{wait: 1d}, {start: p}]\n"})
    loops = [problem.message for problem in found.problems if problem.code == "trigger-loop"]
    assert loops == ["trigger loop: p (playbooks/p.yaml) starts q -> q (playbooks/q.yaml) starts p -> p"]


SET = "steps: [{set: {user.why: '{{ event.reason }}'}}]\n"
MANUAL = "trigger: {manual: true}\nwhen: event.reason != 'no'\n" + ANY + SET


@pytest.mark.parametrize("kind", ["manual", "webhook"])
def test_by_hand(tmp_path: Path, kind: str) -> None:
    """Semantics: reserved.requests, webhook.request — "an authenticated HTTP call, or `drumbeat trigger`": no feed can
    forge them."""
    live = Live(tmp_path, {"p": MANUAL.replace("manual", kind)})
    type_ = f"playbook.{kind}:p"
    live.run(event("1", type_, "10:00", reason="forged"))
    assert live.effects() == []
    live.run(event("2", type_, "11:00", reason="电话"), event("3", type_, "12:00", reason="no"), own=True)
    assert [it.detail for it in live.effects()] == [{"field": "user.why", "value": "电话"}]
    live.check_replay("u1")


def test_by_hand_is_no_activity(tmp_path: Path) -> None:
    """What others ask for is nothing the user did: `inactivity` goes on counting.

    Semantics: inactivity.external
    """
    idle = "trigger: {inactivity: 2h}\nentry: {mode: single}\nsteps: [{tag: {add: [idle]}}]\n"
    live = Live(tmp_path, {"p": MANUAL, "idle": idle})
    live.run(event("1", "b", "10:00"))
    live.run(event("2", "playbook.manual:p", "11:00", reason="x"), own=True)
    live.run(event("3", "b", "15:00", "u2"))
    assert [(it.kind, it.time % 86_400_000_000 // 3_600_000_000) for it in live.effects("tag")] == [("tag", 12)]


def test_by_hand_in_a_closed_program(tmp_path: Path) -> None:
    """`"*": closed` keeps unknown types of feeds out, and lets the request of a verb in.

    Semantics: event.closed
    """
    head = HEAD + "events: {b: {}, '*': closed}\n"
    live = Live(tmp_path / "a", {"p": MANUAL}, head=head)
    live.run(event("1", "playbook.manual:p", "10:00", reason="x"))
    live.run(event("2", "playbook.manual:p", "11:00", reason="y"), own=True)
    assert [it.reason for it in live.store.quarantine()] == ["unknown_type"]
    assert seen(live.effects()) == [("u1", "p", "planned")]
    rows = play(tmp_path / "b", {"p": MANUAL}, [event("1", "playbook.manual:p", "10:00", reason="x"), END], head=head)
    assert [row["detail"]["value"] for row in rows.effects] == ["x"]


def test_simulate_takes_a_record_for_the_verb(tmp_path: Path) -> None:
    """In a file given to `simulate` a record of the reserved type stands for `drumbeat trigger`: same rows as `run`."""
    asked = event("1", "playbook.manual:p", "10:00", reason="x")
    rows = play(tmp_path / "a", {"p": MANUAL}, [asked, END]).effects
    live = Live(tmp_path / "b", {"p": MANUAL})
    live.run(asked, own=True)
    assert [row["key"] for row in rows] == [it.key for it in live.effects()]


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_a_poisoned_batch_with_requests_in_it(tmp_path: Path, batch: int) -> None:
    """An event that breaks the deciding goes to quarantine alone, whoever put the others into the inbox."""
    live = Live(tmp_path, {"p": MANUAL})
    for place in range(3):
        live.put(event(f"m{place}", "playbook.manual:p", f"1{place}:00", f"u{place}", reason="x"), own=True)
        live.put(event(f"b{place}", "b", f"1{place}:30", f"u{place}"))
    live.plan.fuse()
    dispatch = live.plan.default
    way = dispatch.way

    def broken(m: Moment, state: State, event: Event, now: int) -> int:
        if event.id == "b1":
            raise RuntimeError("broken")
        return way(m, state, event, now)

    dispatch.way = broken
    live.run(batch=batch)
    assert [(it.reason, it.feed) for it in live.store.quarantine()] == [("poison", "inbox")]
    assert sorted(seen(live.effects())) == [(f"u{place}", "p", "planned") for place in range(3)]
