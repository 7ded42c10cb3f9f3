"""The trigger ``date`` in ``run``: what ``simulate`` says, and what publication, edits and history make of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_world import without_disk
from flow_program import BASE, Wall, compiled, effects_of, lines_of, run, simulated, write_feed
from semantics_kit import HEAD, Row, event

from engine import wiring
from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR
from engine.insight.replay import replay
from engine.language.compiled import Compiled
from engine.runtime.intake import Intake
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

ZONES = ("Asia/Shanghai", "America/New_York", "America/Santiago", "Pacific/Apia", None)
FEED = HEAD + "feeds: [{file: feed/*.jsonl}]\n"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


def program(root: Path, *, at: str = "09:00", status: str = "live", more: str = "", other: str = "") -> Compiled:
    """A program that greets on birthdays; without ``at`` it has no such playbook."""
    (root / "playbooks").mkdir(parents=True, exist_ok=True)
    (root / "drumbeat.yaml").write_text(FEED, encoding="utf-8")
    steps = "entry: {mode: parallel, limit: unlimited}\nsteps: [{tag: {add: [hi]}}]\n"
    texts = {"idle": "trigger: {inactivity: 30d}\n" + steps}
    if at:
        date = f'{{date: {{field: user.birthday, at: "{at}", repeat: yearly{more}}}}}'
        texts["b"] = f"status: {status}\ntrigger: {date}\n{steps}"
    for path in (root / "playbooks").glob("*.yaml"):
        path.unlink()
    for id_, text in texts.items():
        (root / f"playbooks/{id_}.yaml").write_text(f"playbook: {id_}\ntitle: t\n{text}", encoding="utf-8")
    return compiled(root)


def people(seed: int, count: int) -> list[Row]:
    """Sign-ups, moves, corrections and other life over two years."""
    rng = random.Random(seed)
    at, rows = BASE, []
    for number in range(count):
        at += rng.choice([0, 12 * HOUR, DAY, 3 * DAY, 8 * DAY])
        user = f"u{rng.randrange(12)}"
        born = rng.choice([f"1980-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"] * 5 + ["?", None])
        kind = rng.choice(["user.signup", "user.updated", "user.updated", "seen", "seen", "seen"])
        kind = "user.deleted" if rng.random() < 0.03 else kind
        data = {"birthday": born} if rng.random() < 0.6 else {"zone": rng.choice(ZONES)}
        rows.append(event(f"e{number}", kind, format_instant(at), user, **(data if kind.startswith("user.") else {})))
    return rows


def tags(root: Path, playbook: str = "b") -> list[str]:
    return [f"{it.user} {format_instant(it.time)}" for it in effects_of(root) if it.playbook == playbook]


@pytest.mark.parametrize("seed", range(4))
def test_run_is_simulate(tmp_path: Path, seed: int) -> None:
    """Semantics: order.paths, order.batches — birthdays, moves and corrections: the same effects and states in any
    batches."""
    made = program(tmp_path)
    content = lines_of(people(seed, 250))
    wanted = simulated(made, write_feed(tmp_path, content))
    assert sum(it.playbook == "b" for it in wanted) > 3
    states = set()
    for batch in (1, 7, 500):
        root = tmp_path / f"batch{batch}"
        root.mkdir()
        write_feed(root, content)
        run(made, root, batch=batch, deliver=False)
        assert effects_of(root) == wanted
        store = SqliteStore.open(root / "s.db", read_only=True)
        states.add(repr(list(store.subjects())))
        for user in ("u1", "u2"):
            entered = [it.time for it in replay(made.plan, store, user, fresh=MemoryStore) if it.verdict == "entered"]
            assert entered == [it.time for it in wanted if it.user == user], "why tells the same"
        store.close()
    assert len(states) == 1


def test_publication_finds_those_who_were_there(tmp_path: Path) -> None:
    """Semantics: publish.only-after — who was there before is greeted from publication on, with no event of theirs,
    not before."""
    first = [
        event("1", "user.signup", "2026-01-10T00:00:00Z", "early", birthday="1990-01-20"),
        event("2", "user.signup", "2026-01-10T00:00:00Z", "later", birthday="1990-03-20"),
        event("3", "seen", "2026-02-01T00:00:00Z", "zz"),
    ]
    write_feed(tmp_path, lines_of(first))
    run(program(tmp_path, at=""), tmp_path, deliver=False)
    made = program(tmp_path)
    write_feed(tmp_path, lines_of([*first, event("4", "seen", "2027-02-01T00:00:00Z", "zz")]))
    run(made, tmp_path, deliver=False)
    assert tags(tmp_path) == ["later 2026-03-20T09:00:00Z", "early 2027-01-20T09:00:00Z"]
    store = SqliteStore.open(tmp_path / "s.db", read_only=True)
    told = replay(made.plan, store, "early", fresh=MemoryStore)
    assert [format_instant(it.time) for it in told if it.verdict == "entered" and it.playbook == "b"] == [
        "2027-01-20T09:00:00Z"
    ]
    store.close()


def test_an_edit_is_followed(tmp_path: Path) -> None:
    """Another hour holds from the run that brings it, also an earlier one; nobody is greeted twice for it."""
    rows = [
        event("1", "user.signup", "2026-01-10T00:00:00Z", "a", birthday="1990-03-20"),
        event("2", "user.signup", "2026-01-10T00:00:00Z", "b", birthday="1990-03-22"),
        event("3", "seen", "2026-03-20T12:00:00Z", "zz"),
        event("4", "seen", "2027-03-30T00:00:00Z", "zz"),
    ]
    write_feed(tmp_path, lines_of(rows[:3]))
    run(program(tmp_path), tmp_path, deliver=False)
    write_feed(tmp_path, lines_of(rows))
    run(program(tmp_path, at="07:00"), tmp_path, deliver=False)
    assert tags(tmp_path) == [
        "a 2026-03-20T09:00:00Z", "b 2026-03-22T07:00:00Z", "a 2027-03-20T07:00:00Z", "b 2027-03-22T07:00:00Z",
    ]  # fmt: skip


def test_a_pause_ends(tmp_path: Path) -> None:
    """A playbook that was paused goes on with the next birthdays; those that passed meanwhile are not made up for."""
    rows = [
        event("1", "user.signup", "2026-01-10T00:00:00Z", "a", birthday="1990-03-20"),
        event("2", "user.signup", "2026-01-11T00:00:00Z", "b", birthday="1990-05-20"),
        event("3", "seen", "2026-04-01T00:00:00Z", "zz"),
        event("4", "seen", "2026-12-01T00:00:00Z", "zz"),
    ]
    for status, upto in (("live", 2), ("paused", 3), ("live", 4)):
        write_feed(tmp_path, lines_of(rows[:upto]))
        run(program(tmp_path, status=status), tmp_path, deliver=False)
    assert tags(tmp_path) == ["b 2026-05-20T09:00:00Z"]


def test_history_starts_nothing(tmp_path: Path) -> None:
    """What time alone would have started before the newest event of an imported history starts nothing.

    Semantics: history.silent
    """
    made = program(tmp_path)
    past = [
        event("1", "user.signup", "2025-01-10T00:00:00Z", "a", birthday="1990-03-20"),
        event("2", "seen", "2025-12-01T00:00:00Z", "b"),
    ]
    (tmp_path / "past.jsonl").write_bytes(lines_of(past))
    store = SqliteStore.open(tmp_path / "s.db")
    Intake(store, Wall(), history=True).take(wiring.read_records(tmp_path / "past.jsonl"))
    store.close()
    run(made, tmp_path, deliver=False)
    write_feed(tmp_path, lines_of([event("3", "seen", "2026-04-01T00:00:00Z", "zz")]))
    run(made, tmp_path, deliver=False)
    # a was idle long before December 2025; b fell idle behind the history, and a's birthday came behind it
    assert tags(tmp_path, "idle") == ["b 2025-12-31T00:00:00Z"]
    assert tags(tmp_path) == ["a 2026-03-20T09:00:00Z"]
