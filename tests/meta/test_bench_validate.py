"""The program ``bench/validate.py`` measures is a fair one: valid, without warnings, the same every time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from meta_harness import ROOT

from engine.language.compile import compile_program


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_validate", ROOT / "bench" / "validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_measured_program_is_valid(tmp_path: Path) -> None:
    """All its playbooks and templates are really checked, and nothing is wrong with them."""
    bench().write(tmp_path, 30)
    found = compile_program(tmp_path)
    assert [problem.message for problem in found.problems] == []
    assert found.counts["playbooks"] == 30
    assert found.counts["templates"] >= 60


def test_the_measured_program_is_the_same_every_time(tmp_path: Path) -> None:
    """Two programs written apart have the same content."""
    for name in ("a", "b"):
        bench().write(tmp_path / name, 9)
    first, second = (compile_program(tmp_path / name).plan for name in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first.digest == second.digest
