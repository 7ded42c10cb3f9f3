"""Entries at contested points; each test quotes the line of the design it holds to."""

from __future__ import annotations

from pathlib import Path

from semantics_kit import event, play

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
QUEUE = "trigger: {event: a}\nentry: {mode: queue, limit: unlimited}\n"


def test_the_event_that_frees_the_queue_does_nothing_to_the_next_journey(tmp_path: Path) -> None:
    """ "*queue*: after it" and "`wait_for` sees events after the one that reached the step".

    Semantics: entry.queue
    """
    steps = (
        "exit: [{event: b, if: event.x == 1}]\nsteps: [{wait_for: {event: b, up_to: 1d, else: [{tag: {add: [t]}}]}}]\n"
    )
    feed = [event("1", "a", "10:00"), event("2", "a", "11:00"), event("3", "b", "12:00", x=0), END]
    seen = play(tmp_path, {"p": QUEUE + steps}, feed)
    assert [row["time"] for row in seen.effects] == ["2026-03-02T12:00:00Z"]


def test_an_exit_does_not_end_the_journey_it_lets_begin(tmp_path: Path) -> None:
    """ "the event that satisfies `exit`/`goal` ends the run at that event": the run, not the one queued behind it.

    Semantics: entry.queue
    """
    feed = [event("1", "a", "10:00"), event("2", "a", "11:00"), event("3", "x", "12:00"), END]
    seen = play(tmp_path, {"p": QUEUE + "exit: [{event: x}]\nsteps: [{wait: 5d}, {tag: {add: [t]}}]\n"}, feed)
    assert seen.brief() == [("2026-03-06T12:00:00Z", "tag[1]", "tag", "planned")]


def test_what_never_began_is_not_counted_as_ended(tmp_path: Path) -> None:
    """ "*restart*: the running one is cancelled first"; the summary counts journeys started, finished and running."""
    text = "trigger: {event: a}\nentry: {mode: restart, limit: 1/day}\nsteps: [{tag: {add: [t]}}]\n"
    feed = [event("0", "a", "09:00", "u0"), event("1", "a", "10:00"), event("2", "a", "11:00"), END]
    seen = play(tmp_path, {"p": text}, feed)
    assert seen.outcome.journeys == {"started": 2, "finished": 2, "running": 0}


def test_an_erased_user_begins_nothing(tmp_path: Path) -> None:
    """ "`user.deleted`: future effects cancelled at once": also those of entries still in the queue.

    Semantics: erasure.state
    """
    feed = [event("1", "a", "10:00"), event("2", "a", "11:00"), event("3", "user.deleted", "12:00"), END]
    seen = play(tmp_path, {"p": QUEUE + "steps: [{tag: {add: [t]}}, {wait: 5d}]\n"}, feed)
    assert [row["time"] for row in seen.effects] == ["2026-03-01T10:00:00Z"]
    assert seen.outcome.journeys == {"started": 1, "finished": 1, "running": 0}


def test_an_erasure_moves_nobody_into_a_segment_or_tier(tmp_path: Path) -> None:
    """ "`user.deleted`: traits, events and rendered texts gone"; what is empty then is no news to tell.

    Semantics: erasure.silent
    """
    text = "trigger: {segment: {enters: fresh}}\nentry: {mode: single}\nsteps: [{tag: {add: [t]}}]\n"
    catalog = (
        "segments: {fresh: {if: 'count(\"a\") == 0'}}\n"
        "tiers: {m: {metric: 'count(\"a\")', levels: {low: 0, high: 1}}}\n"
    )
    feed = [event("1", "a", "10:00"), event("2", "user.deleted", "11:00"), event("3", "b", "12:00"), END]
    seen = play(tmp_path, {"p": text}, feed, catalog=catalog)
    assert seen.brief() == [("2026-03-01T10:00:00Z", None, "tier", "planned")]


def test_a_limit_hides_no_condition(tmp_path: Path) -> None:
    """ "`why`: [{at, value, text, seen}]" holds what was judged, whether or not the entry has a limit."""
    text = "trigger: {event: a}\nwhen: event.n > 1\nentry: {mode: single, limit: 1/day, on_limit: drop}\n"
    feed = [event("1", "a", "10:00", n=3), event("2", "a", "11:00", n=4), END]
    seen = play(tmp_path, {"p": text + "steps: [{tag: {add: [t]}}]\n"}, feed)
    whys = {row["verdict"]: [why["at"] for why in row["why"]] for row in seen.decisions}
    assert whys["entered"] == ["when[0]"]
    assert whys["capped"] == ["when[0]", "entry.limit"]


def test_several_triggers_give_one_verdict(tmp_path: Path) -> None:
    """ "`--decisions` writes one object for each playbook looked at"; "several make any-of".

    Semantics: trigger.any-of
    """
    text = "trigger: [{event: a, if: event.n > 5}, {event: a, if: event.n > 1}]\nentry: {mode: single}\n"
    feed = [event("1", "a", "10:00", n=3), event("2", "a", "11:00", n=0), END]
    seen = play(tmp_path, {"p": text + "steps: [{wait: 1h}]\n"}, feed)
    begun = [(row["verdict"], [why["value"] for why in row["why"]]) for row in seen.decisions[:2]]
    assert begun[0] == ("entered", [False, True])
    assert ("skipped", [False, False]) in [(row["verdict"], [w["value"] for w in row["why"]]) for row in seen.decisions]
    assert [row["verdict"] for row in seen.decisions].count("skipped") == 1


def test_a_queue_keeps_the_rest_between_journeys(tmp_path: Path) -> None:
    """'again_after counts from the end of the last journey': also for the entry that waits in its queue.

    Semantics: entry.again-after
    """
    book = """
trigger: {event: go}
entry: {mode: queue, again_after: 2d, limit: unlimited}
steps:
  - {wait: 1d, id: w}
  - {tag: {add: [x]}, id: t}
"""
    seen = play(
        tmp_path,
        {"p": book},
        [event("a", "go", "10:00"), event("b", "go", "11:00"), event("z", "other", "2026-03-09T00:00:00Z")],
    )
    assert [row[0] for row in seen.brief("tag")] == ["2026-03-02T10:00:00Z", "2026-03-05T10:00:00Z"]


def test_a_counting_trigger_that_stays_silent_is_a_skip(tmp_path: Path) -> None:
    """'one object for each playbook looked at': also when its trigger heard the event and did not fire."""
    book = """
trigger: {count: {event: go, at_least: 2}}
entry: {mode: parallel, limit: unlimited}
steps: [{tag: {add: [x]}, id: t}]
"""
    seen = play(tmp_path, {"p": book}, [event("a", "go", "10:00"), event("b", "go", "11:00")])
    assert seen.verdicts("p") == [("2026-03-01T10:00:00Z", "skipped"), ("2026-03-01T11:00:00Z", "entered")]
    why = {"at": "trigger", "value": False, "text": "count('go') >= 2", "seen": {"count('go')": 1}}
    assert seen.decisions[0]["why"] == [why]
