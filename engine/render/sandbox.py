"""The hardened Jinja2 environment: data is looked up, and nothing else can happen.

Rule 1: a look-up reads an item of a mapping or list; it never reaches a Python attribute of any object, except the
listed counters of ``loop``.
Rule 2: nothing is callable; there are no globals.
Rule 3: a missing key, a missing name and null are one and the same: null. Its truth is false, its fields are null.
Rule 4: every rendering has a budget of steps; loops and long texts are charged before the work is done.

``check.py`` refuses at load what is not in the language, ``harden.py`` routes every operation through ``operations.py``
and ``filters.py``; this file is the second wall behind both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, NoReturn

from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import RenderError, TemplateLimit

MAX_STEPS = 500_000
"""Steps of one rendering: about one for each part of a template evaluated, and one for 16 characters handled."""
LOOP_FIELDS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})


class Missing(StrictUndefined):
    """A name that has no value. Unlike Jinja2's strict kind its truth is false, as that of null is."""

    def __bool__(self) -> bool:  # type: ignore[override]  # Jinja2 types it as never returning
        return False


class Metered(Context):
    """What one rendering knows: the values, the zone to show instants in, and the steps left."""

    left: int = MAX_STEPS
    zone: tzinfo | None = None

    def charge(self, steps: int) -> None:
        """Take steps from the budget; raises TemplateLimit when it is used up."""
        self.left -= steps
        if self.left < 0:
            raise TemplateLimit(f"the template does more than {MAX_STEPS} steps", hint="walk over shorter lists")


def gone(value: object) -> bool:
    """True for null and for a name without a value."""
    return value is None or isinstance(value, Undefined)


def kind(value: object) -> str:
    """The sort of a value in an operator's words; never the value, which may be personal."""
    words = {"str": "text", "bool": "yes/no", "int": "number", "Decimal": "number", "float": "number"}
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return words.get(type(value).__name__, type(value).__name__)


def field(obj: Any, name: str) -> Any:
    """``obj.name``: the item of a mapping or a counter of ``loop``; null when missing, an error on anything else."""
    if isinstance(obj, Mapping):
        try:
            return obj[name]
        except LookupError:
            return None
    if gone(obj):
        return None
    if type(obj) is LoopContext and name in LOOP_FIELDS:
        return getattr(obj, name)
    raise RenderError(f"{kind(obj)} has no field {name!r}")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox with the look-ups, calls, filters and tests narrowed to ours."""

    context_class = Metered

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html,
            undefined=Missing,
            trim_blocks=True,
            lstrip_blocks=True,
            # folding constants would run operations while loading, before any budget
            optimized=False,
            cache_size=0,
        )
        self.globals.clear()
        self.filters.clear()
        self.tests.clear()

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``; see ``field``."""
        if type(obj) is dict:  # the common case, without a function call
            return obj.get(attribute)
        return field(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``: a key of a mapping or an index of a list; null when there is none."""
        if isinstance(argument, str):
            return field(obj, argument)
        if gone(obj) or gone(argument):
            return None
        if isinstance(obj, (list, tuple)) and type(argument) is int:
            return obj[argument] if -len(obj) <= argument < len(obj) else None
        raise RenderError(f"{kind(obj)} cannot be looked up by {kind(argument)}")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Never: no Python attribute is data."""
        return False

    def is_safe_callable(self, obj: Any) -> bool:
        """Never: nothing is callable."""
        return False

    def call(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse; the check at load lets no call through to here."""
        raise RenderError("nothing can be called in a template")
