"""What reading a file needs from the compiler, and the words its messages share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from engine.core import shapes as sh
from engine.core.moment import Condition, Value
from engine.language.diagnostics import Problems
from engine.language.nodes import Node, ScalarNode, SeqNode


class _Fault:
    """What stands for a value that could not be read."""

    def __repr__(self) -> str:
        return "FAULT"


FAULT: Final = _Fault()

LETTERS: Final = {
    sh.NAME: "small letters, digits, - and _",
    sh.STEP_ID: "small letters, digits and _, a letter first",
    sh.FREE_NAME: "no spaces and no quotes",
}
"""Pattern of a name -> what it may be made of."""


class Services:
    """What reading needs from the compiler: names, and the compilation of what is inside."""

    problems: Problems

    def known(self, kind: str) -> Iterable[str]:
        """The names of a kind that the program defines."""
        raise NotImplementedError

    def doubtful(self, kind: str, name: str) -> bool:
        """May an unknown name be defined where a file could not be read? That was reported; its names are not."""
        return False

    def used(self, kind: str, name: str) -> None:
        """A defined name was used."""

    def condition(self, node: ScalarNode, shape: sh.Cond) -> Condition | _Fault:
        """Compile a condition."""
        raise NotImplementedError

    def turned(self) -> None:
        """The conditions that follow stand under one ``none:`` more, or one less."""

    def expression(self, node: ScalarNode, shape: sh.Expr) -> Value | _Fault:
        """Compile a bare expression."""
        raise NotImplementedError

    def value(self, node: Node) -> Value | _Fault:
        """Compile a literal or text with expressions."""
        raise NotImplementedError

    def steps(self, node: SeqNode) -> Any:
        """Read a list of steps."""
        raise NotImplementedError

    def arriving(self, types: tuple[str, ...] | None) -> None:
        """Set the types of the event that arrives in this mapping (None: left it)."""

    def event_type(self, node: ScalarNode) -> None:
        """An event type was named."""

    def user_field(self, node: ScalarNode) -> bool:
        """``user.<field>`` was named as such; False after a problem was reported."""
        return True


def kind_word(node: Node) -> str:
    """What a node is, for "needs x, got y"."""
    if isinstance(node, ScalarNode):
        return "nothing" if node.value is None and not node.style else "a single value"
    return "a list" if isinstance(node, SeqNode) else "a mapping"


def with_article(what: str) -> str:
    """``tag`` -> ``a tag``; what is no plain noun stays as it is."""
    if what == "text" or re.fullmatch(r"[a-z][a-z ]*", what) is None:
        return what
    return f"an {what}" if what[0] in "aeio" else f"a {what}"


def keys_hint(shape: sh.Map) -> str:
    """What may stand in a mapping, for a message about something that is none."""
    keys = "its keys: " + ", ".join(shape.fields)
    return f"write true, or a mapping; {keys}" if shape.flag else keys


