"""``validate --against``: where the older side comes from, a git revision or a store."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import CannotRun, ProgramError, UsageError

_PARTS = ("drumbeat.yaml", "playbooks", "templates", "lists")


def compare(found: Any, against: str) -> tuple[Any, tuple[Any, ...]]:
    """(the program, what its edits do to people): ``against`` is a git revision, or a store's path or URL."""
    store = _store_url(against)
    return _with_store(found, store) if store is not None else (found, _with_revision(found, against))


def _store_url(against: str) -> str | None:
    if "://" in against:
        return against
    path = Path(against)
    return f"sqlite:///{path.resolve()}" if path.is_file() else None


def _with_store(found: Any, url: str) -> tuple[Any, tuple[Any, ...]]:
    from engine import wiring
    from engine.language.comparing import Comparison

    opened = wiring.open_store(found.settings, found.root, read_only=True, override=url)
    try:
        found = wiring.with_older(found, opened)
        people: Counter[tuple[str, str, str]] = Counter()
        for state in opened.in_flight():
            people.update({(it.playbook, it.version, it.at) for it in state.journeys if it.at is not None})
    finally:
        opened.close()
    return found, Comparison(found).with_people(people)


def _with_revision(found: Any, revision: str) -> tuple[Any, ...]:
    from engine.language.comparing import Comparison
    from engine.language.compile import compile_program

    with program_at(found.root, revision) as folder:
        old = compile_program(folder)
    if old.plan is None:
        raise ProgramError(
            f"the program as of {revision} is invalid ({old.errors} error(s)): it cannot be compared",
            hint="name a revision that validates",
        )
    return Comparison(found).with_program(old, revision)


def commit_of(root: Path, revision: str) -> str | None:
    """The commit a revision names; None where there is no such revision, or no repository."""
    if revision.startswith("-"):
        return None
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    return None if found is None else found.decode().strip()


@contextmanager
def program_at(root: Path, revision: str) -> Iterator[Path]:
    """A folder with the program in ``root`` as it was at a revision; it may lie below the top of its repository."""
    if revision.startswith("-"):
        raise UsageError(f"'{revision}' is no revision")
    inside = _git(root, "rev-parse", "--show-prefix")
    if inside is None:
        hint = "name a store, such as sqlite:///drumbeat.db, or work in a clone"
        raise CannotRun(f"{root} is in no git repository", hint=hint)
    commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        hint = "a branch, tag or commit of this repository, or a store such as sqlite:///drumbeat.db"
        raise UsageError(f"there is no revision '{revision}', and no store of that name", hint=hint)
    prefix, name = inside.rstrip(b"\n").decode("utf-8", "surrogateescape"), commit.decode().strip()
    with tempfile.TemporaryDirectory(prefix="drumbeat-") as folder:
        if not _write(root, name, prefix, Path(folder)):
            raise ProgramError(f"there is no drumbeat.yaml in {prefix or 'the repository'} as of {revision}")
        yield Path(folder)


def _write(root: Path, commit: str, prefix: str, folder: Path) -> bool:
    """Write the files of a program at a commit; whether its program file is among them."""
    listing = _git(root, "ls-tree", "-r", "-z", "--full-tree", commit, "--", *(f"{prefix}{part}" for part in _PARTS))
    wanted: list[tuple[bytes, str]] = []
    for row in (listing or b"").split(b"\0"):
        head, _, path = row.partition(b"\t")
        mode, kind, blob = head.split() if row else (b"", b"", b"")
        if kind == b"blob" and mode != b"120000":  # a link leads to where it leads now, and that may be anywhere
            wanted.append((blob, path.decode("utf-8", "surrogateescape").removeprefix(prefix)))
    data = _git(root, "cat-file", "--batch", said=b"".join(blob + b"\n" for blob, _ in wanted)) or b""
    for _, name in wanted:
        head, _, data = data.partition(b"\n")
        size = int(head.split()[2])
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data[:size])
        data = data[size + 1 :]
    return any(name == "drumbeat.yaml" for _, name in wanted)


def _git(root: Path, *words: str, said: bytes = b"") -> bytes | None:
    """What git says, or None when it refuses. Inside a hook git names its own repository, which need not be this."""
    program = shutil.which("git")
    if program is None:
        raise CannotRun("there is no git on this machine", hint="name a store, such as sqlite:///drumbeat.db")
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    call = [program, "-C", str(root), *words]
    done = subprocess.run(call, input=said, env=env, capture_output=True, check=False)  # noqa: S603
    return done.stdout if done.returncode == 0 else None
