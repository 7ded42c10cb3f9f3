"""What ``simulate`` remarks beside its result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Drumbeat, Make


def test_ids_made_of_places_are_told_once(drumbeat: Drumbeat, make: Make) -> None:
    """Records without id are named file:line, in the rows too, and one remark says so; with ids there is none.

    Semantics: event.simulated-id
    """
    rows = [{"type": "order.paid", "user": f"u{n}", "time": f"2026-03-0{n}T01:00:00Z"} for n in (1, 2, 3)]
    root = make(feed="".join(json.dumps(row) + "\n" for row in rows))
    said = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl", "--decisions", root / "d.jsonl")
    assert said.code == 0
    assert said.err.count("file:line") == 1
    causes = [json.loads(line)["cause"]["event"] for line in (root / "d.jsonl").read_text().splitlines()]
    assert causes == ["feed.jsonl:1", "feed.jsonl:2", "feed.jsonl:3"]
    root = make(name="named")
    assert "file:line" not in drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl").err
