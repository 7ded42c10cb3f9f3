"""SQLite's words for questions about states, see :mod:`engine.stores.sql.asking`.

``doc -> path`` gives JSON text as it was written, so texts are compared as they stand there; ``json_extract`` cuts a
text at NUL and turns a number beyond 64 bits into a binary one, which ``plain`` and ``is_whole`` find out.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final

import msgspec

OLDEST: Final = (3, 38, 0)
"""The first SQLite that knows ``->``; an older one asks Python about everybody."""

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_NAME: Final = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]+')
_SECONDS: Final = "[+-][01][0-9]:[0-5][0-9]"


def able() -> bool:
    """Can this SQLite be asked at all?"""
    return sqlite3.sqlite_version_info >= OLDEST


class SqliteWords:
    """The dialect. The state stands as text in the column ``doc``, the subject in ``id``."""

    subject = "id"
    doc = "doc"
    least = "min"
    greatest = "max"
    exact = False
    entry_text = "e.value"
    entry_number = "e.value"

    def kind(self, place: str) -> str:
        return f"json_type({self.doc}, {place})"

    def text(self, place: str) -> str:
        return f"json_extract({self.doc}, {place})"

    def number(self, place: str) -> str:
        return f"json_extract({self.doc}, {place})"

    def raw(self, place: str) -> str:
        return f"({self.doc} -> {place})"

    def constant(self, written: str) -> str:
        return written

    def entries(self, place: str) -> str:
        return f"json_each({self.doc}, {place}) as e"

    def size(self, place: str, kind: str) -> str:
        if kind == "array":
            return f"json_array_length({self.doc}, {place})"
        return f"(select count(*) from {self.entries(place)})"  # noqa: S608 - our words and placeholders

    def is_whole(self, value: str) -> str:
        return f"typeof({value}) = 'integer'"

    def plain(self, raw: str) -> str:
        return rf"instr({raw}, '\u0000') = 0"

    def folds(self, raw: str) -> str:
        # printable ASCII, kana, Chinese characters and Hangul: all but the first know no capitals
        return rf"({raw} not glob '*[^ -~぀-ヿ一-鿿가-힣]*' and instr({raw}, '\u') = 0)"

    def fold(self, how: str, text: str) -> str:
        return f"{how}({text})"

    def holds(self, text: str, part: str) -> str:
        return f"(instr({text}, {part}) > 0)"

    def matches(self, text: str, pattern: str) -> str:
        return f"({text} glob {pattern})"

    def pattern(self, pattern: str) -> str:
        return pattern

    def placeholder(self, number: int) -> str:
        return f"?{number}"

    def instant(self, text: str) -> str:
        # Only what comes back unchanged is beyond doubt; without a step the calendar lets 31 February pass.
        local = f"strftime('%Y-%m-%dT%H:%M:%S', substr({text}, 1, 19), '+0 days') = substr({text}, 1, 19)"
        zone = f"(substr({text}, 20) = 'Z' or substr({text}, 20) glob '{_SECONDS}')"
        return f"(case when {local} and {zone} and {text} > '0002' then strftime('%s', {text}) * 1000000 end)"

    def midnight(self, text: str) -> str:
        whole = f"strftime('%Y-%m-%d', {text}, '+0 days') = {text} and {text} > '0002'"
        return f"(case when {whole} then strftime('%s', {text}) * 1000000 end)"

    def path(self, path: tuple[str | int, ...]) -> str | None:
        found = "$"
        for part in path:
            if isinstance(part, int):
                found += f"[{part}]"
            elif _NAME.fullmatch(part):
                found += f'."{part}"'
            else:
                return None
        return found

    def json(self, value: Any) -> str | None:
        try:
            return _encode(value).decode()
        except (UnicodeEncodeError, TypeError, ValueError):
            return None

    def among(self, names: str) -> str:
        return f"(id in (select value from json_each({names})))"  # noqa: S608 - our words and placeholders
