"""``metric()``, ``baseline()`` and ``score()``: what the catalog's metrics say at a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from jinja2 import nodes

from engine.language.expressions.calling import Arguments, Word
from engine.language.expressions.code import UNKNOWN, Code
from engine.language.expressions.issues import did_you_mean

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler

_MOST: Final = 400
"""Periods a condition may look back."""

PARTS: Final = ("recency", "frequency", "money")
"""What the three scores of ``rfm`` are called."""


def _named(c: Compiler, arguments: Arguments, where: tuple[int, int], *, scored: bool) -> str | None:
    """The name of a metric of the right sort; None after a problem."""
    node = arguments["name"]
    name = c.text_of(node, "the name of a metric")
    if name is None:
        return None
    metrics = c.scope.metrics
    if metrics is None:
        return name
    if name not in metrics:
        hint = did_you_mean(name, metrics, c.scope.elsewhere(name))
        c.say(node, "unknown-metric", f"there is no metric '{name}'", hint or "define it under 'metrics' of a catalog")
        return None
    whose = metrics[name]
    if bool(whose) is not scored:
        said, call = ("a score of each subject", "score") if whose else ("one number of the program", "metric")
        c.say(where, "not-here", f"'{name}' is {said}", f"write {call}('{name}')")
        return None
    if scored and whose != c.scope.subject:
        c.say(where, "not-here", f"'{name}' is a score of each {whose}", f"this is about a {c.scope.subject}")
        return None
    c.change(f"figure_change(m, {name!r})")
    return name


def _number(c: Compiler, node: nodes.Expr | None, what: str, low: int, default: int) -> int | None:
    """A written whole number."""
    if node is None:
        return default
    value = node.value if isinstance(node, nodes.Const) else None
    if value.__class__ is int and low <= value <= _MOST:
        return value
    c.say(node, "type-mismatch", f"{what} is a whole number from {low} to {_MOST}")
    return None


def _metric(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    name = _named(c, arguments, where, scored=False)
    ago = _number(c, arguments.get("ago"), "the number of periods", 0, 0)
    if name is None or ago is None:
        return UNKNOWN
    return _figure(f"metric(m, {name!r}, {ago})")


def _baseline(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    name = _named(c, arguments, where, scored=False)
    periods = _number(c, arguments["periods"], "the number of periods", 1, 1)
    every = _number(c, arguments.get("every"), "the step", 1, 1)
    if name is None or periods is None or every is None:
        return UNKNOWN
    if periods * every > _MOST:
        return c.say(arguments["periods"], "type-mismatch", f"a baseline looks back at most {_MOST} periods")
    return _figure(f"baseline(m, {name!r}, {periods}, {every})")


def _score(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    name = _named(c, arguments, where, scored=True)
    part = _part(c, arguments.get("part"))
    if name is None or part is UNKNOWN:
        return UNKNOWN
    c.beside = [
        (f"{name}: values at the turn", f"score_values(m, {name!r})"),
        (f"{name}: borders", f"score_borders(m, {name!r})"),
    ]
    return _figure(f"score(m, {name!r}, {part.src})")


def _part(c: Compiler, node: nodes.Expr | None) -> Code:
    """Which of the three scores of ``rfm``, as a place."""
    if node is None:
        return Code("None")
    name = c.text_of(node, "the part of a score")
    if name is None:
        return UNKNOWN
    if name not in PARTS:
        return c.say(node, "wrong-arguments", f"a score has no part '{name}'", did_you_mean(name, PARTS))
    return Code(str(PARTS.index(name)))


def _figure(src: str) -> Code:
    return Code(src, "number", missing=True, nullable=True, sure=True)


_Build = Callable[..., Code]

METERING: Final[dict[str, Word]] = {
    "metric": Word(_metric, ("name",), named=("ago",)),
    "baseline": Word(_baseline, ("name", "periods"), named=("every",)),
    "score": Word(_score, ("name",), named=("part",)),
}
