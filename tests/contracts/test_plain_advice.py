"""What a file from somebody's desk or a slip in a path leads to: a sentence with the place and the next move."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CannotRun, StoreError, UsageError
from engine.feeds.table import CsvMapping, Table
from engine.site import Site
from engine.stores.sqlite import SqliteStore

MAPPING = CsvMapping(time="时间", type_is="order.paid", user="客户")


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("时间,客户,金额".encode("gbk"), "save the file as CSV UTF-8; it looks like GBK"),
        (b"\xff\xfe\x00", "save the file as UTF-8"),
        ('"时间";"客户"'.encode(), "its cells stand apart by ';': say it as the delimiter"),
        ("时间;客户".encode(), "its columns: 时间;客户; its cells stand apart by ';': say it as the delimiter"),
        ("时间\t客户".encode(), "say it as the delimiter"),
        ('时间,"客户'.encode(), "quote each cell that holds a comma or a quote"),
    ],
)
def test_headers_that_spreadsheets_write(header: bytes, advice: str) -> None:
    """GBK, semicolons and tabs are named for what they are; a byte order mark and CRLF are read over."""
    with pytest.raises(UsageError) as caught:
        Table(MAPPING, header, "win.csv")
    assert advice in str(caught.value)
    assert "win.csv" in str(caught.value)
    assert Table(MAPPING, b"\xef\xbb\xbf" + "时间,客户\r\n".encode(), "win.csv").columns == ["时间", "客户"]


def test_a_store_that_is_a_folder(tmp_path: Path) -> None:
    """The path of a store that names a folder is said to be one, with the file to name instead."""
    with pytest.raises(StoreError, match=r"it is a folder \(name a file: .*drumbeat\.db\)"):
        SqliteStore.open(tmp_path)


def test_a_file_of_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are told without the words of Python."""
    (tmp_path / "odd").write_bytes(b"\xff")
    for name, why in (("none", "No such file"), (".", "Is a directory"), ("odd", "it is not UTF-8")):
        with pytest.raises(CannotRun) as caught:
            Site(tmp_path).text(f"${{file:{name}}}", "channels.sms.url")
        assert why in str(caught.value)
        assert "write the secret into it" in str(caught.value)
        assert "Errno" not in str(caught.value)
