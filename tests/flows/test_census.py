"""Questions about everybody: the same in any batch, in ``run`` as in ``simulate``, and once more from the record."""

from __future__ import annotations

from pathlib import Path

import pytest
from census_program import BOOKS, CATALOG, answers, brief, crowd, merged, plain
from semantics_kit import HEAD, Row, Seen, play
from steps_kit import At, event_of, write

from engine.core.subjects import PROGRAM, of_group
from engine.insight.replay import course
from engine.runtime import census
from engine.runtime.pump import Pump
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

OPEN = HEAD + "profile: open\n"


def simulated(root: Path, rows: list[Row], **options: object) -> Seen:
    """The whole program over a feed."""
    return play(root, BOOKS, rows, catalog=CATALOG, head=OPEN, **options)  # type: ignore[arg-type]


def feed(root: Path, seed: int) -> list[Row]:
    """A random crowd, and words about what was proposed to appoint."""
    rows = crowd(seed)
    return merged(rows, answers(seed, simulated(root, rows).effects))


@pytest.mark.parametrize("seed", range(4))
def test_any_batch_decides_the_same(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Semantics: order.batches — batches of 1, 7 and 500, pieces of 3 users: memory and disk decide all alike."""
    rows = feed(tmp_path / "sim", seed)
    seen = simulated(tmp_path / "sim", rows)
    for batch in (1, 7, 500):
        other = simulated(tmp_path / "sim", rows, batch=batch, traced=batch == 7)
        assert other.effects == seen.effects, batch
    gone = {row["user"] for row in rows if row["type"] == "user.deleted"}
    wanted = sorted(brief(row, gone) for row in seen.effects)
    program = write(tmp_path / "run", BOOKS, head=OPEN, catalog=CATALOG)
    assert program.plan is not None
    monkeypatch.setattr(census, "PIECE", 3)
    for batch in (1, 7, 500):
        store = SqliteStore.open(tmp_path / f"{batch}.db")
        try:
            for part in (rows[:60], rows[60:]):
                store.ingest([(event_of(row), b"") for row in part], [])
                Pump(program.plan, store, [], None, At(), secret=b"x", batch=batch).until_idle()
            assert sorted(brief(plain(it), gone) for it, _ in store.effects()) == wanted, batch
            for subject in sorted({PROGRAM, of_group("tea"), of_group("ink"), *(f"u{n}" for n in range(9))} - gone):
                assert course(program.plan, store, subject, fresh=MemoryStore).unmatched == 0, (batch, subject)
        finally:
            store.close()


def test_the_crowds_hold_all_there_is(tmp_path: Path) -> None:
    """The crowds of the test above see sets published and kept, prizes won and lacking, people appointed and gone."""
    kinds: set[tuple[str, str]] = set()
    for seed in range(4):
        for row in simulated(tmp_path, feed(tmp_path, seed)).effects:
            kinds.add((row["kind"], row["reason"] or row["status"]))
            if row["kind"] == "draw" and row["detail"].get("without_prize"):
                kinds.add(("draw", "short"))
            if row["kind"] == "set":
                kinds.add(("set", str(row["detail"]["value"])))
    assert kinds >= {
        ("select", "planned"), ("select", "too_few"), ("draw", "planned"), ("draw", "short"), ("nominate", "planned"),
        ("set", "role.granted"), ("set", "role.expiring"), ("set", "role.revoked"), ("points", "planned"),
    }  # fmt: skip
