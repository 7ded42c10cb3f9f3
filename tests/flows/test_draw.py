"""Draws at work: promised, closed, drawn, published; and nothing that happens between changes the seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, Row, Seen, event, play
from steps_kit import At, Live, event_of, write

from engine.core.draws import faults, pseudonym
from engine.core.subjects import PROGRAM
from engine.insight.draws import draw_of, draws, publication_of, standing
from engine.language.compile import compile_program
from engine.runtime.pump import Pump
from engine.stores.sqlite import SqliteStore

CATALOG = """\
coupons: {gift: {value: {off: 5}, codes: {generate: G}, valid_for: 7d, limits: {per_user: unlimited, total: 5}}}
"""
ANY = "entry: {mode: parallel, limit: unlimited}\n"
RAFFLE = "subject: program\ntrigger: {event: go}\n" + ANY + """steps:
  - draw: {entrants: {event: enter, within: 10d}, winners: 3, prize: gift, seed_from: 24h}
    id: lots
  - emit: {type: drawn, data: {won: "{{ steps.lots.winners }}", of: "{{ steps.lots.entrants }}"}}
"""
WON = "trigger: {event: draw.won}\n" + ANY + 'steps:\n  - set: {user.prize: "{{ event.code }}"}\n'
CLOSED = "trigger: {event: draw.closed}\n" + ANY + 'steps:\n  - set: {user.won: "{{ event.won }}"}\n'
BOOKS = {"raffle": RAFFLE, "won": WON, "closed": CLOSED}
OPEN = HEAD + "profile: open\n"


def entries(*users: str, time: str = "09:00") -> list[Row]:
    """One entry of each; somebody named twice has two."""
    return [event(f"{user}-{place}-{time}", "enter", time, user) for place, user in enumerate(users)]


def drawn(root: Path, rows: list[Row], *, books: dict[str, str] | None = None, catalog: str = CATALOG) -> Seen:
    """The raffle over a feed that goes on for long enough."""
    end = event("end", "x", "2026-03-20T00:00:00Z", "nobody")
    return play(root, books or BOOKS, [*rows, end], catalog=catalog, head=OPEN)


def the_draw(seen: Seen) -> dict[str, Any]:
    """Detail of the row of the draw itself."""
    (row,) = [it for it in seen.effects if it["kind"] == "draw" and it["detail"]["seed"] is not None]
    found: dict[str, Any] = row["detail"]
    return found


GO = event("go", "go", "10:00", "op")


def test_promise_and_draw(tmp_path: Path) -> None:
    """Semantics: draw.verify — the hash comes ``seed_from`` before the seed; entries that come in between still count,
    those after the close do not."""
    rows = [*entries("u1", "u2"), GO, *entries("u3", time="2026-03-02T10:00:00Z"),
            *entries("u4", time="2026-03-02T10:00:01Z")]  # fmt: skip
    seen = drawn(tmp_path, rows)
    promise, draw = [row for row in seen.effects if row["kind"] == "draw"]
    assert (promise["time"], draw["time"]) == ("2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z")
    assert promise["detail"]["seed"] is None
    assert {"salt", "seed"}.isdisjoint(promise["detail"]["published"])
    assert draw["detail"]["published"]["commitment"] == promise["detail"]["published"]["commitment"]
    assert sorted(draw["detail"]["winners"]) == ["u1", "u2", "u3"]
    (said,) = [row for row in seen.effects if row["kind"] == "emit"]
    assert said["detail"]["data"] == {"won": 3, "of": 3}


def test_each_winner_wins_once_and_gets_one_code(tmp_path: Path) -> None:
    """Semantics: draw.verify — one prize a person, however many entries; codes differ, and everybody is told."""
    seen = drawn(tmp_path, [*entries("u1", "u1", "u1", "u2", "u3", "u4", "u4", "u5"), GO])
    detail = the_draw(seen)
    assert len(set(detail["winners"])) == len(set(detail["codes"])) == 3
    told = {row["user"]: row["detail"]["value"] for row in seen.effects if row["detail"].get("field") == "user.won"}
    assert told == {user: user in detail["winners"] for user in ("u1", "u2", "u3", "u4", "u5")}
    prizes = {row["user"]: row["detail"]["value"] for row in seen.effects if row["detail"].get("field") == "user.prize"}
    assert prizes == dict(zip(detail["winners"], detail["codes"], strict=True))


def test_several_prizes_a_person_where_declared(tmp_path: Path) -> None:
    """Semantics: draw.verify — one prize a person unless ``per_user`` says more."""
    books = {"raffle": RAFFLE.replace("winners: 3", "winners: 3, per_user: 2")}
    detail = the_draw(drawn(tmp_path, [*entries("u1", "u1", "u1", "u2"), GO], books=books))
    assert Counter(detail["winners"]) == {"u1": 2, "u2": 1}


def test_what_the_pool_has_not_is_not_given(tmp_path: Path) -> None:
    """An exhausted pool leaves the last winners without a prize: the row says so, and they are not told they won."""
    books = {**BOOKS, "other": "trigger: {event: enter}\nentry: once\nsteps: [{coupon: gift}]\n"}
    seen = drawn(tmp_path, [*entries("u1", "u2", "u3"), GO], books=books)
    detail = the_draw(seen)
    assert (detail["without_prize"], [code is None for code in detail["codes"]]) == (1, [False, False, True])
    assert sum(row["detail"].get("field") == "user.prize" for row in seen.effects) == 2


def test_nobody_entered(tmp_path: Path) -> None:
    """A draw without entrants has no winners, and is right."""
    detail = the_draw(drawn(tmp_path, [GO]))
    assert detail["winners"] == []
    assert faults({**detail["published"], "entrants": []}) == []


@pytest.mark.parametrize("entrants", ["'count(\"enter\") >= 2'", "['count(\"enter\") >= 2', user.id != 'u3']", "true"])
def test_entrants_by_a_condition_have_one_entry_each(tmp_path: Path, entrants: str) -> None:
    """A condition on the user, a list of them, or everybody."""
    books = {"raffle": RAFFLE.replace("{event: enter, within: 10d}", entrants)}
    rows = [*entries("u1", "u1", "u2", "u3", "u3", "u4", "u4", "u4"), GO]
    seen = drawn(tmp_path, rows, books=books)
    expected = {"t": {"u1", "u2", "u3", "u4", "op"}, "[": {"u1", "u4"}, "'": {"u1", "u3", "u4"}}[entrants[0]]
    people = set(the_draw(seen)["winners"])
    (said,) = [row["detail"]["data"]["of"] for row in seen.effects if row["kind"] == "emit"]
    assert people <= expected
    assert (said, len(people)) == (len(expected), min(3, len(expected)))


def test_in_the_shadow_nothing_is_promised_and_nothing_won(tmp_path: Path) -> None:
    """A draw in the shadow has one row at its close, asks for no seed and no prize, and tells nobody."""
    seen = drawn(tmp_path, [*entries("u1", "u2"), GO], books={**BOOKS, "raffle": "status: shadow\n" + RAFFLE})
    (row,) = [row for row in seen.effects if row["kind"] == "draw"]
    assert (row["time"], row["status"], row["reason"]) == ("2026-03-02T10:00:00Z", "suppressed", "shadow")
    assert row["detail"] == {"prize": "gift", "winners": [], "seed": None}
    assert {row["kind"] for row in seen.effects} == {"draw", "emit"}


def test_a_draw_of_a_group_is_among_its_members(tmp_path: Path) -> None:
    """In a playbook of a group only who is a member takes part."""
    catalog = CATALOG + 'groups: {tea: {rooms: [{id: r, link: "https://g.example/r", capacity: 9}]}}\n'
    books = {"raffle": RAFFLE.replace("subject: program", "subject: group")}
    joins = [{**event(f"j{user}", "group.joined", "08:00", user), "group": "tea"} for user in ("u1", "u2")]
    rows = [*joins, *entries("u1", "u2", "u3"), {**GO, "user": None, "group": "tea"}]
    assert sorted(the_draw(drawn(tmp_path, rows, books=books, catalog=catalog))["winners"]) == ["u1", "u2"]


def test_the_published_file_is_right_and_each_person_finds_himself(tmp_path: Path) -> None:
    """Semantics: draw.verify — what the store publishes is worked out again, names nobody, and shows who is who to
    himself alone."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.run(*entries("u1", "u2", "u2", "u3", "u4", "u5"), GO)
    (one,) = draws(live.store)
    before = publication_of(live.store, one["key"][:8])
    assert faults(before) == ["nothing is drawn yet: the file holds the promise, and no seed, entrants and winners"]
    live.run(event("end", "x", "2026-03-20T00:00:00Z", "u9"))
    after = json.loads(json.dumps(publication_of(live.store, one["key"])))
    assert faults(after, before["commitment"]) == []
    assert not {f"u{number}" for number in range(6)} & set(json.dumps(after).replace('"', " ").split())
    shown = draw_of(live.store, one["key"])
    places = {row["user"]: place for place, row in enumerate(shown["winners"], 1)}
    for user, number in (("u1", 1), ("u2", 2), ("u9", 0)):
        found = standing(after, user)
        assert (found["entries"], found["won"]) == (number, [places[user]] if user in places else [])
        assert found["pseudonym"] == pseudonym(after["salt"], user)


def test_killed_between_promise_and_draw(tmp_path: Path) -> None:
    """Semantics: draw.verify — a run that dies after the promise, before the draw or in the middle of writing either,
    and is started again draws with the very seed that was promised."""
    program = write(tmp_path / "p", BOOKS, head=OPEN, catalog=CATALOG)
    assert program.plan is not None
    rows = [*entries("u1", "u2", "u3", "u4"), GO, event("end", "x", "2026-03-20T00:00:00Z", "u9")]
    found = set()
    for dies in (None, "commit.effects", "commit.answers", "commit.resources", "commit.clock", "commit.states"):
        for batch in (1, 3):
            path = tmp_path / f"{dies}-{batch}.db"
            for run in range(30):
                store = SqliteStore.open(path, fault=_Dying(dies, run).fault)
                try:
                    if not store.clock():
                        store.ingest([(event_of(row), b"") for row in rows], [])
                    Pump(program.plan, store, [], None, At(), secret=b"s", batch=batch).until_idle()
                    break
                except _Dies:
                    continue
                finally:
                    store.close()
            store = SqliteStore.open(path)
            file = publication_of(store, draws(store)[0]["key"])
            store.close()
            assert faults(json.loads(json.dumps(file))) == []
            found.add(json.dumps(file, sort_keys=True))
    assert len(found) == 1


class _Dies(BaseException):
    """The process is gone."""


class _Dying:
    """Dies at the n-th pass of a point of the store, one pass later each time."""

    def __init__(self, point: str | None, passes: int) -> None:
        self.point, self.left = point, 1 + passes // 2

    def fault(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                raise _Dies


def test_a_prize_is_a_coupon_like_any_other(tmp_path: Path) -> None:
    """Each prize has its row and its entry in the ledger under the winner's name and one key; ``fsck`` finds nothing
    wrong, and ``why`` decides the winner's own life again without it."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    store = live.store = SqliteStore.open(tmp_path / "store.db")  # type: ignore[assignment]
    live.run(*entries("u1", "u2"), GO, event("end", "x", "2026-03-20T00:00:00Z", "u9"))
    rows = {it.key: (it.user, it.detail["code"]) for it in live.effects("coupon")}
    assert sorted(user for user, _ in rows.values()) == ["u1", "u2"]
    assert {it.key: (it.subject, it.unit) for it in store.ledger(book="coupon")} == rows
    assert {it.what for it in store.ledger(book="coupon")} == {"issued"}
    assert list(store.check()) == []
    live.check_replay("u1", "u2", PROGRAM)
    store.close()


def test_another_store_has_another_seed(tmp_path: Path) -> None:
    """Nobody learns from a simulation, or from a copy of the program, who will win."""
    seen = drawn(tmp_path, [*entries("u1", "u2"), GO])
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.run(*entries("u1", "u2"), GO, event("end", "x", "2026-03-20T00:00:00Z", "u9"))
    (row,) = [it for it in live.effects("draw") if it.detail["seed"] is not None]
    assert row.detail["seed"] != the_draw(seen)["seed"]


@pytest.mark.parametrize("when", ["2026-03-02T09:00:00Z", "2026-03-04T09:00:00Z"])
def test_erased_entrants(tmp_path: Path, when: str) -> None:
    """Who is erased before the close takes no part; who is erased after it is named nowhere; the file stays right."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.store = SqliteStore.open(tmp_path / "store.db")  # type: ignore[assignment]
    gone = event("gone", "user.deleted", when, "u1")
    live.run(*entries("u1", "u2", "u3"), GO, gone, event("end", "x", "2026-03-20T00:00:00Z", "u9"))
    file = publication_of(live.store, draws(live.store)[0]["key"])
    assert faults(json.loads(json.dumps(file))) == []
    early = when < "2026-03-02T10"
    assert len(file["entrants"]) == (2 if early else 3)
    named = json.dumps([it.detail for it, _ in live.store.effects()]) + repr(live.store.answers(PROGRAM))
    assert '"u1"' not in named
    assert "'u1'" not in named
    assert ("erased-" in named) is not early
    live.store.close()


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("winners: 3", "winners: 6"), "out-of-range", "5 prizes for 6"),
        (("prize: gift", "prize: gfit"), "unknown-coupon", "gfit"),
        (("seed_from: 24h", "seed_from: 0s"), "bad-duration", "seed_from"),
        (("subject: program", "subject: user"), "wrong-subject", "draw"),
        (("event: enter,", ""), "missing-key", "event"),
    ],
)
def test_what_cannot_be_drawn_is_said_beforehand(
    tmp_path: Path, change: tuple[str, str], code: str, word: str
) -> None:
    """Too few prizes, no such pool, no time between promise and draw, a playbook of users: each is an error."""
    books = {"raffle": RAFFLE.replace(*change)}
    found = write(tmp_path, books, head=OPEN, catalog=CATALOG)
    said = [problem for problem in found.problems if problem.code == code]
    assert said
    assert word in said[0].message
    assert compile_program(tmp_path).plan is None
