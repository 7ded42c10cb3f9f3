"""``drumbeat test``: what it prints, what it writes, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import pytest

from engine.cli.sidebyside import columns, wrapped
from engine.cli.tables import width
from engine.insight.showing import Row

HEAD = "clock: 2026-03-01T09:00:00+08:00\nusers: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n  - {event: order.paid}\n"
GOOD = f"scenario: 下单有谢\n{HEAD}  - {{expect: [{{message: thanks, text: 谢谢你}}]}}\n"
BAD = f"scenario: 没有谢\n{HEAD}  - {{expect: [{{message: thanks, text: 不客气}}]}}\n"
KEPT = f"scenario: 快照\n{HEAD}  - {{expect: [{{message: thanks, text: {{snapshot: thanks}}}}]}}\n"
WRONG = f"scenario: 写错了\n{HEAD}  - {{expect: [{{mesage: thanks}}]}}\n"


def scenarios(**files: str) -> dict[str, str]:
    """Scenario files by name."""
    return {f"scenarios/{name}.yaml": text for name, text in files.items()}


def test_all_pass(drumbeat: Any, make: Any) -> None:
    """Exit 0, a table of coverage, and a last line that says it all."""
    said = drumbeat("test", "--program", make(scenarios(good=GOOD)))
    assert said.code == 0
    assert said.out.splitlines()[-1] == "1 passed, coverage 100 %"
    assert "thanks" in said.out


def test_a_failure_shows_both_sides(drumbeat: Any, make: Any) -> None:
    """Exit 1; place, both columns, the key that differs, and the others still run."""
    said = drumbeat("test", "--program", make(scenarios(bad=BAD, good=GOOD)))
    assert said.code == 1
    assert "FAIL scenarios/bad.yaml: 没有谢" in said.out
    assert "scenarios/bad.yaml:7: expect at +0s" in said.out
    lines = [line for line in said.out.splitlines() if " | " in line]
    assert [part.strip() for part in lines[0].split(" | ")] == ["expected", "got"]
    assert len({width(line.split(" | ")[0]) for line in lines}) == 1, "the bar stands straight, also behind Chinese"
    assert [part.strip() for part in lines[-1].split(" | ")] == ["text: 不客气", "text: 谢谢你"]
    assert said.out.splitlines()[-1].startswith("1 passed, 1 failed")


def test_as_a_diff(drumbeat: Any, make: Any) -> None:
    """``--diff`` shows the same as one column."""
    said = drumbeat("test", "--diff", "--program", make(scenarios(bad=BAD)))
    assert said.code == 1
    assert "  -{message: thanks, text: 不客气}" in said.out.splitlines()


def test_as_json(drumbeat: Any, make: Any) -> None:
    """One object: what is missing, what came nearest, key by key, and the coverage."""
    said = drumbeat("test", "--format", "json", "--program", make(scenarios(bad=BAD, good=GOOD)))
    assert said.code == 1
    assert (said.json["ok"], said.json["passed"], said.json["failed"]) == (False, 1, 1)
    bad = next(row for row in said.json["scenarios"] if not row["ok"])
    (missing,) = bad["checks"][0]["missing"]
    assert missing["differences"] == [{"key": "text", "expected": "不客气", "got": "谢谢你"}]
    assert said.json["coverage"]["playbooks"]["thanks"]["steps"] == {"covered": 1, "of": 1}


@pytest.mark.parametrize(
    ("words", "code", "passed"),
    [
        (["-k", "下单"], 0, 1), (["-k", "thanks and not 没有"], 0, 1), (["-k", "no-such"], 1, 0),
        (["-k", "(a"], 2, 0), (["-k", "a or"], 2, 0), (["scenarios/good.yaml"], 0, 1), (["scenarios"], 1, 1),
        (["scenarios/none.yaml"], 1, 0),
    ],
)  # fmt: skip
def test_which_ones(drumbeat: Any, make: Any, words: list[str], code: int, passed: int) -> None:
    """PATHS and -k choose; nothing chosen is exit 1, an expression nobody can read exit 2."""
    said = drumbeat("test", *words, "--program", make(scenarios(bad=BAD, good=GOOD)))
    assert said.code == code, said.out + said.err
    assert (f"{passed} passed" in said.out) is (passed > 0)


def test_no_scenarios_at_all(drumbeat: Any, make: Any) -> None:
    """A program without tests is exit 1, never a silent success."""
    said = drumbeat("test", "--program", make())
    assert said.code == 1
    assert "no scenario matches" in said.err


def test_a_scenario_nobody_can_read(drumbeat: Any, make: Any, tmp_path: Path) -> None:
    """It is shown with place and caret, the others run, and it is an error in JUnit."""
    out = tmp_path / "ci" / "junit.xml"
    said = drumbeat("test", "--junit", out, "--program", make(scenarios(wrong=WRONG, good=GOOD)))
    assert said.code == 1
    assert "scenarios/wrong.yaml:7:16: error[scenario-word]" in said.out
    assert "1 passed, 1 cannot be read" in said.out
    top = Tree.fromstring(out.read_bytes())  # noqa: S314 - our own output
    assert (top.get("tests"), top.get("failures"), top.get("errors")) == ("2", "0", "1")


def test_junit(drumbeat: Any, make: Any, tmp_path: Path) -> None:
    """A case each, with file and time; a failure holds what the terminal shows."""
    out = tmp_path / "junit.xml"
    assert drumbeat("test", "--junit", out, "--program", make(scenarios(bad=BAD, good=GOOD))).code == 1
    cases = Tree.fromstring(out.read_bytes()).findall("./testsuite/testcase")  # noqa: S314 - our own output
    assert [(it.get("classname"), it.get("name")) for it in cases] == [
        ("scenarios.bad", "没有谢"), ("scenarios.good", "下单有谢"),
    ]  # fmt: skip
    assert "不客气" in (cases[0].findtext("failure") or "")
    assert cases[1].find("failure") is None


def test_snapshots_are_written_and_kept(drumbeat: Any, make: Any) -> None:
    """Missing: fails and says how; --update writes; changed text fails; a file nobody names goes away."""
    root = make(scenarios(kept=KEPT))
    kept = root / "scenarios" / "__snapshots__" / "kept" / "thanks.txt"
    said = drumbeat("test", "--program", root)
    assert said.code == 1
    assert "--update writes it" in said.out
    assert not kept.exists()
    assert drumbeat("test", "--update", "--program", root).code == 0
    assert kept.read_text(encoding="utf-8") == "谢谢你\n"
    assert drumbeat("test", "--program", root).code == 0
    (root / "templates" / "thanks.box.j2").write_text("多谢\n", encoding="utf-8")
    said = drumbeat("test", "--program", root)
    assert said.code == 1
    assert "谢谢你" in said.out
    assert "多谢" in said.out
    kept.with_name("old.txt").write_text("x\n", encoding="utf-8")
    assert drumbeat("test", "--update", "--program", root).code == 0
    assert [path.name for path in kept.parent.iterdir()] == ["thanks.txt"]


def test_coverage_can_be_gated(drumbeat: Any, make: Any) -> None:
    """Below --cover-min: exit 1, and what nobody walked is named, a playbook without any test, too."""
    other = "playbook: other\ntitle: t\ntrigger: {event: a.b}\nentry: once\nsteps:\n  - points: 1\n"
    root = make({**scenarios(good=GOOD), "playbooks/other.yaml": other})
    assert drumbeat("test", "--cover-min", "50", "--program", root).code == 0
    said = drumbeat("test", "--cover-min", "51", "--program", root)
    assert said.code == 1
    assert "not covered: other: steps: points[0]" in said.out
    assert "coverage 50 % (at least 51 % wanted)" in said.out
    assert drumbeat("test", "--cover-min", "101", "--program", root).code == 2


def test_an_invalid_program_is_told(drumbeat: Any, make: Any) -> None:
    """A program with errors is not tested: exit 1 and its problems."""
    said = drumbeat("test", "--program", make({**scenarios(good=GOOD), "playbooks/x.yaml": "playbook: x\n"}))
    assert said.code == 1
    assert "error[missing-key]" in said.err


def test_validate_checks_scenarios(drumbeat: Any, make: Any) -> None:
    """``validate`` reads the tests in the same pass; ``simulate`` does not care about them."""
    root = make(scenarios(wrong=WRONG))
    said = drumbeat("validate", "--program", root)
    assert said.code == 1
    assert "scenarios/wrong.yaml:7:16: error[scenario-word]" in said.out
    assert drumbeat("simulate", "--program", root, "--events", root / "feed.jsonl").code == 0


def test_columns_hold_long_and_wide_text() -> None:
    """No line is wider than asked for, and nothing of a text is lost."""
    row = Row("~", "好" * 50 + " and then " + "x" * 90, "短")
    lines = columns([row], 80)
    assert max(map(width, lines)) <= 80
    text = "".join(line[2:38].split("|")[0] for line in lines[2:]).replace(" ", "")
    assert text.count("好") == 50
    assert text.count("x") == 90
    assert wrapped("a b", 10) == ["a b"]
