"""Which playbook does which strategy of the library, which scenario proves it, and the page that shows it.

The rows stand in ``docs/library.yaml``. Run as a program this file writes the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make schemas"
SOURCE = ROOT / "docs" / "library.yaml"
PAGE = ROOT / "docs" / "library.md"

COUNTS = {"A": 31, "B": 29, "C": 13, "D": 21, "E": 31}
"""Part -> how many strategies it has; the list of them is closed."""

KEYS = {"title", "proofs", "waits", "meanwhile"}


@dataclass(frozen=True)
class Proof:
    """A playbook that does a strategy, and the scenario in which somebody walks these steps of it.

    Without steps: a scenario of those who must not get it.
    """

    playbook: str
    steps: tuple[str, ...]
    scenario: str  # file below scenarios/, without its ending


@dataclass(frozen=True)
class Row:
    """One strategy."""

    id: str
    title: str
    proofs: tuple[Proof, ...]  # of what is there: all of it, or a part when it waits
    waits: str | None  # the word of ``probes`` that the engine does not have


@dataclass(frozen=True)
class Book:
    """What ``docs/library.yaml`` says."""

    rows: tuple[Row, ...]
    probes: dict[str, str]  # word -> an example the engine refuses as long as it has not that word
    needs: dict[str, str]  # word -> in words
    parts: dict[str, str]  # letter -> heading


def all_ids() -> list[str]:
    """Every strategy, in order."""
    return [f"{part}{number}" for part, count in COUNTS.items() for number in range(1, count + 1)]


def read(text: str) -> Book:
    """The book; a key that means nothing is refused."""
    body = yaml.safe_load(text)
    rows = tuple(_row(name, fields) for name, fields in body["rows"].items())
    return Book(rows, body["probes"], body["needs"], body["parts"])


def _row(name: str, fields: dict[str, Any]) -> Row:
    if not fields.keys() <= KEYS:
        raise ValueError(f"{name}: {', '.join(sorted(fields.keys() - KEYS))}: a row has {', '.join(sorted(KEYS))}")
    if ("proofs" in fields) == ("waits" in fields) or ("meanwhile" in fields and "waits" not in fields):
        raise ValueError(f"{name}: a row has 'proofs', or it has 'waits', perhaps with 'meanwhile'")
    found = fields.get("proofs") or fields.get("meanwhile") or []
    if "proofs" in fields and not found:
        raise ValueError(f"{name}: no proof is written below 'proofs'")
    proofs = tuple(Proof(playbook, tuple(steps), scenario) for playbook, steps, scenario in found)
    return Row(name, fields["title"], proofs, fields.get("waits"))


def playbook_files() -> dict[str, Path]:
    """Id -> file of every playbook of the program in the root."""
    below = ROOT / "playbooks"
    return {path.stem: path for path in sorted(below.rglob("*.yaml")) if path.parent.name != "catalog"}


def scenario_file(name: str) -> Path:
    """The file of a scenario."""
    return ROOT / "scenarios" / f"{name}.yaml"


def check(book: Book) -> list[str]:
    """What is missing or names what is not there, as far as it can be seen without running anything."""
    there = {row.id for row in book.rows}
    faults = [f"{name}: the row is missing" for name in all_ids() if name not in there]
    faults += [f"{row.id}: there is no such strategy" for row in book.rows if row.id not in all_ids()]
    for row in book.rows:
        if row.waits is not None and row.waits not in book.probes:
            faults.append(f"{row.id}: waits for '{row.waits}', which has no probe")
        for proof in row.proofs:
            faults += [f"{row.id}: {fault}" for fault in _proof(proof)]
        if row.waits is None and not any(proof.steps for proof in row.proofs):
            faults.append(f"{row.id}: names no step")
    waited = {row.waits for row in book.rows}
    faults += [f"probe '{word}': no row waits for it" for word in book.probes if word not in waited]
    faults += [f"probe '{word}': 'needs' does not say it in words" for word in book.probes if word not in book.needs]
    return faults


def _proof(proof: Proof) -> Iterator[str]:
    if proof.playbook not in playbook_files():
        yield f"there is no playbook '{proof.playbook}'"
    if not scenario_file(proof.scenario).is_file():
        yield f"there is no scenarios/{proof.scenario}.yaml"


def page(book: Book) -> str:
    """The text of the page."""
    whole = [row for row in book.rows if row.waits is None]
    begun = [row for row in book.rows if row.waits is not None and row.proofs]
    waiting = (
        f"{len(whole)} shipped and proven, {len(book.rows) - len(whole)} wait for words the engine does not have yet "
        f"({len(begun)} of them are there in part)."
        if len(whole) < len(book.rows)
        else "all of them shipped and proven."
    )
    text = [
        "# The library: which playbook does which strategy",
        f"<!-- made from docs/library.yaml by `{COMMAND}`; a test keeps it fresh -->",
        f"{len(book.rows)} strategies of user operations and community work:\n{waiting}\n"
        f"{len(playbook_files())} playbooks do them. The root of the repository is the program; "
        "`drumbeat test` runs every scenario.",
        "A row names its playbook, the steps that do it, and the scenario in which somebody walks them: the build "
        "runs\nit and looks. A row that waits says what for, and fails the build once that is there.",
    ]
    for letter, heading in book.parts.items():
        rows = [row for row in book.rows if row.id[0] == letter]
        lines = [f"| {row.id} | {_cell(row.title)} | {_does(row)} | {_shows(row, book)} |" for row in rows]
        done = sum(row.waits is None for row in rows)
        text += [f"## {letter}. {heading}", f"{done} of {len(rows)}."]
        text.append("\n".join(["| row | strategy | playbook and steps | scenario |\n|---|---|---|---|", *lines]))
    return "\n\n".join(text) + "\n"


def _does(row: Row) -> str:
    files = playbook_files()
    steps: dict[str, list[str]] = {}
    for proof in row.proofs:
        mine = steps.setdefault(proof.playbook, [])
        mine += [f"`{step}`" for step in proof.steps if f"`{step}`" not in mine]
    found = []
    for playbook, names in steps.items():
        path = files[playbook].relative_to(ROOT).as_posix() if playbook in files else ""
        found.append(f"[{playbook}](../{path})" + (f": {', '.join(names)}" if names else ""))
    return "<br>".join(found)


def _shows(row: Row, book: Book) -> str:
    names = list(dict.fromkeys(proof.scenario for proof in row.proofs))
    found = [f"[{_cell(title(name))}](../scenarios/{name}.yaml)" for name in names]
    if row.waits is not None:
        found.insert(0, f"**waits for** {_cell(book.needs[row.waits])}" + ("; meanwhile:" if found else ""))
    return "<br>".join(found)


def title(name: str) -> str:
    """What a scenario says it shows."""
    path = scenario_file(name)
    found = re.search(r"^scenario: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) if path.is_file() else None
    return found[1].strip("'\"") if found else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def made() -> str:
    """The page as the repository stands."""
    return page(read(SOURCE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
