"""What the operator hears of a playbook that reached its entry limit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Drumbeat, Make

FILES = {
    "drumbeat.yaml": (
        "program: tea\ntimezone: Asia/Shanghai\nfeeds: [{file: feed.jsonl}]\n"
        "channels: {box: {via: file, path: out/box.jsonl}}\n"
    ),
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: 谢谢\ntrigger: {event: order.paid}\nentry: {mode: parallel, limit: 1/day}\n"
        "steps: [{tag: {add: [t]}}]\n"
    ),
    "feed.jsonl": "".join(
        json.dumps(
            {"id": f"e{day}{n}", "type": "order.paid", "user": f"u{n}", "time": f"2026-03-{day:02d}T0{n}:00:00Z"}
        )
        + "\n"
        for day in range(1, 9)
        for n in (1, 2, 3)
    ),
}  # fmt: skip


def test_a_limit_is_told_on_the_terminal(drumbeat: Drumbeat, make: Make) -> None:
    """Semantics: limit.told — "the operator is alerted once" for a window; a backlog of many windows is counted after
    the fifth; `simulate` and `report` say how many there were."""
    root = make(FILES)
    said = drumbeat("run", "--until-idle", "--program", root)
    told = [line for line in said.err.splitlines() if line.startswith("warning: playbook thanks reached its limit")]
    assert len(told) == 5
    assert told[0].endswith("1/day at 2026-03-01T02:00:00Z: what is over it waits for the next window")
    assert told[4].endswith("further windows are only counted")
    assert "limits      thanks reached in 8 window(s)" in said.out
    assert drumbeat("report", "--program", root, "--format", "json").json["playbooks"]["thanks"]["limited"] == 8
    assert "thanks: entry limit reached in 8 window(s)" in drumbeat("report", "--program", root).out
    simulated = drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl")
    assert (simulated.code, simulated.err) == (0, "")
    assert "limits     thanks reached in 8 window(s)" in simulated.out
    again = drumbeat("run", "--until-idle", "--program", root)
    assert "limit" not in again.err
