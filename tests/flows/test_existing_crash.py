"""A playbook with `existing: enter` is published over a crowd and killed on the way: everybody inside enters once.

``DRUMBEAT_CRASH_POINTS`` says at how many moments (default 8; a large number takes them all).
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from crash_world import _ended, _live_and_die, killer, spread, without_disk
from flow_program import compiled, lines_of, picture, run, sent_keys, write_feed
from schedule_program import FILES
from semantics_kit import event

from engine.ports import Batch
from engine.runtime import arming, session
from engine.stores.sqlite import SqliteStore

MOMENTS = int(os.environ.get("DRUMBEAT_CRASH_POINTS", "8"))
USERS = 700
CHUNK = 100

COUNTS = """\
playbook: counts
title: keeps the history
trigger: {count: {event: a, at_least: 99}}
entry: once
steps: [{points: 1}]
"""
MEMBERS = """\
playbook: members
title: Those who are in it already
trigger: {segment: {enters: twice}, existing: enter}
entry: {mode: parallel, limit: LIMIT}
steps:
  - points: 1
  - message: {template: hello, via: box, purpose: service}
"""
CATALOG = "points: {main: {}}\nsegments: {twice: {if: 'count(\"a\") >= 2'}}\n"


class Sized(SqliteStore):
    """Remembers how many subjects each transaction held."""

    sizes: ClassVar[list[int]] = []

    def commit(self, batch: Batch) -> int:
        self.sizes.append(len(batch.states))
        return super().commit(batch)


@pytest.mark.parametrize("limit", ["unlimited", "300/day"])
def test_killed_while_members_are_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Killed at moments of every kind while members are noted and let in, in chunks: nobody twice, nobody left out.

    Semantics: publish.existing-segment, store.atomic
    """
    Sized.sizes.clear()
    monkeypatch.setattr(arming, "_AT_ONCE", CHUNK)
    monkeypatch.setattr(session, "WAKES_AT_ONCE", CHUNK)
    files = {name: FILES[name] for name in ("drumbeat.yaml", "templates/hello.box.j2")}
    before = compiled(_written(tmp_path / "before", files | {"playbooks/counts.yaml": COUNTS}))
    later = {"playbooks/counts.yaml": COUNTS, "playbooks/members.yaml": MEMBERS.replace("LIMIT", limit)}
    after = compiled(_written(tmp_path / "after", files | later | {"playbooks/catalog/all.yaml": CATALOG}))
    crowd = [
        event(f"e{number}-{time}", "a", f"2026-01-0{time}T00:00:00Z", f"u{number:04d}")
        for time in (1, 2)
        for number in range(USERS)
        if time == 1 or number % 3
    ]
    inside = {f"u{number:04d}" for number in range(USERS) if number % 3}
    base = tmp_path / "base"
    base.mkdir()
    write_feed(base, lines_of(crowd))
    end = lines_of([event("end", "x", "2026-01-05T00:00:00Z", "zz-last")])
    with without_disk():
        run(before, base)
        write_feed(base, lines_of(crowd) + end)
        passes: list[str] = []
        wanted = shutil.copytree(base, tmp_path / "wanted")
        run(after, wanted, fault=passes.append, store_class=Sized)
        # arming and letting in; whoever waits for a next window is woken there with all others, as everywhere
        assert max(Sized.sizes[: 2 * USERS // CHUNK]) <= CHUNK
        want, sent = picture(wanted), Counter(sent_keys(wanted, "box"))
        entered = [it.user for it in want["effects"] if it.kind == "points"]
        assert sorted(entered) == sorted(inside)
        assert len(passes) > 3 * USERS // CHUNK
        moments = [moment for chosen in spread(passes, MOMENTS).values() for moment in chosen]
        for moment in random.Random(1).sample(moments, min(MOMENTS, len(moments))):
            root = shutil.copytree(base, tmp_path / f"at{moment}")
            for again in (moment, moment // 2 + 1):
                child = os.fork()
                if child == 0:
                    _live_and_die(lambda again=again, root=root: run(after, root, fault=killer(again)), root)  # type: ignore[misc]
                _ended(child, root)
            run(after, root)
            found = picture(root)
            for part, value in want.items():
                assert found[part] == value, (part, passes[moment - 1])
            assert Counter(sent_keys(root, "box")) == sent
            shutil.rmtree(root)


def _written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
