"""What ``drumbeat why`` says of a journey that stands still because a condition could not be judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Drumbeat, Make

BOOK = """\
playbook: thanks
title: 谢谢
owner: tea@shop.example
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - wait: 1d
    id: pause
  - message: {template: thanks, via: box, purpose: service}
    id: say
    if: not (event.amount > 5)
"""


def test_a_parked_journey_is_told(drumbeat: Drumbeat, make: Make) -> None:
    """The error, its values and the step stand there; neither the message nor what follows it was done.

    Semantics: condition.parked
    """
    rows = [
        {"id": "1", "type": "order.paid", "user": "u1", "time": "2026-03-01T01:00:00Z", "data": {"amount": "six"}},
        {"id": "2", "type": "order.paid", "user": "u2", "time": "2026-03-01T01:00:00Z", "data": {"amount": 6}},
        {"id": "3", "type": "end", "user": "u3", "time": "2026-03-09T01:00:00Z"},
    ]
    feed = "".join(json.dumps(row) + "\n" for row in rows)
    program = "program: tea\nchannels: {box: {via: file, path: out/box.jsonl}}\nfeeds: [{file: feed.jsonl}]\n"
    root = make({"playbooks/thanks.yaml": BOOK, "drumbeat.yaml": program}, feed=feed)
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    said = drumbeat("why", "--program", root, "--user", "u1", "--playbook", "thanks")
    assert said.code == 0
    assert "error" in said.out
    assert "at step say, waits for parked" in said.out
    assert "'six'" in said.out, said.out
    told = drumbeat("why", "--program", root, "--user", "u1", "--playbook", "thanks", "--format", "json").json
    (playbook,) = [told["playbooks"][name] for name in told["playbooks"]]
    assert playbook["effects"] == []
    assert "error" not in drumbeat("why", "--program", root, "--user", "u2", "--playbook", "thanks").out
