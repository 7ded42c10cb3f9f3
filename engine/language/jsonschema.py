"""JSON Schemas (draft 7) for editors, made from the same shapes the reader walks.

Rule 1: a schema never refuses what the reader takes; names, expressions and sums are left to ``drumbeat validate``.
Rule 2: a step's verb (a trigger's word) is chosen first and only its schema applies, so an editor shows the one fault
and never a wall of alternatives. Where a value may have several forms, its type chooses in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from engine import door
from engine.actions import ACTIONS
from engine.channels import CHANNELS
from engine.core import shapes as sh
from engine.core.history import HistoryBook
from engine.feeds import FEEDS
from engine.language.catalog import CatalogMaker
from engine.language.diagnostics import Problems
from engine.language.expressions.scope import BASES, Schema
from engine.language.files import read_program
from engine.language.forms import MODIFIERS, PLAYBOOK, PROGRAM, SECTIONS, TRIGGER_MODIFIERS
from engine.language.nodes import MapNode, resolve
from engine.language.playbooks import playbook_names
from engine.language.program import ProgramMaker
from engine.language.reference import manual, name_of, summary
from engine.language.scalars import CALENDAR, WORKDAYS  # the one truth about {days, at}
from engine.language.scenario_forms import CONSENT, ENTRIES, HISTORY, REFUSALS, SCENARIO, WORDS, keys_of
from engine.language.ways import CHANNEL, channel_shape, feed_shape
from engine.language.workshop import Workshop
from engine.registry import Registry
from engine.render import TemplateSet
from engine.triggers import TRIGGERS

Json = dict[str, Any]
Names = Mapping[str, Collection[str]]

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_SCALAR: Final = ["string", "number", "boolean"]
_FIELD_NAME: Final = "^[A-Za-z_][A-Za-z0-9_]*$"


def schemas(names: Names | None = None) -> dict[str, Json]:
    """The schemas of a playbook, a catalog file, the program file, a scenario and an event.

    Parameters
    ----------
    names: kind ("coupon", "segment" ...) -> the names a program defines; they become enums. None: any name goes.
    """
    return {
        "playbook": _Maker(names or {}).playbook(),
        "catalog": _Maker(names or {}).catalog(),
        "program": _Maker(names or {}).program(),
        "scenario": _Maker(names or {}).scenario(),
        "event": _event(),
    }


def program_names(root: Path) -> dict[str, set[str]]:
    """The names a program defines, also while something else in it is wrong.

    "event" are the types it declares and the reserved ones; "closed" is not empty when there are no others.
    """
    files = read_program(root)
    templates, _ = TemplateSet.load(root)
    shop = Workshop(Problems(), Schema(), HistoryBook(), templates)
    schema = Schema()
    if files.program is not None and isinstance(files.program.partial, MapNode):
        maker = ProgramMaker(shop, root)
        schema = maker.schema(files.program.partial)
        maker.make(files.program.partial)
    catalog = CatalogMaker(shop, root, "UTC")
    for source in files.documents:
        if isinstance(source.partial, MapNode) and "playbook" not in source.partial:
            catalog.gather(source.partial)
    catalog.name_all()
    roots = [source.partial for source in files.documents]
    books = playbook_names(root for root in roots if isinstance(root, MapNode) and "playbook" in root)
    events = {"event": set(schema.type_names()), "closed": {"yes"} if schema.closed else set()}
    return {**shop.names, **events, "template": set(templates.names()), **books}


class _Maker:
    """Makes one schema; what is used in several places goes to its ``definitions``."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.definitions: dict[str, Json] = {}
        self._writers: dict[type[sh.Shape], Callable[[Any], Json]] = {
            sh.Text: self._text,
            sh.Flag: lambda it: {"type": "boolean"} if it.only is None else {"const": it.only},
            sh.Int: lambda it: _numeric(it, "integer"),
            sh.Number: lambda it: _numeric(it, "number"),
            sh.Duration: self._duration,
            sh.WallTime: _wall_time,
            sh.DateText: lambda it: _pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}", "date YYYY-MM-DD"),
            sh.Cond: lambda it: self._shared("condition", self._condition),
            sh.Expr: lambda it: {"type": _SCALAR},
            sh.Val: lambda it: {"type": _SCALAR} if it.single else {},
            sh.Plain: lambda it: {},
            sh.Ref: self._ref,
            sh.EventName: self._event_name,
            sh.Many: self._many,
            sh.Table: self._table,
            sh.Steps: self._steps,
            sh.Map: self._map,
            sh.Either: self._either,
        }

    def of(self, shape: sh.Shape) -> Json:
        """The schema of a shape."""
        return self._writers[type(shape)](shape)

    # ------------------------------------------------------------------ files

    def playbook(self) -> Json:
        """A playbook file."""
        trigger = self._shared("trigger", self._trigger)
        own = {"trigger": _choose("array", {"items": trigger, "minItems": 1}, trigger)}
        return self._file("A playbook", self._fields(PLAYBOOK.fields, own))

    def catalog(self) -> Json:
        """A catalog file: any of its sections."""
        properties = {name: self.of(shape) for name, shape in SECTIONS.items()}
        return self._file(
            "A catalog file",
            {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1},
        )

    def program(self) -> Json:
        """``drumbeat.yaml``."""
        fields = {
            "type": "object",
            "propertyNames": {"pattern": _FIELD_NAME},
            "additionalProperties": self._shared("field_type", _field_type),
        }
        others = {"enum": ["open", "closed"], "description": "undeclared types: let in, or quarantined"}
        events: Json = {
            "type": "object",
            "properties": {"*": others},
            "additionalProperties": fields,
        }
        own = {
            "profile": _choose("object", fields, {"const": "open"}),
            "events": events,
            "feeds": self._feeds(),
            "channels": self._channels(),
        }
        return self._file("The program file, drumbeat.yaml", self._fields(PROGRAM.fields, own))

    def _feeds(self) -> Json:
        """Each entry is one word with its setting."""
        words = {word: _described(self.of(feed_shape(word)), summary(FEEDS.get(word))) for word in FEEDS}
        one: Json = {"type": "object", "properties": words, "minProperties": 1, "maxProperties": 1}
        return {"type": "array", "items": one}

    def _channels(self) -> Json:
        """``via`` is looked at first, and only the keys of that kind apply."""
        out: Json = {"properties": {"via": {"enum": list(CHANNELS), "description": CHANNEL.fields["via"].note}}}
        for word in CHANNELS:
            body = self._fields(channel_shape(word).fields, {"via": {"const": word}})
            out = {"if": {"properties": {"via": {"const": word}}}, "then": body, "else": out}
        entry = {"type": "object", "required": ["via"], **out}
        return {"type": "object", "propertyNames": {"pattern": f"^(?:{sh.NAME})$"}, "additionalProperties": entry}

    def scenario(self) -> Json:
        """A scenario test."""
        past: Json = {
            "type": "object",
            "properties": {name: _described(self.of(it.shape), it.note) for name, it in HISTORY.fields.items()},
            "required": [name for name, it in HISTORY.fields.items() if it.required],
        }
        user: Json = {
            "type": "object",
            "description": "traits, consent and history",
            "properties": {"consent": self.of(CONSENT), "history": {"type": "array", "items": past}},
        }
        users: Json = {
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{sh.FREE_NAME})$"},
            "additionalProperties": user,
        }
        own = {"users": users, "timeline": {"type": "array", "minItems": 1, "items": self._entry()}}
        return self._file("A scenario test", self._fields(SCENARIO.fields, own))

    def _entry(self) -> Json:
        """An entry of a timeline: its word comes first."""
        expected = self._shared("expectation", self._expectation)
        many = _choose("array", {"items": expected, "minItems": 1}, _choose("object", expected, {"const": "nothing"}))
        bodies = {
            word: self._fields(shape.fields, {"expect": many} if word == "expect" else {})
            for word, shape in ENTRIES.items()
        }
        return self._word_first(ENTRIES, _noted(bodies), "an entry needs one of " + ", ".join(ENTRIES))

    def _expectation(self) -> Json:
        bodies = {}
        for word in REFUSALS:
            bodies[word] = self._fields({word: sh.Field(WORDS[word].value, True), **keys_of(word)}, {})
        plain = {
            word: self._fields({word: sh.Field(it.value, True, it.note), **keys_of(word)}, {})
            for word, it in WORDS.items()
            if word not in REFUSALS
        }
        # where a key of one word is another word, the one that has the key is meant
        bodies |= {word: plain.pop(word) for word in list(plain) if not keys_of(word).keys().isdisjoint(WORDS)}
        inner = self._word_first(plain, _noted(plain), "an expectation needs one of " + ", ".join(WORDS))
        out: Json = inner
        for word, body in bodies.items():
            out = {"if": {"required": [word]}, "then": body, "else": out}
        return {"type": "object", **out}

    def _file(self, title: str, body: Json) -> Json:
        head = {"$schema": DRAFT, "title": title}
        return {**head, **body, "definitions": dict(sorted(self.definitions.items()))}

    def _shared(self, name: str, make: Callable[[], Json]) -> Json:
        if name not in self.definitions:
            self.definitions[name] = {}  # steps hold steps: the name must stand before its content does
            self.definitions[name] = make()
        return {"$ref": f"#/definitions/{name}"}

    # ------------------------------------------------------------------ triggers and steps

    def _trigger(self) -> Json:
        bodies: dict[str, Json] = {}
        for word in TRIGGERS:
            shape = TRIGGERS.get(word).shape
            if not isinstance(shape, sh.Map):
                raise TypeError("the shape of a trigger is a Map that holds its own word")
            bodies[word] = self._fields({**shape.fields, **TRIGGER_MODIFIERS.fields}, {})
            bodies[word]["description"] = manual(TRIGGERS.get(word))[0]
        return self._word_first(TRIGGERS, bodies, "a trigger needs one word: " + ", ".join(TRIGGERS))

    def _step(self) -> Json:
        bodies: dict[str, Json] = {}
        for word in ACTIONS:
            kind = ACTIONS.get(word)
            own = {word: sh.Field(kind.shape, True)}
            bodies[word] = self._fields({**own, **MODIFIERS.fields}, {})
            bodies[word]["description"] = manual(kind)[0]
        return self._word_first(ACTIONS, bodies, "a step needs one verb: " + ", ".join(ACTIONS))

    def _word_first(self, registry: Collection[str] | Registry[Any], bodies: Mapping[str, Json], need: str) -> Json:
        """The word that stands there chooses the body; the refusals of a body's extra keys refuse a second word."""
        keys = sorted({key for body in bodies.values() for key in body["properties"]})
        wordless = [key for key in keys if key not in registry]
        return {
            "type": "object",
            "description": need,
            "properties": {word: {"description": body["description"]} for word, body in bodies.items()},
            "propertyNames": {"enum": keys},
            "not": {"propertyNames": {"enum": wordless}},
            "allOf": [{"if": {"required": [word]}, "then": body} for word, body in bodies.items()],
        }

    def _steps(self, shape: sh.Steps) -> Json:
        steps = self._shared("steps", lambda: {"type": "array", "items": self._shared("step", self._step)})
        return steps if shape.empty else {"allOf": [steps], "minItems": 1}

    # ------------------------------------------------------------------ scalars

    def _text(self, shape: sh.Text) -> Json:
        if shape.choices:
            return {"enum": list(shape.choices)}
        if not shape.pattern:
            return {"type": "string" if shape.only_text else _SCALAR}
        # ``id: 7`` and ``id: true`` are text to the reader, so what YAML makes of them is let in where it fits
        fits = [word for word in ("0", "1", "true") if re.fullmatch(shape.pattern, word)]
        if shape.only_text:
            fits = []
        types = ["string", *(["integer"] if "1" in fits else []), *(["boolean"] if "true" in fits else [])]
        out = _pattern(shape.pattern, shape.what)
        if "1" in fits:
            out["minimum"] = 0 if "0" in fits else 1
        return {**out, "type": types if len(types) > 1 else "string"}

    def _ref(self, shape: sh.Ref) -> Json:
        def make() -> Json:
            known = sorted(self.names.get(shape.kind, ()))
            if not known:
                return {"type": _SCALAR, "description": name_of(shape.kind)}
            numbers = [value for name in known if isinstance(value := resolve(name), int)]
            return {"enum": [*known, *numbers], "description": name_of(shape.kind)}

        return self._shared(f"name_of_{shape.kind}", make)

    def _event_name(self, shape: sh.EventName) -> Json:
        """Under ``"*": closed`` one of the types there are; else any, and the declared ones are offered."""

        def make() -> Json:
            known, closed = sorted(self.names.get("event", ())), bool(self.names.get("closed"))
            if not known:
                return {"type": "string", "description": "event type"}
            choice: Json = {"enum": known} if closed else {"type": "string", "examples": known}
            return {"description": "event type", **choice}

        return self._shared("name_of_event", make) if self.names.get("event") else {"type": "string"}

    def _duration(self, shape: sh.Duration) -> Json:
        elapsed = self._shared("duration", lambda: _pattern("[1-9][0-9]{0,8}[smhdw]", "elapsed time such as 3d"))
        if not shape.calendar:
            return elapsed
        if not shape.until:
            calendar = self._shared("calendar_wait", lambda: self._fields(CALENDAR.fields, {}))
        else:
            words = self.of(WORKDAYS.fields["calendar"].shape)
            both = {"until": {"type": _SCALAR}, "calendar": words}
            until = {"type": "object", "properties": both, "additionalProperties": False}
            calendar = self._shared("workday_wait", lambda: self._fields(WORKDAYS.fields, {}))
            calendar = {"if": {"required": ["until"]}, "then": until, "else": calendar}
        return _choose("object", calendar, elapsed)

    def _condition(self) -> Json:
        """An expression; a list; or one of all, any, none with a list."""
        parts = {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/condition"}}
        words = ("all", "any", "none")
        operators: Json = {
            "properties": dict.fromkeys(words, parts),
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
        note = "an expression, a list (= all), or {all|any|none: [...]}"
        return {"description": note, **_choose("object", operators, _choose("array", parts, {"type": _SCALAR}))}

    # ------------------------------------------------------------------ structures

    def _many(self, shape: sh.Many) -> Json:
        many = {"type": "array", "items": self.of(shape.of), "minItems": shape.at_least}
        return many if shape.only_list else _choose("array", many, self.of(shape.of))

    def _table(self, shape: sh.Table) -> Json:
        out: Json = {"type": "object", "additionalProperties": self.of(shape.of)}
        if shape.pattern:
            out["propertyNames"] = {"pattern": f"^(?:{shape.pattern})$"}
        return out

    def _either(self, shape: sh.Either) -> Json:
        forms = (("array", shape.seq), ("object", shape.map))
        types = [kind for kind, it in forms if it is not None] + (_SCALAR if shape.scalar is not None else [])
        out = self.of(shape.scalar) if shape.scalar is not None else {}
        for kind, it in forms:
            if it is not None:
                out = _choose(kind, self.of(it), out)
        return {"type": types, **out}

    def _map(self, shape: sh.Map) -> Json:
        body = self._fields(shape.fields, {})
        for group in shape.one_of:
            body.setdefault("allOf", []).append(_exactly_one(group))
        if shape.flag:
            return _choose("boolean", {"const": True}, body)
        if shape.short is None:
            return body
        short = self.of(shape.fields[shape.short].shape)
        # a bare mapping cannot be told from the mapping a short form takes, so there only the short form exists
        if isinstance(shape.fields[shape.short].shape, (sh.Table, sh.Duration)):
            return short
        return _choose("object", body, short)

    def _fields(self, fields: Mapping[str, sh.Field], own: Mapping[str, Json]) -> Json:
        """A mapping with known keys; ``own``: schemas that stand instead of a key's shape."""
        properties = {
            name: _described(own[name] if name in own else self.of(field.shape), field.note)
            for name, field in fields.items()
        }
        out: Json = {"type": "object", "properties": properties, "additionalProperties": False}
        needed = [name for name, field in fields.items() if field.required]
        return {**out, "required": needed} if needed else out


def _noted(bodies: Mapping[str, Json]) -> Mapping[str, Json]:
    """Bodies with a description, as ``_word_first`` wants them."""
    return {word: {"description": word, **body} for word, body in bodies.items()}


def _choose(kind: str, then: Json, otherwise: Json) -> Json:
    """The type of what stands there chooses the schema."""
    return {"if": {"type": kind}, "then": then, "else": otherwise}


def _exactly_one(group: tuple[str, ...]) -> Json:
    """One key of the group stands and no other; said key by key, for the sake of the message."""
    out: Json = {"required": [group[-1]]}
    for place in range(len(group) - 2, -1, -1):
        others = dict.fromkeys(group[place + 1 :], False)
        out = {"if": {"required": [group[place]]}, "then": {"properties": others}, "else": out}
    return out


def _described(schema: Json, note: str) -> Json:
    if not note:
        return schema
    # draft 7 ignores whatever stands beside a $ref
    return {"description": note, "allOf": [schema]} if "$ref" in schema else {**schema, "description": note}


def _pattern(pattern: str, what: str) -> Json:
    return {"type": "string", "pattern": f"^(?:{pattern})$", "description": what}


def _wall_time(shape: sh.WallTime) -> Json:
    words = "".join(f"|{word}" for word in shape.or_words)
    return _pattern(f"([01][0-9]|2[0-3]):[0-5][0-9]{words}", 'wall time, for example "09:30"')


def _numeric(shape: sh.Int | sh.Number, kind: str) -> Json:
    out: Json = {"type": kind}
    if shape.low is not None:
        out["minimum"] = shape.low
    if shape.high is not None:
        out["maximum"] = shape.high
    return _choose("string", {"enum": list(shape.or_words)}, out) if shape.or_words else out


def _field_type() -> Json:
    bases = "|".join(sorted(BASES))
    named = {"type": "string", "pattern": rf"^\s*(none\s*\|\s*)*({bases})\s*(\|\s*none\s*)*$"}
    values = {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}
    return {"description": "text, date | none, or a list of values", **_choose("array", values, named)}


def _event() -> Json:
    """One record of a feed, as ``engine/door.py`` reads it."""
    name = {"type": ["string", "null"], "minLength": 1, "maxLength": door.MAX_ID}
    time = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
    there: Json = {"type": "string"}
    return {
        "$schema": DRAFT,
        "title": "An event: one line of a feed",
        "type": "object",
        "properties": {
            "id": {**name, "description": "unique among all feeds; the same id again is the same event"},
            "type": {"type": "string", "minLength": 1, "maxLength": door.MAX_TYPE, "description": "such as order.paid"},
            "time": {"type": "string", "pattern": time, "description": "when it happened, with an offset"},
            "user": {**name, "description": "the user it happened to"},
            "group": {**name, "description": "the group it happened in"},
            "data": {"type": ["object", "null"], "maxProperties": door.MAX_KEYS, "description": "the payload"},
        },
        "required": ["type", "time"],
        "additionalProperties": False,
        "if": {"properties": {"user": there}, "required": ["user"]},
        "else": {"properties": {"group": there}, "required": ["group"]},
    }
