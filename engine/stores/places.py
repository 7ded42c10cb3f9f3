"""Where a program's store is, before it is opened: a file, or a schema of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from engine.errors import CannotRun, StoreError

MACHINE = Path("/etc/machine-id")


@dataclass(frozen=True)
class FilePlace:
    """A file of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def beside(self) -> Path:
        """A path whose neighbours belong to the store: the socket of its daemon."""
        return self.path

    def exists(self) -> bool:
        """Is there a store?"""
        return self.path.exists()

    def mark(self, store: Any) -> str:
        """What tells this file from every other: a hash of the machine's id and the path.

        Containers of one image have no machine's id and the same path everywhere; there the file's number stands in.
        """
        try:
            machine = MACHINE.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            machine = ""
        machine = machine or f"file {self.path.stat().st_ino}"
        return blake2b(f"{machine}\n{self.path.resolve()}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class SchemaPlace:
    """A schema of a database, which many machines may reach."""

    url: Any  #: a ``Secret``: with the password
    root: Path  #: folder of the program

    def __str__(self) -> str:
        from engine.stores.sql.postgres_place import place

        return place(self.url.reveal()).shown

    @property
    def beside(self) -> Path:
        """A path in the folder of the program: the verbs of this folder find their daemon there."""
        return self.root / f"drumbeat-{blake2b(str(self).encode(), digest_size=6).hexdigest()}"

    def exists(self) -> bool:
        """Is there a store, as far as the server can be asked?"""
        try:
            self.open(read_only=True).close()
        except StoreError as error:
            if "there is no store" in error.message:
                return False
            raise
        return True

    def mark(self, store: Any) -> str:
        """What tells this schema from a copy of it: a hash of what the server calls itself and the schema."""
        found: str = store.mark()
        return found

    def open(self, **how: Any) -> Any:
        """The store; see ``PgStore.open``."""
        try:
            from engine.stores.postgres import PgStore
        except ImportError as error:
            hint = "pip install 'drumbeat[postgres]'"
            raise CannotRun("a store in PostgreSQL needs a library", hint=hint) from error
        return PgStore.open(self.url.reveal(), **how)

    def parts(self) -> Any:
        """A session that decides parts; see ``PgParts.open``."""
        from engine.stores.sql.postgres_parts import PgParts

        return PgParts.open(self.url.reveal())
