"""The lines of "Events and time" in ``run`` and ``ingest``: each test names the line it holds to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from crash_world import without_disk
from flow_program import Wall, compiled, effects_of, lines_of, run, write_feed
from semantics_kit import HEAD, Row, event

from engine import wiring
from engine.core.fold import Folding, bad_fields, traits
from engine.core.instants import format_instant, parse_instant
from engine.core.model import MINUTE, Event, State
from engine.door import read_event
from engine.language.compiled import Compiled
from engine.runtime.intake import Intake, retry
from engine.stores.sqlite import SqliteStore

NOW = "2026-03-10T00:00:00Z"
PLAYBOOKS = {
    "go": "trigger: {event: go}\nentry: {mode: parallel, limit: unlimited}\n"
    "steps: [{tag: {add: [go]}}, {wait: 1d}, {tag: {add: [later]}}]\n",
    "idle": "trigger: {inactivity: 2d, activity: [seen]}\nentry: {mode: parallel, limit: unlimited}\n"
    "steps: [{tag: {add: [idle]}}]\n",
    "two": "trigger: {count: {event: go, at_least: 2, within: 7d}}\nentry: {mode: parallel, limit: unlimited}\n"
    "steps: [{tag: {add: [two]}}]\n",
}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    root = tmp_path_factory.mktemp("program")
    (root / "playbooks").mkdir()
    (root / "drumbeat.yaml").write_text(HEAD + "feeds: [{file: feed/*.jsonl}]\n", encoding="utf-8")
    for id_, text in PLAYBOOKS.items():
        (root / f"playbooks/{id_}.yaml").write_text(f"playbook: {id_}\ntitle: t\n{text}", encoding="utf-8")
    return compiled(root)


def deliver(program: Compiled, root: Path, rows: Sequence[Row], *, now: str = NOW, batch: int = 500) -> None:
    """The feed as far as it goes, and one run over it, at a time of the machine's clock."""
    write_feed(root, lines_of(list(rows)))
    run(program, root, deliver=False, wall=Wall(parse_instant(now)), batch=batch)



def done(root: Path) -> list[tuple[str | None, str, str]]:
    return [(it.user, it.detail["add"][0], format_instant(it.time)[5:16]) for it in effects_of(root)]


class Look:
    """What a store holds."""

    def __init__(self, root: Path) -> None:
        store = SqliteStore.open(root / "s.db", read_only=True)
        self.clock = format_instant(store.clock())
        self.counts = store.counts()
        self.quarantine = [(it.reason, json.loads(it.raw)["id"]) for it in store.quarantine()]
        self.traits = {state.id: state.traits for state in store.subjects()}
        store.close()


def day(number: int, clock: str = "00:00") -> str:
    return f"2026-03-{number:02d}T{clock}:00Z"


# ---------------------------------------------------------------- clock of the engine


def test_machine_clock_that_jumped_ahead(program: Compiled, tmp_path: Path) -> None:
    """Semantics: clock.now, store.clock — a machine years ahead fires nothing: the engine follows the feed."""
    rows = [event("1", "go", day(1), "a"), event("2", "seen", day(1), "a"), event("3", "x", day(1, "12:00"), "b")]
    deliver(program, tmp_path, rows, now="2031-01-01T00:00:00Z")
    assert done(tmp_path) == [("a", "go", "03-01T00:00")]
    assert Look(tmp_path).clock == day(1, "12:00")
    rows.append(event("4", "x", day(4), "b"))
    deliver(program, tmp_path, rows)
    assert done(tmp_path)[1:] == [("a", "later", "03-02T00:00"), ("a", "idle", "03-03T00:00")]


def test_machine_clock_that_jumped_back(program: Compiled, tmp_path: Path) -> None:
    """Semantics: store.clock — never behind the last commit: what was decided stays, nothing fires again, and events
    that look like the future wait in quarantine until the clock is right.

    Failure: clock.back — until idle
    """
    rows = [event("1", "go", day(1), "a"), event("2", "x", day(5), "b")]
    deliver(program, tmp_path, rows)
    before = done(tmp_path)
    rows += [event("3", "go", day(6), "a"), event("4", "go", day(4), "c")]
    deliver(program, tmp_path, rows, now=day(2))
    seen = Look(tmp_path)
    assert seen.clock == day(5)
    assert seen.quarantine == [("future", "3"), ("future", "4")]
    assert done(tmp_path) == before == [("a", "go", "03-01T00:00"), ("a", "later", "03-02T00:00")]

    store = SqliteStore.open(tmp_path / "s.db")
    numbers = [it.number for it in store.quarantine()]
    taken, stay = retry(store, numbers, read_event, parse_instant(NOW), None)
    store.close()
    assert (taken.accepted, stay) == (2, {})
    deliver(program, tmp_path, rows)
    # they come in order of quarantine: 3 moves the clock on, and 4 is two days late then, so it only counts
    assert sorted(done(tmp_path)[2:]) == [("a", "go", "03-06T00:00"), ("a", "two", "03-06T00:00")]
    assert Look(tmp_path).counts["late"] == 1


def test_a_feed_that_goes_back(program: Compiled, tmp_path: Path) -> None:
    """Semantics: late.acts, late.state, store.clock — a day behind the last commit at most it acts, at the engine's
    clock; older it only counts. The clock never goes back for it."""
    rows = [event("1", "x", day(5), "b")]
    deliver(program, tmp_path, rows)
    rows += [event("2", "go", day(4), "a"), event("3", "go", day(3, "23:59"), "c")]
    deliver(program, tmp_path, rows)
    assert done(tmp_path) == [("a", "go", "03-05T00:00")]
    seen = Look(tmp_path)
    assert (seen.clock, seen.counts["late"]) == (day(5), 1)
    rows.append(event("4", "go", day(5), "c"))  # it finds the late one in its window
    deliver(program, tmp_path, rows)
    assert ("c", "two", "03-05T00:00") in done(tmp_path)


def test_late_activity_is_counted_at_its_own_time(program: Compiled, tmp_path: Path) -> None:
    """Semantics: late.state, clock.event-time — windows and clocks go by the event's own time, always: no idle spell
    that never was."""
    rows = [event("1", "seen", day(1), "a"), event("2", "x", day(2, "23:00"), "b")]
    deliver(program, tmp_path, rows)
    rows += [event("3", "seen", day(1, "12:00"), "a"), event("4", "x", day(4), "b")]
    deliver(program, tmp_path, rows)
    assert done(tmp_path) == [("a", "idle", "03-03T12:00")]


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_events_before_wake_ups(program: Compiled, tmp_path: Path, batch: int) -> None:
    """Semantics: order.events-first, inactivity.tie — at one instant events come first: an activity at the very
    deadline prevents the idle spell."""
    rows = [event("1", "seen", day(1), "a"), event("2", "seen", day(1), "b"), event("3", "seen", day(3), "b"),
            event("4", "x", day(4), "c")]  # fmt: skip
    deliver(program, tmp_path, rows, batch=batch)
    assert done(tmp_path) == [("a", "idle", "03-03T00:00")]


@pytest.mark.parametrize("gap", [0, 1, 2, 3])
def test_the_seam_between_two_runs(program: Compiled, tmp_path: Path, gap: int) -> None:
    """Semantics: order.batches — a feed decided in pieces has nothing twice and loses nothing, wherever it is cut."""
    rows = [event("1", "go", day(1), "a"), event("2", "seen", day(1), "a"), event("3", "x", day(2), "b"),
            event("4", "x", day(3), "b"), event("5", "x", day(5), "b")]  # fmt: skip
    deliver(program, tmp_path, rows[: 2 + gap])
    deliver(program, tmp_path, rows)
    assert done(tmp_path) == [
        ("a", "go", "03-01T00:00"), ("a", "later", "03-02T00:00"), ("a", "idle", "03-03T00:00"),
    ]  # fmt: skip


# ---------------------------------------------------------------- ids


def test_ids_are_remembered(program: Compiled, tmp_path: Path) -> None:
    """Semantics: event.remembered, event.duplicate — 36 days later a copy changes nothing, by any way in, whatever it
    contains."""
    rows = [event("1", "go", "2026-01-01T00:00:00Z", "a"), event("2", "x", "2026-02-06T00:00:00Z", "b")]
    deliver(program, tmp_path, rows)
    before, clock = done(tmp_path), Look(tmp_path).clock
    copy = event("1", "go", "2026-02-20T00:00:00Z", "somebody", zone="Asia/Tokyo")
    deliver(program, tmp_path, [*rows, copy])
    (tmp_path / "in.jsonl").write_bytes(lines_of([copy]))
    store = SqliteStore.open(tmp_path / "s.db")
    intake = Intake(store, Wall(parse_instant(NOW)))
    intake.take(wiring.read_records(tmp_path / "in.jsonl"))
    store.close()
    assert (intake.taken.duplicate, intake.taken.accepted) == (1, 0)
    deliver(program, tmp_path, [*rows, copy])
    assert done(tmp_path) == before
    assert Look(tmp_path).clock == clock


def test_future_ids_are_not_used_up(program: Compiled, tmp_path: Path) -> None:
    """Semantics: event.quarantine-id, late.future — what waits in quarantine claims no id: the same event sent right
    acts."""
    rows = [event("1", "go", "2027-01-01T00:00:00Z", "a"), event("1", "go", day(1), "a")]
    deliver(program, tmp_path, rows)
    assert done(tmp_path) == [("a", "go", "03-01T00:00")]
    assert Look(tmp_path).quarantine == [("future", "1")]


@pytest.mark.parametrize("ahead", [0, 5 * MINUTE, 5 * MINUTE + 1])
def test_ingest_refuses_the_future(tmp_path: Path, ahead: int) -> None:
    """Semantics: late.future — the same five minutes hold at `ingest`, by the machine's clock.

    Failure: event.future
    """
    now = parse_instant(NOW)
    (tmp_path / "in.jsonl").write_bytes(lines_of([event("1", "go", format_instant(now + ahead), "a")]))
    store = SqliteStore.open(tmp_path / "s.db")
    intake = Intake(store, Wall(now))
    intake.take(wiring.read_records(tmp_path / "in.jsonl"))
    refused = {"future": 1} if ahead > 5 * MINUTE else {}
    assert (intake.taken.accepted, dict(intake.taken.reasons)) == (1 - len(refused), refused)
    store.close()


# ---------------------------------------------------------------- fields


def test_a_bad_field_costs_the_field_only(program: Compiled, tmp_path: Path) -> None:
    """Semantics: event.bad-field — a bad *field* (time zone, e-mail) is quarantined, not the record; the old one
    stays."""
    rows = [
        event("1", "user.signup", day(1), "a", zone="Asia/Shanghai", city="x", email="a@shop.example"),
        event("2", "user.updated", day(2), "a", zone="Mars/Olympus", city="y", email="nobody"),
        event("3", "user.signup", day(2), "b", zone=8, city="z", email=None),
        event("4", "go", day(2), "b", zone="nowhere"),  # a field of an event like any other
    ]
    deliver(program, tmp_path, rows)
    seen = Look(tmp_path)
    assert seen.traits == {
        "a": {"zone": "Asia/Shanghai", "city": "y", "email": "a@shop.example"}, "b": {"city": "z", "email": None},
    }  # fmt: skip
    assert seen.quarantine == [("bad_field", "2"), ("bad_field", "3")]
    assert done(tmp_path)[0] == ("b", "go", "03-02T00:00")
    store = SqliteStore.open(tmp_path / "s.db")
    first = next(iter(store.quarantine()))
    assert first.message == (
        "'zone' is no time zone, 'email' is no e-mail address; the rest of the event was taken"
    )
    taken, _ = retry(store, [first.number], read_event, parse_instant(NOW), None)
    assert (taken.accepted, taken.duplicate) == (0, 1), "the event itself was decided: trying again changes nothing"
    store.close()


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("a@b", True), ("first.last+tag@mail.example", True), ("用户@例子.公司", True), ("a@b@c", False), ("@b", False),
        ("a@", False), ("a b@c", False), ("a@b\n", False), ("<a@b>", False), ("", False), (7, False), (None, True),
        ("x" * 250 + "@b.example", False),
    ],
)  # fmt: skip
def test_addresses(tmp_path: Path, value: object, good: bool) -> None:
    """What is taken for an e-mail address: one @ with something on both sides, nothing that could split a header."""
    state = State(id="u")
    sent = Event(id="1", type="user.signup", time=0, user="u", data={"email": value})
    traits(state, sent, Folding(frozenset(), frozenset(), frozenset()))
    assert ("email" in state.traits) == good
    assert (bad_fields(sent) == []) == good


def test_the_offset_of_a_time_is_no_zone(program: Compiled, tmp_path: Path) -> None:
    """Semantics: traits.offset — the same instant written at any offset is the same event."""
    rows = [event(f"{n}", "go", at, f"u{n}") for n, at in enumerate(
        ["2026-03-01T10:00:00Z", "2026-03-01T18:00:00+08:00", "2026-03-01T05:00:00-05:00", "2026-03-01T10:00:00-00:00"]
    )]  # fmt: skip
    deliver(program, tmp_path, rows)
    assert {(at, tag) for _, tag, at in done(tmp_path)} == {("03-01T10:00", "go")}
    assert Look(tmp_path).traits == {f"u{n}": {} for n in range(4)}
