"""How large a value may be that a step writes: as large as one that may come in through the door, and no larger.

Without a limit a step that writes what it reads (``set: {user.note: "{{ event }}"}``) doubles it at every turn.
"""

from __future__ import annotations

from typing import Any, Final

from engine.errors import ExpressionError

MOST: Final = 64 * 1024  # characters of a whole value, as of a whole event at the door
LONGEST: Final = 16 * 1024  # characters of one text
DEEPEST: Final = 32
WIDEST: Final = 1024  # bits of a whole number


def kept_small(value: Any, what: str) -> Any:
    """The value itself; raises ExpressionError for one that is too large to be kept.

    Parameters
    ----------
    what: what is written, for the message.
    """
    if not _fits(value):
        raise ExpressionError(f"{what} is too large to be kept", hint=f"at most {MOST} characters, {DEEPEST} deep")
    return value


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
