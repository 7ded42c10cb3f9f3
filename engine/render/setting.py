"""A setting with values in it: text of the program file in which ``{{ }}`` stands for what belongs to one message.

Rule 1: ``{{ }}`` and nothing else: no statements, so a setting is a row of parts and each part is filled by itself.
Rule 2: what is filled in is quoted, part by part, for the place it stands in; nobody quotes by hand.
Rule 3: ``${NAME}`` is a part too, looked up when the channel is opened; it is never read as a template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes

from engine.errors import MissingVariable
from engine.render.compiled import Piece, compile_piece, parse, sandbox
from engine.render.needs import path_of
from engine.render.problem import Site as Place
from engine.render.sandbox import field, gone
from engine.site import REFERENCE, Secret


class SettingFault(Exception):
    """A setting that cannot be read; its text says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _Value:
    """``{{ expression }}``."""

    __slots__ = ("path", "piece")

    def __init__(self, piece: Piece, path: str | None) -> None:
        self.piece = piece
        self.path = path  #: the names it is, when it is nothing but names


_Part = str | Secret | _Value


class Setting:
    """A setting taken apart.

    Parameters
    ----------
    text: as it is written.
    names: what may stand in ``{{ }}``.
    look_up: gives the value of a ``${NAME}``; without it the setting can only be checked.

    Raises SettingFault for what is no such text, and whatever ``look_up`` raises.
    """

    __slots__ = ("parts",)

    def __init__(
        self, text: str, names: frozenset[str], look_up: Callable[[str], Secret] = lambda reference: Secret(reference)
    ) -> None:
        self.parts: list[_Part] = []
        literal = REFERENCE.findall(text)
        for child in _outputs(text, names):
            if isinstance(child, nodes.TemplateData):
                self._literal(child.data, look_up)
            else:
                self.parts.append(_value(child, text))
        if len(literal) != sum(isinstance(part, Secret) for part in self.parts):
            raise SettingFault("a ${NAME} stands inside {{ }}", "put it outside: it is text, not an expression")

    def _literal(self, text: str, look_up: Callable[[str], Secret]) -> None:
        end = 0
        for match in REFERENCE.finditer(text):
            self.parts.append(text[end : match.start()])
            self.parts.append(look_up(match[0]))
            end = match.end()
        self.parts.append(text[end:])
        self.parts = [part for part in self.parts if part != ""]

    @property
    def fixed(self) -> bool:
        """The same for every message."""
        return not any(isinstance(part, _Value) for part in self.parts)

    def head(self) -> str:
        """The text before the first ``{{ }}``, secrets included."""
        found = ""
        for part in self.parts:
            if isinstance(part, _Value):
                break
            found += part.reveal() if isinstance(part, Secret) else part
        return found

    def secrets(self) -> list[Secret]:
        """The ``${NAME}`` of the setting."""
        return [part for part in self.parts if isinstance(part, Secret)]

    def fill(self, values: Mapping[str, Any], quote: Callable[[str], str] = str) -> str:
        """The text for one message, each value quoted; raises RenderError where one is missing or does not fit."""
        found = []
        for part in self.parts:
            if isinstance(part, _Value):
                found.append(quote(part.piece.render(values)))
            else:
                found.append(part.reveal() if isinstance(part, Secret) else part)
        return "".join(found)

    def value(self, values: Mapping[str, Any]) -> Any:
        """As ``fill``; but a setting that is one name and nothing else gives the value as it is: a number, a list."""
        only = self.parts[0] if len(self.parts) == 1 else None
        if not isinstance(only, _Value) or only.path is None:
            return self.fill(values)
        found: Any = values
        for name in only.path.split("."):
            found = field(found, name)
        if gone(found):
            raise MissingVariable(f"{only.path} is missing", hint="give it a default: {{ ...|default('') }}")
        return found


def _outputs(text: str, names: frozenset[str]) -> list[nodes.Expr]:
    tree, problems, _ = parse(Place("", 0, text), roots=names)
    if problems or tree is None:
        raise SettingFault(problems[0].message, problems[0].hint)
    found: list[nodes.Expr] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            raise SettingFault("only {{ }} may stand here, no {% %}", "use ... if ... else ... inside {{ }}")
        found += node.nodes
    return found


def _value(node: nodes.Expr, text: str) -> _Value:
    path = path_of(node)  # before compiling, which changes the tree
    tree = nodes.Template([nodes.Output([node], lineno=1)], lineno=1)
    tree.set_environment(sandbox(False))
    piece, problems = compile_piece(tree, Place("", 0, text), 0)
    if piece is None:
        raise SettingFault(problems[0].message, problems[0].hint)
    return _Value(piece, path)
