"""What ``drumbeat test`` and the pytest plugin share: a store for each scenario, snapshots, words for failures."""

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path
from typing import Any

from engine import wiring
from engine.cli.sidebyside import columns
from engine.cli.why import lines as why_lines
from engine.insight.coverage import Coverage
from engine.insight.rehearsal import Rehearsed, rehearse
from engine.insight.showing import Row, rows, since
from engine.language.compiled import Compiled
from engine.language.files import SCENARIOS
from engine.language.scenario_model import Scenario
from engine.stores.memory import MemoryStore

SNAPSHOTS = "__snapshots__"


class Snapshots:
    """The texts a scenario file keeps: ``scenarios/__snapshots__/<file>/<name>.txt``."""

    def __init__(self, root: Path, file: str) -> None:
        inside = Path(file).relative_to(SCENARIOS).with_suffix("")
        self.folder = root / SCENARIOS / SNAPSHOTS / inside

    def get(self, name: str) -> str | None:
        """The text kept under a name; None when there is none."""
        path = self.folder / f"{name}.txt"
        return path.read_text(encoding="utf-8").rstrip("\n") if path.is_file() else None

    def save(self, texts: dict[str, str], *, prune: bool) -> list[Path]:
        """Write what is new or otherwise, take away what nobody names; the files that changed."""
        changed = []
        for name, text in texts.items():
            if self.get(name) != text:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{name}.txt"
                path.write_text(text + "\n", encoding="utf-8")
                changed.append(path)
        for path in sorted(self.folder.glob("*.txt")) if prune else []:
            if path.stem not in texts:
                path.unlink()
                changed.append(path)
        return changed


def run_one(
    compiled: Compiled, scenario: Scenario, coverage: Coverage, *, update: bool
) -> tuple[Rehearsed, list[Path]]:
    """Run a scenario on a store of its own; what came of it, and the snapshots that were written."""
    kept = Snapshots(compiled.root, scenario.file)
    with tempfile.TemporaryDirectory(prefix="drumbeat-test-") as folder:
        store = wiring.scratch_store(Path(folder))
        try:
            found = rehearse(
                compiled, scenario, store, fresh=lambda: MemoryStore(keep_log=False),
                stored=None if update else kept.get, coverage=coverage,
            )  # fmt: skip
        finally:
            store.close()
    return found, kept.save(found.texts, prune=found.ok) if update else []


def report(found: Rehearsed, root: Path, width: int, *, diff: bool = False) -> list[str]:
    """Why a scenario failed, as lines."""
    scenario = found.scenario
    kept = Snapshots(root, scenario.file)
    out = [f"{scenario.file}:{mark.line}: {words}" for mark, words in found.refused]
    for check in found.checks:
        if check.verdict.ok:
            continue
        what = ": all of it happened, but at instants in another order" if check.verdict.disordered else ""
        out.append(f"{scenario.file}:{check.mark.line}: expect at {since(check.at, scenario.clock)}{what}")
        shown = rows(check, scenario, kept.get)
        if diff:
            wanted = [it.expected for it in shown if it.sign in ("~", "-", "=")]
            out += _unified(wanted, [_got(it) for it in shown if it.sign in ("~", "+", "=")])
        else:
            out += columns(shown, width)
        for why in check.whys:
            out += _why(why)
    return out


def _got(row: Row) -> str:
    return row.expected if row.sign == "=" else row.got


def _unified(expected: list[str], got: list[str]) -> list[str]:
    return list(difflib.unified_diff(expected, got, "expected", "got", lineterm="", n=len(expected)))


def _why(why: dict[str, Any]) -> list[str]:
    if "error" in why:
        return [f"  why not: {why['error']}"]
    return ["  why not:", *(f"    {line}".rstrip() for line in why_lines(why))]

