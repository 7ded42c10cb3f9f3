"""Where a program says its store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.language.compile import compile_program


@pytest.mark.parametrize(
    ("store", "codes"),
    [
        ("postgresql://host/db", []),
        ("postgresql://me:${STORE_PASSWORD}@host/db?schema=tea", []),
        ("postgresql://me:canary@host/db", ["secret"]),
        ("postgres://me:canary@host/db", ["unknown-store", "secret"]),
    ],
)
def test_a_password_never_stands_in_a_program(tmp_path: Path, store: str, codes: list[str]) -> None:
    """A store in PostgreSQL is named with references; one with a password in it is refused, and never repeated."""
    (tmp_path / "drumbeat.yaml").write_text(f"program: p\nstore: {store}\n", encoding="utf-8")
    found = compile_program(tmp_path)
    assert [problem.code for problem in found.problems] == codes
    assert not any("canary" in f"{problem.message} {problem.hint}" for problem in found.problems)
