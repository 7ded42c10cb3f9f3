"""What this version does not do yet is said by ``validate``, not first by ``run``."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.language.compile import compile_program


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("program: p\nstore: postgresql://host/db\n", 2, "PostgreSQL"),
    ],
)
def test_what_run_refuses_is_said_beforehand(tmp_path: Path, text: str, line: int, word: str) -> None:
    """A store, channel or feed of a later version is one warning at its place; the program still simulates."""
    (tmp_path / "drumbeat.yaml").write_text(text, encoding="utf-8")
    found = compile_program(tmp_path)
    assert found.plan is not None
    (said,) = [problem for problem in found.problems if problem.code == "not-yet"]
    assert (said.severity, said.line) == ("warning", line)
    assert word in said.message
