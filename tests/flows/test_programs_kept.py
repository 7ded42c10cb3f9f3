"""Every program a store was run by is kept, each text once, within a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.language.keeping import pack
from engine.runtime import programs
from engine.stores.memory import MemoryStore


def packed(root: Path, number: int) -> str:
    """A program of which one file differs."""
    (root / "playbooks").mkdir(parents=True, exist_ok=True)
    (root / "drumbeat.yaml").write_text("program: t\n")
    (root / "playbooks" / "same.yaml").write_text("".join(f"{n * 7919 % 10_007}\n" for n in range(3_000)))
    (root / "playbooks" / "edited.yaml").write_text(f"edit {number}\n")
    return pack(root)


def size(store: MemoryStore, numbers: range) -> int:
    """What the store keeps of programs."""
    rows = [f"{kind}:{number}" for kind in ("program", "sources") for number in numbers]
    return sum(len(store.get_meta(row) or "") for row in rows)


def test_many_edits_are_all_kept_and_share_what_they_have_in_common(tmp_path: Path) -> None:
    """Semantics: why.then — the files of each program come back as they were; what they share stands once."""
    store, packs = MemoryStore(), {}
    for number in range(120):
        packs[number] = packed(tmp_path, number)
        programs.note(store, str(number))
        programs.keep(store, str(number), packs[number])
    assert all(programs.files_of(store, str(number)) == packs[number] for number in packs)
    assert size(store, range(120)) < 10 * len(packs[0])
    assert programs.files_of(store, "120") is None


def test_the_oldest_go_when_they_take_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds, the newest are whole, and a text they share with one that went stays."""
    first = packed(tmp_path, 0)
    monkeypatch.setattr(programs, "MOST_BYTES", len(first) + 500)
    store, packs = MemoryStore(), {}
    for number in range(40):
        packs[number] = packed(tmp_path, number)
        programs.note(store, str(number))
        programs.keep(store, str(number), packs[number])
    kept = [number for number in packs if programs.files_of(store, str(number)) is not None]
    assert kept == list(range(kept[0], 40))
    assert 2 <= len(kept) < 40
    assert all(programs.files_of(store, str(number)) == packs[number] for number in kept)


def test_packs_of_stores_from_before_are_read(tmp_path: Path) -> None:
    """One pack a program, as it was kept before."""
    store, whole = MemoryStore(), packed(tmp_path, 1)
    store.set_meta("program:old", whole)
    assert programs.files_of(store, "old") == whole
