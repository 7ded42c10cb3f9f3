"""Publishing over a store that knows people already: what time brings them afterwards, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from semantics_kit import event
from steps_kit import Live, write

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


def test_nobody_is_let_in_who_is_inside_already(tmp_path: Path) -> None:
    """What this version does not keep is refused, and not forgotten in silence."""
    text = "trigger: {segment: {enters: s}, existing: enter}\n" + ENTRY
    found = write(tmp_path, {"p": text}, catalog=SEEN)
    assert [it.code for it in found.problems if it.severity == "error"] == ["not-yet"]
    assert write(tmp_path, {"p": text.replace("enter}\n", "skip}\n")}, catalog=SEEN).plan is not None


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
