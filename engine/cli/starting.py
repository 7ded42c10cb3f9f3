"""A small program made of some playbooks of the shipped library: what ``drumbeat init`` writes.

Rule 1: texts are those of the library, letter for letter; nothing is kept a second time. Of the catalog and of the
program file whole entries are left out, with the comments before them, and never anything inside an entry.
Rule 2: an entry stays when a file that is taken, or another entry that stays, has its name as a word. That may keep one
too many, never one too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from engine.errors import CannotRun

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DOTTED = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
_SECTION = re.compile(r"^[a-z_]+:")
_ENTRY = re.compile(r"^  [\"']?([^\s\"':]+)[\"']?:")
_TEMPLATE = re.compile(r"template: ([\w/-]+)")
_EDITOR = "# yaml-language-server:"
_FEED = "# feeds: ["
_WHOLE = ("policies", "channels", "business_hours")
"""Sections of the program file that stay as they are."""


def library() -> Traversable:
    """The root of the shipped library: in an installed package beside this code, in the source its root."""
    inside = files("engine") / "library"
    root = inside if inside.is_dir() else Path(__file__).resolve().parents[2]
    if not (root / "playbooks").is_dir():
        raise CannotRun("the shipped library is not here", hint="install Drumbeat again, or get its source")
    return root


@dataclass(frozen=True)
class Choice:
    """Which part of the library to take."""

    playbooks: list[str]
    scenarios: list[str]
    keep: list[str] = field(default_factory=list)  #: entries used without being named


def taken(choice: Choice, root: Traversable) -> dict[str, bytes]:
    """Path inside the new program -> content.

    Parameters
    ----------
    choice: what to take.
    root: the library.
    """
    out: dict[str, bytes] = {}
    for name in choice.playbooks:
        path, source = _find(root / "playbooks", name)
        out[f"playbooks/{path}"] = _without_editor(source.read_bytes())
    for name in choice.scenarios:
        out[f"scenarios/{name}.yaml"] = _without_editor((root / "scenarios" / f"{name}.yaml").read_bytes())
        out.update(_all(root / "scenarios" / "__snapshots__" / name, f"scenarios/__snapshots__/{name}/"))
    for name in sorted({it for text in out.values() for it in _TEMPLATE.findall(text.decode())}):
        folder, _, stem = name.rpartition("/")
        found = _all(root / "templates" / folder, f"templates/{folder}/")
        out.update({path: text for path, text in found.items() if path.rpartition("/")[2].startswith(f"{stem}.")})
    words = _words([*choice.keep, *(text.decode() for text in out.values())])
    sources = {f"playbooks/catalog/{it.name}": it.read_text("utf-8") for it in (root / "playbooks/catalog").iterdir()}
    sources["drumbeat.yaml"] = (root / "drumbeat.yaml").read_text(encoding="utf-8")
    out.update({path: text.encode() for path, text in _slim(sources, words).items()})
    return dict(sorted(out.items()))


def _find(folder: Traversable, name: str) -> tuple[str, Traversable]:
    """(path below the folder, file) of a playbook."""
    for part in folder.iterdir():
        if part.is_dir() and (part / f"{name}.yaml").is_file():
            return f"{part.name}/{name}.yaml", part / f"{name}.yaml"
    raise CannotRun(f"the shipped library has no playbook '{name}'", hint="install Drumbeat again")


def _all(folder: Traversable, above: str) -> dict[str, bytes]:
    return {above + it.name: it.read_bytes() for it in folder.iterdir()} if folder.is_dir() else {}


def _without_editor(text: bytes) -> bytes:
    """Without the line that tells an editor where the schemas of the source are."""
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(_EDITOR.encode()))


# ---------------------------------------------------------------------- entries that nobody names


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for pattern in (_WORD, _DOTTED) for word in pattern.findall(text)}


def _slim(sources: dict[str, str], words: set[str]) -> dict[str, str]:
    """The files without the entries that nothing names; a file of which nothing is left is left out."""
    while True:
        kept = {path: _kept(text, words, path == "drumbeat.yaml") for path, text in sources.items()}
        more = words | _words(_code(text) for text in kept.values())
        if more == words:
            return {path: text for path, text in kept.items() if any(map(_SECTION.match, text.splitlines()))}
        words = more


def _code(text: str) -> str:
    """Without comments, so that what they speak of is not taken for used."""
    return "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines() if not line.startswith("activity:"))


def _kept(text: str, words: set[str], program: bool) -> str:
    out: list[str] = []
    for section in _sections(text.splitlines(keepends=True)):
        name = next((line.partition(":")[0] for line in section if _SECTION.match(line)), "")
        if program and (name in _WHOLE or name not in ("profile", "events")):
            out += section
            continue
        entries = list(_entries(section))
        stay = [lines for entry, lines in entries if entry in words or entry == "*"]
        head = [line for entry, lines in entries if not entry for line in lines]
        if stay or not name:
            out += [*head, *(line for lines in stay for line in lines)]
    return "".join(out).replace(_FEED, _FEED[2:])


def _sections(lines: list[str]) -> Iterator[list[str]]:
    """The lines of each section, with comments and blank lines before it."""
    found: list[str] = []
    begun = False
    for place, line in enumerate(lines):
        ends = not line.startswith((" ", "\n", "\r")) and begun
        if ends and (_SECTION.match(line) or _leads(lines, place)):
            yield found
            found, begun = [], False
        found.append(line)
        begun = begun or _SECTION.match(line) is not None
    yield found


def _leads(lines: list[str], place: int) -> bool:
    return lines[place].startswith("#")


def _entries(section: list[str]) -> Iterator[tuple[str, list[str]]]:
    """("" or the name, lines) of the head of a section and of each of its entries, comments before it included."""
    name, found, waiting = "", list[str](), list[str]()
    for line in section:
        entry = _ENTRY.match(line)
        if entry is not None:
            yield name, found
            name, found, waiting = entry[1], [*waiting, line], []
        elif re.match(r"^  #", line):
            waiting.append(line)
        else:
            found += [*waiting, line]
            waiting = []
    yield name, [*found, *(waiting if not name else [])]
