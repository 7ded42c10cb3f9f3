"""Publishing over a store that knows people already: what time brings them afterwards, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from semantics_kit import event, play
from steps_kit import Live, event_of, write

from engine.core.instants import format_instant
from engine.insight.replay import course
from engine.stores.memory import MemoryStore

ENTRY = "entry: {mode: single}\nsteps: [{tag: {add: [heard]}}]\n"
BEFORE = {
    # keeps the histories the later ones ask for; nobody ever gets there
    "before": "trigger: {count: {event: a, at_least: 99}}\n" + ENTRY,
    "clock": "trigger: {inactivity: 300d, activity: [a]}\n" + ENTRY,
}


def day(number: int) -> str:
    return f"2026-03-{number:02d}T00:00:00Z"


def published(
    root: Path, later: Mapping[str, str], *, first: str = "", then: str = "", before: Mapping[str, str] = BEFORE
) -> Live:
    """u1 was seen on the 1st; the engine stands on the 10th when other playbooks come, with another catalog."""
    old = Live(root / "old", before, catalog=first)
    old.run(event("1", "a", day(1)), event("2", "x", day(10), "clock"))
    new = Live(root / "new", {**before, **later}, catalog=then)
    new.store = old.store
    return new


def heard(live: Live) -> list[tuple[str | None, str]]:
    return [(it.playbook, format_instant(it.time)) for it in live.effects("tag") if it.user == "u1"]


@pytest.mark.parametrize("activity", ["", ", activity: [a]"])
@pytest.mark.parametrize(
    ("idle", "existing", "fires"),
    [
        ("5d", "", []),  # idle for longer at publication: out, unless the playbook asks for them
        ("5d", ", existing: skip", []),
        ("5d", ", existing: enter", [day(10)]),
        ("9d", "", [day(10)]),  # idle for just as long now: that happens now
        ("15d", "", [day(16)]),  # becomes idle after publication, without any event
        ("15d", ", existing: enter", [day(16)]),
        ("{days: 15, at: '00:00'}", "", [day(16)]),
    ],
)
def test_who_was_idle_when_the_playbook_came(
    tmp_path: Path, activity: str, idle: str, existing: str, fires: list[str]
) -> None:
    """A spell that ends after the publication fires; one that had ended before only where `existing: enter` says so.

    Semantics: publish.timed, publish.existing-idle
    """
    live = published(tmp_path, {"p": f"trigger: {{inactivity: {idle}{activity}{existing}}}\n{ENTRY}"})
    live.run(event("3", "x", day(25), "clock"))
    assert heard(live) == [("p", at) for at in fires]
    live.run(event("4", "x", day(30), "clock"))
    assert heard(live) == [("p", at) for at in fires]
    live.check_replay("u1")


def test_existing_people_enter_within_the_limit(tmp_path: Path) -> None:
    """A crowd that is idle at publication does not come in at once where the entry has a limit.

    Semantics: publish.existing-idle, limit.window
    """
    old = Live(tmp_path / "old", BEFORE)
    old.run(*(event(f"e{n}", "a", day(1), f"u{n}") for n in range(5)), event("x", "x", day(10), "clock"))
    text = "trigger: {inactivity: 5d, activity: [a], existing: enter}\nentry: {mode: single, limit: 2/day}\n"
    new = Live(tmp_path / "new", {**BEFORE, "p": text + "steps: [{tag: {add: [heard]}}]\n"})
    new.store = old.store
    new.run(event("y", "x", day(25), "clock"))
    assert [format_instant(it.time) for it in new.effects("tag")] == [day(10)] * 2 + [day(11)] * 2 + [day(12)]


SEEN = "segments: {s: {if: 'count(\"a\") >= 1'}}\n"
IDLE = "segments: {s: {if: user.last_active_at is older_than('15d')}}\n"
LONG = "segments: {s: {if: user.last_active_at is older_than('5d')}}\n"


@pytest.mark.parametrize(
    ("segment", "fires"),
    [
        (SEEN, []),  # in it already: nothing happens to u1
        (LONG, []),
        (IDLE, [day(16)]),  # gets into it by time alone, without any event
    ],
)
def test_who_was_in_a_segment_when_the_playbook_came(tmp_path: Path, segment: str, fires: list[str]) -> None:
    """Who is in the segment at publication did not just enter it; who gets in afterwards does, by time too.

    Semantics: publish.timed, segment.recompute
    """
    live = published(tmp_path, {"p": f"trigger: {{segment: {{enters: s}}}}\n{ENTRY}"}, then=segment)
    live.run(event("3", "x", day(25), "clock"))
    assert heard(live) == [("p", at) for at in fires]
    live.run(event("4", "x", day(26)))
    assert heard(live) == [("p", at) for at in fires]


@pytest.mark.parametrize(
    ("segment", "fires"),
    [
        (SEEN, [day(10)]),  # in it at publication: at once
        (LONG, [day(10)]),
        (IDLE, [day(16)]),  # not yet in it: when it gets there, as anybody
        ("segments: {s: {if: 'user.x + 1 > 0'}}\n", []),  # what cannot be judged is in no segment
    ],
)
def test_who_is_in_a_segment_enters_where_the_playbook_says_so(
    tmp_path: Path, segment: str, fires: list[str]
) -> None:
    """With `existing: enter` those who are in the segment at publication begin then, without any event, and once.

    Semantics: publish.existing-segment
    """
    live = published(tmp_path, {"p": EXISTING}, then=segment)
    live.run()
    assert heard(live) == [("p", at) for at in fires if at == day(10)]
    live.run(event("3", "x", day(25), "clock"))
    live.run(event("4", "x", day(26)))
    assert heard(live) == [("p", at) for at in fires]
    live.check_replay("u1", "clock")


EXISTING = (
    "trigger: {segment: {enters: s}, existing: enter}\nentry: {mode: parallel, limit: unlimited}\n"
    "steps: [{tag: {add: [heard]}}]\n"
)


@pytest.mark.parametrize("existing", ["skip", "enter"])
def test_the_newest_event_of_all_lies_before_the_publication(tmp_path: Path, existing: str) -> None:
    """Whose own event set the engine's clock is in the segment by it, and enters once with `existing: enter`, else not.

    Semantics: publish.timed, publish.existing-segment
    """
    before = {"before": "trigger: {count: {event: a, at_least: 99, within: 30d}}\n" + ENTRY}
    old = Live(tmp_path / "old", before)
    old.run(event("1", "a", day(1)), event("2", "a", day(10)))
    window = TWICE.replace(")", ", within=\"30d\")")
    new = Live(tmp_path / "new", {**before, "p": EXISTING.replace("enter}", existing + "}")}, catalog=window)
    new.store = old.store
    new.run()
    new.run(event("3", "x", day(25), "clock"))
    assert heard(new) == ([("p", day(10))] if existing == "enter" else [])
    new.check_replay("u1")


TWICE = "segments: {s: {if: 'count(\"a\") >= 2'}}\n"


def test_publishing_again_lets_nobody_in_twice(tmp_path: Path) -> None:
    """Who entered by an event, or was let in once, is not let in by an edit, a pause, or a change of `existing`.

    Semantics: publish.existing-segment, entry.published-again
    """
    before = {**BEFORE, "p": EXISTING.replace("enter}", "skip}")}
    live = Live(tmp_path / "0", before, catalog=SEEN)
    live.run(event("1", "a", day(1)), event("2", "x", day(10), "clock"))
    texts = [
        EXISTING,
        EXISTING.replace("heard", "heard, also"),
        "status: paused\n" + EXISTING,
        EXISTING,
        EXISTING.replace("trigger: {", "trigger: [{event: z}, {").replace("enter}", "enter}]"),
    ]
    for place, text in enumerate(texts):
        later = Live(tmp_path / f"{place + 1}", {**BEFORE, "p": text}, catalog=SEEN)
        later.store = live.store
        later.run(event(f"e{place}", "x", day(11 + place), "clock"))
        assert heard(later) == [("p", day(1))]
        if "paused" not in text:  # a replay asks what the present playbooks make of it
            later.check_replay("u1")


def test_a_paused_playbook_is_published_when_it_opens(tmp_path: Path) -> None:
    """Who is in the segment when a playbook opens for the first time enters then, and not while it was paused.

    Semantics: publish.existing-segment
    """
    live = published(tmp_path, {"p": "status: paused\n" + EXISTING}, then=SEEN)
    live.run(event("3", "x", day(12), "clock"))
    assert heard(live) == []
    opened = Live(tmp_path / "open", {**BEFORE, "p": EXISTING}, catalog=SEEN)
    opened.store = live.store
    opened.run(event("4", "x", day(13), "clock"))
    assert heard(opened) == [("p", day(12))]


def test_members_enter_within_the_limit(tmp_path: Path) -> None:
    """A crowd that is in the segment at publication does not come in at once where the entry has a limit.

    Semantics: publish.existing-segment, limit.window
    """
    old = Live(tmp_path / "old", BEFORE)
    old.run(*(event(f"e{n}", "a", day(1), f"u{n}") for n in range(5)), event("x", "x", day(10), "clock"))
    text = EXISTING.replace("unlimited", "2/day")
    new = Live(tmp_path / "new", {**BEFORE, "p": text}, catalog=SEEN)
    new.store = old.store
    new.run(event("y", "x", day(25), "clock"))
    assert [format_instant(it.time) for it in new.effects("tag")] == [day(10)] * 2 + [day(11)] * 2 + [day(12)]
    new.check_replay("u3")


@pytest.mark.parametrize("batch", [1, 500])
def test_history_before_the_first_run_counts_as_there(tmp_path: Path, batch: int) -> None:
    """Whom history puts into the segment enters at its end with `existing: enter`; who gets in later, then; none twice.

    Semantics: publish.existing-segment, history.silent
    """
    live = Live(tmp_path, {**BEFORE, "p": EXISTING}, catalog=TWICE)
    past = [event_of(event(f"h{n}", "a", day(at), user)) for n, (at, user) in enumerate(PAST)]
    for one in past:
        one.history = True
    live.store.ingest([(one, b"") for one in past], [])
    live.run(batch=batch)
    assert live.effects("tag") == []  # the engine's clock has not begun
    live.run(event("1", "x", day(12), "clock"), event("2", "a", day(13), "late"), batch=batch)
    rows = [(it.user, format_instant(it.time)) for it in live.effects("tag")]
    assert sorted(rows) == [("in", day(9)), ("late", day(13)), ("newest", day(9))]
    live.run(event("3", "x", day(25), "clock"), batch=batch)
    assert len(live.effects("tag")) == 3
    live.check_replay("in", "late", "newest", "out")


PAST = [(1, "in"), (2, "in"), (3, "out"), (4, "late"), (5, "newest"), (9, "newest")]


def test_history_of_those_who_are_known_lets_nobody_in(tmp_path: Path) -> None:
    """History that comes later moves people into segments silently, also with `existing: enter`.

    Semantics: publish.existing-segment, history.silent
    """
    live = Live(tmp_path, {**BEFORE, "p": EXISTING}, catalog=SEEN)
    live.run(event("1", "a", day(5)), event("2", "x", day(5)))
    for number in (1, 2):
        old = event_of(event(f"h{number}", "a", day(number)))
        old.history = True
        live.store.ingest([(old, b"")], [])
    live.run()
    live.run(event("3", "x", day(25), "clock"))
    assert heard(live) == [("p", day(5))]
    live.check_replay("u1")


def test_nobody_is_there_at_the_beginning_of_a_simulation(tmp_path: Path) -> None:
    """In `simulate` the program is there from the beginning, so `existing` lets nobody in, and `run` does the same.

    Semantics: publish.existing-segment
    """
    rows = [event("1", "x", day(1)), event("2", "a", day(2)), event("3", "a", day(3), "u2")]
    empty = "segments: {s: {if: 'count(\"x\") == 0'}}\n"  # u1 and u2 stood in it before anything was known of them
    for place, catalog in enumerate((SEEN, empty)):
        found = []
        for existing in ("enter", "skip"):
            text = EXISTING.replace("enter}", existing + "}")
            seen = play(tmp_path / f"{place}{existing}", {"p": text}, rows, catalog=catalog)
            live = Live(tmp_path / f"{place}{existing}-run", {"p": text}, catalog=catalog)
            live.run(*rows)
            times = [(row["user"], row["time"]) for row in seen.effects if row["kind"] == "tag"]
            assert times == [(it.user, format_instant(it.time)) for it in live.effects("tag")]
            found.append(times)
        assert found[0] == found[1] == ([("u1", day(2)), ("u2", day(3))] if catalog == SEEN else [])


def test_who_has_left_a_segment_is_not_known(tmp_path: Path) -> None:
    """`existing: enter` goes with `enters` alone: who never was in a segment has not left it."""
    text = EXISTING.replace("enters", "leaves")
    found = write(tmp_path, {"p": text}, catalog=SEEN)
    assert [it.code for it in found.problems if it.severity == "error"] == ["conflict"]
    assert write(tmp_path, {"p": text.replace("enter}", "skip}")}, catalog=SEEN).plan is not None


def test_a_segment_in_the_place_of_another(tmp_path: Path) -> None:
    """To rename a segment, or to put another in its place, lets nobody enter.

    Semantics: publish.timed
    """
    before = {**BEFORE, "old": "trigger: {segment: {leaves: s}}\n" + ENTRY}
    live = published(
        tmp_path, {"old": "trigger: {segment: {enters: t}}\n" + ENTRY}, first=SEEN, then=SEEN.replace("{s:", "{t:"),
        before=before,
    )  # fmt: skip
    live.run(event("3", "a", day(11)), event("4", "x", day(25), "clock"))
    assert heard(live) == []
    assert "t" in live.state().segments


def test_a_ladder_in_the_place_of_another(tmp_path: Path) -> None:
    """A renamed ladder is worked out from where its people stand, and decays by time alone.

    Semantics: publish.timed, tier.unused
    """
    ladder = "tiers: {%s: {metric: 'count(\"a\", within=\"14d\")', levels: {low: 0, high: 1}}}\n"
    live = published(tmp_path, {}, first=ladder % "m", then=ladder % "n")
    live.run(event("3", "x", day(25), "clock"))
    rows = [(format_instant(it.time), it.detail) for it in live.effects("tier")]
    assert rows == [
        (day(1), {"ladder": "m", "from": "low", "to": "high"}),
        (day(15), {"ladder": "n", "from": "high", "to": "low"}),
    ]
    assert list(live.store.quarantine()) == []


HEARS = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [heard]}}]\n"


def at_ten(hour: int) -> str:
    return f"2026-03-10T{hour:02d}:00:00Z"


def test_a_late_event_from_before_the_publication_starts_nothing(tmp_path: Path) -> None:
    """What comes late and is older than the playbook does not start it, though it would be young enough to act.

    Semantics: publish.only-after, late.acts
    """
    old = Live(tmp_path / "old", {**BEFORE, "known": HEARS})
    old.run(event("1", "a", day(1)), event("2", "x", at_ten(10), "clock"))
    new = Live(tmp_path / "new", {**BEFORE, "known": HEARS, "p": HEARS})
    new.store = old.store
    new.run(event("3", "a", at_ten(9)), event("4", "a", at_ten(10)), event("5", "a", at_ten(11)))
    # by the engine's clock, which an event that comes late does not turn back
    known = [day(1), at_ten(10), at_ten(10), at_ten(11)]
    assert sorted(heard(new)) == [("known", at) for at in known] + [("p", at) for at in known[2:]]
    story = course(new.plan, new.store, "u1", fresh=MemoryStore)
    refused = [it for it in story.decisions if it.playbook == "p" and it.cause == {"event": "3"}]
    assert [(it.verdict, [why.at for why in it.why]) for it in refused] == [("skipped", ["published"])]


def test_the_line_of_a_publication_holds_again_after_a_pause(tmp_path: Path) -> None:
    """Late events from a pause, or from the time before it, start nothing once the playbook is open again.

    Semantics: publish.only-after
    """
    live = Live(tmp_path / "1", {**BEFORE, "p": HEARS})
    live.run(event("1", "a", at_ten(1)))
    paused = Live(tmp_path / "2", {**BEFORE, "p": "status: paused\n" + HEARS})
    paused.store = live.store
    paused.run(event("2", "x", at_ten(10), "clock"))
    again = Live(tmp_path / "3", {**BEFORE, "p": HEARS})
    again.store = live.store
    again.run(event("3", "a", at_ten(9)), event("4", "x", at_ten(12), "clock"), event("5", "a", at_ten(11)))
    assert heard(again) == [("p", at_ten(1)), ("p", at_ten(12))]
    again.check_replay("u1")


def test_the_first_publication_of_all_hears_the_whole_backlog(tmp_path: Path) -> None:
    """On a store that knows nobody there is no time before: a backlog is decided from its first event on.

    Semantics: publish.only-after, late.acts
    """
    live = Live(tmp_path, {"p": HEARS})
    live.run()
    live.run(event("1", "a", at_ten(8)), event("2", "x", at_ten(10), "clock"), event("3", "a", at_ten(9)))
    assert heard(live) == [("p", at_ten(8)), ("p", at_ten(10))]


@pytest.mark.parametrize("move", ["enters", "leaves"])
def test_moves_within_the_history_are_nobodys(tmp_path: Path, move: str) -> None:
    """What time alone moved before the end of the history starts nothing; what it moves afterwards does, then.

    Semantics: history.silent, segment.recompute
    """
    catalog = "segments: {s: {if: 'count(\"a\", within=\"5d\") >= 1'}, t: {if: 'count(\"a\", within=\"5d\") == 0'}}\n"
    segment = "s" if move == "leaves" else "t"
    live = Live(tmp_path, {"p": f"trigger: {{segment: {{{move}: {segment}}}}}\n{ENTRY}"}, catalog=catalog)
    for number, (at, user) in enumerate([(1, "u1"), (12, "u2"), (13, "zz")]):
        old = event_of(event(f"h{number}", "a", day(at), user))
        old.history = True
        live.store.ingest([(old, b"")], [])
    live.run()
    live.run(event("3", "x", day(20), "clock"))
    moved = [(it.user, format_instant(it.time)) for it in live.effects("tag")]
    assert moved == [("u2", day(17)), ("zz", day(18))]
    live.check_replay("u1", "u2", "zz")


def test_what_a_verb_asks_for_is_meant_for_now(tmp_path: Path) -> None:
    """A request may carry a time before the publication where events ran ahead of the machine's clock: it acts.

    Semantics: publish.only-after, webhook.request
    """
    old = Live(tmp_path / "old", BEFORE)
    old.run(event("1", "a", at_ten(1)), event("2", "x", at_ten(10), "clock"))
    new = Live(tmp_path / "new", {**BEFORE, "p": HEARS.replace("event: a", "manual: true")})
    new.store = old.store
    new.run(event("3", "playbook.manual:p", at_ten(9)), own=True)
    assert heard(new) == [("p", at_ten(10))]
