"""How functions, tests and filters are called: which arguments they take, and what is said when others are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import nodes

from engine.language.expressions.code import Code
from engine.language.expressions.issues import did_you_mean

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler

Arguments = Mapping[str, nodes.Expr]


@dataclass(frozen=True)
class Word:
    """A function, test or filter."""

    build: Callable[..., Code]
    needs: tuple[str, ...] = ()  #: arguments by position, all required
    options: tuple[str, ...] = ()  #: arguments by position that may be left out
    named: tuple[str, ...] = ()  #: arguments by name only
    subject: bool = True  #: it looks at the subject, so ``where=`` cannot have it


def bound(c: Compiler, node: Any, word: Word, shown: str, where: tuple[int, int]) -> dict[str, nodes.Expr] | None:
    """Arguments by name, or None after saying what is wrong with them."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        c.say(where, "not-allowed", "arguments cannot be unpacked with * or **")
        return None
    positions = (*word.needs, *word.options)
    given = list(node.args or ())
    if len(given) > len(positions):
        takes = f"only {' and '.join(positions)}" if positions else "nothing"
        hint = f"{' and '.join(word.named)} are given by name, such as {word.named[0]}='7d'" if word.named else ""
        c.say(given[len(positions)], "wrong-arguments", f"{shown} takes {takes} by position", hint)
        return None
    found: dict[str, nodes.Expr] = dict(zip(positions, given, strict=False))
    right = True
    for pair in node.kwargs or ():
        if pair.key not in positions and pair.key not in word.named:
            hint = did_you_mean(pair.key, (*positions, *word.named))
            c.say(c.parsed.keyword(pair.key, pair.value), "wrong-arguments", f"{shown} has no '{pair.key}='", hint)
            right = False
        elif pair.key in found:
            c.say(c.parsed.keyword(pair.key, pair.value), "wrong-arguments", f"{shown} has '{pair.key}' twice")
            right = False
        else:
            found[pair.key] = pair.value
    absent = [name for name in word.needs if name not in found]
    if absent and right:
        c.say(where, "wrong-arguments", f"{shown} needs {' and '.join(absent)}")
    return found if right and not absent else None
