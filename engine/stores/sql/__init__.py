"""SQL kept in files: named queries and numbered migrations, one folder a dialect.

A folder's query files are read as one. Each query has ``-- name: word``, at least one ``--`` line that says what it is
for, and one statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from engine.errors import InternalError

_HEAD = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_VALUES = re.compile(r"\bvalues\s*(\((?:\?,\s*)*\?\))")
_MIGRATION = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


@dataclass(frozen=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, kept with the record of its application."""
        return sha256(self.text.encode()).hexdigest()


def parse(text: str, source: str) -> dict[str, str]:
    """Named queries of a file; a query without a description or a name given twice is refused."""
    parts = _HEAD.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = body.strip().splitlines()
        if not lines or not lines[0].startswith("-- "):
            raise InternalError(f"{source}: query {name!r} has no description line")
        if name in found:
            raise InternalError(f"{source}: query {name!r} stands twice")
        statement = "\n".join(line for line in lines if not line.startswith("--")).strip()
        found[name] = statement.removesuffix(";")
    return found


def repeated(statement: str, times: int) -> str:
    """An ``insert`` of one row as an ``insert`` of several."""
    match = _VALUES.search(statement)
    if match is None:
        raise InternalError(f"not an insert of one row: {statement}")
    return statement[: match.end()] + (", " + match[1]) * (times - 1) + statement[match.end() :]


def queries(dialect: str) -> dict[str, str]:
    """Every named query of a dialect."""
    found: dict[str, str] = {}
    for place in sorted((files(__package__) / dialect).iterdir(), key=lambda it: it.name):
        if place.name.endswith(".sql"):
            more = parse(place.read_text("utf-8"), f"{dialect}/{place.name}")
            if twice := sorted(found.keys() & more):
                raise InternalError(f"{dialect}/{place.name}: query {twice[0]!r} stands twice")
            found |= more
    return found


def migrations(dialect: str) -> list[Migration]:
    """Every migration of a dialect in order; a gap in the numbers is refused."""
    found = []
    for entry in (files(__package__) / dialect / "migrations").iterdir():
        match = _MIGRATION.match(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort(key=lambda it: it.version)
    if [it.version for it in found] != list(range(1, len(found) + 1)):
        raise InternalError(f"{dialect}/migrations: numbers must run from 0001 without a gap")
    return found
