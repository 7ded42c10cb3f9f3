"""``drumbeat schema --program``: editors know the program's own names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.cli.main import run
from engine.language.source import read_source

ROOT = Path(__file__).resolve().parents[2]

FRAME = """\
playbook: p
title: T
trigger: {{event: {event}}}
entry: {{mode: once, not_in: [{segment}]}}
steps:
  - coupon: {coupon}
  - badge: {badge}
  - invite: {{groups: [{group}]}}
  - message: {{template: {template}, via: {channel}, purpose: service}}
"""
GOOD = {
    "event": "order.paid", "segment": "staff", "coupon": "newcomer-10", "badge": "silver-card", "group": "readers",
    "template": "welcome/hello", "channel": "app",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The playbook schema the verb writes for the shipped program, with undeclared events refused."""
    folder = tmp_path_factory.mktemp("schemas")
    program = folder / "program"
    program.mkdir()
    closed = (ROOT / "drumbeat.yaml").read_text(encoding="utf-8").replace('"*": open', '"*": closed')
    (program / "drumbeat.yaml").write_text(closed, encoding="utf-8")
    for part in ("playbooks", "templates"):
        shutil.copytree(ROOT / part, program / part)
    assert run(["schema", "--program", str(program), "--write", str(folder / "out"), "--quiet"]) == 0
    return json.loads((folder / "out" / "playbook.schema.json").read_text(encoding="utf-8"))


def faults(schema: Any, **names: str) -> list[str]:
    """What an editor says about a playbook."""
    root = read_source(FRAME.format(**{**GOOD, **names}).encode(), "p.yaml").root
    assert root is not None
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(root.plain())]


def test_a_good_playbook_passes(schema: Any) -> None:
    """A playbook that names what the program defines has no fault, and the schema is one."""
    jsonschema.Draft7Validator.check_schema(schema)
    assert faults(schema) == []


@pytest.mark.parametrize(
    ("kind", "slip"),
    [
        ("coupon", "newcomer-1O"), ("segment", "stuff"), ("badge", "silver-crad"), ("group", "reader"),
        ("template", "welcome/helo"), ("channel", "ap"), ("event", "order.payd"),
    ],
)  # fmt: skip
def test_a_misspelt_name_fails(schema: Any, kind: str, slip: str) -> None:
    """A name the program does not define is one fault, at that name."""
    found = faults(schema, **{kind: slip})
    assert len(found) == 1
    assert found[0].startswith(f"'{slip}' is not one of [")


def test_every_shipped_playbook_passes(schema: Any) -> None:
    """The program's own playbooks pass the schema that knows its names."""
    checker = jsonschema.Draft7Validator(schema)
    for path in sorted(set((ROOT / "playbooks").rglob("*.yaml")) - set((ROOT / "playbooks" / "catalog").iterdir())):
        root = read_source(path.read_bytes(), path.name).root
        assert root is not None
        assert [error.message for error in checker.iter_errors(root.plain())] == [], path.name
