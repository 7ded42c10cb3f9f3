"""``run`` over SQLite decides what ``simulate`` decides, whatever the batches, the ways in and the crowds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import (
    BASE,
    Wall,
    compiled,
    effects_of,
    lines_of,
    make_events,
    picture,
    run,
    simulated,
    write_feed,
    write_program,
)

from engine import wiring
from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, MINUTE
from engine.language.compiled import Compiled
from engine.runtime import session
from engine.runtime.intake import Intake
from engine.stores.sqlite import SqliteStore

BATCHES = (1, 7, 500, 5_000)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(write_program(tmp_path_factory.mktemp("program")))


def crowd(users: int, seed: int) -> list[dict[str, Any]]:
    """Many people who do the same at the same instants, so that hundreds of wake-ups fall due together."""
    rng = random.Random(seed)
    made = []
    for at, kind, share in (
        (0, "user.signup", 1), (0, "order.paid", 0.5), (DAY, "app.opened", 0.5), (2 * DAY, "order.paid", 0.3),
        (4 * DAY, "app.opened", 0.2), (9 * DAY, "order.paid", 0.1),
    ):  # fmt: skip
        for user in range(users):
            if rng.random() < share:
                data: dict[str, Any] = {"amount": 20} if kind == "order.paid" else {}
                if kind == "user.signup" and user:
                    data = {"inviter": f"u{rng.randrange(user):02d}"}
                made.append({"type": kind, "user": f"u{user:02d}", "time": format_instant(BASE + at), "data": data})
    made.append({"type": "app.opened", "user": "last", "time": format_instant(BASE + 30 * DAY), "data": {}})
    return [{"id": f"c{number}", **event} for number, event in enumerate(made)]


def run_all(program: Compiled, folder: Path, content: bytes, *, batch: int, **more: Any) -> Path:
    """One run over a fresh store; its folder."""
    root = folder / f"batch{batch}"
    root.mkdir()
    write_feed(root, content)
    run(program, root, batch=batch, **more)
    return root


@pytest.mark.parametrize("seed", range(5))
def test_any_batch_any_feed(program: Compiled, tmp_path: Path, seed: int) -> None:
    """The effects of ``run`` with batches of 1, 7, 500 and 5,000 are those of ``simulate``, in every column.

    Semantics: order.batches, order.paths, scarce.exact
    """
    content = lines_of(make_events(seed, 300, users=20))
    wanted = simulated(program, write_feed(tmp_path, content))
    assert len(wanted) > 150
    states = set()
    for batch in BATCHES:
        assert simulated(program, tmp_path / "feed" / "a.jsonl", batch=batch) == wanted
        root = run_all(program, tmp_path, content, batch=batch, deliver=False)
        assert effects_of(root) == wanted
        states.add(repr([picture(root)[part] for part in ("subjects", "resources", "summary", "decisions", "events")]))
    assert len(states) == 1


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_crowds(program: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """More wake-ups due at one instant than a transaction takes: the same effects in the same order of scarce units.

    Semantics: order.batches, scarce.exact
    """
    content = lines_of(crowd(80, 1))
    wanted = simulated(program, write_feed(tmp_path, content))
    monkeypatch.setattr(session, "WAKES_AT_ONCE", at_once)
    assert simulated(program, tmp_path / "feed" / "a.jsonl", batch=7) == wanted
    for batch in BATCHES:
        assert effects_of(run_all(program, tmp_path, content, batch=batch, deliver=False)) == wanted


def test_a_crowd_of_thousands(program: Compiled, tmp_path: Path) -> None:
    """6,000 wake-ups at one instant, more than a transaction takes, with nothing patched."""
    content = lines_of(crowd(6_000, 2))
    wanted = simulated(program, write_feed(tmp_path, content))
    assert effects_of(run_all(program, tmp_path, content, batch=5_000, deliver=False)) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_in_pieces(program: Compiled, tmp_path: Path, seed: int) -> None:
    """A feed that grows between runs is decided as if it had been there at once, when no wake-up is due at a seam.

    Semantics: order.batches
    """
    events = make_events(seed, 200)
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    root = tmp_path / "grown"
    root.mkdir()
    for end in (1, 37, 90, 91, 200):
        write_feed(root, lines_of(events[:end]))
        run(program, root, batch=7, deliver=False)
    seams = {events[end - 1]["time"] for end in (1, 37, 90, 91)}
    found = effects_of(root)
    assert [it for it in found if format_instant(it.time) not in seams] == [
        it for it in wanted if format_instant(it.time) not in seams
    ]
    assert {it.key for it in found} == {it.key for it in wanted}


def test_a_second_run_changes_nothing(program: Compiled, tmp_path: Path) -> None:
    """Run again over the same feed: nothing is read, decided or sent."""
    root = run_all(program, tmp_path, lines_of(make_events(1, 150)), batch=500)
    before = picture(root)
    done = run(program, root)
    assert (done.read, done.accepted, done.sent, done.conflicts) == (0, 0, {}, 0)
    assert picture(root) == before


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_two_feeds_are_one(program: Compiled, tmp_path: Path, batch: int) -> None:
    """Events spread over two files are decided in the order of their times.

    Semantics: order.key
    """
    events = make_events(4, 200)
    for number, event in enumerate(events):  # no two at one instant, so that there is one order only
        event["time"] = format_instant(parse_instant(event["time"]) + number)
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    root = tmp_path / "two"
    root.mkdir()
    write_feed(root, lines_of(events[::2]), "a.jsonl")
    write_feed(root, lines_of(events[1::2]), "b.jsonl")
    run(program, root, batch=batch, deliver=False)
    assert effects_of(root) == wanted


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_ingest_is_a_feed(program: Compiled, tmp_path: Path, batch: int) -> None:
    """The same bytes through ``ingest`` and through a file give the same effects, states, figures and quarantine."""
    lines = lines_of(make_events(5, 150)).splitlines(keepends=True)
    content = b"".join([*lines[:60], b"{}\n", lines[2], b"\n", lines[61].replace(b"user", b"usr", 1), *lines[60:]])
    filed = run_all(program, tmp_path, content, batch=500)
    root = tmp_path / "ingested"
    root.mkdir()
    (root / "in.jsonl").write_bytes(content)
    store = SqliteStore.open(root / "s.db")
    intake = Intake(store, Wall(), batch=batch)
    intake.take(wiring.read_records(root / "in.jsonl"))
    store.close()
    done = run(program, root, batch=batch)
    assert (intake.taken.read, intake.taken.accepted, intake.taken.duplicate) == (153, 150, 1)
    assert (done.accepted, done.quarantined, done.duplicate) == (150, 0, 0)
    one, other = picture(filed), picture(root)
    for part in ("subjects", "events", "effects", "answers", "decisions", "resources", "counts", "summary", "clock"):
        assert one[part] == other[part], part
    assert [(it.reason, it.raw) for it in one["quarantine"]] == [(it.reason, it.raw) for it in other["quarantine"]]
    assert other["inbox"] == []


# -- time that is not in order


def event(id: str, type: str, at: int, user: str = "u1", **data: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "user": user, "time": format_instant(BASE + at), "data": data}


@pytest.mark.parametrize("batch", BATCHES)
def test_late_events(program: Compiled, tmp_path: Path, batch: int) -> None:
    """A late event acts when it is 24 hours old at most, at the engine's clock; an older one only changes state.

    Semantics: late.acts, late.too-old
    """
    feed = [
        event("a", "user.signup", 0),
        event("b", "order.paid", 3 * DAY, "clock", amount=1),
        event("c", "order.paid", 2 * DAY, "on-time", amount=30),  # exactly 24 hours
        event("d", "order.paid", 2 * DAY + HOUR, "on-time", amount=30),
        event("e", "order.paid", 2 * DAY - 1, "too-late", amount=30),
        event("f", "order.paid", 2 * DAY - 1, "too-late", amount=30),
        event("g", "order.paid", 3 * DAY, "too-late", amount=30),  # on time: it finds what the late ones left
    ]
    root = run_all(program, tmp_path, lines_of(feed), batch=batch, deliver=False)
    regular = {it.user: it.time for it in effects_of(root) if it.kind == "badge"}
    assert regular == {"on-time": BASE + 3 * DAY, "too-late": BASE + 3 * DAY}
    found = picture(root)
    assert found["counts"]["late"] == 2
    assert found["clock"] == BASE + 3 * DAY
    store = SqliteStore.open(root / "s.db", read_only=True)
    late = [it for it in store.decisions("too-late") if it.verdict == "late"]
    assert {it.cause["event"] for it in late} == {"e", "f"}
    assert not [it for it in store.decisions("on-time") if it.verdict == "late"]
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_disorder_is_the_same_in_any_batch(program: Compiled, tmp_path: Path, seed: int) -> None:
    """A feed that is out of order by up to two days: batches change nothing.

    Semantics: order.batches
    """
    events = make_events(seed, 200)
    rng = random.Random(seed)
    events.sort(key=lambda it: parse_instant(it["time"]) + rng.randrange(2 * DAY))
    pictures = []
    for batch in BATCHES:
        root = run_all(program, tmp_path, lines_of(events), batch=batch, deliver=False)
        pictures.append({part: value for part, value in picture(root).items() if part != "positions"})
    assert pictures[0]["counts"]["late"] > 0
    for other in pictures[1:]:
        for part, value in pictures[0].items():
            assert other[part] == value, part


@pytest.mark.parametrize("batch", BATCHES)
def test_future_events(program: Compiled, tmp_path: Path, batch: int) -> None:
    """An event more than 5 minutes ahead of the machine's clock goes to quarantine and moves no clock.

    Semantics: late.future
    """
    wall = Wall(BASE + DAY)
    feed = [
        event("a", "user.signup", 0),
        event("b", "app.opened", DAY + 5 * MINUTE + 1, "u2"),
        event("c", "app.opened", 4_000 * DAY, "u2"),
        event("d", "app.opened", DAY + 5 * MINUTE, "u2"),
    ]
    root = run_all(program, tmp_path, lines_of(feed), batch=batch, deliver=False, wall=wall)
    found = picture(root)
    assert [(it.reason, b'"b"' in it.raw, b'"c"' in it.raw) for it in found["quarantine"]] == [
        ("future", True, False),
        ("future", False, True),
    ]
    assert found["clock"] == BASE + DAY + 5 * MINUTE
    assert [it.id for it in found["subjects"]] == ["u1", "u2"]


@pytest.mark.parametrize("batch", BATCHES)
def test_duplicates(program: Compiled, tmp_path: Path, batch: int) -> None:
    """A second copy changes nothing, whatever it contains, in the same batch, a later one or a later run.

    Semantics: event.duplicate
    """
    feed = [
        event("a", "user.signup", 0),
        event("a", "order.paid", HOUR, amount=100),
        event("b", "order.paid", 2 * HOUR, amount=1),
        event("a", "user.signup", 3 * HOUR, "somebody-else"),
    ]
    root = run_all(program, tmp_path, lines_of(feed), batch=batch, deliver=False)
    write_feed(root, lines_of([event("b", "order.paid", 4 * HOUR, amount=99)]), "b.jsonl")
    done = run(program, root, batch=batch, deliver=False)
    found = picture(root)
    assert (done.read, done.duplicate, done.accepted) == (1, 1, 0)
    assert found["counts"]["duplicate"] == 3
    assert [it.id for it in found["subjects"]] == ["u1"]
    assert found["clock"] == BASE + 2 * HOUR


def test_a_copy_in_the_inbox_is_decided_once(program: Compiled, tmp_path: Path) -> None:
    """An event that waits in the inbox and stands in a file too is decided once, whichever comes first."""
    events = make_events(6, 60)
    wanted = simulated(program, write_feed(tmp_path, lines_of(events)))
    for batch in (1, 7, 500):
        root = tmp_path / f"both{batch}"
        root.mkdir()
        content = lines_of(events)
        (root / "in.jsonl").write_bytes(content)
        write_feed(root, content)
        store = SqliteStore.open(root / "s.db")
        Intake(store, Wall()).take(wiring.read_records(root / "in.jsonl"))
        store.close()
        done = run(program, root, batch=batch, deliver=False)
        assert (done.accepted, done.duplicate, done.conflicts) == (60, 60, 0)
        assert effects_of(root) == wanted


def test_history_changes_state_only(program: Compiled, tmp_path: Path) -> None:
    """Events taken in as history start nothing, and the next live event finds what they left.

    Semantics: history.silent
    """
    (tmp_path / "past.jsonl").write_bytes(
        lines_of([event("a", "user.signup", 0), event("b", "order.paid", HOUR, amount=30)])
    )
    store = SqliteStore.open(tmp_path / "s.db")
    Intake(store, Wall(), history=True).take(wiring.read_records(tmp_path / "past.jsonl"))
    store.close()
    run(program, tmp_path, deliver=False)
    assert effects_of(tmp_path) == []
    write_feed(tmp_path, lines_of([event("c", "order.paid", 2 * HOUR, amount=1)]))
    run(program, tmp_path, deliver=False)
    assert [it.kind for it in effects_of(tmp_path) if it.playbook == "regular"][:1] == ["badge"]
    assert {it.playbook for it in effects_of(tmp_path)} == {"regular"}
