"""``why`` and ``user`` about somebody whose early events were forgotten; the key ``retention`` itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.instants import parse_instant
from engine.core.model import DAY
from engine.language.compile import compile_program
from engine.stores.sqlite import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

THIRD = """playbook: third
title: 第三单
owner: tea@shop.example
trigger: {count: {event: order.paid, at_least: 2, within: 30d}}
entry: {mode: once, limit: unlimited}
steps:
  - message: {template: thanks, via: box, purpose: service}
"""
FEED = "".join(
    f'{{"id": "e{day}-{user}", "type": "order.paid", "user": "{user}", "time": "2026-03-0{day}T01:00:00Z"}}\n'
    for day, user in [(1, "u1"), (2, "u1"), (3, "u2"), (4, "u1"), (5, "u2")]
)


@pytest.fixture
def root(make: Make, drumbeat: Drumbeat) -> Path:
    """A program at work, one transaction a day, and the first three days forgotten: all of them about u1 but one."""
    found = make({"playbooks/third.yaml": THIRD}, feed="")
    for line in FEED.splitlines(keepends=True):
        (found / "feed.jsonl").write_text(line, encoding="utf-8")
        drumbeat("ingest", found / "feed.jsonl", "--program", found)
        assert drumbeat("run", "--until-idle", "--program", found).code == 0
    store = SqliteStore.open(found / "drumbeat.db")
    assert store.forget({"events": parse_instant("2026-03-02T12:00:00Z")}, 1_000) == {"events": 2}
    store.close()
    return found


def test_why_does_not_guess(root: Path, drumbeat: Drumbeat) -> None:
    """Of whom events are forgotten nothing is decided once more: what is said is on record, and that is told.

    Semantics: retention.told
    """
    said = drumbeat("why", "--user", "u1", "--program", root, "--format", "json").json
    assert "events up to 2026-03-02T01:00:00Z were forgotten (retention)" in said["remarks"][0]
    assert "nothing is decided once more" in said["remarks"][0]
    assert (said["playbooks"]["third"]["entry"], said["events"]) == (None, 1)
    assert [len(it["effects"]) for it in said["playbooks"].values()] == [3, 1]
    assert not any("differ from the record" in it for it in said["remarks"])
    assert "note: events up to" in drumbeat("why", "--user", "u1", "--program", root).out
    early = drumbeat("why", "--user", "u1", "--at", "2026-03-01T12:00:00Z", "--program", root, "--format", "json").json
    assert [len(it["effects"]) for it in early["playbooks"].values()] == [1, 0]
    whole = drumbeat("why", "--user", "u2", "--program", root, "--format", "json").json
    assert (whole["remarks"], whole["events"]) == ([], 2)


def test_user_tells(root: Path, drumbeat: Drumbeat) -> None:
    """The timeline says from where on it is whole.

    Semantics: retention.told
    """
    assert "events up to 2026-03-02T01:00:00Z were forgotten" in drumbeat("user", "u1", "--program", root).out
    assert "forgotten" not in drumbeat("user", "u2", "--program", root).out
    assert drumbeat("user", "u2", "--program", root, "--format", "json").json["forgotten_until"] is None
    assert drumbeat("fsck", "--program", root).code == 0


def test_the_key(make: Make, drumbeat: Drumbeat) -> None:
    """How long each is kept is read; ids cannot be cleared away earlier than after 35 days.

    Semantics: event.remembered-configurable, event.remembered
    """
    root = make()
    text = (root / "drumbeat.yaml").read_text(encoding="utf-8")
    assert compile_program(root).settings.retention == {}
    (root / "drumbeat.yaml").write_text(text + "retention: {events: 90d, ids: 35d}\n", encoding="utf-8")
    assert compile_program(root).settings.retention == {"events": 90 * DAY, "ids": 35 * DAY}
    (root / "drumbeat.yaml").write_text(text + "retention: {ids: 34d}\n", encoding="utf-8")
    said = drumbeat("validate", "--program", root)
    assert (said.code, "'retention.ids' is shorter than 35d" in said.out) == (1, True)
    (root / "drumbeat.yaml").write_text(text + "retention: {effects: 90d}\n", encoding="utf-8")
    assert drumbeat("validate", "--program", root).code == 1
