"""The one command that runs everything at full size: its parts exist, its knobs are read, its table names failures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from meta_harness import ROOT


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_reliability", ROOT / "bench" / "reliability.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def test_parts_exist_and_read_their_knobs(bench: ModuleType) -> None:
    """Each part names a file that is there, and a size it gives is read by that file."""
    for part in bench.PARTS.values():
        command = part.command(0.5, Path("out"))
        text = next((ROOT / word).read_text(encoding="utf-8") for word in command if word.endswith(".py"))
        assert all(f'"{knob}"' in text for knob in part.env(0.5))
        if "pytest" not in command:
            assert all(f'"{word}"' in text for word in command if word.startswith("--"))


def test_sizes_come_from_the_tests(bench: ModuleType, tmp_path: Path) -> None:
    """What the tests say they tried is added up."""
    out = tmp_path / "out.xml"
    case = '<testcase><properties><property name="{}" value="{}"/></properties></testcase>'
    cases = "".join(case.format(*it) for it in (("moments", 7), ("moments", 5), ("kills", 2), ("figures", "{}")))
    out.write_text(f'<testsuites><testsuite tests="4">{cases}</testsuite></testsuites>', encoding="utf-8")
    assert bench._of_tests(out) == {"tests": 4, "moments": 12, "kills": 2}


def test_the_table_says_what_failed(bench: ModuleType) -> None:
    """A figure above its aim is named."""
    rows = [
        {"part": "wakeups", "holds": False, "missed": ["seconds"], "seconds": 61.5, "subjects": 1_000_000},
        {"part": "torn", "holds": True, "missed": [], "torn": 1_000},
    ]
    text = bench.table(rows)
    assert "wakeups    DOES NOT HOLD seconds: " in text
    assert "subjects: 1,000,000" in text
    assert "torn       holds: " in text
