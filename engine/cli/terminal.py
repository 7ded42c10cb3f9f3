"""What a terminal is shown: words of people and feeds never command it."""

from __future__ import annotations

import re
import sys
from io import TextIOWrapper
from typing import TextIO

#: Characters that move the cursor, ring, colour, or turn the direction of writing; our own colours pass.
_COMMANDS = re.compile(
    "\x1b(?!\\[(?:0|1|2|1;31|1;33)m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)


def tame(text: str) -> str:
    r"""``text`` with each character that would command a terminal as ``\u001b``, which JSON reads back as it was."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Tame(TextIOWrapper):
    """A terminal that shows what a stranger wrote, an id or a name, and does not obey it."""

    def write(self, text: str) -> int:
        """Write ``text``, tamed."""
        super().write(tame(text))
        return len(text)


def guard_terminals() -> None:
    r"""Let what goes to a terminal be tamed, and what it cannot show appear as ``\u4e2d`` instead of failing."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def _guarded(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper):
        return stream
    if stream.isatty():
        stream.flush()
        return Tame(stream.buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=True)
    stream.reconfigure(errors="backslashreplace")
    return stream
