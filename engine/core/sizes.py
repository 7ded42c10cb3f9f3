"""How large a value may be that a step writes: as large as one that may come in through the door, and no larger.

Without a limit a step that writes what it reads (``set: {user.note: "{{ event }}"}``) doubles it at every turn.
"""

from __future__ import annotations

from typing import Any, Final

from engine.core.values import plain
from engine.errors import ExpressionError

MOST: Final = 64 * 1024  # characters of a whole value, as of a whole event at the door
LONGEST: Final = 16 * 1024  # characters of one text
DEEPEST: Final = 32
WIDEST: Final = 1024  # bits of a whole number


def kept_small(value: Any, what: str) -> Any:
    """The value as a store gives it back: dates, instants and spans are text, as in any event; numbers stay exact.

    Were they kept as they are, they would be one thing until the subject is read again, and another after it. Raises
    ExpressionError for a value that is too large to be kept.

    Parameters
    ----------
    what: what is written, for the message.
    """
    kept = plain(value)
    if not _fits(kept):
        raise ExpressionError(f"{what} is too large to be kept", hint=f"at most {MOST} characters, {DEEPEST} deep")
    return kept


def _fits(value: Any) -> bool:
    """Stops at the limit, so that a value which holds itself many times over costs no more than a large one."""
    left = MOST
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        here, depth = waiting.pop()
        left -= 1
        if isinstance(here, str):
            left -= len(here)
            if len(here) > LONGEST:
                return False
        elif isinstance(here, int):
            if here.bit_length() > WIDEST:
                return False
        elif isinstance(here, dict):
            left -= sum(map(len, here))
            waiting.extend((one, depth + 1) for one in here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend((one, depth + 1) for one in here)
        if left < 0 or depth > DEEPEST:
            return False
    return True
