"""A program of metrics and scores is killed at every durable step and starts again: each figure is taken once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crash_world import World, spread, without_disk
from flow_program import compiled, lines_of, picture, simulated, write_feed
from semantics_kit import HEAD
from test_figures import ANY, BOOKS, CATALOG, crowd

from engine.core.figures import ROW
from engine.stores.sqlite import SqliteStore

MOMENTS = 40
SCORE = "  spend: {score: 'sum(\"order.paid\", \"amount\")', parts: 3, per: day, if: count(\"order.paid\") >= 1}\n"
SAY = "trigger: {event: a}\n" + ANY + "steps: [{set: {user.n: \"{{ score('spend') }}\"}}]\n"


class FigureWorld(World):
    """As ``World``, of a program that takes figures each day."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inbox, self.batch, self.classes = folder, False, 7, {}
        root = folder / "program"
        head = HEAD + "profile: open\nfeeds: [{file: feed/*.jsonl}]\n"
        files = {"drumbeat.yaml": head, "playbooks/catalog/all.yaml": CATALOG + SCORE}
        files |= {f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{text}" for id_, text in BOOKS.items()}
        files["playbooks/say.yaml"] = f"playbook: say\ntitle: t\n{SAY}"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        self.program = compiled(root)
        self.filed = lines_of(crowd(3, 60))
        self.simulated = simulated(self.program, write_feed(root, self.filed, "whole.jsonl"))
        self.passes = []
        fresh = self.fresh("undisturbed")
        self.work(fresh, self.passes.append)
        self.wanted = picture(fresh)
        self.sent = {"ads": Counter(), "box": Counter()}
        self.figures = figures(fresh)

    def check(self, root: Path, kills: int) -> None:
        super().check(root, kills)
        assert figures(root) == self.figures


def figures(root: Path) -> dict[str, bytes]:
    """The figures in the store of a folder."""
    store = SqliteStore.open(root / "s.db", read_only=True)
    try:
        return {name: row for name, row in store.slots().items() if name.startswith(ROW)}
    finally:
        store.close()


def test_killed_at_each_durable_step(tmp_path: Path) -> None:
    """Semantics: metric.figures — after any death every figure is there once, and every score as it would have been."""
    with without_disk():
        world = FigureWorld(tmp_path)
        assert world.wanted["effects"] == world.simulated
        assert len(world.figures) == 10
        assert {it.kind for it in world.simulated} == {"task", "set"}
        for found in spread(world.passes, MOMENTS).values():
            for moment in found:
                world.crash([moment])
