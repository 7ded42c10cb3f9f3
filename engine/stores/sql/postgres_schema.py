"""Which schema a PostgreSQL store has, and the way to the newest one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import StoreError
from engine.stores.sql import Migration, migrations, queries
from engine.stores.sql.postgres_place import Place

Q = queries("postgres")


def version_of(db: Any, place: Place) -> int:
    """Number of the newest migration applied, 0 for an empty schema; one of somebody else is refused."""
    if _number(db, "has_migrations", place.schema):
        return _number(db, "version")
    if _number(db, "table_count", place.schema):
        raise StoreError(
            f"schema {place.schema} of {place} holds tables, but no Drumbeat store",
            hint="name another schema: postgresql://host/database?schema=name",
        )
    return 0


def migrate(
    db: Any,
    place: Place,
    *,
    read_only: bool,
    fault: Callable[[str], object],
    steps: list[Migration] | None = None,
) -> None:
    """Bring the schema to the newest version, each migration in one transaction with its record."""
    steps = migrations("postgres") if steps is None else steps
    have, newest = version_of(db, place), len(steps)
    if have > newest:
        raise StoreError(
            f"store {place} has schema {have}, this program knows up to {newest}",
            hint="it was written by a newer Drumbeat: use that version",
        )
    if have < newest and read_only:
        if have == 0:
            raise StoreError(f"there is no store at {place}", hint="`drumbeat run` makes one")
        raise StoreError(
            f"store {place} has schema {have}, this program needs {newest}",
            hint="open it once for writing, for example with `drumbeat run --once`",
        )
    for step in steps[have:]:
        _apply(db, place, step, fault)


def _apply(db: Any, place: Place, step: Migration, fault: Callable[[str], object]) -> None:
    fault("migrate.before_begin")
    with db.transaction():
        fault("migrate.after_begin")
        if step.version == 1:
            make_schema(db, place)
            db.execute(Q["make_migrations"])
        fault("migrate.statement")
        db.execute(step.text)
        fault("migrate.record")
        db.execute(Q["add_migration"], (step.version, step.name, step.digest))
        fault("migrate.before_commit")
    fault("migrate.after_commit")


def make_schema(db: Any, place: Place) -> None:
    """The schema itself, where it is not there."""
    from psycopg import sql

    if not _number(db, "has_schema", place.schema):
        db.execute(sql.SQL("create schema {}").format(sql.Identifier(place.schema)))


def _number(db: Any, query: str, *values: Any) -> int:
    return int(db.execute(Q[query], values).fetchone()[0])
