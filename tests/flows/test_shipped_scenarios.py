"""The shipped playbooks keep what their scenarios promise, and no part of them is untested."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.insight.rehearsal import Rehearsed
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "scenarios").glob("*.yaml"))


@cache
def library() -> Compiled:
    """The program in the repository's root."""
    return compile_program(ROOT, scenarios=True)


@cache
def coverage() -> Coverage:
    """What all scenarios of this process went through."""
    found = library()
    assert found.rehearse is not None, render_text(found.problems, found.sources)
    return Coverage(found.rehearse(()).playbooks)


@cache
def rehearsed(file: str) -> Rehearsed | None:
    """What came of a scenario, which is run once; None when there is no such."""
    scenario = next((it for it in library().scenarios if it.file == file), None)
    return scenario and run_one(library(), scenario, coverage(), update=False)[0]


@pytest.mark.parametrize("file", FILES)
def test_scenario(file: str) -> None:
    """The scenario comes out as it says."""
    result = rehearsed(file)
    assert result is not None, render_text(library().problems, library().sources)
    assert result.ok, "\n" + "\n".join(report(result, ROOT, 120))


def test_every_part_of_every_playbook_is_walked() -> None:
    """Entries, steps, branches and timeouts of all playbooks, none left out."""
    for scenario in library().scenarios:
        rehearsed(scenario.file)
    assert len(coverage().playbooks) >= 90
    missed = {name: it.missed() for name, it in coverage().playbooks.items() if it.missed()}
    assert missed == {}
