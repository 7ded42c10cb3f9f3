"""The files of a program as one pack: kept beside the store, so that a broken edit never leaves a daemon without one.

Rule 1: what is packed is what was compiled: the files are looked at before and after, and nothing counts that changed
meanwhile. Nobody has to stop editing.
Rule 2: lists of codes and members are not packed (they may be large): a program from a pack reads them where they are.
"""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.files import PROGRAM_FILE, content_of
from engine.ports import Version

_FOLDERS = ("playbooks", "templates")

Look = tuple[tuple[str, int, int, int], ...]
"""(name, size, time of change, inode) of each file: equal looks, equal files."""


def look_at(root: Path, lists: Iterable[str] = ()) -> Look:
    """How the files of a program stand right now; ``lists``: other files it names."""
    found = []
    for path in _paths(root, lists):
        try:
            status = path.stat()
        except OSError:
            continue  # gone since it was named
        name = path.relative_to(root).as_posix()
        found.append((name, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)


def pack(root: Path) -> str:
    """The program file, playbooks and templates as text; the same files give the same text."""
    return _packed(_files(root))


def _files(root: Path) -> dict[str, str]:
    files = {}
    for path in _paths(root, ()):
        try:
            files[path.relative_to(root).as_posix()] = content_of(path).decode("utf-8", "surrogateescape")
        except OSError:
            continue
    return files


def _packed(files: Mapping[str, str]) -> str:
    raw = json.dumps(files, sort_keys=True).encode()
    return base64.b85encode(zlib.compress(raw, 6)).decode()


def compile_pack(packed: str, root: Path, older: Iterable[Version] = ()) -> Compiled:
    """Compile a program from its pack; it lives in its own folder ``root`` all the same, where its lists are read."""
    files: dict[str, str] = json.loads(zlib.decompress(base64.b85decode(packed)))
    with TemporaryDirectory(prefix="drumbeat-") as folder:
        copy = Path(folder).resolve()
        for name, text in files.items():
            path = copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        found = compile_program(copy, tuple(older))
        if missing := _lists_named(root, found):
            for name in missing:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, copy / name)
            found = compile_program(copy, tuple(older))
    return replace(found, root=root)


def compile_with(root: Path, more: Mapping[str, str]) -> Compiled:
    """Compile the program of a folder as if some more files stood in it."""
    files: dict[str, str] = {**_files(root), **more}
    return compile_pack(_packed(files), root)


def _lists_named(root: Path, found: Compiled) -> list[str]:
    """List files that a program names and that stand in its real folder."""
    names = []
    for name in found.lists:
        path = root / name
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            names.append(name)
    return names


def _paths(root: Path, lists: Iterable[str]) -> list[Path]:
    found = [root / PROGRAM_FILE, *(root / name for name in lists)]
    for name in _FOLDERS:
        found.extend((root / name).rglob("*"))
    return sorted({path for path in found if path.is_file()})
