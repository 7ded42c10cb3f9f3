"""Where a program runs: its folder, the environment its secrets come from, and how adapters are opened there.

Rule 1: a secret is never written in YAML. ``${NAME}`` stands for a variable of the environment, ``${file:path}`` for
the content of a file; both are looked up when an adapter is opened, never before.
Rule 2: what holds a secret shows itself masked; only ``reveal`` gives the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.errors import CannotRun

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""``${NAME}`` or ``${file:path}`` in a setting."""
_LOGIN = re.compile(r"(?<=//)[^?#]*@")
"""Who logs in, in an address."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = "file:"


def masked(address: str) -> str:
    """An address without who logs in and with which password."""
    return _LOGIN.sub("***@", address)


class Secret:
    """A text that must not be seen: its ``str`` and ``repr`` are masked."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the wire."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)


def references(text: str) -> list[str]:
    """The names between ``${`` and ``}`` of a setting."""
    return REFERENCE.findall(text)


class Notes(Protocol):
    """Small things that are remembered beside positions; a store keeps them."""

    def get_meta(self, name: str) -> str | None: ...

    def set_meta(self, name: str, value: str) -> None: ...


@dataclass(frozen=True)
class Site:
    """The surroundings of a program.

    Parameters
    ----------
    root: folder of the program; relative paths begin there.
    env: variables that ``${NAME}`` may name.
    final: files will not grow any more: their last line counts without a newline too.
    wake: called, from any thread, by a feed that has got something new.
    now: the machine's clock, microseconds UTC.
    elapsed: seconds on a clock that never jumps, for deadlines.
    notes: where a feed keeps what it must remember beside its position; None: it forgets.
    """

    root: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    final: bool = False
    wake: Callable[[], None] = lambda: None
    now: Callable[[], int] = lambda: 0
    elapsed: Callable[[], float] = lambda: 0.0
    notes: Notes | None = None
    seen: set[str] = field(default_factory=set, repr=False)  #: what was looked up: to be masked in logs

    def text(self, setting: str, what: str) -> str:
        """A setting with its references filled in; ``what`` names it in messages ("channels.sms.url").

        Raises CannotRun where a variable is not set or a file cannot be read.
        """
        return REFERENCE.sub(lambda match: self._look_up(match[1], what), setting)

    def secret(self, setting: str, what: str) -> Secret:
        """As ``text``, for what nobody may see."""
        return Secret(self.text(setting, what))

    def _look_up(self, name: str, what: str) -> str:
        if name.startswith(_FILE):
            path = self.root / name.removeprefix(_FILE)
            try:
                found = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                hint = "write the secret into it, and let the user who runs drumbeat read it"
                raise CannotRun(f"{what} names the file {path}, and it cannot be read: {why}", hint=hint) from error
            self.seen.add(found)
            return found
        if _NAME.fullmatch(name) is None:
            hint = "${NAME} stands for a variable of the environment, ${file:path} for the content of a file"
            raise CannotRun(f"{what} has '${{{name}}}', which is no name of a variable", hint=hint)
        if name not in self.env:
            message = f"{what} needs the environment variable {name}, and it is not set"
            raise CannotRun(message, hint=f"export {name}=...")
        self.seen.add(self.env[name])
        return self.env[name]
