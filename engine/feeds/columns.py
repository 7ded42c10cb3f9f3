"""Parquet as records: rows that become JSON for the door, a few thousand at a time.

Rule 1: without a mapping the columns ``time``, ``type``, ``id``, ``user`` and ``group`` are those of an event, a column
``data`` of structs is its data, and all other columns are data, too.
Rule 2: values keep their kind: whole numbers, decimals and text exactly, instants as RFC 3339. A null, a NaN and an
empty text in a column of the event are absent.
Rule 3: an instant without a zone is not guessed: the door refuses such a row.

It needs pyarrow, which is imported when the first such file is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.core.instants import format_instant
from engine.errors import CannotRun, UsageError
from engine.feeds.table import NUMBER, CsvMapping, joined_id

_AT_ONCE: Final = 2_000  # rows
_EVENT: Final = ("time", "type", "id", "user", "group")
_US: Final = 1_000_000
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Columns:
    """The rows of one Parquet file.

    Parameters
    ----------
    path: the file.
    name: how it is called in messages.
    mapping: which columns mean what; None: those of an event are called so.
    """

    def __init__(self, path: Path, name: str, mapping: CsvMapping | None) -> None:
        self._path = path
        self._name = name
        self._mapping = mapping

    def records(self) -> Iterator[list[bytes]]:
        """The rows as JSON, in order; raises CannotRun and UsageError."""
        arrow, parquet = _library()
        try:
            with parquet.ParquetFile(self._path) as file:
                row = self._row(arrow, file.schema_arrow)
                for batch in file.iter_batches(batch_size=_AT_ONCE, use_threads=False):
                    columns = [_values(arrow, column) for column in batch.columns]
                    yield [row(values) for values in zip(*columns, strict=True)]
        except (OSError, arrow.ArrowException) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CannotRun(f"cannot read {self._name}: {first}", hint="the file is damaged or no Parquet") from None

    def _row(self, arrow: Any, schema: Any) -> Callable[[tuple[Any, ...]], bytes]:
        """What makes the record of a row."""
        names = list(schema.names)
        mapping = self._mapping
        if mapping is None:
            roles = {name: name for name in _EVENT if name in names}
            ids = ["id"] if "id" in names else []
            fixed, numbers = None, frozenset[str]()
        else:
            ids = [mapping.id] if isinstance(mapping.id, str) else list(mapping.id or [])
            pairs = (("time", mapping.time), ("type", mapping.type), ("user", mapping.user), ("group", mapping.group))
            roles = {role: column for role, column in pairs if column is not None}
            fixed, numbers = mapping.type_is, frozenset(mapping.numbers)
        roles.pop("id", None)
        self._check(arrow, schema, {**roles, **{f"id {n}": column for n, column in enumerate(ids)}}, numbers)
        places = {role: names.index(column) for role, column in roles.items()}
        id_places = [names.index(column) for column in ids]
        whole = "data" in names and mapping is None and arrow.types.is_struct(schema.field("data").type)
        taken = {*places.values(), *id_places}
        data_place = names.index("data") if whole else None
        rest = [(place, name) for place, name in enumerate(names) if place not in taken and place != data_place]

        def made(values: tuple[Any, ...]) -> bytes:
            data = {} if data_place is None else _some(values[data_place] or {})
            data.update((name, values[place]) for place, name in rest if values[place] is not None)
            for name in numbers & data.keys():
                if isinstance(data[name], str) and NUMBER.fullmatch(data[name]):
                    data[name] = msgspec.Raw(data[name].encode())
            found: dict[str, Any] = {"data": data}
            if fixed is not None:
                found["type"] = fixed
            for role, place in places.items():
                value = values[place]
                if value is not None and value != "":
                    found[role] = str(value)
            parts = ["" if values[place] is None else str(values[place]) for place in id_places]
            if parts and all(parts):
                found["id"] = joined_id(parts)
            return _encode(found)

        return made

    def _check(self, arrow: Any, schema: Any, roles: dict[str, str], numbers: frozenset[str]) -> None:
        """Are the columns there, and of a kind that can mean what they are to mean?"""
        missing = [column for column in (*roles.values(), *numbers) if column not in schema.names]
        if missing or "time" not in roles:
            raise UsageError(
                f"{self._name} has no column {missing[0] if missing else 'time'!r}",
                hint="its columns: " + ", ".join(schema.names) + "; --columns says which mean what",
            )
        for role, column in roles.items():
            kind = schema.field(column).type
            kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
            text = arrow.types.is_string(kind) or arrow.types.is_large_string(kind) or arrow.types.is_null(kind)
            instant = role == "time" and arrow.types.is_timestamp(kind)
            if not (text or instant or (role != "time" and arrow.types.is_integer(kind))):
                raise UsageError(
                    f"{self._name}: column {column!r} is {kind}, which cannot be the {role.split()[0]} of an event",
                    hint="a time is text or a timestamp, all else is text or whole numbers",
                )


def _values(arrow: Any, column: Any) -> list[Any]:
    """The values of a column, as JSON may hold them."""
    kind = column.type
    if arrow.types.is_timestamp(kind):
        whole = column.cast(arrow.timestamp("us", kind.tz), safe=False).cast(arrow.int64()).to_pylist()
        shown = format_instant if kind.tz is not None else _wall
        return [None if value is None else shown(value) for value in whole]
    found: list[Any] = column.to_pylist()
    if arrow.types.is_floating(kind):
        return [None if value is None or not math.isfinite(value) else value for value in found]
    return found


def _some(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _wall(us: int) -> str:
    """A time without a zone; the door says what is wrong with it."""
    return datetime.fromtimestamp(us // _US, UTC).replace(tzinfo=None).isoformat()


def _library() -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]  # it may bring its types some day
        from pyarrow import parquet
    except ImportError:
        raise CannotRun("reading Parquet needs pyarrow", hint="pip install 'drumbeat[parquet]'") from None
    return pyarrow, parquet
