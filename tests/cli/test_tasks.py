"""``drumbeat tasks``: list, show, done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

CALL = """playbook: call
title: 回访
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - task: {assign: ops-li, title: "回访 {{ user.id }}", body: 问问茶怎么样, due: 2h, outcomes: [reached, no_answer]}
    id: call
  - task: {assign: ops-wu, title: note}
    if: steps.call.outcome == "reached"
"""


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program whose tasks for two users are in the store, one of them overdue."""
    found = make({"playbooks/call.yaml": CALL})
    drumbeat("ingest", found / "feed.jsonl", "--program", found)
    assert drumbeat("run", "--until-idle", "--program", found).code == 0
    return found


def listed(root: Path, drumbeat: Drumbeat, *words: str) -> list[dict[str, Any]]:
    """The tasks as JSON."""
    found: list[dict[str, Any]] = drumbeat("tasks", "list", "--program", root, "--format", "json", *words).json["tasks"]
    return found


def test_list(root: Path, drumbeat: Drumbeat) -> None:
    """Open tasks, the oldest first: what, who, about whom, by when, and whether it is late."""
    tasks = listed(root, drumbeat)
    assert [(it["user"], it["overdue"]) for it in tasks] == [("u1", True), ("u2", True), ("u3", False)]
    said = drumbeat("tasks", "list", "--program", root)
    key = tasks[0]["key"]
    assert said.out.splitlines()[0] == f"{key[:12]}  ops-li: 回访 u1 [u1], due 2026-03-01T03:00:00Z (overdue)"
    assert [it["user"] for it in listed(root, drumbeat, "--user", "u3")] == ["u3"]
    assert listed(root, drumbeat, "--assign", "ops-wu") == []
    assert drumbeat("tasks", "list", "--assign", "x", "--program", root).out == "no open tasks\n"
    assert drumbeat("tasks", "list", "--limit", 1, "--program", root).out.splitlines()[1] == "... 2 more"


def test_done_goes_through_the_inbox(root: Path, drumbeat: Drumbeat) -> None:
    """``done`` is an event: nothing changes before the next run, and then the journey goes on.

    Semantics: task.outcome
    """
    task = listed(root, drumbeat)[2]
    key = task["key"]
    words = ("tasks", "done", key[:8], "--outcome", "reached", "--by", "李", "--program", root)
    said = drumbeat(*words)
    assert (said.code, said.out.splitlines()[0]) == (0, "done        回访 u3")
    assert len(listed(root, drumbeat)) == 3
    assert drumbeat(*words).out.startswith("nothing new")
    drumbeat("run", "--until-idle", "--program", root)
    shown = drumbeat("tasks", "show", key, "--program", root, "--format", "json").json
    # the word came years after its due time: it closes the task, and the journey had gone on
    assert (shown["state"], shown["outcome"], shown["by"], shown["body"]) == ("done", "reached", "李", "问问茶怎么样")
    text = drumbeat("tasks", "show", key, "--program", root).out
    assert "state       done: reached" in text
    assert drumbeat(*words).code == 2
    every = listed(root, drumbeat, "--all")
    assert [it["open"] for it in every if it["title"].startswith("回访")] == [True, True, False]


def test_the_portrait_shows_open_tasks(root: Path, drumbeat: Drumbeat) -> None:
    """``drumbeat user`` names what is still to be done about somebody."""
    assert "tasks        回访 u1 (due 2026-03-01T03:00:00Z)" in drumbeat("user", "u1", "--program", root).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "abc"), "'abc' is too short for the key of a task"),
        (("show", "0" * 32), f"there is no task '{'0' * 32}'"),
        (("done", "{key}"), "needs --outcome (one of reached, no_answer)"),
        (("done", "{key}", "--outcome", "reach"), "'reach' is no outcome of this task (did you mean 'reached'?)"),
        (("done", "{key}", "--outcome", "zzz"), "(one of reached, no_answer)"),
        (("don",), "No such command 'don'"),
    ],
)
def test_refusals(root: Path, drumbeat: Drumbeat, words: tuple[str, ...], said: str) -> None:
    """Wrong usage is exit code 2, in words, and changes nothing."""
    key = listed(root, drumbeat)[0]["key"]
    found = drumbeat("tasks", *(word.format(key=key) for word in words), "--program", root)
    assert found.code == 2
    assert said in found.err
    assert drumbeat("run", "--until-idle", "--program", root).out.startswith("nothing new")
