"""Groups and the program as subjects: ``run`` decides what ``simulate`` decides, whatever the batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import compiled, effects_of, lines_of, picture, run, simulated, write_feed
from group_program import make_events, write_program

from engine.insight.replay import course
from engine.language.compiled import Compiled
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk():
        yield


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compiled(write_program(tmp_path_factory.mktemp("program")))


def run_all(program: Compiled, folder: Path, content: bytes, *, batch: int, **more: Any) -> Path:
    """One run over a fresh store; its folder."""
    root = folder / f"batch{batch}"
    root.mkdir()
    write_feed(root, content)
    run(program, root, batch=batch, **more)
    return root


@pytest.mark.parametrize("seed", range(3))
def test_every_subject_is_explained(program: Compiled, tmp_path: Path, seed: int) -> None:
    """Deciding a user, a group or the program once more gives the effects on record and the state in the store."""
    # what an erased user did is gone from the record of its groups, too
    events = [event for event in make_events(seed, 250) if event["type"] != "user.deleted"]
    root = run_all(program, tmp_path, lines_of(events), batch=50)
    store = SqliteStore.open(root / "s.db", read_only=True)
    assert program.plan is not None
    try:
        for state in store.subjects():
            found = course(program.plan, store, state.id, fresh=lambda: MemoryStore(keep_log=False))
            assert (state.id, found.unmatched) == (state.id, 0)
            assert found.state is not None
            assert (found.state.journeys, found.state.points) == (state.journeys, state.points)
    finally:
        store.close()


@pytest.mark.parametrize("seed", range(4))
def test_any_batch(program: Compiled, tmp_path: Path, seed: int) -> None:
    """With groups and the program as subjects, runs with batches of 1, 7 and 500 decide what ``simulate`` decides."""
    content = lines_of(make_events(seed, 250))
    wanted = sorted(simulated(program, write_feed(tmp_path, content)), key=lambda it: (it.time, it.key))
    kinds = {(it.kind, it.playbook) for it in wanted}
    assert {("post", "silent"), ("emit", "target"), ("points", "reward"), ("task", "pulse")} <= kinds
    pictures = []
    for batch in (1, 7, 500):
        root = run_all(program, tmp_path, content, batch=batch)
        assert [(it.key, it.time, it.kind, it.user, it.group, it.status, it.detail) for it in effects_of(root)] == [
            (it.key, it.time, it.kind, it.user, it.group, it.status, it.detail) for it in wanted
        ]
        pictures.append(picture(root))
    assert pictures[0] == pictures[1] == pictures[2]
