"""Typical mistakes of somebody new, in whole programs with Chinese text: place, need, got and next move of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.language.compile import compile_program
from engine.language.diagnostics import render_text

GOLDEN = (Path(__file__).parent / "golden" / "newcomers.txt").read_text(encoding="utf-8")
CASES = re.findall(r"^### (.*)\n((?:.*\n)*?)--->\n((?:.*\n)*?)(?=\n###|\Z)", GOLDEN, re.MULTILINE)
AROUND = {
    "drumbeat.yaml": "program: tea\ntimezone: Asia/Shanghai\nlocale: zh-CN\n"
    "profile: {name: text | none, city: text | none}\n"
    'events: {user.signup: {source: text | none}, order.paid: {amount: money}, "*": open}\n'
    "channels: {sms: {via: file, path: out/sms.jsonl}}\n",
    "playbooks/catalog/coupons.yaml": "coupons:\n"
    "  new-user-20: {codes: {generate: NU}, limits: {per_user: 1, total: 100}}\n",
    "templates/hello.sms.j2": "【小店】欢迎。\n",
}


def files_of(piece: str) -> dict[str, str]:
    """File name -> text."""
    parts = re.split(r"^# file: (\S+)\n", piece, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("name", "piece", "expected"), CASES, ids=[case[0] for case in CASES])
def test_one_mistake_is_one_answer(tmp_path: Path, name: str, piece: str, expected: str) -> None:
    """The mistake is told once, at its very word, with what is needed, what stands there and what to do next."""
    for file, text in {**AROUND, **files_of(piece)}.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = compile_program(tmp_path)
    told = [problem for problem in found.problems if problem.code != "unused"]
    assert render_text(told, found.sources) == expected.rstrip("\n")
    assert len(told) == 1


def test_every_case_was_read() -> None:
    """No case is lost in the reading of the file, and the ten of the plan are among them."""
    assert len(CASES) == GOLDEN.count("\n### ") >= 10
