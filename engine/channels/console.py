"""Messages as readable lines on a text stream."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from engine.core.instants import format_instant
from engine.core.shapes import Map
from engine.ports import Outgoing, Sent, Wire
from engine.site import Site

_STEERING = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ZERO = frozenset({"Mn", "Me", "Cf"})


class ConsoleChannel:
    """Prints one line a message: time, receiver, template and text.

    ``width``: columns a line may take; longer ones are cut at a whole character, a Chinese one counting two.

    Example:
        screen: {via: console}
    """

    shape = Map({})

    def __init__(self, name: str, stream: TextIO, *, width: int | None = None, mode: str | None = None) -> None:
        self.name = name
        self.mode = mode
        self.once = False  #: what was printed before a crash may be printed again
        self._stream = stream
        self._width = width

    @classmethod
    def open(cls, name: str, fields: Mapping[str, Any], site: Site) -> ConsoleChannel:
        """The channel of an entry of ``channels:``."""
        return cls(name, sys.stdout, mode=fields.get("mode"))

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        """Print the messages and answer each."""
        try:
            for item in items:
                self._print(self._line(item))
            self._stream.flush()
        except OSError as error:
            # Some of them may stand on the screen; for people that is better than none.
            return [Sent(ok=False, reason=f"cannot print: {error.strerror}", passing=True) for _ in items]
        return [Sent(ok=True) for _ in items]

    @classmethod
    def wire_of(cls, name: str, item: Outgoing) -> Wire:
        """The line as ``send`` prints it."""
        return Wire("line", cls(name, sys.stdout)._line(item).encode() + b"\n")

    def close(self) -> None:
        """The stream belongs to the caller."""

    def _line(self, item: Outgoing) -> str:
        effect = item.effect
        detail = effect.detail
        words = [detail.get("template") or effect.kind, detail.get("subject"), detail.get("text")]
        receiver = pad(plain(effect.user or effect.group or "-"), 16)
        what = " | ".join(plain(str(word)) for word in words if word)
        line = f"{format_instant(effect.time)}  {pad(plain(self.name), 8)}  {receiver}  {what}"
        return line if self._width is None else cut(line, self._width)

    def _print(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def plain(text: str) -> str:
    """Text on one line, without characters that steer a terminal or turn the direction of writing."""
    joined = " ".join(text.split())
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(letter) else letter for letter in joined)


def _steers(letter: str) -> bool:
    return letter in _BIDI or unicodedata.category(letter) in _STEERING


def width(text: str) -> int:
    """Columns a text takes on a screen."""
    return sum(_columns(letter) for letter in text)


def pad(text: str, columns: int) -> str:
    """The text filled up with spaces."""
    return text + " " * max(0, columns - width(text))


def cut(text: str, columns: int) -> str:
    """The text within so many columns, with an ellipsis where something is missing."""
    if width(text) <= columns:
        return text
    taken, used = [], 0
    for letter in text:
        used += _columns(letter)
        if used > columns - 1:
            break
        taken.append(letter)
    return "".join(taken) + "…"


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in _ZERO:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
