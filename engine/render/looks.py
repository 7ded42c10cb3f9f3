"""What a template looks at: no more of a subject is put together than that, and the plainest text needs no Jinja2.

Rule 1: found out at the first rendering; most templates are checked far more often than rendered.
Rule 2: this file only ever says what is certain. Where a template does more than look fields up, it says "maybe any".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from jinja2 import nodes

from engine.errors import DrumbeatError
from engine.render.check import ROOTS, is_get
from engine.render.trees import walk
from engine.render.values import plain

Reads = Mapping[str, frozenset[str] | None]
"""root (``user``, ``event`` ...) -> the fields looked at; None: maybe any. Other roots are not looked at."""

Parts = tuple[str | tuple[str, str], ...]
"""A text as pieces: literal text, or (root, field) of a value."""

EVERYTHING: Reads = dict.fromkeys(ROOTS)
"""What is said of a template nothing is known of."""


def reads(tree: nodes.Template) -> Reads:
    """What a checked template, not yet rewritten, looks at."""
    found: dict[str, set[str] | None] = {}
    told: set[int] = set()  # nodes whose parents have said which field is meant
    for node in walk(tree):
        if is_get(node) and isinstance(node, nodes.Call) and isinstance(node.args[0], nodes.Const):
            told |= {id(node.node), *map(id, walk(node.node))}
            _note(found, "user", node.args[0].value)
        elif id(node) in told:
            continue
        elif isinstance(node, nodes.Name) and node.name in ROOTS:
            found[node.name] = None
        else:
            look = _look(node)
            if look is not None and isinstance(node, (nodes.Getattr, nodes.Getitem)):
                told.add(id(node.node))
                _note(found, *look)
    return {root: None if fields is None else frozenset(fields) for root, fields in found.items()}


def _note(found: dict[str, set[str] | None], root: str, field: str) -> None:
    fields = found.setdefault(root, set())
    if fields is not None:
        fields.add(field)


def _look(node: nodes.Node) -> tuple[str, str] | None:
    """(root, field) of a look-up of a fixed field of a root."""
    if isinstance(node, nodes.Getattr):
        field = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        field = node.arg.value
    else:
        return None
    name = node.node
    return (name.name, field) if isinstance(name, nodes.Name) and name.name in ROOTS else None


def together(all_of: list[Reads]) -> Reads:
    """What several pieces of one template look at."""
    found: dict[str, frozenset[str] | None] = {}
    for one in all_of:
        for root, fields in one.items():
            known = found.get(root, frozenset())
            found[root] = None if fields is None or known is None else known | fields
    return found


def parts(tree: nodes.Template) -> Parts | None:
    """The pieces of a text that only looks fields up and prints them; None for any other."""
    out: list[str | tuple[str, str]] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for child in node.nodes:
            look = None if isinstance(child, nodes.TemplateData) else _look(child)
            if look is not None:
                out.append(look)
            elif isinstance(child, nodes.TemplateData):
                out.append(child.data)
            else:
                return None
    return tuple(out)


def put_together(pieces: Parts, values: Mapping[str, Any], most: int) -> str | None:
    """The text; None when a value is not simply there, or the text is long: then Jinja2 has the word.

    Parameters
    ----------
    most: bytes the text may have.
    """
    out = []
    for piece in pieces:
        if piece.__class__ is str:
            out.append(piece)
            continue
        fields = values.get(piece[0])
        if fields.__class__ is not dict:
            return None
        value = fields.get(piece[1])
        if value.__class__ is not str:
            if value.__class__ is not int and value.__class__ is not Decimal:
                return None
            try:
                value = plain(value)
            except DrumbeatError:
                return None
        out.append(value)
    text = "".join(out)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:  # half a character
        return None
    return text if size <= most and "\0" not in text else None
