"""Every exception of Drumbeat, in one tree.

::

    DrumbeatError                 base; never raised itself
    ├── UsageError                wrong call of a verb                         (exit 2)
    ├── ProgramError              the program (YAML, templates) is invalid     (exit 1)
    ├── EventRejected             one record at the door is not an event       (quarantine)
    ├── ExpressionError           a condition met a value it cannot judge      (journey parked)
    ├── RenderError               a message could not be rendered              (effect suppressed)
    │   ├── MissingVariable       the template needs a value that is missing
    │   └── TemplateLimit         output, loop or size limit of the sandbox
    └── CannotRun                 the surroundings do not allow it             (exit 3)
        ├── StoreError            store unreadable, newer, not to be written
        │   ├── StoreHeld         another process writes it
        │   └── StoreFull         no room is left on its disk
        └── InternalError         a broken promise of our own

Each message names the place, what was needed, what was found and the next move.
"""

from __future__ import annotations

from typing import ClassVar


class DrumbeatError(Exception):
    """Base of all errors a user can meet.

    Parameters
    ----------
    message: what happened, with place, need and got.
    hint: the next move, one sentence, or "".
    where: ``file:line:col``, a feed position or "".
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} ({self.hint})" if self.hint else head


class UsageError(DrumbeatError):
    """The verb was called with words or values it does not take."""

    exit_code = 2


class ProgramError(DrumbeatError):
    """The program is invalid; ``problems`` holds one diagnostic per fault."""

    exit_code = 1

    def __init__(self, message: str, *, problems: tuple[object, ...] = (), hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where)
        self.problems = problems


class EventRejected(DrumbeatError):
    """One record is not an event; ``reason`` is the short code quarantine keeps."""

    exit_code = 1

    def __init__(self, reason: str, message: str, *, where: str = "") -> None:
        super().__init__(message, where=where)
        self.reason = reason


class ExpressionError(DrumbeatError):
    """A condition or value met something it cannot judge: neither true nor false."""

    exit_code = 1


class RenderError(DrumbeatError):
    """A message could not be rendered."""

    exit_code = 1


class MissingVariable(RenderError):
    """The template needs a value that is missing or null."""


class TemplateLimit(RenderError):
    """The template hit a limit of the sandbox (output size, loop length)."""


class CannotRun(DrumbeatError):
    """The surroundings do not allow the work: no store, no file, no permission."""


class StoreError(CannotRun):
    """The store cannot be opened, is newer than this program, or is held by another process."""


class TryAgain(StoreError):
    """Nothing was written, and the same may go well when it is begun anew."""


class StoreHeld(StoreError):
    """Another process is writing the store."""


class StoreOlder(StoreError):
    """The store has an older schema, and is only to be read."""


class StoreFull(StoreError):
    """The disk of the store is full."""


class InternalError(CannotRun):
    """A promise of our own was broken; the message says which."""
