"""How a piece of YAML looks: plain values from which the checker, the JSON Schemas and the reference page are made.

A kind declares its shape with these; ``language/reading.py`` walks a node along a shape, ``language/jsonschema.py``
writes the schema. Shapes hold no behaviour, so there is one truth about each word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """Base of all shapes."""


@dataclass(frozen=True)
class Text(Shape):
    """Any text (a scalar); ``choices`` restricts it, ``pattern`` is a regular expression it must match whole."""

    choices: tuple[str, ...] = ()
    pattern: str = ""
    what: str = "text"  #: the word for messages
    only_text: bool = False  #: a bare number or true/false is refused: who means the word quotes it


@dataclass(frozen=True)
class Flag(Shape):
    """true or false; ``only`` demands one of them."""

    only: bool | None = None


@dataclass(frozen=True)
class Int(Shape):
    """A whole number between bounds; ``or_words`` may stand instead."""

    low: int | None = None
    high: int | None = None
    or_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Number(Shape):
    """A number, exact."""

    low: int | None = None
    high: int | None = None
    or_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Duration(Shape):
    """``3d``: elapsed time; with ``calendar`` also ``{days, at}``; with ``until`` also ``{until: ...}``."""

    calendar: bool = False
    until: bool = False


@dataclass(frozen=True)
class WallTime(Shape):
    """``HH:MM``; ``or_words`` may stand instead."""

    or_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class DateText(Shape):
    """``YYYY-MM-DD``."""


@dataclass(frozen=True)
class Cond(Shape):
    """A condition: expression, list (= all), or {all|any|none: [...]}.

    ``scope``: "trigger" (``event`` is the triggering one), "arriving" (``event`` arrives, ``entry`` began the journey),
    "where" (``event`` alone), "user" (the user alone), "step".
    """

    scope: str = "step"
    time_free: bool = False  #: may depend on time only through windows and ages
    everybody: bool = False  #: ``true`` alone may stand for everybody


@dataclass(frozen=True)
class Expr(Shape):
    """A bare expression giving a value; scopes as in Cond."""

    scope: str = "step"
    time_free: bool = False


@dataclass(frozen=True)
class Val(Shape):
    """A literal, or ``{{ expression }}``, or text with expressions inside."""

    single: bool = False  #: no list and no mapping, and something must stand there


@dataclass(frozen=True)
class Plain(Shape):
    """Any YAML value, taken as it is."""


@dataclass(frozen=True)
class Ref(Shape):
    """A name defined elsewhere: coupon group segment badge account template channel ladder policy playbook level."""

    kind: str


@dataclass(frozen=True)
class EventName(Shape):
    """An event type: a bare number, true/false or duration is a slip, who means the word quotes it."""


@dataclass(frozen=True)
class Many(Shape):
    """One of the shape, or a list of it; read as a list. ``only_list`` refuses the bare one."""

    of: Shape
    only_list: bool = False
    at_least: int = 1


@dataclass(frozen=True)
class Table(Shape):
    """A mapping from free names to one shape."""

    of: Shape
    pattern: str = ""
    what: str = "name"


@dataclass(frozen=True)
class Steps(Shape):
    """A list of steps; read as a Block."""

    empty: bool = True  #: an empty list is allowed


@dataclass(frozen=True)
class Field(Shape):
    """One key of a mapping."""

    shape: Shape
    required: bool = False
    note: str = ""  #: one line for the reference page


@dataclass(frozen=True)
class Map(Shape):
    """A mapping with known keys. ``short``: the key a bare scalar (or list) stands for.

    ``one_of``: groups of keys of which exactly one must stand; ``flag``: ``true`` alone stands for the empty mapping.
    """

    fields: Mapping[str, Field]
    short: str | None = None
    one_of: tuple[tuple[str, ...], ...] = ()
    flag: bool = False  #: ``true`` alone stands for the empty mapping

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Either(Shape):
    """Told apart by what stands there: a scalar, a list or a mapping."""

    scalar: Shape | None = None
    seq: Shape | None = None
    map: Shape | None = None


def required(shape: Shape, note: str = "") -> Field:
    """A key that must stand."""
    return Field(shape, True, note)


def optional(shape: Shape, note: str = "") -> Field:
    """A key that may stand."""
    return Field(shape, False, note)


NAME = r"[a-z0-9][a-z0-9_-]*"
STEP_ID = r"[a-z][a-z0-9_]*"
FREE_NAME = r"[^\s'\"`\\]+"  #: names of the catalog: people write coupons in capitals and badges in Chinese
USER_FIELD = "user.<field>"  #: what a Text (or the keys of a Table) is called that names a field of the user
ON_DENIED: Any = Either(scalar=Text(("skip", "stop")), seq=Steps())
ON_FULL: Any = Either(scalar=Text(("skip", "stop", "waitlist")), seq=Steps())
PURPOSES = ("marketing", "community", "service", "transactional")
