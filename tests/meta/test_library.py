"""Each strategy of the library is done by a playbook and proven by a scenario, or waits for a word nobody has made."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import meta_harness
import pytest
from library_page import COMMAND, PAGE, ROOT, SOURCE, Book, all_ids, check, made, page, playbook_files, read

from engine.cli.rehearsing import report, run_one
from engine.insight.coverage import Coverage
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text

BOOK = read(SOURCE.read_text(encoding="utf-8"))
SCENARIOS = sorted({proof.scenario for row in BOOK.rows for proof in row.proofs})
UNKNOWN = {"not-yet", "unknown-key", "unknown-verb"}
"""Codes of a word the engine does not have; any other one means that it has it and the probe is out of date."""


@cache
def program() -> Compiled:
    """The program in the repository's root."""
    return compile_program(ROOT, scenarios=True)


def walked(name: str) -> dict[str, set[str]]:
    """Playbook the scenario runs -> steps that somebody walked."""
    scenario = next((it for it in program().scenarios if it.file == f"scenarios/{name}.yaml"), None)
    assert scenario is not None, render_text(program().problems, program().sources)
    seen = Coverage()
    result, _ = run_one(program(), scenario, seen, update=False)
    assert result.ok, "\n" + "\n".join(report(result, ROOT, 120))
    return {id_: {step for step, number in it.hits["steps"].items() if number} for id_, it in seen.playbooks.items()}


def test_every_strategy_has_its_row() -> None:
    """All 125 rows are there, and what they name exists."""
    assert len(all_ids()) == 125
    faults = check(BOOK)
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenario_walks_the_steps(name: str) -> None:
    """The scenario passes, and somebody who is not held out walks each step that rows claim it for."""
    seen = walked(name)
    claims = [(row.id, proof) for row in BOOK.rows for proof in row.proofs if proof.scenario == name]
    missed = [f"{id_}: it does not run '{proof.playbook}'" for id_, proof in claims if proof.playbook not in seen]
    missed += [
        f"{id_}: nobody walks '{step}' of '{proof.playbook}'"
        for id_, proof in claims
        for step in proof.steps
        if step not in seen.get(proof.playbook, ())
    ]
    assert not missed, "\n" + "\n".join(missed)


def knows(root: Path, text: str) -> bool:
    """Does the engine understand a piece of a program, be it rightly written or not?"""
    found = meta_harness.codes(meta_harness.compiled(root, text))
    return not found or not found <= UNKNOWN


def test_what_rows_wait_for_is_not_there(tmp_path: Path) -> None:
    """The engine refuses each word: once it does not, the rows that wait for it need a playbook."""
    assert knows(tmp_path / "known", "metrics: {dau: {count_users: any, per: day}}")
    assert not knows(tmp_path / "unknown", "steps:\n  - no_such_verb: {a: 1}")
    for word, text in BOOK.probes.items():
        rows = ", ".join(row.id for row in BOOK.rows if row.waits == word)
        assert not knows(tmp_path / word, text), f"the engine knows '{word}' now; rows that wait for it: {rows}"


def test_the_page_is_fresh() -> None:
    """The page is what the book and the scenarios make."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    assert text == made(), f"stale: {PAGE.name}; run: {COMMAND}"


def test_every_playbook_serves_a_row() -> None:
    """A shipped playbook that no row names is either useless or left out of the book."""
    named = {proof.playbook for row in BOOK.rows for proof in row.proofs}
    assert sorted(playbook_files().keys() - named) == []


ROWS = "".join(f"  {name}: {{title: T, waits: later}}\n" for name in all_ids())
TEXT = f"probes: {{later: x}}\nneeds: {{later: soon}}\nparts: {{A: Acts}}\nrows:\n{ROWS}"
GOOD = "{title: T, proofs: [[win-back, [offer], win-back]]}"


def changed(row: str) -> Book:
    """The book with another row A1."""
    return read(TEXT.replace("{title: T, waits: later}", row, 1))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (GOOD, None),
        ("{title: T, waits: never}", "A1: waits for 'never', which has no probe"),
        (GOOD.replace("[win-back,", "[win-bcak,"), "A1: there is no playbook 'win-bcak'"),
        (GOOD.replace(", win-back]", ", no-such]"), "A1: there is no scenarios/no-such.yaml"),
        (GOOD.replace("[offer], win-back", "[], birthday"), "A1: names no step"),
    ],
)
def test_the_check_can_fail(row: str, fault: str | None) -> None:
    """Each way in which a row would not be true is found."""
    found = check(changed(row))
    assert (found == []) if fault is None else any(fault in it for it in found), found


def test_a_missing_and_an_invented_row_are_found() -> None:
    """The list of strategies is closed on both sides."""
    found = check(read(TEXT.replace("  B7:", "  B70:")))
    assert "B7: the row is missing" in found
    assert "B70: there is no such strategy" in found


@pytest.mark.parametrize("row", ["{title: T}", "{title: T, proofs: []}", "{title: T, proof: 3, waits: later}",
                                 "{title: T, waits: later, proofs: [[a, [b], c]]}"])  # fmt: skip
def test_a_row_is_read_strictly(row: str) -> None:
    """A row without proof, or with a misspelt key, is refused."""
    with pytest.raises(ValueError, match="A1: "):
        changed(row)


def test_what_the_page_shows() -> None:
    """A proven row links playbook and scenario; one that waits says what for."""
    text = page(changed(GOOD))
    assert "| A1 | T | [win-back](../playbooks/win-back/win-back.yaml): `offer` | [沉睡召回" in text
    assert "| A2 | T |  | **waits for** soon |" in text
    assert "1 shipped and proven, 124 wait" in text
