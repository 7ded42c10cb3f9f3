"""File feeds: positions, unfinished lines, compressed files, CSV, oversize lines; and the words of the registry."""

from __future__ import annotations

import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard

from engine.door import MAX_EVENT
from engine.errors import CannotRun, EventRejected, UsageError
from engine.feeds import FEEDS
from engine.feeds.files import BLOCK, KEPT, READ, JsonlFeed, Source, split_batches, split_lines
from engine.feeds.table import CsvMapping, Table
from engine.ports import Feed, Record
from engine.site import Site
from engine.wiring import read_records

Pack = Callable[[bytes], bytes]


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


PACKS: dict[str, Pack] = {"": bytes, ".gz": gzip.compress, ".zst": zst}


def event(n: int, **data: object) -> bytes:
    return json.dumps({"id": f"e{n}", "type": "t", "user": "u", "time": "2026-03-01T02:00:00Z", "data": data}).encode()


def feed(path: Path, content: bytes, *, final: bool = False) -> JsonlFeed:
    path.write_bytes(PACKS[path.suffix if path.suffix in PACKS else ""](content))
    return JsonlFeed(path, f"file:{path.name}", final=final)


def told(records: list[Record]) -> list[str]:
    return [r.event.id if r.event is not None else f"!{r.reason}" for r in records]


def drain(source: JsonlFeed, limit: int, position: int = 0) -> list[Record]:
    """All records, by reads of ``limit``, each going on at the position of the last record."""
    out: list[Record] = []
    while True:
        got = list(source.read(position, limit))
        if not got:
            return out
        out += got
        position = got[-1].position


LINES = [event(1), b"", event(2), b"   ", b"{broken", event(3) + b"\r", b"\r", b"\xff", event(4), b""]
WANTED = ["e1", "e2", "!json", "e3", "!utf8", "e4"]


@pytest.mark.parametrize("suffix", PACKS)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_reads_all_in_any_batches(tmp_path: Path, suffix: str, limit: int) -> None:
    """Batches of any size give the same records; blank lines are none, bad ones have reason and raw bytes."""
    source = feed(tmp_path / f"a.jsonl{suffix}", b"\n".join(LINES) + b"\n")
    records = drain(source, limit)
    assert told(records) == WANTED
    assert records[2].raw == b"{broken"
    assert records[3].raw == event(3)
    positions = [r.position for r in records]
    assert positions == sorted(set(positions))
    assert all(r.feed == source.name for r in records)


@pytest.mark.parametrize("suffix", PACKS)
def test_resumes_at_every_position(tmp_path: Path, suffix: str) -> None:
    """A new process goes on after any record as if nothing had happened."""
    path = tmp_path / f"a.jsonl{suffix}"
    records = drain(feed(path, b"\n".join(LINES) + b"\n"), 100)
    for at, record in enumerate(records):
        assert told(drain(JsonlFeed(path, "f"), 2, record.position)) == WANTED[at + 1 :]


@pytest.mark.parametrize("suffix", PACKS)
def test_going_back(tmp_path: Path, suffix: str) -> None:
    """A caller that did not keep what it was given may ask for it again."""
    source = feed(tmp_path / f"a.jsonl{suffix}", b"\n".join(LINES) + b"\n")
    first = next(source.read(0, 5))
    assert told(list(source.read(0, 3))) == WANTED[:3]
    assert told(list(source.read(first.position, 9))) == WANTED[1:]
    assert told(list(source.read(0, 9))) == WANTED
    source.close()
    assert told(list(source.read(0, 1))) == WANTED[:1]
    assert list(source.read(0, 0)) == []


def test_unfinished_line_waits(tmp_path: Path) -> None:
    """A last line without newline is left until it is finished, unless the file is final."""
    path = tmp_path / "a.jsonl"
    source = feed(path, event(1) + b"\n" + event(2)[:-5])
    assert told(drain(source, 10)) == ["e1"]
    position = drain(source, 10)[-1].position
    with path.open("ab") as file:
        file.write(event(2)[-5:])
    assert drain(source, 10, position) == []
    assert told(drain(JsonlFeed(path, "f", final=True), 10, position)) == ["e2"]
    with path.open("ab") as file:
        file.write(b"\n" + event(3) + b"\n")
    assert told(drain(source, 10, position)) == ["e2", "e3"]


def test_position_of_plain_file_is_a_byte_offset(tmp_path: Path) -> None:
    """The position after a record is the offset of the next one."""
    source = feed(tmp_path / "a.jsonl", event(1) + b"\r\n\n" + event(22) + b"\n")
    assert [r.position for r in source.read(0, 9)] == [len(event(1)) + 2, len(event(1)) + 3 + len(event(22)) + 1]


def test_missing_shorter_unreadable(tmp_path: Path) -> None:
    """A file that is not there yet has no records; one that became shorter is an error with a next move."""
    assert drain(JsonlFeed(tmp_path / "later.jsonl", "f"), 5) == []
    assert drain(JsonlFeed(tmp_path / "later.jsonl.gz", "f"), 5) == []
    source = feed(tmp_path / "a.jsonl", event(1) + b"\n")
    with pytest.raises(CannotRun, match="shorter"):
        list(source.read(10_000, 5))
    with pytest.raises(CannotRun):
        list(Source(tmp_path / "none.jsonl", "none").lines())
    with pytest.raises(UsageError):
        Source(tmp_path / "a.parquet.gz", "a.parquet.gz")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged(tmp_path: Path, suffix: str) -> None:
    """A compressed file cut anywhere or with a flipped byte is an error, never a shorter file."""
    content = b"".join(event(n, x=str(random.Random(n).random())) + b"\n" for n in range(2000))
    whole = PACKS[suffix](content)
    path = tmp_path / f"a.jsonl{suffix}"
    for cut in (3, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CannotRun, match=r"a\.jsonl"):
            list(JsonlFeed(path, "file:a.jsonl").read(0, 10_000))
    path.write_bytes(b"no archive at all")
    with pytest.raises(CannotRun):
        list(JsonlFeed(path, "f").read(0, 10))
    path.write_bytes(whole + whole)  # two members or frames behind each other are one content
    assert len(drain(JsonlFeed(path, "f"), 700)) == 4000


@pytest.mark.parametrize("suffix", PACKS)
def test_oversize(tmp_path: Path, suffix: str) -> None:
    """A line above 64 KiB is refused without being held; what stands around it is read. Exactly 64 KiB is read.

    Semantics: door.limits
    """
    full = event(2)[:-1] + b" " * (MAX_EVENT - len(event(2))) + b"}"
    content = b"\n".join(
        [event(1), full, full + b"\r", full[:-1] + b" }", b"x" * (READ + 1), b"y" * 3_000_000, event(5), b"z" * 200_000]
    )
    source = feed(tmp_path / f"a.jsonl{suffix}", content + b"\n")
    tracemalloc.start()
    records = list(source.read(0, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told(records) == ["e1", "e2", "e2", "!oversize", "!oversize", "!oversize", "e5", "!oversize"]
    assert records[5].raw == b"y" * KEPT
    assert peak < 5_000_000  # a compressed piece may blow up; the line is not collected
    assert told(drain(JsonlFeed(source._source.path, "f"), 1)) == told(records)


@pytest.mark.parametrize("seed", range(30))
def test_batches_are_lines(seed: int) -> None:
    """The fast way through a file finds the same lines at the same offsets as the simple one, also over block edges."""
    rng = random.Random(seed)
    sizes = [rng.choice([0, 1, 50, 50, 50, 3000, READ - 2, READ - 1, READ, BLOCK - 1, BLOCK, BLOCK + 1, 700_000])
             for _ in range(rng.randrange(1, 25))]  # fmt: skip
    content = b"\n".join(bytes([97 + n % 26]) * size for n, size in enumerate(sizes))
    content += b"\n" * rng.randrange(3)
    simple = [
        (line.number, line.start, line.raw.removesuffix(b"\n")[:READ]) for line in split_lines(io.BytesIO(content))
    ]
    fast = []
    for start, number, lines in split_batches(io.BytesIO(content)):
        for number, line in enumerate(lines, number):  # noqa: B020
            fast.append((number, start, line[:READ]))
            start += len(line) + 1
    assert fast == simple


def test_bomb(tmp_path: Path) -> None:
    """A small compressed file of one enormous line is refused within bounded memory."""
    for suffix in (".gz", ".zst"):
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(PACKS[suffix](b" " * 60_000_000 + b"\n" + event(1) + b"\n"))
        tracemalloc.start()
        assert told(list(JsonlFeed(path, "f").read(0, 5))) == ["!oversize", "e1"]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24_000_000


def test_live_feed_never_guesses_an_id(tmp_path: Path) -> None:
    """A record without id is refused by a live feed.

    Semantics: event.missing-id
    """
    raw = b'{"type":"t","user":"u","time":"2026-03-01T02:00:00Z"}\n'
    assert told(list(feed(tmp_path / "a.jsonl", raw).read(0, 5))) == ["!no_id"]


# -- CSV

MAPPING = CsvMapping.of(
    {"id": "order", "type_is": "order.paid", "user": "buyer", "time": "paid at", "numbers": ["amount", "pieces"]}
)
HEADER = "order,buyer,paid at,amount,pieces,note\n"


def csv_feed(path: Path, text: str | bytes, mapping: CsvMapping = MAPPING, *, final: bool = False) -> JsonlFeed:
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(PACKS[path.suffix if path.suffix in PACKS else ""](content))
    return JsonlFeed(path, "f", mapping=mapping, final=final)


@pytest.mark.parametrize("suffix", PACKS)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_csv(tmp_path: Path, suffix: str, limit: int) -> None:
    """Rows are events: mapped columns, declared numbers exact, other cells text, empty cells absent."""
    text = "\ufeff" + HEADER + (
        "1,u1,2026-03-01T02:00:00Z,12.50,3,hello\r\n"
        '2,u2,2026-03-01T02:00:00Z,1e2,,"two\nlines, ""quoted"""\n'
        "\n"
        "3,u3,2026-03-01T02:00:00Z,abc,1,x\n"
        "4,,2026-03-01T02:00:00Z,1,1,x\n"
        "5,u5,2026-03-01T02:00:00,1,1,x\n"
        "6,u6,2026-03-01T02:00:00Z,1,1\n"
        ",u7,2026-03-01T02:00:00Z,1,1,x\n"
        "8,u8,2026-03-01T02:00:00Z,,,007\n"
    )  # fmt: skip
    source = csv_feed(tmp_path / f"a.csv{suffix}", text)
    records = drain(source, limit)
    assert told(records) == ["1", "2", "!number", "!no_subject", "!naive_time", "!csv", "!no_id", "8"]
    events = [r.event for r in records if r.event is not None]
    assert repr(events[0].data) == repr({"amount": Decimal("12.50"), "pieces": 3, "note": "hello"})
    assert events[1].data == {"amount": Decimal(100), "note": 'two\nlines, "quoted"'}
    assert events[2].data == {"note": "007"}
    assert (events[0].type, events[0].user) == ("order.paid", "u1")
    for at, record in enumerate(records):
        rest = drain(JsonlFeed(source._source.path, "f", mapping=MAPPING), 2, record.position)
        assert told(rest) == told(records)[at + 1 :]


@pytest.mark.parametrize("suffix", PACKS)
def test_byte_order_mark(tmp_path: Path, suffix: str) -> None:
    """A file saved as "UTF-8 with BOM" gives all its records, by every way of reading; inside a file the mark is none.

    Failure: event.malformed — a mark that editors write
    """
    mark = b"\xef\xbb\xbf"
    content = mark + event(1) + b"\n" + event(2) + b"\n" + mark + event(3) + b"\n" + event(4) + b"\n"
    found = feed(tmp_path / f"a.jsonl{suffix}", content)
    for limit in (1, 100):
        records = drain(found, limit)
        assert told(records) == ["e1", "e2", "!json", "e4"]
    if not suffix:
        assert [record.position for record in records][-1] == len(content)
    source = Source(tmp_path / f"a.jsonl{suffix}", "a")
    assert next(line for batch in source.batches() for line in batch.lines if line) == event(1)
    assert told(list(read_records(tmp_path / f"a.jsonl{suffix}"))) == ["e1", "e2", "!json", "e4"]
    assert told(list(read_records(io.BytesIO(content)))) == ["e1", "e2", "!json", "e4"]
    lone = feed(tmp_path / f"b.jsonl{suffix}", mark + event(1), final=True)
    assert told(drain(lone, 5)) == ["e1"]
    assert told(drain(feed(tmp_path / f"c.jsonl{suffix}", mark, final=True), 5)) == []


def test_csv_stray_quote(tmp_path: Path) -> None:
    """One stray quote costs one row: reading goes on with the next line."""
    rows = [f"{n},u,2026-03-01T02:00:00Z,1,1,x\n" for n in range(3000)]
    rows[1] = '1,u,2026-03-01T02:00:00Z,1,1,"open\n'
    found = told(drain(csv_feed(tmp_path / "a.csv", HEADER + "".join(rows), final=True), 500))
    assert found == ["0", "!csv", *(str(n) for n in range(2, 3000))]


def test_csv_unfinished(tmp_path: Path) -> None:
    """A row whose quote is still open at the end waits, unless the file is final; then only its first line is lost."""
    text = (
        HEADER + '1,u,2026-03-01T02:00:00Z,1,1,x\n2,u,2026-03-01T02:00:00Z,1,1,"open\n3,u,2026-03-01T02:00:00Z,1,1,x\n'
    )
    assert told(drain(csv_feed(tmp_path / "a.csv", text), 5)) == ["1"]
    assert told(drain(csv_feed(tmp_path / "a.csv", text, final=True), 5)) == ["1", "!csv", "3"]


def test_csv_strange_bytes(tmp_path: Path) -> None:
    """Rows pass the same door: bytes that are not UTF-8, NUL and oversize rows are refused with the same reasons."""
    content = HEADER.encode() + b"1,u,2026-03-01T02:00:00Z,1,1,\xff\n2,u\0,2026-03-01T02:00:00Z,1,1,x\n"
    content += b"3,u,2026-03-01T02:00:00Z,1,1," + b"x" * 70_000 + b"\n4,u,2026-03-01T02:00:00Z,1,1,x\n"
    content += b"5,u,2026-03-01T02:00:00Z,1,1," + b"x" * 17_000 + b"\n"
    assert told(drain(csv_feed(tmp_path / "a.csv", content), 9)) in (
        ["!utf8", "!nul", "!oversize", "4", "!string"],
        ["!utf8", "!csv", "!oversize", "4", "!string"],  # Python 3.11.3 and older refuse NUL in the csv module
    )


def test_csv_id_of_several_columns() -> None:
    """An id made of several columns never joins two different rows.

    Semantics: event.id-from-columns
    """
    table = Table(CsvMapping.of({"id": ["a", "b"], "type": "t", "user": "u", "time": "at"}), b"a,b,t,u,at\n", "x")
    ids = {json.loads(table.json(f"{row},t,u,2026\n".encode()))["id"] for row in ("a|b,c", "a,b|c", "a\\,|b", "a,b")}
    assert len(ids) == 4
    assert "id" not in json.loads(table.json(b"a,,t,u,2026\n"))


@pytest.mark.parametrize(
    "setting",
    [
        None,
        {},
        {"time": "t"},
        {"time": "t", "user": "u"},
        {"time": "t", "user": "u", "type": "a", "type_is": "b"},
        {"time": "t", "type": "a"},
        {"time": "t", "user": "u", "type": "a", "delimiter": ";;"},
        {"time": "t", "user": "u", "type": "a", "delimiter": '"'},
        {"time": "t", "user": "u", "type": "a", "colour": "red"},
    ],
)
def test_csv_mapping_refused(setting: object) -> None:
    """A mapping that cannot work is refused when it is read, not at the first row."""
    with pytest.raises(UsageError, match="csv mapping"):
        CsvMapping.of(setting)


@pytest.mark.parametrize(
    "header", [b"order,buyer\n", b"order,buyer,paid at,amount,pieces,note,note\n", b'order,"\n', b"\xff\n"]
)
def test_csv_header_refused(tmp_path: Path, header: bytes) -> None:
    """A header that lacks a mapped column, names one twice or cannot be read stops at once with the file's name."""
    with pytest.raises(UsageError, match="f"):
        drain(csv_feed(tmp_path / "a.csv", header + b"1\n"), 5)
    with pytest.raises(UsageError, match="mapping"):
        JsonlFeed(tmp_path / "a.csv", "f")


def test_csv_empty(tmp_path: Path) -> None:
    """An empty CSV file has no records."""
    assert drain(csv_feed(tmp_path / "a.csv", b""), 5) == []
    assert drain(csv_feed(tmp_path / "a.csv", HEADER), 5) == []


def test_csv_other_delimiter() -> None:
    """The delimiter can be chosen."""
    table = Table(CsvMapping.of({"type": "t", "group": "g", "time": "at", "delimiter": ";"}), b"t;g;at;x\n", "x")
    assert json.loads(table.json(b"a;b;c;1,5\n")) == {"type": "a", "group": "b", "time": "c", "data": {"x": "1,5"}}
    with pytest.raises(EventRejected):
        table.json(b"a,b,c,d\n")


# -- the setting in drumbeat.yaml


def test_open(tmp_path: Path) -> None:
    """One feed for each file, ordered by name; names are paths below the program, with forward slashes."""
    (tmp_path / "feed" / "deep").mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", "c.jsonl.gz", "deep/d.jsonl"):
        (tmp_path / "feed" / name).write_bytes(b"")
    (tmp_path / "feed" / "folder.jsonl").mkdir()
    site = Site(tmp_path, final=True)

    def named(path: str) -> list[str]:
        return [feed.name for feed in JsonlFeed.open({"path": path}, site)]

    assert named("feed/*.jsonl") == ["file:feed/a.jsonl", "file:feed/b.jsonl"]
    assert len(named("feed/**/*.jsonl*")) == 4
    assert named("later.jsonl") == ["file:later.jsonl"]
    assert named("none/*.jsonl") == []
    setting = {"path": "x.csv", "csv": {"time": "t", "type_is": "x", "user": "u"}}
    assert [f.name for f in JsonlFeed.open(setting, site)] == ["file:x.csv"]
    with pytest.raises(UsageError):
        JsonlFeed.open({"path": "x.csv", "csv": {"time": "t"}}, site)


def test_registry() -> None:
    """The word ``file`` of ``feeds:`` is the class above, and it is a Feed."""
    assert FEEDS.get("file") is JsonlFeed
    assert FEEDS.get("file").shape.short == "path"
    assert isinstance(JsonlFeed(Path("x.jsonl"), "f"), Feed)
    with pytest.raises(UsageError, match="fiel"):
        FEEDS.get("fiel")
