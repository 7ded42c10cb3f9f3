"""``event_schemas``: a JSON Schema (draft 2020-12) of an event type, asked of the data of every event at the door.

Rule 1: a schema refers to nothing but its own ``$defs``: nothing is fetched, and nothing goes round in a circle.
Rule 2: what a stranger sends cannot keep the door busy: patterns are asked by ``language/automaton.py``, and
``uniqueItems`` by a set.
Rule 3: numbers are exact here too: they come as whole numbers and decimals, and no binary float is made of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from engine.language.automaton import Automaton, PatternError
from engine.language.diagnostics import Mark, Page
from engine.language.files import content_of
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.workshop import Workshop

Check = Callable[[Mapping[str, Any]], str | None]

EVENT_SCHEMA_PAGES: Final[dict[str, Page]] = {
    "bad-schema": Page(
        "an event schema that is none",
        "Behind an event type in 'event_schemas' stands a JSON Schema of draft 2020-12 for the data of its events, or "
        "the path of a JSON file below the program's folder. The message says what is wrong with it. '$ref' reaches "
        "'#/$defs/...' alone and in no circle, and patterns know no back references and no looking ahead: then no "
        "event can keep the door busy.",
        "# file: playbooks/catalog/c.yaml\nevent_schemas:\n  order.paid: {properties: {amount: {type: numbr}}}",
        "# file: playbooks/catalog/c.yaml\nevent_schemas:\n  order.paid: {properties: {amount: {type: number}}}",
    ),
}

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_MOST_BYTES: Final = 1024 * 1024
_MOST_PARTS: Final = 10_000
_DEEPEST: Final = 40
_DEF: Final = re.compile(r"[A-Za-z0-9_.-]+")
_OTHERS: Final = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary", "$recursiveRef")
_UNREAD: Final = ("unevaluatedProperties", "unevaluatedItems")
"""The library asks patterns of names with a matcher of its own there."""
_NAMED: Final = ("properties", "patternProperties", "$defs", "dependentSchemas")
_SINGLE: Final = (
    "additionalProperties", "items", "contains", "not", "if", "then", "else", "propertyNames",
)  # fmt: skip
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_WORDS: Final = {
    "object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number", "number": "a number",
    "boolean": "true or false", "null": "null",
}  # fmt: skip
_SAYS: Final = {
    "minimum": "must be at least {}", "maximum": "must be at most {}", "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}", "multipleOf": "must be a multiple of {}", "const": "must be {}",
    "minLength": "must have at least {} characters", "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries", "maxItems": "must have at most {} entries",
    "minProperties": "must have at least {} fields", "maxProperties": "must have at most {} fields",
    "pattern": "must fit the pattern {}", "enum": "must be one of {}", "uniqueItems": "holds an entry twice",
}  # fmt: skip


class _Wrong(ValueError):
    """A schema that is none: what is wrong, and where in it."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class EventSchemas:
    """The schemas of one program.

    Parameters
    ----------
    shop: for problems.
    root: the program's folder.
    """

    def __init__(self, shop: Workshop, root: Path) -> None:
        self.shop = shop
        self.root = root
        self.checks: dict[str, Check] = {}
        self.files: list[tuple[str, bytes]] = []  #: those read, for the digest

    def make(self, type_: str, fields: Any, node: Node) -> None:
        """Take the schema of an event type in: a mapping, or the path of a JSON file."""
        try:
            if isinstance(node, ScalarNode):
                schema, place = self._read(node), Mark(node.text, 1, 1)
            else:
                schema, place = fields, None
        except _Wrong as error:
            self.shop.problems.error(node, "bad-schema", str(error), hint="such as schemas/order.paid.json")
            return
        try:
            self.checks[type_] = compiled(schema)
        except _Wrong as error:
            where = place or _below(node, error.path)
            at = "/".join(map(str, error.path))
            message = f"the schema of '{type_}' is none: {error}" + (f" (at {at})" if at and place is not None else "")
            self.shop.problems.error(where, "bad-schema", message)

    def _read(self, node: ScalarNode) -> Any:
        """The JSON of a file below the program's folder."""
        path = self.root / node.text
        try:
            if not path.resolve(strict=True).is_relative_to(self.root.resolve()):
                raise _Wrong(f"'{node.text}' lies outside the program's folder")
            if path.stat().st_size > _MOST_BYTES:
                raise _Wrong(f"'{node.text}' is larger than {_MOST_BYTES} bytes")
            content = content_of(path)
            found = json.loads(content.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_constant)
        except _Wrong:
            raise
        except FileNotFoundError:
            raise _Wrong(f"there is no file '{node.text}' in the program's folder") from None
        except json.JSONDecodeError as error:
            raise _Wrong(f"'{node.text}' is no JSON at {error.lineno}:{error.colno}: {error.msg}") from None
        except RecursionError:
            raise _Wrong(f"'{node.text}' is nested too deep") from None
        except (OSError, ValueError) as error:  # of text that is not UTF-8, or a name with a NUL
            raise _Wrong(f"'{node.text}' cannot be read: {error}") from None
        self.files.append((node.text, content))
        return found


def _constant(text: str) -> Any:
    raise _Wrong(f"{text} is not JSON")


def _below(node: Node, path: tuple[str | int, ...]) -> Node:
    """The node a path inside a schema leads to, as far as it goes."""
    for name in path:
        if isinstance(node, MapNode) and isinstance(name, str) and (inner := node.get(name)) is not None:
            node = inner
        elif isinstance(node, SeqNode) and isinstance(name, int) and name < len(node.items):
            node = node.items[name]
        else:
            break
    return node


# ---------------------------------------------------------------------- is it a schema?


def compiled(schema: Any) -> Check:
    """The question a schema asks of the data of an event; raises an error with the place for what is no schema."""
    from jsonschema.exceptions import SchemaError  # takes a while to load, and most programs have no schemas

    kind = _kind()
    if not isinstance(schema, dict):
        raise _Wrong("it is no mapping")
    if schema.get("$schema", _DRAFT) not in (_DRAFT, _DRAFT + "#"):
        raise _Wrong(f"it is written for another draft than {_DRAFT}", ("$schema",))
    try:
        kind.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise _Wrong(_short(error.message), tuple(error.absolute_path)) from None
    except RecursionError:
        raise _Wrong("it is nested too deep") from None
    _Walk(schema).part(schema, (), ())
    asked = kind(schema, format_checker=None)

    def check(data: Mapping[str, Any]) -> str | None:
        error = next(asked.iter_errors(data), None)
        return None if error is None else _sentence(error)

    return check


class _Walk:
    """Goes over all parts of a schema the way a value would, references included."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.left = _MOST_PARTS

    def part(self, here: Any, path: tuple[str | int, ...], through: tuple[str, ...], depth: int = 0) -> None:
        """Look at one part; ``through``: the references that led here; ``depth``: parts around it."""
        if not isinstance(here, dict):
            return
        for name in _UNREAD:
            if name in here:
                raise _Wrong(f"'{name}' is not read; 'additionalProperties' is", (*path, name))
        if depth > _DEEPEST:
            raise _Wrong(f"its parts stand more than {_DEEPEST} deep inside each other", path)
        self.left -= 1
        if self.left < 0:
            raise _Wrong(f"it has more than {_MOST_PARTS} parts, counted wherever '$ref' repeats them", path)
        for name in _OTHERS:
            if name in here:
                raise _Wrong(f"'{name}' is not read: '$ref' reaches '#/$defs/...' alone", (*path, name))
        if "$ref" in here:
            self._refer(here["$ref"], path, through, depth)
        if "pattern" in here:
            _pattern(here["pattern"], (*path, "pattern"))
        for name in here.get("patternProperties", ()):
            _pattern(name, (*path, "patternProperties", name))
        for inner, at in _inner(here, path):
            self.part(inner, at, through, depth + 1)

    def _refer(self, ref: Any, path: tuple[str | int, ...], through: tuple[str, ...], depth: int) -> None:
        _, _, name = str(ref).rpartition("/")
        if ref != f"#/$defs/{name}" or _DEF.fullmatch(name) is None or name not in self.schema.get("$defs", {}):
            message = f"'$ref: {_short(str(ref))}' does not name a part of '$defs'; nothing is fetched"
            raise _Wrong(message, (*path, "$ref"))
        if ref in through:
            raise _Wrong("'$ref' goes round in a circle", (*path, "$ref"))
        self.part(self.schema["$defs"][name], ("$defs", name), (*through, ref), depth + 1)


def _inner(here: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[tuple[Any, tuple[str | int, ...]]]:
    for word in _NAMED:
        for name, inner in here.get(word, {}).items():
            yield inner, (*path, word, name)
    for word in _SINGLE:
        if word in here:
            yield here[word], (*path, word)
    for word in _LISTED:
        for number, inner in enumerate(here.get(word, ())):
            yield inner, (*path, word, number)


def _pattern(text: str, path: tuple[str | int, ...]) -> None:
    try:
        _automaton(text)
    except PatternError as error:
        raise _Wrong(f"pattern '{_short(text)}' at character {error.place + 1}: {error}", path) from None


@lru_cache(maxsize=512)
def _automaton(pattern: str) -> Automaton:
    return Automaton(pattern)


# ---------------------------------------------------------------------- asking


@lru_cache(maxsize=1)
def _kind() -> Any:
    """Draft 2020-12 with patterns in one walk, unique items by a set, and exact numbers."""
    from jsonschema import Draft202012Validator  # as above
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend

    def pattern(asked: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and not _automaton(wanted).found_in(value):
            yield ValidationError("pattern")

    def pattern_properties(asked: Any, wanted: Mapping[str, Any], value: Any, schema: Any) -> Iterator[Any]:
        for text, inner in wanted.items() if isinstance(value, dict) else ():
            for name in [name for name in value if _automaton(text).found_in(name)]:
                yield from asked.descend(value[name], inner, path=name, schema_path=text)

    def additional(asked: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        if not isinstance(value, dict):
            return
        known, patterns = schema.get("properties", {}), [*map(_automaton, schema.get("patternProperties", {}))]
        for name in value:
            if name in known or any(it.found_in(name) for it in patterns):
                continue
            if wanted is False:
                yield ValidationError(f"has a field '{_short(name)}' too many")
            elif wanted is not True:
                yield from asked.descend(value[name], wanted, path=name)

    def unique(asked: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
        if wanted and isinstance(value, list) and len(set(map(_frozen, value))) < len(value):
            yield ValidationError("uniqueItems")

    def multiple(asked: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
        if number and (Fraction(value) / Fraction(wanted)).denominator != 1:
            yield ValidationError("multipleOf")

    def whole(asked: Any, value: Any) -> bool:
        if isinstance(value, Decimal):
            return value == value.to_integral_value()
        return isinstance(value, int) and not isinstance(value, bool)

    return extend(  # type: ignore[no-untyped-call]  # the library leaves it untyped
        Draft202012Validator,
        {
            "pattern": pattern, "patternProperties": pattern_properties, "additionalProperties": additional,
            "uniqueItems": unique, "multipleOf": multiple,
        },
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", whole),
    )  # fmt: skip


def _frozen(value: Any) -> Any:
    """A value that equals another of it exactly when JSON Schema calls the two equal."""
    if isinstance(value, dict):
        return "map", frozenset((name, _frozen(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return "list", tuple(map(_frozen, value))
    return type(value) is bool, value


# ---------------------------------------------------------------------- saying


def _sentence(error: Any) -> str:
    """What is wrong with which field, without the value: it may be anybody's."""
    field = "data" + "".join(f"[{it}]" if isinstance(it, int) else f".{_short(it)}" for it in error.absolute_path)
    word, wanted = error.validator, error.validator_value
    if word == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"'{field}' must be {' or '.join(_WORDS[kind] for kind in kinds)}"
    if word == "required":
        missing = next((name for name in wanted if name not in error.instance), "?")
        return f"'{field}.{_short(missing)}' is missing"
    if word == "additionalProperties":
        return f"'{field}' {error.message}"
    if word in _SAYS:
        shown = ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
        return f"'{field}' {_SAYS[word].format(_short(shown))}"
    return f"'{field}' must not be there" if word is None else f"'{field}' does not keep '{word}'"


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
