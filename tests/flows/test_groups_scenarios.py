"""Scenario tests of playbooks about groups and the program."""

from __future__ import annotations

from pathlib import Path

import pytest
from group_program import write_program

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.language.compile import compile_program

HEAD = "clock: 2026-03-02T09:00:00+08:00\n"

SILENT = f"""\
scenario: A silent group is written to, and asleep when nobody answers
playbooks: [silent, woken, later]
{HEAD}users: {{u1: {{}}, u2: {{}}}}
groups:
  tea: {{stage: awake, members: [u1, u2], history: [{{group.post: {{text: hi}}, at: -1d, user: u1}}]}}
  wild: {{}}
fixed: {{holdout: {{silent: {{tea: treated}}}}}}
timeline:
  - at: +1d
    expect:
      - {{entered: silent, group: tea, at: 2026-03-03T09:00:00+08:00}}
      - {{post: revive, group: tea, text: "茶友会 2 2"}}
  - at: +2d
    expect: [{{set: group.stage, value: asleep, group: tea}}, {{entered: woken, group: tea}}]
"""

EVENTS = f"""\
scenario: A target of a group rewards its members, and nobody else
playbooks: [target, reward]
{HEAD}users: {{u1: {{}}, u2: {{}}, u3: {{}}}}
groups: {{club: {{title: 夜跑团, members: [u1, u2]}}}}
timeline:
  - {{event: group.post, user: u1, group: club, times: 5, every: 1h}}
  - at: +5h
    expect:
      - {{emit: target.reached, group: club}}
      - {{points: 100, group: club}}
      - {{task: "恭喜 club", group: club, assign: ops}}
      - {{points: 10, user: u1}}
      - {{points: 10, user: u2}}
      - {{message: hello, user: u1}}
      - {{message: hello, user: u2}}
"""

PROGRAM = f"""\
scenario: A good day of the whole program
playbooks: [pulse, praised]
{HEAD}users: {{u1: {{}}, u2: {{}}}}
timeline:
  - {{event: order.paid, user: u1, data: {{amount: 5}}, times: 2, every: 1m}}
  - at: +1h
    expect: [{{task: a good day}}, {{emit: praised}}, {{points: 1, user: u1}}]
"""


@pytest.mark.parametrize("text", [EVENTS, PROGRAM, SILENT], ids=["members", "program", "silent"])
def test_scenario(tmp_path: Path, text: str) -> None:
    """A scenario names groups beside users: their traits, members and history, and what is expected of them."""
    root = write_program(tmp_path)
    if "silent" in text:
        path = root / "playbooks" / "silent.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace('at: "10:00", ', ""), encoding="utf-8")
    (root / "scenarios").mkdir()
    (root / "scenarios" / "one.yaml").write_text(text, encoding="utf-8")
    found = compile_program(root, scenarios=True)
    assert found.plan is not None, list(found.problems)
    assert found.scenarios, [it for it in found.problems if it.severity == 'error']
    result, _ = run_one(found, found.scenarios[0], Coverage(), update=False)
    assert result.ok, report(result, root, 140)
