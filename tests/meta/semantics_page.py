"""Which test proves which line of the semantics, of the failures and of the threats, and the pages that show it.

The lines stand in ``docs/*.yaml``, a book each. A test names the lines it proves in its docstring, in a line of its own
or before its promise: ``Semantics: order.batches, order.key — any batch gives the same``; ``Failure:`` and ``Threat:``
name lines of the other books. Run as a program this file writes the pages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make schemas"

ID = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)+"
KEYS = {"says", "issue", "not_yet"}
IDLE = {"skip", "skipif", "xfail"}
"""Marks of a test that may not run, and so proves nothing."""


@dataclass(frozen=True)
class Book:
    """Lines of one kind, and the page made of them."""

    word: str  # what a docstring names its lines with
    source: Path
    page: Path

    @property
    def text(self) -> str:
        """The lines, as written."""
        return self.source.read_text(encoding="utf-8")

    @property
    def up(self) -> str:
        """From the page to the top of the repository."""
        return "../" if self.page.parent != ROOT else ""


SEMANTICS = Book("Semantics", ROOT / "docs" / "semantics.yaml", ROOT / "docs" / "semantics.md")
FAILURES = Book("Failure", ROOT / "docs" / "reliability.yaml", ROOT / "docs" / "reliability.md")
THREATS = Book("Threat", ROOT / "docs" / "threats.yaml", ROOT / "SECURITY.md")
BOOKS = (SEMANTICS, FAILURES, THREATS)


@dataclass(frozen=True)
class Line:
    """One statement of a book."""

    id: str
    says: str
    issue: int | None  # the issue that brings it
    not_yet: str | None  # why the engine does not keep it today


@dataclass(frozen=True)
class Section:
    """Lines under one heading."""

    title: str
    lines: list[Line]


@dataclass(frozen=True)
class Proof:
    """A test that names a line."""

    line: str
    file: str  # from the top of the repository
    test: str


@dataclass
class Found:
    """What the tests say of the lines."""

    proofs: list[Proof]
    faults: list[str]  # what cannot be read as naming a line


def sections(source: str) -> list[Section]:
    """The lines of the semantics, as they are written."""
    made = []
    for title, lines in yaml.safe_load(source)["sections"].items():
        made.append(Section(title, [_line(name, body) for name, body in lines.items()]))
    return made


def _line(name: str, body: object) -> Line:
    if not re.fullmatch(ID, name):
        raise ValueError(f"{name}: an id is small words with dots between them")
    fields = {"says": body} if isinstance(body, str) else body
    if not isinstance(fields, dict) or not fields.keys() <= KEYS or not isinstance(fields.get("says"), str):
        raise ValueError(f"{name}: a line is a text, or says, and issue or not_yet")
    return Line(name, " ".join(fields["says"].split()), fields.get("issue"), fields.get("not_yet"))


def issues(source: str) -> dict[int, str]:
    """What each issue is about that lines are left to."""
    found: dict[int, str] = yaml.safe_load(source)["issues"]
    return found


def proofs(files: dict[str, str], word: str = SEMANTICS.word) -> Found:
    """What the tests in these files (name -> source) prove of the book with this word."""
    found = Found([], [])
    form = re.compile(rf"{word}: ({ID}(?:, {ID})*)(?: — .+)?")
    for file, text in sorted(files.items()):
        if f"{word}:" not in text:
            continue
        for node, doc in _docstrings(ast.parse(text)):
            for named in (it.strip() for it in doc.splitlines() if it.strip().startswith(f"{word}:")):
                name: str = getattr(node, "name", "the file itself")
                where = f"{file}: {name}"
                match = form.fullmatch(named)
                if match is None:
                    found.faults.append(f"{where}: '{named}' names no line; write '{word}: an.id, another.id — why'")
                elif not _runs(node):
                    found.faults.append(f"{where}: only a test that always runs can name a line")
                else:
                    found.proofs += [Proof(line, file, name) for line in match[1].split(", ")]
    return found


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in [tree, *ast.walk(tree)][1:]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, ast.get_docstring(node) or ""


def _runs(node: ast.AST) -> bool:
    """Whether pytest collects it from a module's top level, and no mark may leave it out."""
    if not isinstance(node, ast.FunctionDef) or node.col_offset or not node.name.startswith("test_"):
        return False
    marks = {part.attr for it in node.decorator_list for part in ast.walk(it) if isinstance(part, ast.Attribute)}
    return not marks & IDLE


def read_tests() -> dict[str, str]:
    """Every file pytest collects."""
    files = sorted((ROOT / "tests").glob("**/test_*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}


def check(parts: list[Section], known: dict[int, str], found: Found) -> list[str]:
    """Everything that keeps the page from being true."""
    lines = [line for part in parts for line in part.lines]
    names = {line.id for line in lines}
    proven = {it.line for it in found.proofs}
    faults = list(found.faults)
    for it in found.proofs:
        if it.line not in names:
            faults.append(f"{it.file}: {it.test} names '{it.line}', which is no line")
    faults += [f"{name}: written twice" for name in sorted(names) if sum(it.id == name for it in lines) > 1]
    for line in lines:
        ways = (line.id in proven) + (line.issue is not None) + (line.not_yet is not None)
        if ways == 0:
            faults.append(f"{line.id}: no test names it, and it is left to no issue")
        elif ways > 1:
            faults.append(f"{line.id}: a test names it, so 'issue' or 'not_yet' is not true (or both are written)")
        if line.issue is not None and line.issue not in known:
            faults.append(f"{line.id}: issue {line.issue} is not among the issues of the file")
    return faults


SEMANTICS_HEAD = "# Semantics: what the engine does at every contested point"


def page(
    parts: list[Section], known: dict[int, str], found: Found, head: str = SEMANTICS_HEAD, up: str = "../",
    source: str = "docs/semantics.yaml",
) -> str:  # fmt: skip
    """The text of a page; ``head`` stands at its top, ``up`` leads to the top of the repository."""
    lines = [line for part in parts for line in part.lines]
    later = sum(line.issue is not None for line in lines)
    missing = sum(line.not_yet is not None for line in lines)
    text = [
        head.strip(),
        f"<!-- made from {source} and the docstrings of the tests by `{COMMAND}`; a test keeps it fresh -->",
        "Each line names the tests that prove it. A line without a test says which issue brings it, or why it does not "
        "hold yet. The build fails when a line has neither, or when a test names a line that is not here.",
        f"{len(lines)} lines: {len(lines) - later - missing} proven, {later} left to later issues"
        + (f", {missing} not yet kept." if missing else "."),
        "\n".join(f"- **issue {number}**: {about}" for number, about in sorted(known.items())),
    ]
    for part in parts:
        rows = [f"| `{line.id}` | {_cell(line.says)} | {_proven(line, found, up)} |" for line in part.lines]
        text += [f"## {part.title}", "\n".join(["| line | what holds | proven by |\n|---|---|---|", *rows])]
    return "\n\n".join(text) + "\n"


def _proven(line: Line, found: Found, up: str) -> str:
    if line.issue is not None:
        return f"**issue {line.issue}**"
    if line.not_yet is not None:
        return f"**not yet**: {_cell(line.not_yet)}"
    mine = sorted({(it.file, it.test) for it in found.proofs if it.line == line.id})
    return "<br>".join(f"[{test}]({up}{file})" for file, test in mine)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def made(book: Book) -> str:
    """A page as the repository stands."""
    head = yaml.safe_load(book.text).get("head", SEMANTICS_HEAD)
    source = book.source.relative_to(ROOT).as_posix()
    found = proofs(read_tests(), book.word)
    return page(sections(book.text), issues(book.text), found, head, book.up, source)


if __name__ == "__main__":
    for each in BOOKS:
        each.page.write_text(made(each), encoding="utf-8")
