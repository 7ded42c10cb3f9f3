"""The tree a YAML file is read into: every key and value keeps its place, down to the character.

Scalars are resolved by the YAML 1.2 core rules, with two deviations that keep operators' words intact: numbers with
leading zeros (``0012``, ``08.30``) and ``.inf``/``.nan`` stay text. A fraction is a Decimal, never a float.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from engine.language.diagnostics import BREAKS, Mark, Spot
from engine.language.offsets import offsets

Scalar = str | int | bool | Decimal | None
Plain = Scalar | list["Plain"] | dict[str, "Plain"]

MAX_DIGITS: Final = 64
MAX_EXPONENT: Final = 99

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE](?P<exponent>[-+]?[0-9]+))?")


class NumberTooLong(ValueError):
    """A plain scalar looks like a number no field can hold; it was meant as text, or by mistake."""


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar; raises NumberTooLong for a number beyond the limits."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text) or _OTHER_BASE.fullmatch(text):
        _check_length(text)
        return int(text, 0) if text[1:2] in {"o", "x"} else int(text)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return text
    _check_length(text)
    if abs(int(match["exponent"] or 0)) > MAX_EXPONENT:
        raise NumberTooLong(text)
    return Decimal(text)


def _check_length(text: str) -> None:
    # Python refuses to convert very long digits, and a price of 65 digits is a slip in any case.
    if len(text) > MAX_DIGITS:
        raise NumberTooLong(text)


class SourceText:
    """The text of one file, and the way between offsets and line:column.

    Parameters
    ----------
    file: its name, as messages show it.
    text: its characters, without a byte order mark.
    """

    __slots__ = ("_ends", "_starts", "file", "text")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._starts = [0]
        self._ends: list[int] = []
        for match in BREAKS.finditer(text):
            self._ends.append(match.start())
            self._starts.append(match.end())
        self._ends.append(len(text))

    def position(self, index: int) -> tuple[int, int]:
        """(line, column) of the character at ``index``."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def mark(self, index: int) -> Mark:
        """The Mark of the character at ``index``."""
        return Mark(self.file, *self.position(index))

    def index(self, mark: Mark) -> int:
        """The offset of a mark of this file."""
        return self._starts[mark.line - 1] + mark.col - 1

    def line(self, number: int) -> str:
        """The text of a line, without its line break; "" behind the last one."""
        return self.text[self._starts[number - 1] : self._ends[number - 1]] if number <= len(self._ends) else ""

    def line_start(self, number: int) -> int:
        """The offset of the first character of a line."""
        return self._starts[number - 1]

    def line_end(self, number: int) -> int:
        """The offset just behind the last character of a line."""
        return self._ends[number - 1]


@dataclass(slots=True, eq=False)
class Node:
    """A key or a value with its place.

    Parameters
    ----------
    mark: its first character.
    end: just behind its last character.
    source: the file it stands in.
    broken: a problem was reported about this very node; callers should say nothing more about it. A broken mapping
        or list lost entries: what is left may be checked, but nothing in it may be called missing.
    """

    mark: Mark
    end: Mark
    source: SourceText = field(repr=False)
    broken: bool = field(default=False, kw_only=True)

    @property
    def length(self) -> int:
        """Characters on its first line, for the carets."""
        return self._first_line()

    def _first_line(self) -> int:
        stop = self.end.col if self.end.line == self.mark.line else len(self.source.line(self.mark.line)) + 1
        return max(1, stop - self.mark.col)

    def plain(self) -> Plain:
        """The value without positions: dict, list, str, int, Decimal, bool, None; keys are always text."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class ScalarNode(Node):
    """A single value.

    Parameters
    ----------
    value: the resolved value; quoted and block scalars are always text.
    text: the value as text, folded and unescaped, never resolved.
    style: "" for plain, or one of ' " | >.
    """

    value: Scalar
    text: str
    style: str = ""

    def plain(self) -> Plain:
        return self.value

    @property
    def length(self) -> int:
        # The carets of a block scalar stand under its | or >, not under a comment behind it.
        return 1 if self.style in {"|", ">"} else self._first_line()

    def locate(self, offset: int) -> tuple[int, int]:
        """(line, column) in the source of the character at ``offset`` of ``text``; just behind it for its length."""
        return self.source.position(self._indices()[self._clamp(offset)])

    def at(self, offset: int, length: int = 1) -> Spot:
        """The place of a word inside ``text``, as long as it is written in the source (escapes included).

        Parameters
        ----------
        offset, length: the word, in characters of ``text``. What lies on further source lines is left out.
        """
        indices = self._indices()
        first = indices[self._clamp(offset)]
        stop = indices[self._clamp(offset + max(length, 1))]
        # Behind the last character of the word, not before the next one: a fold or line break may lie between.
        last = indices[self._clamp(offset + max(length, 1) - 1)]
        mark = self.source.mark(first)
        stop = min(max(stop, last + 1), self.source.line_end(mark.line))
        return Spot(mark, max(1, stop - first))

    def _clamp(self, offset: int) -> int:
        return min(max(offset, 0), len(self.text))

    def _indices(self) -> list[int]:
        """For each character of ``text``, and for its end, the offset in the source."""
        start, stop = self.source.index(self.mark), self.source.index(self.end)
        found = offsets(self.source.text[start:stop], self.style, self.text)
        return [start + index for index in found]


@dataclass(slots=True, eq=False)
class MapNode(Node):
    """A mapping; each key once (a duplicate was reported and dropped).

    Parameters
    ----------
    entries: (key, value) in the order of the file.
    flow: written as ``{...}``.
    """

    entries: list[tuple[ScalarNode, Node]]
    flow: bool = False
    _index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._index = {key.text: place for place, (key, _) in enumerate(self.entries)}

    def get(self, name: str) -> Node | None:
        """The value under a key, or None when there is no such key."""
        place = self._index.get(name)
        return None if place is None else self.entries[place][1]

    def key(self, name: str) -> ScalarNode | None:
        """The node of the key itself, or None."""
        place = self._index.get(name)
        return None if place is None else self.entries[place][0]

    def keys(self) -> list[str]:
        """The keys as text, in the order of the file."""
        return list(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[tuple[ScalarNode, Node]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __bool__(self) -> bool:
        return True  # an empty mapping is still a node: ``node or other`` must not skip it

    def plain(self) -> dict[str, Plain]:
        return {key.text: value.plain() for key, value in self.entries}

    @property
    def length(self) -> int:
        # A mapping that runs over lines is shown by its first key, or by its bracket.
        if self.mark.line == self.end.line:
            return self._first_line()
        return 1 if self.flow or not self.entries else self.entries[0][0].length


@dataclass(slots=True, eq=False)
class SeqNode(Node):
    """A list.

    Parameters
    ----------
    items: in the order of the file.
    flow: written as ``[...]``.
    """

    items: list[Node]
    flow: bool = False

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return True

    def plain(self) -> list[Plain]:
        return [item.plain() for item in self.items]

    @property
    def length(self) -> int:
        return self._first_line() if self.mark.line == self.end.line else 1
