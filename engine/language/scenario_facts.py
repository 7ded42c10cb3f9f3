"""Do the values of a test have the types the program declares?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from engine.language.diagnostics import Problems
from engine.language.expressions.scope import FieldType
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.services import kind_word
from engine.registry import nearest


def check_fields(
    problems: Problems,
    declared: Mapping[str, FieldType | None],
    entries: Iterable[tuple[ScalarNode, Node]],
    what: str,
) -> bool:
    """Report every value whose declared type it has not; False when there was one."""
    good = True
    for key, value in entries:
        type_ = declared.get(key.text)
        if type_ is None or value.broken:
            continue
        need, hint = _need(type_, value)
        if need:
            got = f"'{value.text}'" if isinstance(value, ScalarNode) and value.text else kind_word(value)
            message = f"'{what}.{key.text}' needs {need}, got {got}"
            problems.error(value, "wrong-type", message, hint=hint)
            good = False
    return good


def _need(type_: FieldType, value: Node) -> tuple[str, str]:
    """(what is needed, hint) of a value that does not fit; ("", "") of one that does."""
    kind = type_.kind
    if isinstance(value, SeqNode):
        return ("", "") if kind in ("list", "any") else (_word(kind), "")
    if isinstance(value, MapNode):
        return ("", "") if kind in ("map", "any") else (_word(kind), "")
    if not isinstance(value, ScalarNode):
        return "", ""
    plain = value.value
    if plain is None:
        return ("", "") if type_.optional or kind == "any" else (_word(kind), "its type does not say '| none'")
    if type_.values:
        near = nearest(value.text, type_.values)
        hint = f"did you mean '{near}'?" if near else ""
        return ("", "") if value.text in type_.values else ("one of " + ", ".join(type_.values), hint)
    number = isinstance(plain, (int, Decimal)) and not isinstance(plain, bool)
    fits = {
        "number": number and (type_.base != "integer" or isinstance(plain, int)),
        "bool": isinstance(plain, bool),
        "list": False,
        "map": False,
        "text": isinstance(plain, str),
    }
    hint = "put it in quotes" if kind == "text" else "without quotes" if value.style else ""
    return ("", "") if fits.get(kind, True) else (_word(type_.base), hint)


def _word(kind: str) -> str:
    return {"number": "a number", "money": "a number", "integer": "a whole number", "bool": "true or false"}.get(
        kind, kind if kind == "text" else f"a {kind}"
    )
