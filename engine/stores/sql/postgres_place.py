"""Where a PostgreSQL store is: ``postgresql://user:password@host/database?schema=name``, shown without the password.

Rule 1: a store is a schema of a database, ``drumbeat`` unless the place names another.
Rule 2: the text with the password is handed to the driver and to nobody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from engine.errors import StoreError

PREFIX = "postgresql://"
SCHEMA = "drumbeat"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]*)(:[0-9]+)?")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SHOWN = ("host", "port", "dbname")  #: of the parameters, what anybody may see


@dataclass(frozen=True)
class Place:
    """A schema of a database."""

    url: str = field(repr=False)  #: as the driver takes it, with the password
    schema: str
    shown: str  #: for people: without user and password

    def __str__(self) -> str:
        return self.shown

    @property
    def key(self) -> int:
        """Number of the right to write this schema, of 63 bits; a database keeps such numbers apart from others'."""
        digest = blake2b(self.schema.encode(), digest_size=8, person=b"drumbeat.writer").digest()
        return int.from_bytes(digest) >> 1


def place(url: str) -> Place:
    """The place behind a setting with its secrets filled in; raises StoreError, which never shows the password."""
    try:
        parts = urlsplit(url)
        words = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _unreadable() from None
    hosts = parts.netloc.rpartition("@")[2]
    # A sign in the wrong place may mean that a part of the password is taken for something that is shown.
    odd = parts.fragment or "@" in parts.path + parts.query or "@" in parts.netloc.rpartition("@")[0]
    if f"{parts.scheme}://" != PREFIX or odd or not all(map(_HOST.fullmatch, hosts.split(","))):
        raise _unreadable()
    schema = dict(words).get("schema", SCHEMA)
    if _NAME.fullmatch(schema) is None or schema.startswith("pg_"):
        raise StoreError(
            f"the store names the schema {schema!r}; it needs small letters, digits and _, and not pg_ in front",
            hint=f"{PREFIX}host/database?schema={SCHEMA}",
        )
    rest = [(name, value) for name, value in words if name != "schema"]
    seen = [(name, value) for name, value in rest if name in _SHOWN]
    if schema != SCHEMA:
        seen.append(("schema", schema))
    shown = urlunsplit((parts.scheme, hosts, parts.path, urlencode(seen, safe="/,"), ""))
    if not shown.startswith(PREFIX):  # without a host the two strokes are left out
        shown = PREFIX + shown.removeprefix(f"{parts.scheme}:")
    return Place(urlunsplit(parts._replace(query=urlencode(rest))), schema, shown)


def _unreadable() -> StoreError:
    return StoreError(
        "the address of the store cannot be read",
        hint=f"{PREFIX}user:${{PASSWORD}}@host/database; letters such as @ and / in a password are written as %40, %2F",
    )
