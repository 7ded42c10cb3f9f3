"""Sets at work: who is in, who moves, when the last set stays, and who asks for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from semantics_kit import HEAD, Row, Seen, event, play
from steps_kit import Live, write

from engine.core.subjects import PROGRAM
from engine.language.compile import compile_program
from engine.runtime import census
from engine.runtime.census import Census
from engine.stores.sqlite import SqliteStore

CATALOG = "segments: {core: {select: core}}\n"
ANY = "entry: {mode: parallel, limit: unlimited}\n"
CORE = "subject: program\ntrigger: {event: choose}\n" + ANY + """steps:
  - select: {name: core, score: 'count("a")', size: [2, 3]}
    id: pick
  - emit: {type: told, data: {size: "{{ steps.pick.size }}", kept: "{{ steps.pick.kept }}", why: "{{ steps.pick.reason }}"}}
"""  # noqa: E501 - one line of YAML
IN = "trigger: {segment: {enters: core}}\n" + ANY + "steps: [{tag: {add: [core]}}]\n"
OUT = "trigger: {segment: {leaves: core}}\n" + ANY + "steps: [{tag: {remove: [core]}}]\n"
HEARD = "trigger: {event: [selection.entered, selection.left]}\n" + ANY + "when: event.select == 'core'\n" + (
    'steps: [{set: {user.moved: "{{ event.type }}"}}]\n'
)
BOOKS = {"core": CORE, "in": IN, "out": OUT, "heard": HEARD}
OPEN = HEAD + "profile: open\n"


def acts(time: str, **counts: int) -> list[Row]:
    """So many acts of each."""
    return [event(f"{user}-{n}-{time}", "a", time, user) for user, number in counts.items() for n in range(number)]


def chosen(root: Path, rows: list[Row], books: dict[str, str] | None = None) -> Seen:
    return play(root, books or BOOKS, rows, catalog=CATALOG, head=OPEN)


def choose(time: str) -> Row:
    return event(f"c-{time}", "choose", time, "op")


def rows_of(seen: Seen) -> list[Row]:
    """Rows of the choices."""
    return [row for row in seen.effects if row["kind"] == "select"]


def test_a_set_is_published_with_its_difference(tmp_path: Path) -> None:
    """Semantics: core-users.select — the best three are in; the next time the row names who came, who went, and how
    steady the set was; each of those who moved is told, and a segment of the set has moved with it."""
    rows = [*acts("09:00", u1=5, u2=4, u3=3, u4=1), choose("10:00"), *acts("11:00", u4=9), choose("12:00")]
    seen = chosen(tmp_path, rows)
    first, second = rows_of(seen)
    assert (first["detail"]["entered"], first["detail"]["stability"]) == (["u1", "u2", "u3"], None)
    wanted = {"size": 3, "candidates": 4, "entered": ["u4"], "left": ["u3"], "kept": 2}
    assert wanted.items() <= second["detail"].items()
    assert (second["detail"]["stability"], second["detail"]["jaccard"]) == (0.6667, 0.5)
    tags = [(it["time"], it["user"], it["detail"]) for it in seen.effects if it["kind"] == "tag"]
    assert {user for time, user, _ in tags if "T10" in time} == {"u1", "u2", "u3"}
    assert {(user, bool(it["add"])) for time, user, it in tags if "T12" in time} == {("u4", True), ("u3", False)}
    sets = [row for row in seen.effects if row["kind"] == "set" and "T12" in row["time"]]
    moved = {row["user"]: row["detail"]["value"] for row in sets}
    assert moved == {"u4": "selection.entered", "u3": "selection.left"}


def test_outside_the_band_the_last_set_stays(tmp_path: Path) -> None:
    """Semantics: core-users.select — with too few candidates the row is denied with ``too_few``, nobody moves, and the
    steps behind know why; who was in stays in, whatever his score."""
    books = {**BOOKS, "core": CORE.replace("'count(\"a\")'", "'count(\"a\", within=\"1h\")'")}
    rows = [*acts("09:30", u1=5, u2=4), choose("10:00"), *acts("11:30", u3=1), choose("12:00")]
    seen = chosen(tmp_path, rows, books)
    second = rows_of(seen)[1]
    assert (second["status"], second["reason"]) == ("denied", "too_few")
    assert {"size": 2, "candidates": 1, "entered": [], "left": []}.items() <= second["detail"].items()
    told = [row["detail"]["data"] for row in seen.effects if row["kind"] == "emit"]
    assert told[1] == {"size": 2, "kept": 2, "why": "too_few"}
    assert not [row for row in seen.effects if row["kind"] == "tag" and "T12" in row["time"]]


def test_who_cannot_be_judged_is_left_out_and_counted(tmp_path: Path) -> None:
    """A broken record of one user stops nobody: the row says how many could not be judged, and by what."""
    books = {**BOOKS, "core": CORE.replace("'count(\"a\")'", "'user.get(\"mark\") + count(\"a\")'")}
    traits = [event(f"t{n}", "user.updated", "08:00", f"u{n}", mark=mark) for n, mark in enumerate([1, 2, "odd"])]
    (row,) = rows_of(chosen(tmp_path, [*traits, *acts("09:00", u0=1, u1=1, u2=9), choose("10:00")], books))
    assert (row["detail"]["entered"], row["detail"]["unjudged"]) == (["u0", "u1"], 1)
    assert "odd" not in str(row)


def test_held_back_nothing_moves(tmp_path: Path) -> None:
    """A playbook in the shadow has its row and changes nobody's set."""
    books = {**BOOKS, "core": "status: shadow\n" + CORE}
    seen = chosen(tmp_path, [*acts("09:00", u1=1, u2=1), choose("10:00")], books)
    assert {row["kind"]: row["reason"] for row in seen.effects} == {"select": "shadow", "emit": "shadow"}


def test_no_feed_can_put_anybody_into_a_set(tmp_path: Path) -> None:
    """The event from outside is an ordinary one: it is heard, and moves nobody."""
    forged = event("f", "selection.entered", "10:00", "u1", select="core")
    seen = chosen(tmp_path, [forged, event("x", "a", "11:00", "u1")])
    assert [row["kind"] for row in seen.effects] == ["set"]


def test_the_database_asks_for_the_set_itself(tmp_path: Path) -> None:
    """An audience of a set is a question SQL answers whole; it finds those who are in."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    store = live.store = SqliteStore.open(tmp_path / "store.db")  # type: ignore[assignment]
    live.run(*acts("09:00", u1=5, u2=4, u3=3, u4=1), choose("10:00"))
    audiences = compile_program(tmp_path).audiences
    assert audiences is not None
    filter_, issues = audiences.read("in_segment('core')")
    assert filter_ is not None
    assert (filter_.way, issues) == ("sql", [])
    assert list(store.audience(filter_, store.clock()).ids) == ["u1", "u2", "u3"]
    store.close()


def test_the_census_holds_a_piece_and_not_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users who wait in the store are read some at a time, each once and in order, and are not kept."""
    live = Live(tmp_path, BOOKS, catalog=CATALOG, head=OPEN)
    live.run(*acts("09:00", **{f"u{n:03d}": 1 for n in range(100)}))
    monkeypatch.setattr(census, "PIECE", 7)
    loads: list[int] = []
    load = live.store.load

    def counted(subjects: object) -> object:
        found = load(subjects)  # type: ignore[arg-type]
        loads.append(len(found))
        return found

    monkeypatch.setattr(live.store, "load", counted)

    states = {"u050": live.state("u050"), "\x01program": live.state("u001")}
    session = SimpleNamespace(states=states, resident=False, store=live.store)
    loads.clear()
    found = [state.id for state in Census(session).people()]  # type: ignore[arg-type]
    assert found == [f"u{n:03d}" for n in range(100)]
    assert max(loads) <= 7
    assert sum(loads) == 99
    assert PROGRAM not in found


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (("[2, 3]", "[3, 2]"), "out-of-range", "[fewest, most]"),
        (("[2, 3]", "[2, 3, 4]"), "out-of-range", "[fewest, most]"),
        (("[2, 3]", "[2, 3], ceiling: 5"), "missing-key", "'cost'"),
        (("[2, 3]", "[2, 3], cost: count('a')"), "missing-key", "'ceiling'"),
        (("'count(\"a\")'", "user.id"), "type-mismatch", "'score'"),
        (("subject: program", "subject: user"), "wrong-subject", "select"),
        (("name: core", "name: croe"), "unknown-selection", "core"),
    ],
)
def test_what_cannot_be_chosen_is_said_beforehand(
    tmp_path: Path, change: tuple[str, str], code: str, word: str
) -> None:
    """A band upside down, a ceiling without costs, a score that is no number, a set nobody chooses: each an error."""
    found = write(tmp_path, {**BOOKS, "core": CORE.replace(*change)}, head=OPEN, catalog=CATALOG)
    said = [problem for problem in found.problems if problem.code == code]
    assert said
    assert word in said[0].message
    assert found.plan is None


def test_a_set_has_one_step_that_chooses_it(tmp_path: Path) -> None:
    """Two steps with one name would take each other's people out."""
    found = write(tmp_path, {**BOOKS, "twice": CORE}, head=OPEN, catalog=CATALOG)
    assert "duplicate-name" in {problem.code for problem in found.problems}
