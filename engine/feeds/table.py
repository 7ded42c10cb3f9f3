"""CSV as records: which columns mean what, and rows that become JSON for the door.

Rule 1: RFC 4180 with a header line: fields with quotes, separators or line ends stand in double quotes.
Rule 2: every cell is text; a column becomes a number only when the mapping says so. An empty cell is an absent value.
Rule 3: a stray quote must not swallow the file: a row that does not end within the size of an event is given up, and
reading goes on with the line after its first.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from engine.door import MAX_EVENT
from engine.errors import EventRejected, UsageError

if TYPE_CHECKING:
    from engine.feeds.files import Line

NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class CsvMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which columns of a CSV or Parquet file form an event; all other columns are its data."""

    time: str  #: column of the time, RFC 3339 with offset
    type: str | None = None  #: column of the type
    type_is: str | None = None  #: the type of every row, instead of a column
    id: str | list[str] | None = None  #: column or columns that form the id
    user: str | None = None  #: column of the user
    group: str | None = None  #: column of the group
    numbers: list[str] = []  #: columns read as numbers
    delimiter: str = ","

    @classmethod
    def of(cls, setting: object) -> CsvMapping:
        """The mapping of a configuration; raises UsageError."""
        try:
            mapping = msgspec.convert(setting, cls)
        except msgspec.ValidationError as error:
            raise UsageError(f"csv mapping: {error}") from None
        if (mapping.type is None) == (mapping.type_is is None):
            raise UsageError("csv mapping: write one of type (a column) and type_is (the type of every row)")
        if mapping.user is None and mapping.group is None:
            raise UsageError("csv mapping: one of user and group is required")
        if len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n':
            raise UsageError("csv mapping: delimiter is one character")
        return mapping


_COLUMNS: Final = ("time", "type", "type_is", "id", "user", "group", "numbers", "delimiter")


def mapping_of(text: str) -> CsvMapping:
    """A mapping as it is given on a command line: ``time=at,user=customer,type_is=order.paid,id=shop+no``.

    Raises UsageError.
    """
    found: dict[str, str | list[str]] = {}
    for part in text.split(","):
        key, sign, value = part.strip().partition("=")
        if not sign or key not in _COLUMNS or not value:
            raise UsageError(
                f"columns: {part.strip()!r} is not KEY=COLUMN",
                hint=f"keys: {', '.join(_COLUMNS)}; for example time=at,user=customer,type_is=order.paid",
            )
        found[key] = value.split("+") if key == "numbers" or (key == "id" and "+" in value) else value
    return CsvMapping.of(found)


class Table:
    """The header of one CSV file under a mapping.

    Parameters
    ----------
    mapping: which columns mean what.
    header: the first line of the file.
    name: the file, for messages.
    """

    def __init__(self, mapping: CsvMapping, header: bytes, name: str) -> None:
        self._mapping = mapping
        try:
            self.columns = self._cells(header.removeprefix(b"\xef\xbb\xbf"))
        except EventRejected as error:
            raise UsageError(f"{name}: the header line cannot be read: {error.message}", hint=_advice(header)) from None
        m = mapping
        self._ids = [m.id] if isinstance(m.id, str) else list(m.id or [])
        self._roles = {c: r for r, c in (("type", m.type), ("time", m.time), ("user", m.user), ("group", m.group)) if c}
        missing = [c for c in (*self._ids, *self._roles, *m.numbers) if c not in self.columns]
        if missing:
            hint = "its columns: " + ", ".join(self.columns)
            other = _other_delimiter(self.columns, mapping)
            raise UsageError(f"{name} has no column {missing[0]!r}", hint=f"{hint}; {other}" if other else hint)
        twice = sorted({c for c in self.columns if self.columns.count(c) > 1})
        if twice:
            raise UsageError(f"{name} has two columns {twice[0]!r}", hint="rename one")
        self._numbers = frozenset(m.numbers)

    def _cells(self, raw: bytes) -> list[str]:
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise EventRejected("utf8", f"byte {error.start + 1} is not UTF-8") from None
        try:
            found = list(csv.reader(io.StringIO(text, newline=""), delimiter=self._mapping.delimiter, strict=True))
        except csv.Error as error:
            raise EventRejected("csv", f"the row is not CSV: {error}") from None
        if len(found) != 1:
            raise EventRejected("csv", "the row is not CSV: quotes are not closed or stand inside a field")
        return found[0]

    def json(self, raw: bytes) -> bytes:
        """A row as a JSON record; raises EventRejected (``csv``, ``utf8`` or ``number``)."""
        cells = self._cells(raw)
        if len(cells) != len(self.columns):
            raise EventRejected("csv", f"the row has {len(cells)} cells; the header has {len(self.columns)}")
        top: dict[str, str] = {}
        data = []
        for column, cell in zip(self.columns, cells, strict=True):
            if not cell:
                continue
            role = self._roles.get(column)
            if role is not None:
                top[role] = _text(cell)
            elif column not in self._ids:
                data.append(f"{_text(column)}:{self._value(column, cell)}")
        if self._mapping.type_is is not None:
            top["type"] = _text(self._mapping.type_is)
        id = self._id(cells)
        if id is not None:
            top["id"] = _text(id)
        parts = [f'"{key}":{value}' for key, value in top.items()]
        return ("{" + ",".join([*parts, '"data":{' + ",".join(data) + "}"]) + "}").encode("utf-8")

    def _id(self, cells: list[str]) -> str | None:
        found = [cells[self.columns.index(column)] for column in self._ids]
        if not found or not all(found):
            return None
        return joined_id(found)

    def _value(self, column: str, cell: str) -> str:
        if column not in self._numbers:
            return _text(cell)
        if NUMBER.fullmatch(cell) is None:
            raise EventRejected("number", f"column {column[:40]!r} holds {cell[:40]!r}, which is no number")
        return cell


def joined_id(parts: list[str]) -> str:
    """An id of one column or several; the separator is escaped inside the parts: different rows never get one id."""
    return "|".join(p.replace("\\", "\\\\").replace("|", "\\|") for p in parts) if len(parts) > 1 else parts[0]


def _advice(header: bytes) -> str:
    """What to do about a header that cannot be read: what spreadsheets write is GBK or has semicolons."""
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        return "save the file as CSV UTF-8; it looks like GBK" if _is_gbk(header) else "save the file as UTF-8"
    found = next((mark for mark in ";\t" if mark in text), None)
    return _delimiter(found) if found is not None else "quote each cell that holds a comma or a quote"


def _is_gbk(raw: bytes) -> bool:
    try:
        raw.decode("gbk")
    except UnicodeDecodeError:
        return False
    return True


def _other_delimiter(columns: list[str], mapping: CsvMapping) -> str:
    """Advice for a header that is a single cell because something else than ``delimiter`` stands between its cells."""
    found = next((mark for mark in ";\t," if mark != mapping.delimiter and mark in columns[0]), None)
    return _delimiter(found) if found is not None and len(columns) == 1 else ""


def _delimiter(mark: str) -> str:
    return f"its cells stand apart by {mark!r}: say it as the delimiter"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def rows(lines: Iterator[Line], final: bool) -> Iterator[Line]:
    """Lines joined to rows: as long as a quote is open, the row goes on (rule 3)."""
    again: deque[Line] = deque()
    row: list[Line] = []
    size = 0
    while True:
        line = again.popleft() if again else next(lines, None)
        if line is None:
            if not row:
                return
            if not final:
                yield _joined(row)._replace(finished=False)
                return
        else:
            row.append(line)
            size += len(line.raw)
            closed = (line.raw.count(b'"') % 2 == 0) == (len(row) == 1)
            if closed:
                yield _joined(row)
                row, size = [], 0
                continue
            if size <= MAX_EVENT:
                continue
        yield row[0]
        again.extendleft(reversed(row[1:]))
        row, size = [], 0


def _joined(row: list[Line]) -> Line:
    if len(row) == 1:
        return row[0]
    last = row[-1]
    return row[0]._replace(end=last.end, last=last.last, finished=last.finished, raw=b"".join(line.raw for line in row))
