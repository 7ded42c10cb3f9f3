"""Lists as PostgreSQL takes them in binary: a column of many rows goes as one parameter.

The driver makes text of a list, value by value and quoted, which takes several times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from struct import Struct, pack
from typing import Any, ClassVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_CASTS = re.compile(r"\$(\d+)::([a-z]+)\[\]")
_HEAD = Struct("!iiIii")
_LENGTH = Struct("!i").pack
_NULL = _LENGTH(-1)


class Packed:
    """A list in binary."""

    __slots__ = ("data",)

    array: ClassVar[int]  #: number of its type
    element: ClassVar[int]  #: number of the type of its elements

    def __init__(self, values: Sequence[Any]) -> None:
        none = None in values
        body = self.body(values) if not none else self._with_nulls(values)
        head = _HEAD.pack(1 if values else 0, int(none), self.element, len(values), 1)
        self.data = head + body if values else head[:12]

    @staticmethod
    def body(values: Sequence[Any]) -> bytes:
        """Length and bytes of each value, none of which is None."""
        raise NotImplementedError

    def _with_nulls(self, values: Sequence[Any]) -> bytes:
        return b"".join([_NULL if value is None else self.body((value,)) for value in values])


def _bytes(values: Sequence[bytes]) -> bytes:
    lengths = map(_LENGTH, map(len, values))
    return b"".join(chain.from_iterable(zip(lengths, values, strict=True)))


def _texts(values: Sequence[str]) -> bytes:
    return _bytes([value.encode() for value in values])


def _numbers(letter: str, size: int) -> Callable[[Sequence[int]], bytes]:
    def body(values: Sequence[int]) -> bytes:
        return pack("!" + ("i" + letter) * len(values), *chain.from_iterable((size, value) for value in values))

    return body


class PackedDumper(Dumper):
    """Hands such a list over as it is."""

    format = Format.BINARY

    def dump(self, obj: Packed) -> Buffer | None:
        return obj.data


def _kind(name: str, array: int, element: int, body: Callable[[Sequence[Any]], bytes]) -> type[Packed]:
    made = type(name, (Packed,), {"__slots__": (), "array": array, "element": element, "body": staticmethod(body)})
    psycopg.adapters.register_dumper(made, type(f"{name}Dumper", (PackedDumper,), {"oid": array}))
    return made


KINDS: dict[str, type[Packed]] = {
    "text": _kind("Texts", 1009, 25, _texts),
    "bytea": _kind("Bytes", 1001, 17, _bytes),
    "bigint": _kind("Bigints", 1016, 20, _numbers("q", 8)),
    "integer": _kind("Integers", 1007, 23, _numbers("i", 4)),
    "smallint": _kind("Smallints", 1005, 21, _numbers("h", 2)),
    "boolean": _kind("Booleans", 1000, 16, _numbers("?", 1)),
}
"""Type of the elements -> the list."""


@cache
def casts(statement: str) -> dict[int, type[Packed]]:
    """Place of a parameter (from 0) -> the list it is, as the statement says it: ``$1::text[]``."""
    return {int(place) - 1: KINDS[kind] for place, kind in _CASTS.findall(statement) if kind in KINDS}


def packed(statement: str, values: Sequence[Any]) -> Sequence[Any]:
    """The parameters of a statement, lists in binary."""
    if not any(type(value) is list for value in values):
        return values
    kinds = casts(statement)
    return [
        kinds[place](value) if type(value) is list and place in kinds else value for place, value in enumerate(values)
    ]
