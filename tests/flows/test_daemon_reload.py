"""Programs edited under a running daemon: only whole ones are put to work, whatever state the files are in.

``DRUMBEAT_EDITS`` says how many edits there are in the storm (default 60).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event as Flag

import pytest
from daemon_kit import FILES, Life

from engine import serving
from engine.errors import CannotRun, ProgramError
from engine.language.keeping import compile_pack, look_at, pack
from engine.ports import Version
from engine.runtime.daemon import LAST_GOOD
from engine.runtime.reload import Built, Reloader
from engine.stores.memory import MemoryStore

EDITS = int(os.environ.get("DRUMBEAT_EDITS", "60"))

CODES = {
    "playbooks/catalog.yaml": (
        "coupons: {hi: {title: Hi, value: {off: 1}, codes: {file: lists/hi.csv}, valid_for: 7d,"
        " limits: {per_user: 1, total: 2}}}\n"
    ),
    "lists/hi.csv": "A1\nA2\n",
}


class Files:
    """Files that are a number, and what is compiled of them."""

    def __init__(self) -> None:
        self.state = 0
        self.compiled: list[int] = []
        self.rung = 0
        self.while_compiling: list[int] = []

    def look(self) -> object:
        return self.state

    def build(self, older: Sequence[Version]) -> Built[int]:
        self.compiled.append(self.state)
        if self.while_compiling:
            self.state = self.while_compiling.pop()
        return Built(None, "odd") if self.state % 2 else Built(self.state)

    def ring(self) -> None:
        self.rung += 1

    def reloader(self) -> Reloader[int]:
        return Reloader(self.look, self.build, _none, self.ring)


def _none() -> Future[list[Version]]:
    found: Future[list[Version]] = Future()
    found.set_result([])
    return found


def test_files_are_compiled_when_they_have_come_to_rest() -> None:
    """A change is seen, looked at once more, compiled once, and handed over once."""
    files = Files()
    reloader = files.reloader()
    reloader._once()
    files.state = 2
    reloader._once()
    assert files.compiled == []
    reloader._once()
    assert (files.compiled, files.rung, reloader.take()) == ([2], 1, Built(2))
    reloader._once()
    assert (files.compiled, reloader.take()) == ([2], None)


def test_files_that_never_rest() -> None:
    """Who writes all the time is not waited for without end; and a broken state is told as such, once."""
    files = Files()
    reloader = files.reloader()
    for _ in range(5):
        files.state += 1
        reloader._once()
    assert files.compiled == [5]
    assert reloader.take() == Built(None, "odd")
    reloader._once()
    reloader._once()
    assert files.compiled == [5]


def test_what_changed_while_it_was_read_does_not_count() -> None:
    """Files that change during the compilation are compiled again: nothing is half of one state and half of another."""
    files = Files()
    reloader = files.reloader()
    files.state, files.while_compiling = 2, [4]
    for _ in range(4):
        reloader._once()
    assert files.compiled == [2, 4]
    assert reloader.take() == Built(4)


def test_a_compiler_that_breaks_breaks_nothing() -> None:
    """A fault of ours while compiling is told as a broken program."""
    files = Files()

    def broken(older: Sequence[Version]) -> Built[int]:
        raise ValueError("ours")

    reloader = Reloader(files.look, broken, _none, files.ring)
    reloader.force()
    reloader._once()
    found = reloader.take()
    assert found is not None
    assert "ValueError: ours" in found.problem


def test_an_engine_that_has_no_time() -> None:
    """While the engine cannot say which versions it keeps nothing is compiled, and it is asked again."""
    files = Files()
    refused: Future[list[Version]] = Future()
    refused.set_exception(CannotRun("the engine is shutting down"))
    answers = [refused, _none()]
    reloader = Reloader(files.look, files.build, lambda: answers.pop(0), files.ring)
    reloader.force()
    reloader._once()
    assert files.compiled == []
    reloader._once()
    assert files.compiled == [0]


def test_the_thread_looks_and_ends() -> None:
    """The reloader's thread sees a change by itself, and ends when it is told."""
    files, rung = Files(), Flag()
    reloader = Reloader(files.look, files.build, _none, rung.set, poll=0.01)
    reloader.start()
    files.state = 2
    assert rung.wait(30)
    assert reloader.take() == Built(2)
    reloader.close()
    assert not reloader._thread.is_alive()


# ---------------------------------------------------------------------- packs


def test_a_pack_is_the_program(tmp_path: Path) -> None:
    """A program from its pack has the plan of the files it was made of, its lists included; the same files, the same
    pack."""
    life = Life(tmp_path, FILES | CODES)
    packed, before = pack(tmp_path), serving.compile_program(tmp_path)
    assert before.plan is not None
    assert packed == pack(tmp_path)
    for name in FILES:
        life.write(name, "broken: [")
    found = compile_pack(packed, tmp_path)
    assert found.plan is not None
    assert (found.plan.digest, found.root, found.lists) == (before.plan.digest, tmp_path, ("lists/hi.csv",))


def test_a_look_sees_every_file_that_matters(tmp_path: Path) -> None:
    """Playbooks, templates, the program file and its lists: each change is seen; the feed is no part of it."""
    life = Life(tmp_path, FILES | CODES)
    for name in [*FILES, *CODES, "playbooks/more.yaml", "templates/more.box.j2"]:
        before = look_at(tmp_path, ["lists/hi.csv"])
        life.write(name, f"other text {name}")
        assert look_at(tmp_path, ["lists/hi.csv"]) != before, name
    before = look_at(tmp_path)
    life.say("user.signup", "u1")
    assert look_at(tmp_path) == before


def test_the_last_good_one_is_kept(tmp_path: Path) -> None:
    """What is at work is what the store keeps: after a broken edit a new daemon begins with it, and says so.

    Semantics: reload.whole — over a restart
    """
    life = Life(tmp_path)
    life.start()
    life.say("user.signup", "u1")
    life.quiet()
    life.end()
    life.write("playbooks/hello.yaml", "playbook: hello\n")
    daemon = life.start()
    assert "playbooks/hello.yaml:1:1" in daemon.state.reload_error
    life.pass_(2 * 3_600_000_000)
    assert life.texts() == [("u1", "hello"), ("u1", "again")]
    life.end()


def test_no_last_good_one(tmp_path: Path) -> None:
    """A store that never saw a whole program has none to begin with."""
    Life(tmp_path).write("playbooks/hello.yaml", "playbook: hello\n")
    with pytest.raises(ProgramError):
        serving.first_program(tmp_path, MemoryStore(), lambda found: None)


def test_a_program_that_cannot_be_run_here(tmp_path: Path) -> None:
    """A whole program that is refused here counts as a broken one."""

    def refuse(found: object) -> None:
        raise CannotRun("not here")

    Life(tmp_path)
    store = MemoryStore()
    with pytest.raises(CannotRun, match="not here"):
        serving.first_program(tmp_path, store, refuse)
    store.set_meta(LAST_GOOD, pack(tmp_path))
    program, _ = serving.first_program(tmp_path, store, refuse)
    assert program.warning == "not here"


def test_a_storm_of_edits(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Files are mutated again and again while events come in: there is always a whole plan, every broken state is
    told, and nobody is lost.

    Semantics: reload.whole — whatever state the files are in
    Failure: edit.broken — a storm of edits
    """
    rng = random.Random(4)
    life = Life(tmp_path)
    daemon = life.start()
    reloader = serving.reloader(tmp_path, life.jobs, lambda found: None, ())
    daemon._reloader = reloader
    reloader._older = lambda: _versions(life)
    names, good, bad = sorted(FILES), 0, 0
    for number in range(EDITS):
        name = rng.choice(names)
        life.write(name, _mutated(rng, FILES[name]))
        reloader.force()
        reloader._once()
        built = reloader._ready
        assert built is not None
        good, bad = good + (built.program is not None), bad + (built.program is None)
        life.say("user.signup", f"u{number}")
        life.quiet()
        assert daemon.program.plan is not None
        life.write(name, FILES[name])
    counts = daemon.state.counts
    assert counts.get("reloads", 0) + counts.get("reloads.failed", 0) == EDITS
    assert counts["reloads.failed"] >= bad > 0
    assert good > 0
    assert counts["events.accepted"] == EDITS
    assert counts.get("conflicts", 0) == 0
    record_property("edits", EDITS)
    record_property("broken_edits", bad)
    life.end()


def _versions(life: Life) -> Future[list[Version]]:
    found: Future[list[Version]] = Future()
    assert life.store is not None
    found.set_result(life.store.versions())
    return found


def _mutated(rng: random.Random, text: str) -> str:
    """A text with a piece cut out, doubled, or cut off at the end, as a half-written file is."""
    a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return rng.choice([text[:a], text[:a] + text[b:], text[:b] + text[a:], text + "\n# a remark\n", text])
