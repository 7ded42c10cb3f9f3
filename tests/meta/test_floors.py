"""What the floors of ``.importlinter`` cannot say: the core imports nothing but what is named here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from meta_harness import ROOT

PURE = {
    "__future__", "abc", "ast", "base64", "bisect", "collections", "contextlib", "dataclasses", "datetime", "decimal",
    "enum", "functools", "hashlib", "heapq", "hmac", "itertools", "math", "msgspec", "operator", "re", "types",
    "typing", "zlib", "zoneinfo",
}  # fmt: skip
"""zoneinfo reads the tables of time zones, which are rules and no surroundings; zlib computes sums."""
CLOCKS = {"now", "utcnow", "today", "fromtimestamp", "tzlocal"}
CORE = sorted((ROOT / "engine" / "core").glob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_imports_pure_modules_only(path: Path) -> None:
    """The core stands on a few modules that look at nothing outside, on itself and on the errors."""
    allowed = ("engine.core", "engine.errors")
    strangers = [it for it in _imports(path) if it.partition(".")[0] not in PURE and not it.startswith(allowed)]
    assert not strangers


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_reads_no_clock(path: Path) -> None:
    """datetime may be computed with in the core, never asked for the present; nothing is opened or printed."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            owner = ast.unparse(node.func.value)
            assert owner not in ("datetime", "date", "datetime.datetime", "datetime.date"), f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            # the short ways are written as source and compiled; nothing else is
            banned = {"open", "print", "input", "eval", *(() if path.stem == "writing" else ("exec",))}
            assert node.func.id not in banned, f"line {node.lineno}"
