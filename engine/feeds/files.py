"""Files as feeds: JSON lines and CSV, plain or compressed (``.gz``, ``.zst``), and Parquet, read with bounded memory.

Rule 1: a line longer than an event may be is refused (``oversize``) without ever being held whole.
Rule 2: a position says where the next record begins, so that reading goes on after a restart: a byte offset in a plain
file, a line number in a compressed one.
Rule 3: a line is finished by its newline. The last line of a plain file may still be growing and is left for later.
Rule 4: rows of CSV and Parquet become JSON records and pass the same door as everything else.
Rule 5: a byte order mark at the very beginning of a file, which some editors write, is no part of its first record.
"""

from __future__ import annotations

import glob
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from engine.core.model import Event
from engine.core.shapes import Map, Plain, Text, optional, required
from engine.door import MAX_EVENT, read_fast, read_many, read_slow
from engine.errors import CannotRun, EventRejected, UsageError
from engine.feeds.columns import Columns
from engine.feeds.mapping import SHAPE, PayloadMap, check_map
from engine.feeds.table import CsvMapping, Table, rows
from engine.ports import Feed, Record
from engine.site import Site

READ: Final = MAX_EVENT + 3  # an event of full size with \r\n is shorter than this
KEPT: Final = 1024  #: bytes kept of an oversize line
_BUFFER: Final = 1 << 17
BLOCK: Final = 1 << 18  #: bytes read at once when going through a whole file
_AT_ONCE: Final = 500  #: records decoded together
_PIECE: Final = 256  # compressed bytes decoded at once: four of them can stand for 128 KiB


MARK: Final = b"\xef\xbb\xbf"  #: of a file saved as "UTF-8 with BOM"


class Line(NamedTuple):
    """One line, or one CSV row of several lines."""

    number: int  #: of its first line, from 1
    start: int  #: offset of its first byte in the uncompressed content
    end: int  #: offset after its line end
    raw: bytes  #: with the line end, without the mark of the file; of an oversize line the first READ bytes
    finished: bool  #: ends with a newline
    last: int  #: number of its last line


def split_lines(file: BinaryIO, start: int = 0, *, inside: bool = False) -> Iterator[Line]:
    """The lines of a file from its present place on, which is ``start`` bytes into the content.

    ``inside``: what counts as the start is not the beginning of the file.
    """
    readline = file.readline
    number = 0
    while raw := readline(READ):
        number += 1
        end = start + len(raw)
        finished = raw.endswith(b"\n")
        if len(raw) >= READ and not finished:
            finished, end = _skip(file, end)
        if number == 1 and not start and not inside:
            raw = raw.removeprefix(MARK)
        yield Line(number, start, end, raw, finished, number)
        start = end


def _skip(file: BinaryIO, end: int) -> tuple[bool, int]:
    """Go to the end of the present line: whether it has one, and the offset after it."""
    while piece := file.readline(READ):
        end += len(piece)
        if piece.endswith(b"\n"):
            return True, end
    return False, end


class Batch(NamedTuple):
    """Lines that stand behind each other, without their newlines; the fast shape for reading whole files."""

    start: int  #: offset of the first
    number: int  #: number of the first
    lines: list[bytes]  #: an oversize line stands alone, cut to READ bytes


def split_batches(file: BinaryIO) -> Iterator[Batch]:
    """All lines of a file, by blocks; no more than two blocks are held."""
    start, number, rest = 0, 1, b""
    while block := file.read(BLOCK):
        rest += block if start or rest else block.removeprefix(MARK)
        cut = rest.rfind(b"\n") + 1
        if cut:
            lines = rest[: cut - 1].split(b"\n")
            yield Batch(start, number, lines)
            start, number, rest = start + cut, number + len(lines), rest[cut:]
        if len(rest) >= READ:
            yield Batch(start, number, [rest[:READ]])
            start, number = start + len(rest), number + 1
            rest = b""
            while not rest and (block := file.read(BLOCK)):
                head, newline, rest = block.partition(b"\n")
                start += len(head) + len(newline)
                if newline:
                    break
    if rest:
        yield Batch(start, number, rest.removesuffix(b"\n").split(b"\n"))


def _whole_lines(file: BinaryIO, start: int) -> Iterator[tuple[int, list[bytes]]]:
    rest = b""
    while block := file.read(BLOCK):
        rest += block
        cut = rest.rfind(b"\n") + 1
        if not cut:
            return
        yield start, rest[: cut - 1].split(b"\n")
        start, rest = start + cut, rest[cut:]


class Layout(NamedTuple):
    """What makes events of the records of a file; neither: they are events."""

    columns: CsvMapping | None = None  #: for CSV and Parquet
    payload: PayloadMap | None = None  #: for JSON lines


class Source:
    """One file as lines and records, whatever its format.

    Parameters
    ----------
    path: the file; the ends ``.gz``, ``.zst``, ``.csv`` and ``.parquet`` of its name say what it is.
    name: how it is called in positions, ids and messages.
    mapping: which columns mean what, for ``.csv`` and ``.parquet``.
    payload: which fields form an event, for JSON lines.
    """

    def __init__(
        self, path: Path, name: str, mapping: CsvMapping | None = None, payload: PayloadMap | None = None
    ) -> None:
        self.path = path
        self.name = name
        self._payload = payload
        inner, self.compression = (path.stem, path.suffix) if path.suffix in (".gz", ".zst") else (path.name, "")
        self._mapping = mapping if inner.endswith(".csv") else None
        if inner.endswith(".csv") and mapping is None:
            hint = "say which columns hold what: --columns time=...,type=...,user=..., or csv: in its feed"
            raise UsageError(f"{name} is CSV and needs a mapping", hint=hint)
        self._table: Table | None = None
        self._rows: Columns | None = None
        if inner.endswith(".parquet"):
            if self.compression:
                raise UsageError(f"{name} is packed twice: Parquet is compressed in itself", hint="unpack it")
            self._rows, self.compression, self._payload = Columns(path, name, mapping), ".parquet", None

    def open(self) -> BinaryIO:
        """The uncompressed content from its beginning."""
        try:
            if self.compression == ".gz":
                return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", gzip.open(self.path)), _BUFFER))
            if self.compression == ".zst":
                return io.BufferedReader(_Zstandard(self.path), _BUFFER)
            return self.path.open("rb", buffering=_BUFFER)
        except OSError as error:
            raise CannotRun(f"cannot read {self.name}: {error.strerror or error}") from None

    def lines(self, start: int = 0, *, final: bool = True) -> Iterator[Line]:
        """Lines (CSV: rows, without the header) from the offset ``start`` on, numbered from there."""
        if self._rows is not None:
            yield from self._rows_as_lines(self._rows)
            return
        with self.open() as file, self._damage():
            if self._mapping is None:
                if start:
                    file.seek(start)
                yield from split_lines(file, start)
                return
            begin = self._header(file)
            if start > begin:
                file.seek(start)
            for line in rows(split_lines(file, max(start, begin)), final):
                yield line._replace(number=line.number + 1, last=line.last + 1)

    def batches(self) -> Iterator[Batch]:
        """All lines (CSV, Parquet: rows) of the file, for going through it fast."""
        if self._rows is not None:
            number = 1
            for lines in self._rows.records():
                yield Batch(0, number, lines)
                number += len(lines)
            return
        if self._mapping is not None:
            for line in self.lines():
                yield Batch(line.start, line.number, [line.raw])
            return
        with self.open() as file, self._damage():
            yield from split_batches(file)

    @staticmethod
    def _rows_as_lines(rows: Columns) -> Iterator[Line]:
        """Rows of Parquet; their offsets are their numbers."""
        number = 0
        for records in rows.records():
            for raw in records:
                yield Line(number + 1, number, number + 1, raw, True, number + 1)
                number += 1

    @contextmanager
    def blocks(self, start: int) -> Iterator[Iterator[tuple[int, list[bytes]]]]:
        """Whole lines from an offset on, by blocks: (offset of the first, the lines without their newlines).

        Ends before a line that has no newline yet or is longer than a block.
        """
        if not self.path.exists():
            yield iter(())
            return
        with self.open() as file, self._damage():
            file.seek(start)
            yield _whole_lines(file, start)

    @property
    def is_table(self) -> bool:
        """Have its rows or payloads to be made into records?"""
        return self._mapping is not None or self._payload is not None

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, zlib.error, _zstd_error()) as error:
            raise CannotRun(
                f"{self.name} cannot be read to its end: {error}", hint="the file is damaged or not complete"
            ) from None

    def _header(self, file: BinaryIO) -> int:
        """Read the header line; the offset after it."""
        line = next(split_lines(file), None)
        if self._mapping is not None and self._table is None and line is not None:
            self._table = Table(self._mapping, line.raw, self.name)
        return line.end if line is not None else 0

    def json(self, line: bytes) -> bytes:
        """The record as JSON; raises EventRejected for a row or a payload that is none."""
        if self._payload is not None and self._table is None:
            return self._payload.event_bytes(line.rstrip(b"\r\n"))
        return line if self._table is None else self._table.json(line)

    def event(self, line: bytes, fallback_id: str | None = None) -> Event:
        """The event of a line, with or without its line end; raises EventRejected."""
        if len(line) > MAX_EVENT:
            line = line.rstrip(b"\r\n")
            if len(line) > MAX_EVENT:
                raise EventRejected("oversize", f"the record has more than {MAX_EVENT} bytes")
        if self._table is not None:
            line = self._table.json(line)
        elif self._payload is not None:
            line = self._payload.event_bytes(line.rstrip(b"\r\n"))
        return read_fast(line, fallback_id) or read_slow(line, fallback_id)


def is_blank(line: bytes) -> bool:
    """Whether a line is no record at all; what was cut off an oversize line may not be blank."""
    return not line or (len(line) < READ and line.isspace())


def kept(line: bytes) -> bytes:
    """What quarantine keeps of a line."""
    line = line.rstrip(b"\r\n")
    return line if len(line) <= MAX_EVENT else line[:KEPT]


class JsonlFeed:
    """One file as a live feed (``feeds: [{file: feed/*.jsonl}]`` makes one for each file).

    Parameters
    ----------
    path: the file; it may not exist yet.
    name: name of the feed; positions are kept under it.
    final: the file will not grow: read its last line without newline too.
    mapping: for CSV and Parquet.
    payload: for JSON lines that are no events.

    Example:
        - file: feed/*.jsonl
    """

    shape = Map(
        {
            "path": required(Text(what="path", only_text=True), "a file, or a pattern such as feed/*.jsonl"),
            "csv": optional(Plain(), "which columns form an event, for CSV and Parquet"),
            "map": optional(SHAPE, "which fields of a payload form an event, for JSON lines"),
        },
        short="path",
    )

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        final: bool = False,
        mapping: CsvMapping | None = None,
        payload: PayloadMap | None = None,
    ) -> None:
        self.name = name
        self._source = Source(path, name, mapping, payload)
        self._plain = not self._source.compression
        self._final = final or not self._plain
        self._open: Iterator[Line] | None = None  # lines of a compressed file, to go on without unpacking it again
        self._at = -1  # position the open lines go on at
        self._read_out: tuple[int, int, int] | None = None  # position, size and mtime of a file read to its end

    @staticmethod
    def check(fields: Mapping[str, Any]) -> None:
        """What can be said without opening it; raises UsageError."""
        check_map(fields)
        if "csv" in fields:
            CsvMapping.of(fields["csv"])

    @classmethod
    def open(cls, fields: Mapping[str, Any], site: Site) -> list[Feed]:
        """The feeds of a setting, in order of their names; raises UsageError for a mapping that is none."""
        from engine.feeds.tail import StillFeed, follow, is_due  # it stands on this module

        pattern, root, final = str(fields["path"]), site.root, site.final
        mapping = CsvMapping.of(fields["csv"]) if "csv" in fields else None
        payload = PayloadMap.of(fields["map"]) if "map" in fields else None
        if is_due(site):
            return [
                follow(
                    pattern,
                    site,
                    payload,
                    lambda name: StillFeed(
                        root / name, f"file:{Path(name).as_posix()}", final=final, mapping=mapping, payload=payload
                    ),
                )
            ]
        names = [pattern]
        if glob.has_magic(pattern):
            names = [n for n in glob.glob(pattern, root_dir=root, recursive=True) if (root / n).is_file()]
        return [
            cls(root / name, f"file:{Path(name).as_posix()}", final=final, mapping=mapping, payload=payload)
            for name in sorted(names, key=lambda n: Path(n).as_posix())
        ]

    def read(self, position: int, limit: int) -> Iterator[Record]:
        """At most ``limit`` records that stand after ``position``."""
        if not self._plain or self._source.is_table:
            return self._read(position, limit)
        return islice(self._read_fast(position, limit), limit)

    def _read_fast(self, position: int, limit: int) -> Iterator[Record]:
        """Blocks of whole lines, many at once; what is out of the ordinary is left to the careful way."""
        self._lines(position)  # refuses a file that became shorter
        with self._source.blocks(position) as blocks:
            for start, lines in blocks:
                position = start
                for begin in range(0, len(lines), _AT_ONCE):
                    part = lines[begin : begin + _AT_ONCE]
                    events = read_many(part)
                    if events is None:
                        records: Iterable[Record] = self._one_by_one(part, position)
                    else:
                        ends = accumulate((len(line) + 1 for line in part), initial=position)
                        next(ends)
                        records = map(Record, repeat(self.name), ends, part, events)
                    position += sum(map(len, part)) + len(part)
                    yield from records
        yield from self._read(position, limit)

    def _one_by_one(self, lines: list[bytes], position: int) -> Iterator[Record]:
        for line in lines:
            record = line if position else line.removeprefix(MARK)
            position += len(line) + 1
            if not is_blank(record):
                yield self._record(record, position)

    def _read(self, position: int, limit: int) -> Iterator[Record]:
        taken = 0
        for line in self._lines(position) if limit > 0 else ():
            if not line.finished and not self._final:
                return
            self._at = after = line.end if self._plain else line.last
            if is_blank(line.raw):
                continue
            yield self._record(line.raw, after)
            taken += 1
            if taken >= limit:
                return

    def close(self) -> None:
        """Let go of an open compressed file."""
        self._open = None
        self._at = -1

    def _lines(self, position: int) -> Iterator[Line]:
        try:
            status = self._source.path.stat()
        except FileNotFoundError:
            return iter(())  # not there yet
        if self._plain:
            if position > status.st_size:
                raise CannotRun(
                    f"{self.name} is shorter ({status.st_size} bytes) than what was read of it ({position})",
                    hint="give a replaced file a new name; positions belong to names",
                )
            return self._source.lines(position, final=self._final)
        ending = (position, status.st_size, status.st_mtime_ns)
        if self._read_out == ending:
            return iter(())
        if self._open is None or self._at != position:
            self._open = self._unread(position, status)
        return self._open

    def _unread(self, position: int, status: os.stat_result) -> Iterator[Line]:
        """Lines of a compressed file after a position; notes when all are read, so that polling costs nothing."""
        for line in self._source.lines():
            if line.last > position:
                position = line.last
                yield line
        self._open = None
        self._read_out = (position, status.st_size, status.st_mtime_ns)

    def _record(self, raw: bytes, after: int) -> Record:
        try:
            event = self._source.event(raw)
        except EventRejected as error:
            return Record(self.name, after, kept(raw), reason=error.reason, message=error.message)
        return Record(self.name, after, raw.rstrip(b"\r\n"), event)


def _zstd_error() -> type[Exception]:
    from zstandard import ZstdError  # imported when used: most programs never meet a .zst

    return cast("type[Exception]", ZstdError)


class _Zstandard(io.RawIOBase):
    """The content of a .zst file of one or more frames; unlike the library's reader it notices a missing end."""

    def __init__(self, path: Path) -> None:
        from zstandard import ZstdDecompressor

        self._file = path.open("rb", buffering=_BUFFER)
        self._new = ZstdDecompressor(max_window_size=1 << 27).decompressobj
        self._frame = self._new()
        self._begun = False
        self._rest = b""  # compressed, not looked at
        self._ready = memoryview(b"")  # uncompressed, not handed out

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, target: object) -> int:
        out = memoryview(cast("bytearray", target)).cast("B")
        while not self._ready:
            if not self._fill():
                return 0
        count = min(len(out), len(self._ready))
        out[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _fill(self) -> bool:
        piece = self._rest or self._file.read(_PIECE)
        self._rest = b""
        if not piece:
            if self._begun:
                raise EOFError("the last frame has no end")
            return False
        self._begun = True
        self._ready = memoryview(self._frame.decompress(piece))
        if self._frame.eof:
            self._rest = self._frame.unused_data
            self._frame = self._new()
            self._begun = False
        return True
