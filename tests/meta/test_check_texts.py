"""The exact text of every check beyond shape: what the bad example of its page says when somebody validates it."""

from __future__ import annotations

from pathlib import Path

import pytest
from meta_harness import ROOT, TEMPLATES, compiled

from engine.language.diagnostics import render_text
from engine.language.lint import LINT_PAGES

GOLDEN = ROOT / "tests" / "meta" / "golden" / "checks.txt"


def expected() -> dict[str, str]:
    """Code -> the text of its problem."""
    _, *cases = GOLDEN.read_text(encoding="utf-8").split("\n### ")
    return {code: text.strip("\n") for code, _, text in (case.partition("\n") for case in cases)}


def said(code: str, root: Path) -> str:
    """What the bad example of a code says about it."""
    found = compiled(root, LINT_PAGES[code].bad)
    told = [problem for problem in found.problems if problem.code == code and shown(problem)]
    return render_text(told, found.sources)


def shown(problem: object) -> bool:
    """What the program around the example leaves unused is no part of it."""
    file = getattr(problem, "file", "")
    return getattr(problem, "code", "") != "unused" or ("around" not in file and file not in TEMPLATES)


@pytest.mark.parametrize("code", list(LINT_PAGES))
def test_golden(code: str, tmp_path: Path) -> None:
    """Place, need, got and next move of a check are these very words."""
    assert said(code, tmp_path) == expected()[code]


def test_no_stray_case() -> None:
    """Every case of the file is a check, and every check has its case."""
    assert set(expected()) == set(LINT_PAGES)
