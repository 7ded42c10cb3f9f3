"""``user``, ``why`` and ``run`` say which version a journey runs on, and what a publication did to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

SLOW = """\
playbook: slow
title: 慢
trigger: {event: order.paid}
entry: once
steps:
  - {wait: 3d, id: pause}
  - {points: 5, id: thanks}
"""
FILE = "playbooks/slow.yaml"


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """u1 waits in ``pause``; then the playbook was edited."""
    row = {"id": "1", "type": "order.paid", "user": "u1", "time": "2026-03-01T01:00:00Z"}
    made = make({FILE: SLOW}, feed=json.dumps(row) + "\n")
    (made / "drumbeat.yaml").write_text((made / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", made).code == 0
    return made


def edit(root: Path, more: str) -> None:
    (root / FILE).write_text(more + SLOW.replace("points: 5", "points: 6"), encoding="utf-8")


def test_the_version_is_shown(root: Path, drumbeat: Drumbeat) -> None:
    """The version of a running journey stands in ``user`` and ``why``, and whether there is a newer one."""
    (row,) = drumbeat("user", "u1", "--program", root, "--format", "json").json["journeys"]
    assert (len(row["version"]), row["older"]) == (12, False)
    assert f", version {row['version']}\n" in drumbeat("user", "u1", "--program", root).out
    edit(root, "")
    said = drumbeat("run", "--until-idle", "--program", root)
    assert said.out.startswith("published   journeys: 1 finish on theirs\n")
    for words in (("user", "u1"), ("why", "--user", "u1")):
        assert f", version {row['version']} (an older one)" in drumbeat(*words, "--program", root).out
    assert "note: a journey of slow runs on an older version" in drumbeat("why", "--user", "u1", "--program", root).out
    said = drumbeat("why", "--user", "u1", "--playbook", "slow", "--program", root, "--format", "json")
    (shown,) = said.json["playbooks"]["slow"]["journeys"]
    assert (shown["version"], shown["older"], shown["stands_at"]) == (row["version"], True, "pause")


def test_what_a_publication_did_is_shown(root: Path, drumbeat: Drumbeat) -> None:
    """``why`` tells that a journey was moved, or ended, by a publication."""
    (row,) = drumbeat("user", "u1", "--program", root, "--format", "json").json["journeys"]
    edit(root, "on_change: move\n")
    assert drumbeat("run", "--until-idle", "--program", root).out.startswith(
        "published   journeys: 1 moved to the newest"
    )
    said = drumbeat("why", "--user", "u1", "--playbook", "slow", "--program", root).out
    assert "advanced at 2026-03-01T01:00:00Z, when the program was published" in said
    assert f"moved from version {row['version']} at pause to " in said
    edit(root, "on_change: cancel\nvars: {a: 1}\n")
    run = drumbeat("run", "--until-idle", "--program", root, "--format", "json").json
    assert run["published"] == {"moved": 0, "cancelled": 1, "on_older_versions": 0, "stuck": {}}
    said = drumbeat("why", "--user", "u1", "--playbook", "slow", "--program", root).out
    assert "exited at 2026-03-01T01:00:00Z, when the program was published\n    changed\n" in said
    assert "running since" not in said
