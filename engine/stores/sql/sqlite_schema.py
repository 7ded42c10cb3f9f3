"""Which schema an SQLite file has, and the way to the newest one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import StoreError, StoreOlder
from engine.stores.sql import Migration, migrations, queries

APPLICATION_ID = 1146244418  # "DRMB", as the first migration writes it

Q = queries("sqlite")


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """Number of the newest migration applied, 0 for an empty file; a database of somebody else is refused."""
    if db.execute(Q["tables"]).fetchone()[0] == 0:
        return 0
    ours = db.execute("pragma application_id").fetchone()[0] == APPLICATION_ID
    if not ours or db.execute(Q["has_migrations"]).fetchone()[0] == 0:
        raise StoreError(f"{path} is an SQLite database, but not a Drumbeat store", hint="name another file")
    return int(db.execute(Q["version"]).fetchone()[0] or 0)


def statements(text: str) -> Iterator[str]:
    """The single statements of a script."""
    gathered = ""
    for line in text.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered.strip()
            gathered = ""


def migrate(
    db: sqlite3.Connection,
    path: Path,
    *,
    read_only: bool,
    fault: Callable[[str], object],
    steps: list[Migration] | None = None,
) -> None:
    """Bring the file to the newest schema, each migration in one transaction with its record."""
    steps = migrations("sqlite") if steps is None else steps
    have, newest = version_of(db, path), len(steps)
    if have > newest:
        raise StoreError(
            f"store {path} has schema {have}, this program knows up to {newest}",
            hint="it was written by a newer Drumbeat: use that version",
        )
    if have < newest and read_only:
        raise StoreOlder(
            f"store {path} has schema {have}, this program needs {newest}",
            hint="open it once for writing, for example with `drumbeat run --once`",
        )
    for step in steps[have:]:
        _apply(db, step, fault)


def _apply(db: sqlite3.Connection, step: Migration, fault: Callable[[str], object]) -> None:
    fault("migrate.before_begin")
    db.execute("begin immediate")
    try:
        fault("migrate.after_begin")
        for statement in statements(step.text):
            fault("migrate.statement")
            db.execute(statement)
        fault("migrate.record")
        db.execute(Q["add_migration"], (step.version, step.name, step.digest))
        fault("migrate.before_commit")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    fault("migrate.after_commit")
