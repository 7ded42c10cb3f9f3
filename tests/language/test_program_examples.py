"""The examples of the language's description, word by word, as one program: ``tests/language/tea-shop``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.cli.main import run
from engine.language.compile import compile_program
from engine.language.diagnostics import render_text

SHOP = Path(__file__).parent / "tea-shop"


def test_the_examples_validate(capsys: pytest.CaptureFixture[str]) -> None:
    """The program, the catalog and the three playbooks are valid; what this version does not keep is a warning."""
    code = run(["validate", "--program", str(SHOP), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found["problems"]
    counts = {"playbooks": 3, "templates": 10, "segments": 2, "coupons": 3, "groups": 2, "scenarios": 1}
    assert found["counts"] == counts
    assert {problem["code"] for problem in found["problems"]} == {"untested"}


def test_the_examples_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The three playbooks do over a feed what they say."""
    day = "2026-03-{:02}T02:00:00Z"
    events = [("user.signup", day.format(1), {"source": "app", "city": "上海"})]
    events += [("order.paid", day.format(n), {"order_id": f"o{n}", "amount": 300}) for n in (2, 3)]
    feed = tmp_path / "feed.jsonl"
    rows = [{"id": f"e{n}", "type": type_, "user": "u1", "time": time, "data": data}
            for n, (type_, time, data) in enumerate(events)]  # fmt: skip
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    effects = tmp_path / "effects.jsonl"
    words = ["--program", str(SHOP), "--events", str(feed), "--until", "2026-05-10T00:00:00Z"]
    assert run(["simulate", *words, "--effects", str(effects), "--quiet"]) == 0
    capsys.readouterr()
    found = [json.loads(line) for line in effects.read_text(encoding="utf-8").splitlines()]
    planned = {(row["playbook"], row["kind"]) for row in found if row["status"] == "planned"}
    assert ("welcome", "coupon") in planned
    assert ("tier-up", "points") in planned
    assert (None, "tier") in planned
    assert any(row["playbook"] == "win-back" for row in found)


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("templates/winback/offer.email.j2", "missing-variant"),
        ("templates/tier/up.wecom.j2", "unknown-template"),
        ("lists/staff.csv", "bad-list"),
        ("lists/wb30.csv", "bad-list"),
    ],
)
def test_every_file_of_the_examples_is_needed(tmp_path: Path, missing: str, code: str) -> None:
    """A program from which one file is gone is refused at the place that names it, and for nothing else."""
    shutil.copytree(SHOP, tmp_path / "shop")
    (tmp_path / "shop" / missing).unlink()
    found = compile_program(tmp_path / "shop")
    assert [problem.code for problem in found.problems if problem.severity == "error"] == [code], render_text(
        found.problems, found.sources
    )
