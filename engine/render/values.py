"""Values as text and as numbers: the only two things a message does with them.

Rule 1: null has no text; who asks gets None and must decide.
Rule 2: numbers are int or Decimal, printed plainly; a size no message needs is a TemplateLimit, not a long wait.
Rule 3: an instant is shown in the subject's zone; one without a zone is refused, for nobody knows when it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, tzinfo
from decimal import Context as Rules
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import lru_cache
from zoneinfo import ZoneInfo

from engine.errors import RenderError, TemplateLimit
from engine.render.sandbox import Metered, field, gone, kind

MAX_TEXT = 64 * 1024
"""Characters of one text while a message is being made."""
MAX_DIGITS = 40
_BIG = 10**MAX_DIGITS
RULES = Rules(prec=MAX_DIGITS, traps=[InvalidOperation, DivisionByZero, Overflow])
"""How decimals are reckoned: fixed here, so the caller's decimal context cannot change a message."""


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def zone_of(context: Metered) -> tzinfo | None:
    """The zone to show instants in: as told to ``render``, then user, group, then that of ``now``."""
    if context.zone is None:
        for root in ("user", "group"):
            name = field(context.parent.get(root), "zone")
            found = _zone(name) if isinstance(name, str) else None
            if found is not None:
                context.zone = found
                return found
        now = context.parent.get("now")
        context.zone = now.tzinfo if isinstance(now, datetime) else None
    return context.zone


def local(value: datetime, context: Metered) -> datetime:
    """An instant in the subject's zone."""
    if value.utcoffset() is None:
        raise RenderError("an instant without a zone cannot be shown", hint="give it an offset where it is made")
    zone = zone_of(context)
    return value if zone is None else value.astimezone(zone)


def shown(value: object, context: Metered) -> str | None:
    """A value as it stands in a message; None for null."""
    if type(value) is str:
        return value
    if gone(value):
        return None
    if isinstance(value, str):
        return str.__str__(value)  # a marked-up text from outside is text like any other
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal, float)):
        return plain(value)
    if isinstance(value, datetime):
        return moment_text(local(value, context))
    if isinstance(value, date):
        return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"
    if isinstance(value, time):
        return f"{value.hour:02d}:{value.minute:02d}"
    hint = "print its fields, or use |join" if isinstance(value, (Mapping, list, tuple)) else ""
    raise RenderError(f"{kind(value)} cannot be printed", hint=hint)


def moment_text(value: datetime) -> str:
    """``YYYY-MM-DD HH:MM``."""
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d} {value.hour:02d}:{value.minute:02d}"


def number(value: object) -> int | Decimal:
    """The value as a number a message can bear; raises on anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, float)):
        raise RenderError(f"a number is needed, got {kind(value)}", hint="turn text into a number with |int or |float")
    if isinstance(value, int):
        if not -_BIG < value < _BIG:
            raise TemplateLimit(f"a number has more than {MAX_DIGITS} digits")
        return value
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite():
        raise RenderError("a number is infinite or not a number")
    exponent = exact.as_tuple().exponent
    if exact.adjusted() >= MAX_DIGITS or (isinstance(exponent, int) and exponent < -MAX_DIGITS):
        raise TemplateLimit(f"a number has more than {MAX_DIGITS} digits")
    return exact


def plain(value: int | Decimal | float) -> str:
    """A number without exponent: 1E+2 is ``100``."""
    return format(number(value), "f") if not isinstance(value, int) else str(number(value))


def bounded(text: str) -> str:
    """The text itself, if it is not too long to go on with."""
    if len(text) > MAX_TEXT:
        raise TemplateLimit(f"a text is longer than {MAX_TEXT} characters")
    return text
