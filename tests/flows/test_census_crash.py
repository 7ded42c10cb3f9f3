"""Questions about everybody while ``run`` is killed: a draw, a set, a ranking, a role and a survey are decided once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from census_program import ANY, BOOKS, CATALOG, answers, crowd, plain
from crash_world import World, spread, without_disk
from flow_program import compiled, lines_of, picture, sent_keys, simulated, write_feed
from semantics_kit import HEAD

from engine.runtime import census

MOMENTS = 40
ASKS = (
    "trigger: {event: a, if: event.n == 3}\n"
    + ANY
    + """steps:
  - survey: {name: quick, via: box}
    id: quick
  - points: 1
    if: steps.quick is not none
"""
)
FILES = {
    "drumbeat.yaml": HEAD.replace("path: out.jsonl}", "path: out/box.jsonl}, ads: {via: file, path: out/ads.jsonl}")
    + "profile: open\nstore: sqlite:///s.db\nfeeds: [{file: feed/*.jsonl}]\n",
    "playbooks/catalog/all.yaml": CATALOG
    + "surveys: {quick: {title: 问, open: 2d, rest: 3d, questions: [{id: would, text: 问, kind: nps}]}}\n",
    "templates/survey/quick.box.j2": "{{ with.survey.title }}",
    **{f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{text}" for id_, text in {**BOOKS, "asks": ASKS}.items()},
}


class CensusWorld(World):
    """As ``World``, of the program that asks about everybody; pieces of two users, answers for some surveys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.batch, self.classes = folder, False, 7, {}
        for name, text in FILES.items():
            path = folder / "program" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.program = compiled(folder / "program")
        rows = crowd(4, 90)
        for number, row in enumerate([it for it in rows if it["type"] == "a"][::3]):
            said = {"survey": "quick", "answers": {"would": number % 11}}
            rows.append({**row, "id": f"s{number:03d}", "type": "survey.answered", "data": said})
        rows.sort(key=lambda row: str(row["time"]))
        found = simulated(self.program, write_feed(folder / "program", lines_of(rows), "first.jsonl"))
        rows += answers(4, [plain(it) for it in found])
        rows.sort(key=lambda row: str(row["time"]))
        self.filed = lines_of(rows)
        self.simulated = simulated(self.program, write_feed(folder / "program", self.filed, "whole.jsonl"))
        self.passes = []
        root = self.fresh("undisturbed")
        self.work(root, self.passes.append)
        self.wanted = picture(root)
        self.sent = {channel: Counter(sent_keys(root, channel)) for channel in ("ads", "box")}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with without_disk(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(census, "PIECE", 2)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> CensusWorld:
    return CensusWorld(tmp_path_factory.mktemp("crash"))


def test_the_world_is_worth_crashing(world: CensusWorld) -> None:
    """Every question about everybody was asked and answered, and surveys ended both ways."""
    kinds = Counter(it.kind for it in world.simulated)
    assert min(kinds[kind] for kind in ("draw", "select", "rank", "nominate", "survey")) >= 2, kinds
    assert {it.detail["answered"] for it in world.simulated if it.kind == "survey"} == {True, False}


@pytest.mark.parametrize("part", range(2))
def test_killed_at(world: CensusWorld, part: int) -> None:
    """Killed at each durable step: after a restart nobody is drawn, chosen, ranked or asked a second time, and the
    answers on record are the same."""
    moments = [it for found in spread(world.passes, MOMENTS).values() for it in found]
    for moment in moments[part::2]:
        world.crash([moment])


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(world: CensusWorld, seed: int) -> None:
    """Killed several times, also while it catches up."""
    rng = random.Random(seed)
    world.crash([rng.randint(1, len(world.passes)) for _ in range(rng.randint(2, 5))], "again")
