"""Steps at contested points; each test quotes the line of the design it holds to."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, event, play

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"


@pytest.mark.parametrize("per", ["7d", "day"])
@pytest.mark.parametrize("on_cap", ["skip", "wait", "exit"])
def test_a_cap_of_never(tmp_path: Path, per: str, on_cap: str) -> None:
    """ "`0` is refused: write `never`": nothing passes such a cap, and nobody waits for it.

    Semantics: cap.never
    """
    step = f"steps: [{{message: {{template: hi, purpose: marketing, on_cap: {on_cap}}}}}]\n"
    head = HEAD + f"    caps: [{{purpose: marketing, max: never, per: {per}}}]\n"
    seen = play(tmp_path, {"p": ENTRY + step}, [event("1", "a", "10:00"), END], head=head)
    assert seen.brief() == [("2026-03-01T10:00:00Z", "message[0]", "message", "cap")]
    assert seen.outcome.journeys["running"] == 0


@pytest.mark.parametrize("until", ["event.time", 'event.time - duration("1h")'])
def test_wait_for_a_time_that_is_not_ahead(tmp_path: Path, until: str) -> None:
    """ "`wait`, `wait_for` ...; a zero or past instant goes on at once".

    Semantics: wait.past
    """
    step = f"{{event: b, up_to: {{until: '{until}'}}, then: [{{points: 1}}], else: [{{points: 2}}]}}"
    feed = [event("1", "a", "10:00"), event("2", "b", "10:00"), END]
    seen = play(tmp_path, {"p": ENTRY + f"steps: [{{wait_for: {step}}}]\n"}, feed)
    assert [(row["time"], row["detail"]["delta"]) for row in seen.effects] == [("2026-03-01T10:00:00Z", 2)]


def test_a_loop_of_steps_at_one_instant_ends(tmp_path: Path) -> None:
    """ "an emitted event carries a depth; 16 is the limit": a wait for what is past does not begin the count anew.

    Semantics: loop.depth
    Failure: loops.cut
    """
    text = (
        "trigger: {event: points.changed, if: event.delta == 1}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps: [{wait_for: {event: b, up_to: {until: now}}}, {points: 1}]\n"
    )
    seen = play(tmp_path, {"p": text}, [event("1", "points.changed", "10:00", account="main", delta=1), END])
    assert len(seen.effects) == 17


def test_a_storm_of_events_is_cut(tmp_path: Path) -> None:
    """Each event of a chain sends two more, for others too: 65,535 would follow from one. A thousand effects are made,
    playbooks that would go on have an error, the operator is told once, and the next event is decided as ever.

    Semantics: storm.bound
    Failure: loops.cut — a storm
    """
    send = "{emit: {type: e%d, user: '{{ user.id }}%s'}}"
    storm = {
        f"p{n:02d}": f"trigger: {{event: e{n}}}\nentry: {{mode: parallel, limit: unlimited}}\n"
        f"steps: [{send % (n + 1, 'a')}, {send % (n + 1, '')}]\n"
        for n in range(16)
    }
    feed = [event("1", "e0", "10:00"), event("2", "e15", "10:01"), event("3", "e9", "10:02", "u2"), END]
    seen = play(tmp_path, storm, feed)
    times = [row["time"][11:16] for row in seen.effects]
    assert (times.count("10:00"), times.count("10:01"), times.count("10:02")) == (1_000, 2, 2 * (2**7 - 1))
    reached = [it for it in seen.decisions if it["verdict"] == "error" and "at most 1,000 effects" in str(it["why"])]
    assert {it["time"][11:16] for it in reached} == {"10:00"}


def test_many_steps_at_one_event_are_cut(tmp_path: Path) -> None:
    """Three playbooks of 400 steps each at one event: the third stops in the middle, with an error, and stays there.

    Semantics: storm.bound — without any emit
    """
    steps = "steps: [" + ", ".join(["{points: 1}"] * 400) + "]\n"
    names = ("a", "b", "c")
    seen = play(tmp_path, dict.fromkeys(names, ENTRY + steps), [event("1", "a", "10:00"), END])
    made = [row["playbook"] for row in seen.effects]
    assert [made.count(name) for name in names] == [400, 400, 200]
    assert seen.outcome.journeys["running"] == 1


@pytest.mark.parametrize(
    ("value", "due"),
    [("2026-03-05T08:00:00+08:00", "2026-03-05T00:00:00Z"), ("2026-02-05T08:00:00Z", "2026-03-01T10:00:00Z")],
)
def test_wait_until_a_time_in_the_payload(tmp_path: Path, value: str, due: str) -> None:
    """ "for an undeclared event type any field is allowed": a time in it is RFC 3339 text, as for `older_than`."""
    step = "steps: [{wait: {until: event.at}}, {tag: {add: [t]}}]\n"
    seen = play(tmp_path, {"p": ENTRY + step}, [event("1", "a", "10:00", at=value), END])
    assert seen.brief() == [(due, "tag[1]", "tag", "planned")]


def test_wait_until_a_date(tmp_path: Path) -> None:
    """ "`{until: expr}`": a date is its midnight in the subject's zone, as everywhere."""
    step = "steps: [{wait: {until: event.day}}, {tag: {add: [t]}}]\n"
    head = HEAD + "timezone: Asia/Shanghai\nevents: {a: {day: date}}\n"
    seen = play(tmp_path, {"p": ENTRY + step}, [event("1", "a", "10:00", day="2026-03-05"), END], head=head)
    assert seen.brief() == [("2026-03-04T16:00:00Z", "tag[1]", "tag", "planned")]


def test_a_step_that_cannot_be_worked_out_has_its_row(tmp_path: Path) -> None:
    """ "A step that runs always has its row"; "a suppressed or denied effect has its row too"."""
    steps = (
        "steps:\n"
        "  - message: {template: hi, purpose: marketing, with: {x: '{{ event.n + 1 }}'}}\n"
        "  - points: '{{ event.n }}'\n"
        "  - points: '{{ event.gone }}'\n"
        "  - emit: {type: q, user: '{{ event.gone }}'}\n"
        "  - set: {user.a: '{{ event.n + 1 }}', user.b: 2}\n"
    )
    seen = play(tmp_path, {"p": ENTRY + steps}, [event("1", "a", "10:00", n="x"), END])
    rows = {(row["step"], row["status"], row["reason"]) for row in seen.effects}
    assert rows == {
        ("message[0]", "suppressed", "error"),
        ("points[1]", "suppressed", "error"),
        ("points[2]", "suppressed", "missing_variable"),
        ("emit[3]", "suppressed", "missing_variable"),
        ("set[4]", "suppressed", "error"),
    }
    assert len({row["key"] for row in seen.effects}) == len(seen.effects) == 6


def test_a_match_that_errs_parks(tmp_path: Path) -> None:
    """ "A condition that *errors* parks that run with an alert": the `match` of a group is one.

    Semantics: group.match, condition.parked
    """
    catalog = (
        "groups: {g: {title: t, topic: t, owner: o, match: 'user.get(\"age\") > 3', "
        "rooms: [{id: r, link: 'https://x', capacity: 2}]}}\n"
    )
    feed = [event("0", "user.updated", "09:00", age="x"), event("1", "a", "10:00"), END]
    seen = play(tmp_path, {"p": ENTRY + "steps: [{invite: g}, {tag: {add: [t]}}]\n"}, feed, catalog=catalog)
    assert seen.effects == []
    assert [verdict for _, verdict in seen.verdicts("p")] == ["entered", "error"]
    assert seen.outcome.journeys["running"] == 1
