"""A program and a feed in a few lines, and all rows of one ``simulate`` over them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.feeds.replay import Replay
from engine.language.compile import compile_program
from engine.runtime.simulate import Outcome, simulate
from engine.stores.memory import MemoryStore

HEAD = """\
program: kit
channels: {box: {via: file, path: out.jsonl}}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: never
"""

Row = dict[str, Any]


@dataclass
class Seen:
    """What one simulation left behind."""

    effects: list[Row]
    decisions: list[Row]
    outcome: Outcome

    def brief(self, kind: str | None = None) -> list[tuple[str, str | None, str, str]]:
        """(time, step, kind, status or its reason) of each effect."""
        return [
            (row["time"], row["step"], row["kind"], row["reason"] or row["status"])
            for row in self.effects
            if kind in (None, row["kind"])
        ]

    def verdicts(self, playbook: str) -> list[tuple[str, str]]:
        """(time, verdict) of each decision on a playbook."""
        return [(row["time"], row["verdict"]) for row in self.decisions if row["playbook"] == playbook]


def event(id_: str, type_: str, time: str, user: str | None = "u1", **data: Any) -> Row:
    """One record of a feed; a time without a day is on 2026-03-01, UTC."""
    instant = time if "T" in time else f"2026-03-01T{time}:00Z"
    return {"id": id_, "type": type_, "time": instant, "user": user, "data": data}


def play(
    root: Path,
    playbooks: Mapping[str, str],
    events: Sequence[Row],
    *,
    catalog: str = "",
    head: str = HEAD,
    until: int | None = None,
    batch: int = 500,
    traced: bool = True,
) -> Seen:
    """Simulate a program over a feed, in this process; not ``traced`` takes the short ways, as without --decisions."""
    files = {"drumbeat.yaml": head, "templates/hi.box.j2": "hi {{ user.id }}"}
    files |= {f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{text}" for id_, text in playbooks.items()}
    if catalog:
        files["playbooks/catalog/all.yaml"] = catalog
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    feed = root / "feed.jsonl"
    feed.write_text("".join(json.dumps(row) + "\n" for row in events), encoding="utf-8")
    program = compile_program(root)
    assert program.plan is not None, [str(problem) for problem in program.problems]
    effects, decisions = io.BytesIO(), io.BytesIO()
    outcome = simulate(
        program.plan, Replay([feed], until), MemoryStore(keep_log=False), until=until, effects=effects,
        decisions=decisions if traced else None, batch_size=batch, known_types=program.known_types,
    )  # fmt: skip
    return Seen(_rows(effects), _rows(decisions), outcome)


def _rows(out: io.BytesIO) -> list[Row]:
    return [json.loads(line) for line in out.getvalue().splitlines()]
