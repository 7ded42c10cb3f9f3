"""Scenario tests of sets, proposals, surveys and draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from census_program import ANY
from semantics_kit import HEAD
from steps_kit import write

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.language.compile import compile_program

CATALOG = """\
segments: {core: {select: core}}
coupons: {gift: {value: {off: 5}, codes: {generate: G}, limits: {per_user: unlimited, total: 5}}}
roles: {moderator: {term: 20d}}
groups: {tea: {owner: li, rooms: [{id: t, link: "https://g.example/t", capacity: 50}]}}
surveys: {nps: {open: 5d, questions: [{id: would, text: 0-10, kind: nps}]}}
"""
BOOKS = {
    "core": "subject: program\ntrigger: {event: choose}\n" + ANY + """steps:
  - select: {name: core, score: 'count("a")', size: [1, 2]}
""",
    "found": "subject: group\ntrigger: {event: find}\n" + ANY + """steps:
  - nominate: {role: moderator, top: 1, by: 'count("a")'}
""",
    "lots": "subject: program\ntrigger: {event: go}\n" + ANY + """steps:
  - draw: {entrants: 'count("a") >= 2', winners: 1, prize: gift, seed_from: 1d}
""",
    "ask": "trigger: {event: ask}\n" + ANY + "steps:\n  - survey: {name: nps, via: box}\n",
}
CLOCK = "clock: 2026-03-02T09:00:00Z\n"
SETS = f"""\
scenario: Who does most is chosen
playbooks: [core]
{CLOCK}users: {{u1: {{}}, u2: {{}}, u3: {{}}}}
timeline:
  - {{event: a, user: u1, times: 2, every: 1m}}
  - {{event: a, user: u2, times: 3, every: 1m}}
  - {{at: +1h, event: choose, user: u3}}
  - at: +1h
    expect: [{{select: core, entered: [u1, u2], left: [], size: 2}}]
"""
PROPOSED = f"""\
scenario: A person appoints
playbooks: [found]
{CLOCK}users: {{u1: {{}}, u2: {{}}}}
groups: {{tea: {{members: [u1, u2]}}}}
timeline:
  - {{event: a, user: u2, times: 2, every: 1m}}
  - {{at: +1h, event: find, group: tea}}
  - at: +1h
    expect:
      - {{nominate: moderator, users: [u2], group: tea}}
      - {{task: "appoint u2 as moderator of tea?", assign: li, group: tea}}
"""
DRAWN = f"""\
scenario: The only one who may win does
playbooks: [lots]
{CLOCK}users: {{u1: {{}}, u2: {{}}}}
timeline:
  - {{event: a, user: u1, times: 2, every: 1m}}
  - {{event: a, user: u2}}
  - {{at: +1h, event: go, user: u2}}
  - {{at: +1h, expect: [{{draw: gift}}]}}
  - {{at: +26h, expect: [{{draw: gift, winners: [u1]}}, {{coupon: gift, user: u1}}]}}
"""
ASKED = f"""\
scenario: A fan says so
playbooks: [ask]
{CLOCK}users: {{u1: {{}}}}
timeline:
  - {{event: ask, user: u1}}
  - {{at: +1m, expect: [{{message: survey/nps, user: u1}}]}}
  - {{at: +1h, event: survey.answered, user: u1, data: {{survey: nps, answers: {{would: 10}}}}}}
  - {{at: +1h, expect: [{{survey: nps, score: 10, answered: true}}]}}
"""


@pytest.mark.parametrize("text", [SETS, PROPOSED, DRAWN, ASKED], ids=["select", "nominate", "draw", "survey"])
def test_a_scenario_of_it_passes(tmp_path: Path, text: str) -> None:
    """Each of these steps can be expected by name, with who it is about; on the virtual clock they run as elsewhere."""
    template = tmp_path / "templates/survey/nps.box.j2"
    template.parent.mkdir(parents=True)
    template.write_text("t", encoding="utf-8")
    write(tmp_path, BOOKS, catalog=CATALOG, head=HEAD)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "one.yaml").write_text(text, encoding="utf-8")
    program = compile_program(tmp_path, scenarios=True)
    errors = [str(problem) for problem in program.problems if problem.severity == "error"]
    assert errors == []
    (scenario,) = program.scenarios
    result, _ = run_one(program, scenario, Coverage(), update=False)
    assert result.ok, report(result, tmp_path, 140)
