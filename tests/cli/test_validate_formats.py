"""``drumbeat validate``: the same problems as text, JSON, GitHub's annotations and SARIF."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.cli.main import run
from engine.language.codes import PAGES
from engine.language.diagnostics import Diagnostic
from engine.language.formats import github, placed, sarif

PLAYBOOK = """\
playbook: 谢谢
title: T
trigger: {event: order.paid}
entry: once
steps:
  - stop: 好, 100% of it
    if: user.city == "上海" && user.vip
"""
ODD = Diagnostic("a,b/c:d 你.yaml", 3, 7, 4, "error", "unknown-key", "100% 错\r\nof it, 'a:b'", "did you mean 'x'?")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a broken program in a folder of it; the command is given at the top."""
    root = tmp_path / "shop"
    (root / "playbooks").mkdir(parents=True)
    (root / "drumbeat.yaml").write_text("program: t\nprofile: open\n", encoding="utf-8")
    (root / "playbooks" / "p.yaml").write_text(PLAYBOOK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return root


def test_github_escapes_what_the_runner_unescapes() -> None:
    """Percent signs, line breaks, commas and colons of file names and messages come through whole."""
    assert github([ODD]) == (
        "::error file=a%2Cb/c%3Ad 你.yaml,line=3,col=7,endColumn=11,title=error[unknown-key]"
        "::100%25 错%0D%0Aof it, 'a:b'%0Adid you mean 'x'?"
    )


def test_github_lines_name_files_from_the_top_of_the_repository(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each problem is one workflow command, at its file as seen from where the command was given; exit 1."""
    assert run(["validate", "shop", "--format", "github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.match(r"::(error|warning) file=shop/playbooks/p\.yaml,line=\d+,col=\d+,", line) for line in lines)
    assert any(",line=7,col=27,endColumn=29,title=error[slip-and]::'&&' is not" in line for line in lines)


def test_sarif_is_one_object_with_every_problem(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The log holds the problems of ``--format json``, each at its place, with a rule of its own; exit 1."""
    assert run(["validate", "shop", "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)["problems"]
    assert run(["validate", "shop", "--format", "sarif", "--quiet"]) == 1
    log = json.loads(capsys.readouterr().out)
    jsonschema.Draft7Validator(SARIF).validate(log)
    results = log["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"] for one in results]
    assert [
        (one["ruleId"], one["level"], f"shop/{problem['file']}", problem["line"], problem["col"])
        for one, problem in zip(results, told, strict=True)
    ] == [
        (problem["code"], problem["severity"], place["artifactLocation"]["uri"], place["region"]["startLine"],
         place["region"]["startColumn"])
        for problem, place in zip(told, places, strict=True)
    ]  # fmt: skip
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in results)


def test_sarif_escapes_file_names_as_addresses() -> None:
    """A file name with blanks, colons or Chinese is a valid relative URI."""
    log = sarif([ODD], PAGES, "1.0.0", "sub dir")
    jsonschema.Draft7Validator(SARIF).validate(log)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "sub%20dir/a%2Cb/c%3Ad%20%E4%BD%A0.yaml"
    assert place["region"] == {"startLine": 3, "startColumn": 7, "endColumn": 11}


def test_a_sarif_log_without_problems_is_a_log(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid program gives a log with an empty list of results, which is how GitHub learns that all was mended."""
    (program / "playbooks" / "p.yaml").unlink()
    assert run(["validate", "shop", "--format", "sarif"]) == 0
    log = json.loads(capsys.readouterr().out)
    jsonschema.Draft7Validator(SARIF).validate(log)
    assert log["runs"][0]["results"] == []


def test_the_top_of_the_repository_is_no_part_of_the_name() -> None:
    """A program at the top of the repository has plain names."""
    assert placed("playbooks/p.yaml", ".") == "playbooks/p.yaml"


def test_strict_turns_warnings_into_exit_1_and_runs_go_on(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings are exit 0 and 1 under --strict; ``simulate`` refuses errors only."""
    bare = "playbook: p\ntitle: T\ntrigger: {event: order.paid}\nentry: once\nsteps: [{stop: x}]\n"
    (program / "playbooks" / "p.yaml").write_text(bare, encoding="utf-8")
    (program / "feed.jsonl").write_text('{"id":"1","type":"order.paid","user":"u","time":"2026-01-01T00:00:00Z"}\n')
    assert run(["validate", "shop"]) == 0
    assert "warning[missing-owner]" in capsys.readouterr().out
    assert run(["validate", "shop", "--strict"]) == 1
    assert run(["simulate", "--program", "shop", "--events", "shop/feed.jsonl"]) == 0


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_TEXT = _object(["text"], text={"type": "string", "minLength": 1}, markdown={"type": "string"})
_COUNT = {"type": "integer", "minimum": 1}
SARIF: dict[str, Any] = _object(
    ["version", "runs"],
    **{"$schema": {"type": "string", "format": "uri"}},
    version={"const": "2.1.0"},
    runs={
        "type": "array",
        "items": _object(
            ["tool", "results"],
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            tool=_object(
                ["driver"],
                driver=_object(
                    ["name"],
                    name={"type": "string"},
                    semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                    rules={
                        "type": "array",
                        "uniqueItems": True,
                        "items": _object(
                            ["id"],
                            id={"type": "string"},
                            shortDescription=_TEXT,
                            fullDescription=_TEXT,
                            help=_TEXT,
                            defaultConfiguration=_object([], level={"enum": ["none", "note", "warning", "error"]}),
                        ),
                    },
                ),
            ),
            results={
                "type": "array",
                "items": _object(
                    ["message"],
                    ruleId={"type": "string"},
                    ruleIndex={"type": "integer", "minimum": -1},
                    level={"enum": ["none", "note", "warning", "error"]},
                    message=_TEXT,
                    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
                    locations={
                        "type": "array",
                        "items": _object(
                            ["physicalLocation"],
                            physicalLocation=_object(
                                ["artifactLocation"],
                                artifactLocation=_object(
                                    [],
                                    uri={"type": "string", "pattern": r"^[A-Za-z0-9._~!$&'()*+,;=:@/%-]+$"},
                                    uriBaseId={"type": "string"},
                                ),
                                region=_object([], startLine=_COUNT, startColumn=_COUNT, endColumn=_COUNT),
                            ),
                        ),
                    },
                ),
            },
        ),
    },
)
"""What SARIF 2.1.0 (OASIS) says of the parts we write: names, types, required keys; anything else is refused."""
