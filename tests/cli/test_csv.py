"""Tables for spreadsheets: what people write stays text in them."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import pytest

import engine
from engine.cli.tables import csv_line

HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u3000=1", "\u00a0@x",
    "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", '=HYPERLINK("https://x.example","y")', "=cmd|' /C calc'!A0",
]  # fmt: skip
HARMLESS = ["", "a", "a=1", "1-1", "x@y.example", "中文", 'say "hi"', "a,b", "a;=1+1", "a\n=1", "a\t=1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text: str) -> None:
    """What a spreadsheet would take for a formula begins with an apostrophe, and is else as it was.

    Threat: export.formula
    """
    (row,) = csv.reader(io.StringIO(csv_line([text, "x"]), newline=""))
    assert row == ["'" + text, "x"]


@pytest.mark.parametrize("text", HARMLESS)
def test_all_else_stays(text: str) -> None:
    """Everything else is read back as it was written."""
    (row,) = csv.reader(io.StringIO(csv_line([text, None, 7]), newline=""))
    assert row == [text, "", "7"]


@pytest.mark.parametrize("text", ["a;=1+1", "a\t=1+1", "a\n=1+1", "a\r=1+1", 'a";=1+1'])
def test_no_other_sign_cuts_a_line(text: str) -> None:
    """A spreadsheet that cuts at semicolons, tabs or any line break makes no formula of the rest of a cell.

    Threat: export.formula — other separators
    """
    for sign in ";\t":
        cells = [cell for row in csv.reader(io.StringIO(csv_line([text]), newline=""), delimiter=sign) for cell in row]
        assert cells == [text]


def test_there_is_one_way() -> None:
    """No other module writes CSV.

    Threat: export.formula — by a lint
    """
    root = Path(engine.__file__).parent
    found = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("writer", "DictWriter")
        if isinstance(node.value, ast.Name) and node.value.id == "csv"
    ]
    assert found == []
