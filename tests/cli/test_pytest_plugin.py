"""The pytest plugin: scenarios are tests when asked for, and nothing at all otherwise."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

# A run inside this process forgets the modules it imports, and libyaml cannot be imported twice.
import engine.cli.rehearsing
import engine.language.compile  # noqa: F401

pytest_plugins = ["pytester"]

HEAD = "clock: 2026-03-01T09:00:00+08:00\nusers: {u1: {}}\nplaybooks: [thanks]\ntimeline:\n  - {event: order.paid}\n"
GOOD = f"scenario: 下单有谢\n{HEAD}  - {{expect: [{{message: thanks, text: 谢谢你}}]}}\n"
BAD = f"scenario: 没有谢\n{HEAD}  - {{expect: [{{message: thanks, text: 不客气}}]}}\n"
KEPT = f"scenario: 快照\n{HEAD}  - {{expect: [{{message: thanks, text: {{snapshot: thanks}}}}]}}\n"
WRONG = f"scenario: 写错了\n{HEAD}  - {{expect: [{{mesage: thanks}}]}}\n"
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = {
    "drumbeat.yaml": "program: tea\ntimezone: Asia/Shanghai\nchannels: {box: {via: file, path: out/box.jsonl}}\n",
    "playbooks/thanks.yaml": "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\nentry: once\n"
    "steps:\n  - message: {template: thanks, via: box, purpose: service}\n",
    "templates/thanks.box.j2": "谢谢你\n",
}
LOADED = ("-p", "no:drumbeat", "-p", "engine.cli.pytest_plugin")
"""The plugin by its module, also where the package is installed with its entry point."""


def write(pytester: pytest.Pytester, **scenarios: str) -> None:
    """A program with scenarios in the folder of the test."""
    for name, text in {**PROGRAM, **{f"scenarios/{it}.yaml": text for it, text in scenarios.items()}}.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_scenarios_are_tests(pytester: pytest.Pytester) -> None:
    """Each file is a test under its title; a failure shows both columns and nothing of our inside."""
    write(pytester, good=GOOD, bad=BAD)
    found = pytester.runpytest_inprocess(*LOADED, "--drumbeat", "-v")
    found.assert_outcomes(passed=1, failed=1)
    text = found.stdout.str()
    assert "没有谢" in text
    assert "text: 不客气" in text
    assert "rehearsal.py" not in text
    assert "coverage of the playbooks" in text


def test_a_scenario_nobody_can_read_is_an_error(pytester: pytest.Pytester) -> None:
    """Collecting it fails with place, caret and hint; so does every scenario of an invalid program."""
    write(pytester, wrong=WRONG, good=GOOD)
    found = pytester.runpytest_inprocess(*LOADED, "--drumbeat", "--continue-on-collection-errors")
    found.assert_outcomes(passed=1, errors=1)
    assert "did you mean 'message'?" in found.stdout.str()
    (pytester.path / "playbooks" / "thanks.yaml").write_text("playbook: thanks\n", encoding="utf-8")
    pytester.runpytest_inprocess(*LOADED, "--drumbeat").assert_outcomes(errors=2)


def test_nothing_happens_unless_asked_for(pytester: pytest.Pytester) -> None:
    """Without the switch no YAML is collected, and none of Drumbeat but the plugin is imported."""
    write(pytester, wrong=WRONG)
    pytester.makepyfile(
        "import sys\ndef test_quiet():\n"
        "    ours = [it for it in sys.modules if it.startswith('engine')]\n"
        "    assert ours == ['engine', 'engine.cli', 'engine.cli.pytest_plugin']\n"
    )
    found = pytester.runpytest_subprocess(*LOADED)
    found.assert_outcomes(passed=1)


def test_the_ini_file_switches_it_on(pytester: pytest.Pytester) -> None:
    """``drumbeat = true`` in the ini file does what the switch does; YAML elsewhere is left alone."""
    write(pytester, good=GOOD)
    (pytester.path / "scenarios.yaml").write_text("a: 1\n")
    pytester.makeini("[pytest]\ndrumbeat = true\n")
    pytester.runpytest_inprocess(*LOADED).assert_outcomes(passed=1)
    pytester.runpytest_inprocess(*LOADED, "scenarios/good.yaml").assert_outcomes(passed=1)


def test_snapshots_can_be_written(pytester: pytest.Pytester) -> None:
    """``--drumbeat-update`` writes the texts as ``drumbeat test --update`` does."""
    write(pytester, kept=KEPT)
    pytester.runpytest_inprocess(*LOADED, "--drumbeat").assert_outcomes(failed=1)
    pytester.runpytest_inprocess(*LOADED, "--drumbeat", "--drumbeat-update").assert_outcomes(passed=1)
    pytester.runpytest_inprocess(*LOADED, "--drumbeat").assert_outcomes(passed=1)


def test_the_package_ships_it() -> None:
    """pytest finds it by the entry point of the package, under the name ``drumbeat``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"drumbeat": "engine.cli.pytest_plugin"}
