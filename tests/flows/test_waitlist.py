"""Waiting for a seat: who comes first, what frees one, and what becomes of somebody who stops waiting."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from semantics_kit import HEAD, Row, event, play
from steps_kit import At, Live, event_of, write

from engine.core.instants import format_instant, parse_instant
from engine.core.model import HOUR
from engine.insight.replay import course
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

OPEN = HEAD + "profile: open\n"


def rooms(*seats: int, more: str = "") -> str:
    found = ", ".join(f'{{id: r{n}, link: "https://g.example/{n}", capacity: {it}}}' for n, it in enumerate(seats))
    return f"groups:\n  club: {{hold: 24h, rooms: [{found}]}}\n{more}"


def book(invite: str = "{groups: club, on_full: waitlist}", more: str = "") -> dict[str, str]:
    text = "trigger: {event: ask}\nentry: {mode: single}\n" + more
    return {
        "in": text + f'steps: [{{invite: {invite}, id: seat}}, {{set: {{user.room: "{{{{ steps.seat.room }}}}"}}}}]\n'
    }


def ask(user: str, time: str) -> Row:
    return event(f"a-{user}-{time}", "ask", time, user)


def joined(user: str, time: str) -> Row:
    return {**event(f"j-{user}-{time}", "group.joined", time, user), "group": "club"}


def left(user: str, time: str) -> Row:
    return {**event(f"l-{user}-{time}", "group.left", time, user), "group": "club"}


def seats(rows: list[Row]) -> list[tuple[str, str, str]]:
    """(user, hour, what became of the invite) in order of time."""
    return [(row["user"], row["time"][8:13], row["reason"] or row["status"]) for row in rows if row["kind"] == "invite"]


def test_the_first_who_waits_is_the_first_to_be_seated(tmp_path: Path) -> None:
    """Semantics: group.waitlist — a seat that comes free goes at that instant to who has waited longest."""
    feed = [
        ask("u1", "01:00"), joined("u1", "02:00"), ask("u3", "03:00"), ask("u2", "04:00"),
        left("u1", "05:00"), joined("u3", "06:00"), left("u3", "07:00"),
    ]  # fmt: skip
    rows = play(tmp_path, book(), feed, head=OPEN, catalog=rooms(1)).effects
    assert seats(rows) == [
        ("u1", "01T01", "planned"), ("u3", "01T03", "waitlist"), ("u2", "01T04", "waitlist"),
        ("u3", "01T05", "planned"), ("u2", "01T07", "planned"),
    ]  # fmt: skip
    assert [row["detail"]["value"] for row in rows if row["kind"] == "set"] == ["r0", "r0", "r0"]


def test_a_hold_that_ends_frees_the_seat_for_who_waits(tmp_path: Path) -> None:
    """Semantics: group.waitlist — by time alone: the invite of the first is not taken up within its 24 hours."""
    feed = [ask("u1", "01:00"), ask("u2", "02:00"), event("x", "noise", "2026-03-03T00:00:00Z", "u9")]
    rows = play(tmp_path, book(), feed, head=OPEN, catalog=rooms(1)).effects
    assert seats(rows) == [("u1", "01T01", "planned"), ("u2", "01T02", "waitlist"), ("u2", "02T01", "planned")]


def test_who_stops_waiting_leaves_the_seat_to_the_next(tmp_path: Path) -> None:
    """Semantics: group.waitlist — an exit, a time-out and an erasure each give up the place in the line."""
    playbook = book("{groups: club, on_full: waitlist, up_to: 2h}", "exit: [{event: quit}]\n")
    feed = [
        ask("u1", "01:00"), joined("u1", "01:30"), ask("u2", "02:00"), ask("u3", "02:10"), ask("u4", "02:20"),
        ask("u5", "03:55"), event("q", "quit", "03:00", "u3"), event("d", "user.deleted", "03:10", "u4"),
        left("u1", "05:00"),
    ]  # fmt: skip
    rows = play(tmp_path, playbook, sorted(feed, key=lambda row: row["time"]), head=OPEN, catalog=rooms(1)).effects
    assert [it for it in seats(rows) if it[2] != "waitlist"] == [
        ("u1", "01T01", "planned"), ("u2", "01T04", "full"), ("u5", "01T05", "planned"),
    ]  # fmt: skip


def test_nobody_overtakes_who_waits(tmp_path: Path) -> None:
    """Semantics: group.waitlist — also one who asks without waiting, at the instant a seat is free, is denied."""
    books = book()
    books["quick"] = "trigger: {event: try}\nentry: once\nsteps: [{invite: club}]\n"
    live = Live(tmp_path, books, catalog=rooms(1), head=OPEN)
    live.run(ask("u1", "01:00"), joined("u1", "01:30"), ask("u2", "02:00"))
    wider = write(tmp_path, books, catalog=rooms(2), head=OPEN)  # a seat more, and nobody has been told
    assert wider.plan is not None
    live.program, live.plan = wider, wider.plan
    live.run(event("t", "try", "03:00", "u3"))
    found = {(effect.user, effect.playbook): effect.reason or effect.status for effect in live.effects("invite")}
    assert found[("u3", "quick")] == "full"
    assert found[("u2", "in")] == "planned"


def test_one_who_waits_for_several_groups_takes_one(tmp_path: Path) -> None:
    """The first that has a seat; then the places in the other lines are gone."""
    more = '  cafe: {rooms: [{id: c0, link: "https://g.example/c", capacity: 1}]}\n'
    feed = [
        ask("u1", "01:00"), joined("u1", "01:10"), ask("u2", "01:20"),
        {**joined("u2", "01:30"), "group": "cafe"}, ask("u3", "02:00"), ask("u4", "02:10"),
        {**left("u2", "03:00"), "group": "cafe"}, left("u1", "04:00"),
    ]  # fmt: skip
    playbook = book("{groups: [club, cafe], on_full: waitlist}")
    rows = play(tmp_path, playbook, feed, head=OPEN, catalog=rooms(1, more=more)).effects
    given = [
        (row["user"], row["detail"]["group"]) for row in rows if row["kind"] == "invite" and row["status"] == "planned"
    ]
    assert given == [("u1", "club"), ("u2", "cafe"), ("u3", "cafe"), ("u4", "club")]


def test_an_event_from_outside_seats_nobody(tmp_path: Path) -> None:
    """A forged `group.seat` moves nobody out of the line."""
    live = Live(tmp_path, book(), catalog=rooms(1), head=OPEN)
    live.run(ask("u1", "01:00"), ask("u2", "02:00"))
    key = next(effect.key for effect in live.effects("invite") if effect.user == "u2")
    live.run(event("f", "group.seat", "03:00", "u2", group="club", key=key))
    assert [effect.reason for effect in live.effects("invite") if effect.user == "u2"] == ["waitlist"]
    assert live.running("u2") == ["in"]


@pytest.mark.parametrize("seed", range(4))
def test_any_batch_seats_the_same(tmp_path: Path, seed: int) -> None:
    """Simulate and run agree in batches of any size, `why` too; and both agree with a clerk and his list."""
    rng = random.Random(seed)
    at, feed = parse_instant("2026-03-01T00:00:00Z"), []
    for number in range(150):
        at += rng.choice([1, 2, 5, 9]) * HOUR // 2
        time, user = format_instant(at), f"u{rng.randrange(12)}"
        kind = rng.choice(["ask", "ask", "ask", "ask", "join", "leave", "leave", "quit"])
        make = {"ask": ask, "join": joined, "leave": left}.get(kind)
        row = make(user, time) if make is not None else event("q", "quit", time, user)
        feed.append({**row, "id": f"e{number:03d}"})
    playbook, catalog = book(more="exit: [{event: quit}]\n"), rooms(1, 1)
    wanted = play(tmp_path / "sim", playbook, feed, head=OPEN, catalog=catalog)
    assert (
        play(tmp_path / "sim", playbook, feed, head=OPEN, catalog=catalog, traced=False, batch=1).effects
        == wanted.effects
    )
    _a_clerk_agrees(wanted.effects, feed)
    program = write(tmp_path / "run", playbook, head=OPEN, catalog=catalog)
    assert program.plan is not None
    expected = sorted((row["time"], row["key"], row["reason"] or row["status"]) for row in wanted.effects)
    for batch in (1, 7, 500):
        store = SqliteStore.open(tmp_path / f"{batch}.db")
        try:
            for part in (feed[:70], feed[70:]):
                store.ingest([(event_of(row), b"") for row in part], [])
                Pump(program.plan, store, [], None, At(), secret=b"x", batch=batch).until_idle()
            found = sorted((format_instant(it.time), it.key, it.reason or it.status) for it, _ in store.effects())
            assert found == expected, batch
            assert list(store.check()) == []
            for user in sorted({row["user"] for row in feed}):
                assert course(program.plan, store, user, fresh=MemoryStore).unmatched == 0, user
        finally:
            store.close()


def _a_clerk_agrees(rows: list[Row], feed: list[Row]) -> None:
    """Whoever is seated after a wait is the first of those who wait at that instant."""
    line: list[str] = []
    waited = 0
    quits = [(row["time"], row["user"]) for row in feed if row["type"] == "quit"]
    invites = [it for it in rows if it["kind"] == "invite"]
    for row in sorted(invites, key=lambda it: (it["time"], it["status"] == "planned")):
        gone = [user for time, user in quits if time <= row["time"]]  # events first, at one instant
        quits = [it for it in quits if it[0] > row["time"]]
        line = [user for user in line if user not in gone]
        if row["reason"] == "waitlist":
            line.append(row["user"])
        elif row["reason"] == "already" and row["user"] in line:
            line.remove(row["user"])  # joined by another way
        elif row["status"] == "planned" and row["user"] in line:
            waited += 1
            assert line.pop(0) == row["user"]
    assert waited > 3


def test_up_to_needs_a_line(tmp_path: Path) -> None:
    """How long to wait means nothing where nobody waits."""
    found = write(tmp_path, book("{groups: club, up_to: 2h}"), catalog=rooms(1), head=OPEN)
    assert "conflict" in [problem.code for problem in found.problems]
