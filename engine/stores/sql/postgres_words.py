"""PostgreSQL's words for questions about states, see :mod:`engine.stores.sql.asking`.

``doc`` is the state as ``jsonb``, whose numbers are exact and whose texts are compared by code points (collation "C").
It holds no NUL: U+FFFF stands for it, so a text with U+FFFF is one nobody is certain about. A state that PostgreSQL
cannot keep so (a number of more than 131,072 digits) is null there: whoever asks has it judged in Python.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_LIKE: Final = re.compile(r"[\\%_]")
_MARK: Final = 0xFFFF
_UNSURE: Final = re.compile("[\0\uffff\ud800-\udfff]")
_GLOB: Final = str.maketrans({"*": "%", "?": "_"})


class PostgresWords:
    """The dialect. The state stands as ``jsonb`` in the column ``doc``, the subject in ``id``."""

    subject = 'id collate "C"'
    doc = "doc"
    least = "least"
    greatest = "greatest"
    exact = True
    entry_text = "(e.value #>> '{}') collate \"C\""
    entry_number = "(case when e.type = 'integer' then e.value::numeric end)"

    def kind(self, place: str) -> str:
        return _kind(self.raw(place))

    def text(self, place: str) -> str:
        return f'(({self.doc} #>> {place}::text[]) collate "C")'

    def number(self, place: str) -> str:
        raw = self.raw(place)
        return f"(case when jsonb_typeof({raw}) = 'number' then {raw}::numeric end)"

    def raw(self, place: str) -> str:
        return f"({self.doc} #> {place}::text[])"

    def constant(self, written: str) -> str:
        return f"{written}::jsonb"

    def entries(self, place: str) -> str:
        raw = self.raw(place)
        rows = f"jsonb_array_elements(case when jsonb_typeof({raw}) = 'array' then {raw} end) as entry(value)"
        return f"(select entry.value, {_kind('entry.value')} as type from {rows}) as e"  # noqa: S608 - our words and placeholders

    def size(self, place: str, kind: str) -> str:
        if kind == "array":
            return f"jsonb_array_length({self.raw(place)})"
        return f"(select count(*) from jsonb_object_keys({self.raw(place)}))"  # noqa: S608 - our words and placeholders

    def is_whole(self, value: str) -> str:
        return f"({value} = trunc({value}))"

    def plain(self, raw: str) -> str:
        return f"(strpos({raw} #>> '{{}}', chr({_MARK})) = 0)"

    def folds(self, raw: str) -> str:
        # printable ASCII, kana, Chinese characters and Hangul: all but the first know no capitals
        return f"(({raw} #>> '{{}}') collate \"C\" !~ '[^ -~぀-ヿ一-鿿가-힣]')"

    def fold(self, how: str, text: str) -> str:
        return f"{how}({text})"  # in "C" only ASCII is folded

    def holds(self, text: str, part: str) -> str:
        return f"(strpos({text}, {part}) > 0)"

    def matches(self, text: str, pattern: str) -> str:
        return f"({text} like {pattern})"

    def pattern(self, pattern: str) -> str:
        return _LIKE.sub(lambda found: "\\" + found[0], pattern).translate(_GLOB)

    def placeholder(self, number: int) -> str:
        return f"${number}"

    def instant(self, text: str) -> str:
        return f"drumbeat_instant({text})"

    def midnight(self, text: str) -> str:
        return f"drumbeat_midnight({text})"

    def path(self, path: tuple[str | int, ...]) -> str | None:
        parts = []
        for part in path:
            if isinstance(part, int):
                parts.append(str(part))
            elif _UNSURE.search(part):
                return None
            else:
                parts.append('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"')
        return "{" + ",".join(parts) + "}"

    def json(self, value: Any) -> str | None:
        try:
            written = _encode(value).decode()
        except (UnicodeEncodeError, TypeError, ValueError):
            return None
        return None if "\\u0000" in written or "\uffff" in written else written

    def among(self, names: str) -> str:
        return f"(id in (select jsonb_array_elements_text({names}::jsonb)))"


def _kind(raw: str) -> str:
    return (
        f"(case jsonb_typeof({raw}) when 'string' then 'text' when 'number' then 'integer'"
        f" when 'boolean' then {raw} #>> '{{}}' else jsonb_typeof({raw}) end)"
    )
