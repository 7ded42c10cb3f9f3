"""The lines of "Journeys" in semantics.md that ask for waits, branches, ends and ids, one test each at least."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import Row, event, play
from steps_kit import Live, write

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
GO = event("1", "a", "10:00")
T10 = "2026-03-01T10:00:00Z"


def deltas(rows: list[Row]) -> list[tuple[str, int]]:
    """(time, points) of each booking."""
    return sorted((row["time"][8:16], row["detail"]["delta"]) for row in rows if row["kind"] == "points")


# ---------------------------------------------------------------------- entry, publish, step ids


def test_an_edit_makes_no_new_key(tmp_path: Path) -> None:
    """Semantics: entry.published-again, step.titles — "Publishing again never re-enters anyone; editing, renaming a
    title or moving a file never makes a new key"."""
    book = "trigger: {event: a}\nentry: once\nsteps: [{points: 1, id: gift}]\n"
    live = Live(tmp_path, {"p": book})
    live.run(GO)
    (tmp_path / "playbooks" / "p.yaml").unlink()
    moved = tmp_path / "playbooks" / "spring" / "other-name.yaml"
    moved.parent.mkdir()
    text = "playbook: p\ntitle: 新的标题\n" + book.replace("points: 1", "points: 2")
    moved.write_text(text, encoding="utf-8")
    again = Live(tmp_path, {})
    again.store = live.store
    again.run(event("2", "a", "11:00"))
    assert [it.detail["delta"] for it in again.effects()] == [1]
    renamed = Live(tmp_path / "fresh", {"p": book})
    renamed.run(GO)
    assert [it.key for it in renamed.effects()] == [it.key for it in live.effects()]


def test_only_what_comes_after_publication_begins_journeys(tmp_path: Path) -> None:
    """Semantics: publish.only-after — "only events after publication start journeys": a new playbook hears none of
    before."""
    live = Live(tmp_path, {"old": ENTRY + "steps: [{points: 1}]\n"})
    live.run(GO)
    later = Live(tmp_path, {"new": ENTRY + "steps: [{points: 2}]\n"})
    later.store = live.store
    later.run(event("2", "b", "11:00"))
    assert [it.playbook for it in later.effects()] == ["old"]
    later.run(event("3", "a", "12:00"))
    assert sorted(it.playbook or "" for it in later.effects()) == ["new", "old", "old"]


def test_every_step_has_an_id(tmp_path: Path) -> None:
    """Semantics: step.ids — "explicit or derived from its kind and position path; ids are unique"."""
    steps = """steps:
  - points: 1
  - {points: 1, id: named}
  - choose:
      - {when: count("a") >= 1, do: [{points: 1}, {repeat: {times: 1, every: 1d, do: [{points: 1}]}}]}
      - otherwise: [{points: 1}]
  - {set: {user.x: "{{ event.gone + 'x' + 1 }}"}, on_error: [{points: 1}]}
"""
    found = write(tmp_path, {"p": ENTRY + steps})
    assert found.plan is not None, [str(it) for it in found.problems]
    assert list(found.plan.by_id["p"].nodes) == [
        "points[0]",
        "named",
        "choose[2]",
        "points[2].1[0]",
        "repeat[2].1[1]",
        "points[2].1[1].1[0]",
        "points[2].2[0]",
        "set[3]",
        "points[3].1[0]",
    ]
    twice = write(tmp_path / "b", {"p": ENTRY + "steps: [{points: 1, id: x}, {wait: 1d, id: x}]\n"})
    assert [it.code for it in twice.problems] == ["duplicate-id"]


# ---------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("when", "enters"),
    [
        ("count('a') == 1", True),  # the triggering event is in
        ("event.gone > 5", False),
        ("not (event.gone > 5)", True),
        ("event.gone + 1 == none", True),
        ("event.gone", False),
        ("event.gone == none", True),
        ("event.gone != 5", True),
        ("event.word > 5", None),
        ("not (event.word > 5)", None),
        ("event.word > 5 or true", None),
    ],
)
def test_conditions(tmp_path: Path, when: str, enters: bool | None) -> None:
    """Semantics: trigger.event, condition.state, condition.missing, condition.error — judged with the triggering event
    in; missing is none; an error is neither, also under `not`."""
    book = f'when: "{when}"\n' + ENTRY + "steps: [{points: 1}]\n"
    seen = play(tmp_path, {"p": book}, [event("1", "a", "10:00", word="x"), END])
    verdict = {True: "entered", False: "skipped", None: "error"}[enters]
    assert seen.verdicts("p") == [(T10, verdict)]
    assert len(seen.effects) == (enters is True)


# ---------------------------------------------------------------------- waits


PAST = '{until: event.time - duration("1h")}'


@pytest.mark.parametrize("wait", ["{days: 0}", "{until: now}", PAST, "{until: event.gone}"])
def test_a_wait_that_is_over_already(tmp_path: Path, wait: str) -> None:
    """Semantics: wait.past — "a zero or past instant goes on at once"; a missing one is now."""
    seen = play(tmp_path, {"p": ENTRY + f"steps: [{{wait: {wait}}}, {{points: 1}}]\n"}, [GO, END])
    assert deltas(seen.effects) == [("01T10:00", 1)]


WAIT_FOR = "steps: [{wait_for: {event: b, up_to: 1h, then: [{points: 1}], else: [{points: 2}]}}, {points: 3}]\n"


@pytest.mark.parametrize(
    ("feed", "came"),
    [
        ([event("2", "b", "09:59"), GO], None),
        ([event("2", "b", "10:00"), GO], None),  # the same instant, and before it in the feed
        ([GO, event("2", "b", "10:00")], "01T10:00"),
        ([GO, event("2", "b", "10:59"), event("3", "b", "11:00")], "01T10:59"),
        ([GO, event("2", "b", "11:00")], "01T11:00"),
        ([GO, event("2", "b", "11:01")], None),
        ([GO, event("2", "b", "10:30", "u2")], None),
    ],
)
@pytest.mark.parametrize("batch", [1, 500])
def test_wait_for(tmp_path: Path, feed: list[Row], came: str | None, batch: int) -> None:
    """Semantics: wait-for.after, wait-for.deadline — "`wait_for` sees events after the one that reached the step in
    (time, feed position) order, later ones at the same instant included; an event exactly at the `up_to` deadline is
    in time"."""
    seen = play(tmp_path, {"p": ENTRY + WAIT_FOR}, [*feed, END], batch=batch)
    at, way = (came, 1) if came is not None else ("01T11:00", 2)
    assert deltas(seen.effects) == [(at, way), (at, 3)]


def test_wait_for_if_and_stop(tmp_path: Path) -> None:
    """`if` speaks of the arriving event and of `entry`; `else: stop` ends the journey; without branches both go on."""
    step = "{event: [b, c], if: event.n > entry.n, up_to: 1h, else: stop}"
    book = ENTRY + f"steps: [{{wait_for: {step}}}, {{points: 3}}]\n"
    feed = [event("1", "a", "10:00", n=5), event("2", "b", "10:10", n=5), event("3", "c", "10:20", n=6), END]
    assert deltas(play(tmp_path, {"p": book}, feed).effects) == [("01T10:20", 3)]
    seen = play(tmp_path, {"p": book}, [*feed[:2], END])
    assert (seen.effects, seen.outcome.journeys["running"]) == ([], 0)


def test_an_if_of_wait_for_that_errs_parks(tmp_path: Path) -> None:
    """Semantics: condition.parked — an error in `wait_for.if` is neither true nor false: the run is parked."""
    book = ENTRY + "steps: [{wait_for: {event: b, if: event.n > 3, up_to: 1h, else: [{points: 2}]}}]\n"
    seen = play(tmp_path, {"p": book}, [GO, event("2", "b", "10:10", n="x"), END])
    assert [verdict for _, verdict in seen.verdicts("p")] == ["entered", "error"]
    assert (seen.effects, seen.outcome.journeys["running"]) == ([], 1)


# ---------------------------------------------------------------------- branches and ends


@pytest.mark.parametrize(("n", "way"), [(9, [1, 4]), (6, [2, 4]), (1, [3, 4])])
def test_choose_takes_the_first_that_fits(tmp_path: Path, n: int, way: list[int]) -> None:
    """`choose`: "first match"; `otherwise` takes the rest; every branch goes on behind the step.

    Semantics: branch.choose
    """
    branches = "{when: event.n > 8, do: [{points: 1}]}, {when: event.n > 5, do: [{points: 2}]}"
    book = ENTRY + f"steps: [{{choose: [{branches}, {{otherwise: [{{points: 3}}]}}]}}, {{points: 4}}]\n"
    assert [it for _, it in deltas(play(tmp_path, {"p": book}, [event("1", "a", "10:00", n=n), END]).effects)] == way


def test_choose_without_a_fit_goes_on(tmp_path: Path) -> None:
    """No branch fits and there is no `otherwise`: the journey goes on; an empty branch does, too.

    Semantics: branch.choose
    """
    branches = "{when: event.n > 8, do: [{points: 1}]}, {when: event.n > 5, do: []}"
    book = ENTRY + f"steps: [{{choose: [{branches}]}}, {{points: 4}}]\n"
    for n in (1, 6):
        assert deltas(play(tmp_path, {"p": book}, [event("1", "a", "10:00", n=n), END]).effects) == [("01T10:00", 4)]


def test_stop_ends_the_whole_journey(tmp_path: Path) -> None:
    """`stop` ends the journey from inside any branch or round; a guarded one only for whom it is meant."""
    inner = "{choose: [{when: count('b') >= 1, do: [{stop: had enough}]}]}"
    book = ENTRY + f"steps: [{{repeat: {{times: 3, every: 1d, do: [{inner}, {{points: 1}}]}}}}, {{points: 9}}]\n"
    seen = play(tmp_path, {"p": book}, [GO, event("2", "b", "2026-03-02T12:00:00Z"), END])
    assert deltas(seen.effects) == [("01T10:00", 1), ("02T10:00", 1)]
    assert seen.verdicts("p")[-1] == ("2026-03-03T10:00:00Z", "finished")
    assert seen.decisions[-1]["why"][0]["text"] == "stop"


@pytest.mark.parametrize(
    ("frame", "verdict", "text"),
    [
        ("exit: [{event: b, if: event.n == entry.n}]\n", "exited", "exit[0]"),
        ("goal: {event: b, if: event.n == entry.n, within: 1d}\n", "finished", "goal"),
        ("exit: [{if: count('b') >= 2}]\n", "exited", "exit[0]"),
    ],
)
def test_exit_and_goal_end_the_run_at_that_event(tmp_path: Path, frame: str, verdict: str, text: str) -> None:
    """Semantics: exit.ends — "the event that satisfies `exit`/`goal` ends the run at that event, and is traced"."""
    wait = "{wait_for: {event: b, if: event.n == 7, up_to: 1d, then: [{points: 1}]}}"
    book = frame + ENTRY + f"steps: [{wait}, {{points: 2}}]\n"
    feed = [event("1", "a", "10:00", n=7), event("2", "b", "10:10", n=6), event("3", "b", "10:20", n=7), END]
    seen = play(tmp_path, {"p": book}, feed)
    assert seen.effects == []
    assert seen.verdicts("p")[-1] == ("2026-03-01T10:20:00Z", verdict)
    ended = [row["why"][0]["text"] for row in seen.decisions if row["verdict"] == verdict]
    assert ended == [text]


def test_a_split_is_sticky_over_re_entry(tmp_path: Path) -> None:
    """Semantics: split.sticky — "sticky over re-entry", and over an edit: the salt is the playbook's id."""
    arms = "{arms: [{name: x, weight: 50, do: [{points: 1}]}, {name: y, weight: 50, do: [{points: 2}]}]}"
    book = ENTRY + f"steps: [{{split: {arms}, id: ab}}]\n"
    feed = [event(f"{n}-{u}", "a", f"1{n}:00", f"u{u}") for n in range(3) for u in range(40)]
    seen = play(tmp_path / "a", {"p": book}, [*feed, END])
    arms_of: dict[str, set[int]] = {}
    for row in seen.effects:
        arms_of.setdefault(row["user"], set()).add(row["detail"]["delta"])
    assert all(len(it) == 1 for it in arms_of.values())
    assert {next(iter(it)) for it in arms_of.values()} == {1, 2}
    titled = play(tmp_path / "b", {"p": book + "owner: somebody\n"}, [*feed, END])
    assert titled.effects == seen.effects
