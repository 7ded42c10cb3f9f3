"""Finds and reads the files of a program; the only part of the language that opens files.

Rule 1: nothing outside the program's folder is read; links that lead out are refused.
Rule 2: only regular files are read: a pipe would be waited for, and a device has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from engine.language.nodes import Node
from engine.language.source import Source, read_source

PROGRAM_FILE = "drumbeat.yaml"
SCENARIOS = "scenarios"
MAX_LIST_BYTES = 64 * 1024 * 1024


@dataclass
class ProgramFiles:
    """The files of a program as read."""

    root: Path
    program: Source | None
    documents: list[Source] = field(default_factory=list)  #: everything under playbooks/, sorted by name
    broken: list[tuple[str, str]] = field(default_factory=list)  #: (file, why it could not be read)
    scenarios: list[Source] = field(default_factory=list)  #: everything under scenarios/, when asked for


def content_of(path: Path) -> bytes:
    """The bytes of a regular file; raises OSError, also for whatever else has a name."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return stream.read()


def find_root(start: Path) -> Path | None:
    """The nearest folder upwards that holds a program file."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PROGRAM_FILE).is_file():
            return folder
    return None


def read_program(root: Path, *, scenarios: bool = False) -> ProgramFiles:
    """Read the program file and all YAML below ``playbooks/``; on demand that below ``scenarios/``, too."""
    files = ProgramFiles(root, None)
    if (root / PROGRAM_FILE).exists():
        files.program = _read(root, root / PROGRAM_FILE, files)
    _read_below(root, "playbooks", files, files.documents)
    if scenarios:
        _read_below(root, SCENARIOS, files, files.scenarios)
    return files


def _read_below(root: Path, name: str, files: ProgramFiles, into: list[Source]) -> None:
    folder = root / name
    if folder.is_dir():
        for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
            source = _read(root, path, files)
            if source is not None:
                into.append(source)


def read_program_file(root: Path, path: Path) -> Node | None:
    """The tree of one file below the program's folder; None when it cannot be read whole."""
    source = _read(root, path, ProgramFiles(root, None))
    return None if source is None or not source.complete else source.root


def _read(root: Path, path: Path, files: ProgramFiles) -> Source | None:
    name = path.relative_to(root).as_posix()
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            files.broken.append((name, "the link leads out of the program's folder"))
            return None
        return read_source(content_of(path), name)
    except OSError as error:
        files.broken.append((name, f"cannot be read: {error.strerror}"))
        return None


def text_of(path: Path) -> str | None:
    """The text of a file, to show lines of it; None when it has none."""
    try:
        return content_of(path).decode("utf-8")
    except (OSError, ValueError):
        return None


def read_list(root: Path, name: str) -> tuple[list[str], str | None]:
    """The first column of a list file below the program's folder; (values, what is wrong or None).

    Lines are stripped; empty ones and those beginning with ``#`` do not count, nor does a head line such as ``code``.
    """
    path = root / name
    try:
        if not path.resolve(strict=True).is_relative_to(root.resolve()):
            return [], "the file lies outside the program's folder"
        if path.stat().st_size > MAX_LIST_BYTES:
            return [], f"the file is larger than {MAX_LIST_BYTES} bytes"
        text = content_of(path).decode("utf-8-sig")
    except FileNotFoundError:
        return [], "there is no such file"
    except (OSError, ValueError) as error:  # of text that is not UTF-8, or a name with a NUL
        return [], f"cannot be read: {error}"
    values = [line.split(",")[0].strip().strip('"') for line in text.splitlines()]
    kept = [value for value in values if value and not value.startswith("#")]
    if kept and kept[0].lower() in ("code", "codes", "user", "user_id", "id"):
        kept = kept[1:]
    return kept, None
