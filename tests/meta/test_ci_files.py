"""What is offered for CI really runs: the workflow's own commands, and the hook's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from meta_harness import ROOT

WORKFLOW = yaml.safe_load((ROOT / "docs/ci/drumbeat.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["playbooks"]["steps"]
RUNS = [step for step in STEPS if "run" in step and step.get("id") != "install"]
HOOK: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]
WRONG = """\
playbook: wrong
title: T
owner: o
trigger: {event: order.paid}
entry: once
steps:
  - coupon: newcomer-1O
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of a repository that holds the shipped program."""
    origin = tmp_path / "origin"
    for part in ("playbooks", "templates", "lists"):
        shutil.copytree(ROOT / part, origin / part)
    shutil.copy(ROOT / "drumbeat.yaml", origin)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a program"]):
        subprocess.run([*git, *words], cwd=origin, check=True, capture_output=True)
    subprocess.run([*git, "clone", "-q", str(origin), "clone"], cwd=tmp_path, check=True, capture_output=True)
    command = tmp_path / "bin" / "drumbeat"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine "$@"\n')
    command.chmod(0o755)
    return tmp_path / "clone"


def shell(command: str, where: Path) -> subprocess.CompletedProcess[str]:
    """A command as the runner of GitHub gives it to its shell, with ``drumbeat`` installed."""
    environment = {**os.environ, "PATH": f"{where.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
    return subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, check=False)


def test_the_workflow_passes_on_the_shipped_program(clone: Path) -> None:
    """Every ``run:`` of the workflow ends well on a clone of the shipped program, warnings being failures."""
    assert len(RUNS) == 3
    for step in RUNS:
        done = shell(step["run"], clone)
        assert done.returncode == 0, f"{step['name']}: {done.stdout}{done.stderr}"
    assert json.loads((clone / "drumbeat.sarif").read_text(encoding="utf-8"))["runs"][0]["results"] == []


def test_the_workflow_fails_on_a_misspelt_coupon(clone: Path) -> None:
    """A pull request with a mistake fails at "Validate" with an annotation, and still uploads its problems."""
    (clone / "playbooks" / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    by_name = {step["name"]: step for step in RUNS}
    done = shell(by_name["Validate"]["run"], clone)
    assert done.returncode == 1
    assert done.stdout.startswith("::error file=playbooks/wrong.yaml,line=7,col=13,")
    assert shell(by_name["Problems for code scanning"]["run"], clone).returncode == 0
    results = json.loads((clone / "drumbeat.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    assert [one["ruleId"] for one in results] == ["unknown-coupon"]


def test_the_workflow_does_not_hide_a_crash(clone: Path) -> None:
    """Only "there are problems" is passed over when the log is written; that there is no program is not."""
    (clone / "drumbeat.yaml").unlink()
    step = next(step for step in RUNS if step["name"] == "Problems for code scanning")
    assert shell(step["run"], clone).returncode != 0


def test_the_workflow_installs_this_distribution() -> None:
    """The one command that needs a network names the distribution pyproject.toml builds."""
    install = next(step["run"] for step in STEPS if step.get("id") == "install")
    name = re.search(r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert name is not None
    assert install.split()[-1] == name[1]


def test_the_hook_runs(clone: Path) -> None:
    """The hook's entry passes on the shipped program and fails, with the place, on a mistake."""
    assert HOOK["pass_filenames"] is False
    assert shell(HOOK["entry"], clone).returncode == 0
    (clone / "playbooks" / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    done = shell(HOOK["entry"], clone)
    assert done.returncode == 1
    assert "playbooks/wrong.yaml:7:13: error[unknown-coupon]" in done.stdout


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("drumbeat.yaml", True), ("playbooks/a.yaml", True), ("playbooks/catalog/coupons.yaml", True),
        ("templates/welcome/hello.sms.zh-CN.j2", True), ("campaigns/drumbeat.yaml", True), ("lists/staff.csv", True),
        ("README.md", False), ("docs/playbooks.md", False), ("drumbeat.yaml.bak", False),
    ],
)  # fmt: skip
def test_the_hook_wakes_up_for_files_of_a_program(file: str, wanted: bool) -> None:
    """Only commits that touch a program are checked."""
    assert (re.search(HOOK["files"], file) is not None) is wanted


def test_the_workflow_posts_what_a_change_does_and_keeps_it_up_to_date(clone: Path, tmp_path: Path) -> None:
    """The job *effects*: the comparison of a merge with its first parent becomes a comment; the next push changes it.

    Who speaks for GitHub here writes down what it is asked for.
    """
    steps = {step["name"]: step for step in WORKFLOW["jobs"]["effects"]["steps"] if "run" in step}
    comments, calls = tmp_path / "comments", tmp_path / "calls"
    fake = clone.parent / "bin" / "gh"
    fake.write_text(
        '#!/bin/sh\necho "$@" >> "$CALLS"\ncase "$*" in\n*PATCH*|*POST*) cp diff.md "$SAID" ;;\n'
        '*) [ -f "$SAID" ] && echo 17 || true ;;\nesac\n'
    )
    fake.chmod(0o755)
    (clone / "feed").mkdir()
    event = {"id": "e1", "type": "user.signup", "user": "u1", "time": "2026-03-01T01:00:00Z"}
    (clone / "feed" / "sample.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["add", "."], ["commit", "-q", "-m", "a feed"]):
        subprocess.run([*git, *words], cwd=clone, check=True, capture_output=True)
    welcome = clone / "playbooks" / "acquire" / "welcome-gift.yaml"
    text = welcome.read_text(encoding="utf-8")
    assert "points: {add: 100," in text
    welcome.write_text(text.replace("points: {add: 100,", "points: {add: 50,"), encoding="utf-8")
    for words in (["add", "-A", "."], ["commit", "-q", "-m", "a smaller welcome"]):
        subprocess.run([*git, *words], cwd=clone, check=True, capture_output=True)
    given = {**WORKFLOW["jobs"]["effects"]["env"], **steps["Comment"]["env"]}
    given.update(CALLS=str(calls), SAID=str(comments))
    setting = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.items())
    setting += f"export GITHUB_STEP_SUMMARY={shlex.quote(str(tmp_path / 'summary.md'))}\n"
    for name in ("Compare", "Comment", "Comment"):
        done = shell(setting + steps[name]["run"], clone)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    assert comments.read_text(encoding="utf-8").startswith("<!-- drumbeat diff: ")
    assert "1 get something else" in comments.read_text(encoding="utf-8")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == comments.read_text(encoding="utf-8")
    asked = calls.read_text(encoding="utf-8").splitlines()
    assert [next((word for word in ("POST", "PATCH") if word in call), "GET") for call in asked] == [
        "GET", "POST", "GET", "PATCH",
    ]  # fmt: skip
    assert "/17 " in asked[-1]
