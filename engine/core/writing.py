"""Writes functions as Python source: what ``fuse`` and ``fuse_wakes`` share.

Rule 1: what a program says enters the source only as literals (``repr``) and as constants (``F0``, ``F1`` ...).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.core.plan import Sieve
    from engine.core.series import Where


class Writer:
    """Source of one function and the constants it names."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.lines: list[str] = []
        self._known: dict[int, str] = {}

    def __call__(self, value: Any, /) -> str:
        return self.use(value)

    def on_data(self, where: Where, /) -> str | None:
        """As ``series.Use`` says."""
        if where.body is None:
            return None
        local = _Local()
        tree = local.visit(ast.parse(where.body, mode="eval"))
        if local.bare or not local.seen <= {"data"}:
            return None  # it would see the subject, or another clock than the event's own
        self.names.update(where.names)
        return f"({ast.unparse(tree)})"

    def use(self, value: Any) -> str:
        """The name of a constant."""
        name = self._known.get(id(value))
        if name is None:
            name = self._known[id(value)] = f"F{len(self.names)}"
            self.names[name] = value
        return name

    def add(self, lines: Iterable[str], depth: int = 1) -> None:
        """Write lines, indented."""
        self.lines.extend(" " * depth + line for line in lines)

    def build(self, head: str, name: str) -> Any:
        """The function."""
        space = dict(self.names)
        source = "\n".join([head, *self.lines])
        exec(compile(source, f"<{name}>", "exec"), space)  # noqa: S102 - ours, see rule 1
        return space["way"]


_LOCAL = frozenset({"state", "event", "data", "time", "now"})
"""What a test asks a moment for and a short way has at hand under the same name."""


def once(bodies: list[list[str]], names: Mapping[str, Any]) -> tuple[list[str], list[list[str]], bool]:
    """Tests as a short way asks them: (assignments to begin with, the tests, whether one needs the moment itself).

    What several tests look at is looked at once, but only what cannot fail and costs little is taken out of its test: a
    field of the event, a kept count, and a number of the history that some playbook asks for before anything else.
    """
    local = _Local()
    trees = [[local.visit(ast.parse(body, mode="eval")) for body in group] for group in bodies]
    firsts = {_sight(node, names) for group in trees if group for node in ast.walk(group[0])}
    times = Counter(
        sight
        for group in trees
        for tree in group
        for node in ast.walk(tree)
        if (sight := _sight(node, names)) is not None and (not sight[0] or sight in firsts)
    )
    chosen = {sight: f"x{number}" for number, sight in enumerate(sorted(it for it, n in times.items() if n > 1))}
    rename = _Rename(chosen, names)
    written = [[f"({ast.unparse(rename.visit(tree))})" for tree in group] for group in trees]
    return [f"{name} = {source}" for (_, source), name in chosen.items()], written, local.bare


class _Local(ast.NodeTransformer):
    """Puts local names in the place of what a moment has: ``seen``; ``bare``: something else is asked of it."""

    def __init__(self) -> None:
        self.bare = False
        self.seen: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "m" and node.attr in _LOCAL:
            self.seen.add(node.attr)
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.bare = self.bare or node.id == "m"
        return node


_Sight = tuple[str, str]
"""(name of the question to the history or "", source) of a look that may be shared."""


class _Rename(ast.NodeTransformer):
    """Puts the names of shared looks in their places."""

    def __init__(self, chosen: Mapping[_Sight, str], names: Mapping[str, Any]) -> None:
        self._chosen = chosen
        self._names = names

    def visit_Call(self, node: ast.Call) -> ast.AST:
        sight = _sight(node, self._names)
        name = None if sight is None else self._chosen.get(sight)
        return self.generic_visit(node) if name is None else ast.Name(name, ast.Load())


def _sight(node: ast.AST, names: Mapping[str, Any]) -> _Sight | None:
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    source = ast.unparse(node)
    constant = all(isinstance(it, ast.Constant) for it in node.args)
    if constant and source.startswith(("data.get(", "state.series.get(")):
        return "", source
    if isinstance(node.func, ast.Name) and source == f"{node.func.id}(state, time)":
        question = names[node.func.id]
        same = min(name for name, value in names.items() if value is question)
        return same, f"{same}(state, time)"
    return None


def bodies_of(writer: Writer, sieve: Sieve) -> list[str]:
    out = []
    for test, body, names in sieve.tests:
        if body is None:
            out.append(f"{writer.use(test)}(m)")
        else:
            writer.names.update(names)
            out.append(f"({body})")
    return out
