"""What of a program differs from the one a store runs: playbooks, entries of the catalog, keys of the program file.

Rule 1: a playbook is the same as long as its version is (``language/versions.py``): comments, titles and the place of a
file change nothing. Its status and what it says about publishing (``on_change``, ``migrate``) are compared beside it.
Rule 2: what a playbook names may change around it: then it counts as touched, and it is said by what.
Rule 3: where it is not known what the store runs as a whole, everything counts as touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.core.plan import Playbook
from engine.language.compiled import Compiled
from engine.language.files import PROGRAM_FILE
from engine.language.nodes import MapNode
from engine.language.source import read_source
from engine.language.versions import CARRIED, unpack

ADDED, CHANGED, REMOVED, TOUCHED, SAME = "added", "changed", "removed", "touched", "same"

_INERT: Final = frozenset({"feeds", "store", "hosts", "retention", "api", "title", "owner"})
"""Keys of the program file that decide nothing about anybody."""

Running = Mapping[str, tuple[str, str]]
"""Playbook -> (status, version), as the store published them."""


@dataclass(frozen=True)
class Change:
    """One playbook, before and after."""

    playbook: str
    what: str  #: added | changed | removed | touched | same
    parts: tuple[str, ...] = ()  #: what of it changed, in words
    before: str = ""  #: its version on the store
    after: str = ""  #: its version in the plan


@dataclass(frozen=True)
class Changes:
    """Everything that differs."""

    playbooks: tuple[Change, ...]
    catalog: tuple[tuple[str, str, str], ...] = ()  #: (section, name, added | changed | removed)
    program: tuple[str, ...] = ()  #: keys of the program file
    known: bool = True  #: it is known as a whole what the store runs
    unknown: str = ""  #: why it is not

    @property
    def any(self) -> bool:
        """Does anything differ that means something?"""
        return bool(self.catalog or self.program or any(it.what != SAME for it in self.playbooks))

    @property
    def concerned(self) -> frozenset[str]:
        """The playbooks of which something may come out otherwise."""
        return frozenset(it.playbook for it in self.playbooks if it.what != SAME)


def compare(new: Compiled, old: Compiled | None, running: Running, same: bool, why: str = "") -> Changes:
    """What differs between a program and the one a store runs.

    Parameters
    ----------
    new: what is planned, valid.
    old: what the store runs; None: only its versions are known.
    running: what it published.
    same: both have the same digest: nothing differs at all.
    why: where ``old`` is None, why.
    """
    if same:
        return Changes(tuple(Change(it.id, SAME, (), it.version, it.version) for it in _sorted(new)))
    catalog, program = _catalogs(new, old), _program_keys(new, old)
    around = {(section, name) for section, name, _ in catalog}
    wide = sorted(key for key in program if key not in _INERT)
    before = {it.id: it for it in old.playbooks} if old is not None else {}
    rows = [_one(it, before.get(it.id), running, around, wide, old is not None or not running) for it in _sorted(new)]
    here = {it.id for it in new.playbooks}
    gone = sorted((running.keys() | before.keys()) - here)
    rows += [Change(id_, REMOVED, (), running.get(id_, ("", ""))[1]) for id_ in gone]
    known = old is not None or not running
    return Changes(tuple(rows), catalog, program, known, "" if known else why)


def _sorted(found: Compiled) -> list[Playbook]:
    return sorted(found.playbooks, key=lambda it: it.id)


def _one(
    now: Playbook, before: Playbook | None, running: Running, around: set[tuple[str, str]], wide: list[str], known: bool
) -> Change:
    if now.id not in running and before is None:
        return Change(now.id, ADDED, (), "", now.version)
    status, version = running.get(now.id, ("", ""))
    if before is not None:
        status, version = before.status, before.version
    parts = [f"status {status} -> {now.status}"] if status != now.status else []
    parts += ["its steps, conditions or texts"] if version and version != now.version else []
    if before is not None and (before.on_change, dict(before.migrate)) != (now.on_change, dict(now.migrate)):
        parts.append("on_change or migrate")
    if parts:
        return Change(now.id, CHANGED, tuple(parts), version, now.version)
    carries = unpack(now.identity.sources)["catalog"]
    named = {(section, name) for section, entries in carries.items() for name in entries}
    carried = sorted(f"{section}.{name}" for section, name in around if (section, name) in named)
    # sections no playbook carries (tiers, calendars ...) may reach anybody
    carried += sorted(f"{section}.{name}" for section, name in around if section not in CARRIED)
    touched = [*wide, *carried] if known else ["what it names may have changed"]
    return Change(now.id, TOUCHED if touched else SAME, tuple(touched), version, now.version)


def _catalogs(new: Compiled, old: Compiled | None) -> tuple[tuple[str, str, str], ...]:
    if old is None:
        return ()
    before, after = dict(_entries(old)), dict(_entries(new))
    rows = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            rows.append((*key, ADDED if key not in before else REMOVED if key not in after else CHANGED))
    return tuple(rows)


def _entries(found: Compiled) -> Iterator[tuple[tuple[str, str], Any]]:
    for _, root in _documents(found):
        if "playbook" not in root:
            for key, table in root:
                for name, entry in table if isinstance(table, MapNode) else ():
                    yield (key.text, name.text), entry.plain()


def _program_keys(new: Compiled, old: Compiled | None) -> tuple[str, ...]:
    if old is None:
        return ()
    before, after = _program(old), _program(new)
    return tuple(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))


def _program(found: Compiled) -> dict[str, Any]:
    root = read_source(found.sources.get(PROGRAM_FILE, "").encode(), PROGRAM_FILE).root
    return {key.text: value.plain() for key, value in root} if isinstance(root, MapNode) else {}


def _documents(found: Compiled) -> Iterator[tuple[str, MapNode]]:
    for file, text in sorted(found.sources.items()):
        if file != PROGRAM_FILE and file.endswith((".yaml", ".yml")) and file.startswith("playbooks/"):
            root = read_source(text.encode(), file).root
            if isinstance(root, MapNode):
                yield file, root
