"""Names and what hangs on them: ``user.city``, ``event.items[0].sku``, ``steps.gift.code``, ``user.get('x')``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import nodes

from engine.language.expressions.code import UNKNOWN, WORDS, Code, Line
from engine.language.expressions.issues import did_you_mean
from engine.language.expressions.scope import ANY, FieldType
from engine.language.expressions.unparse import unparse
from engine.registry import nearest

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler

OWN_EVENT: Final = ("type", "time", "id", "user", "group", "data")
"""Fields of an event itself; data of these names is reached as ``event.data.x``."""

_ROOTS: Final = ("user", "event", "entry", "group", "steps", "trigger", "vars", "now", "today")
_NOTHING: Final = ("null", "nil", "undefined", "NULL", "Null", "NONE", "nan", "NaN")

_SUBJECT: Final[dict[str, Code]] = {
    "id": Code("m.state.id", "text", missing=False, sure=True),
    "tier": Code("tier_of(m)", "tier", nullable=True, sure=True, family="level"),
    "tags": Code("m.state.tags", "list", missing=False, sure=True),
    "points": Code("m.state.points.get(m.env.account, 0)", "number", missing=False, sure=True),
    "points_pending": Code("points_pending(m)", "number", missing=False, sure=True),
    "badges": Code("m.state.badges", "list", missing=False, sure=True, family="badge"),
    "groups": Code("m.state.groups", "list", missing=False, sure=True, family="group"),
    "zone": Code("zone_name(m)", "text", missing=False, sure=True),
    "locale": Code("locale_of(m)", "text", missing=False),
    "created_at": Code("moment_of(m.state.created_at)", "time", nullable=True, sure=True, instant="m.state.created_at"),
    "last_active_at": Code(
        "moment_of(m.state.last_active)", "time", nullable=True, sure=True, instant="m.state.last_active"
    ),
}

_GROUP: Final[dict[str, Code]] = {
    "id": Code("group_name(m)", "text", missing=False, sure=True),
    **{name: Code(f"card_of(m, {name!r})", "text", nullable=True) for name in ("title", "topic", "platform", "owner")},
    "deputies": Code("card_of(m, 'deputies')", "list", missing=False, sure=True),
    "members": Code("m.state.members", "number", missing=False, sure=True),
    "roles": Code("roles_of(m)", "map", missing=False, sure=True),
    "silent_days": Code("silent_days(m)", "number", nullable=True, sure=True),
    **{name: _SUBJECT[name] for name in ("zone", "tags", "points", "badges", "locale", "created_at", "last_active_at")},
}
_MOVING: Final = {"roles": "role_change(m)", "silent_days": "silent_change(m)"}
"""Fields of a group that time alone changes -> when it does next."""


def path(c: Compiler, node: Any) -> Code:
    """A name, a field or a place."""
    mark = len(c.leaves)
    links: list[Any] = []
    base = node
    while isinstance(base, (nodes.Getattr, nodes.Getitem)):
        links.append(base)
        base = base.node
    links.reverse()
    if isinstance(base, nodes.Name):
        code, used = _root(c, base, links)
        own = True
    else:
        code, used, own = c.visit(base), 0, isinstance(base, nodes.Call)
    for link in links[used:]:
        if code is UNKNOWN and not isinstance(base, nodes.Call):
            return UNKNOWN
        code = _step(c, code, link)
    return c.leaf(node, code, mark) if own and code is not UNKNOWN else code


def _name_span(c: Compiler, link: Any) -> tuple[int, int]:
    """Span of the word after the dot."""
    return c.parsed.after(link.lineno)


def _root(c: Compiler, base: nodes.Name, links: list[Any]) -> tuple[Code, int]:
    """The value a path begins with, and how many links that used up."""
    name = base.name
    where = c.parsed.span(base)
    if name not in _ROOTS:
        return _unknown(c, name, where), 0
    if c.scope.where and name != "event":
        return c.say(where, "not-here", f"'{name}' is not known in where=", "where= looks at the event alone"), 0
    if name == "now":
        return Code("moment_of(m.now)", "time", missing=False, sure=True, instant="m.now", line=Line(1)), 0
    if name == "today":
        c.change("midnight(m)")
        return Code("today(m)", "date", missing=False, sure=True), 0
    if name in ("event", "entry"):
        return _event_root(c, name, where), 0
    if not links:
        example = {"user": "user.city", "steps": "steps.gift", "vars": "vars.x"}.get(name, f"{name}.id")
        return c.say(where, "unknown-field", f"'{name}' alone is no value", f"name a field, such as {example}"), 0
    if isinstance(links[0], nodes.Getitem) and not isinstance(links[0].arg, nodes.Const):
        return c.say(where, "not-allowed", f"fields of '{name}' are named, not computed"), 0
    field = links[0].attr if isinstance(links[0], nodes.Getattr) else str(links[0].arg.value)
    return _NAMED[name](c, name, field, where, _name_span(c, links[0])), 1


def _unknown(c: Compiler, name: str, where: tuple[int, int]) -> Code:
    message = f"unknown name '{name}'"
    if name in ("and", "or", "not", "in", "is", "if", "else"):
        return c.say(where, "syntax", f"unexpected '{name}'")
    if name in c.functions:
        return c.say(where, "unknown-name", f"'{name}' is a function", f"write {name}(...)")
    if name in _NOTHING:
        return c.say(where, "unknown-name", message, "a missing value is 'none'")
    return c.say(where, "unknown-name", message, did_you_mean(name, _ROOTS, f"text needs quotes: '{name}'"))


def _event_root(c: Compiler, name: str, where: tuple[int, int]) -> Code:
    types = c.scope.event_types if name == "event" else c.scope.entry_types
    if types is None:
        hint = "a schedule, a timer or a user alone brings no event; ask the history, such as last('order.paid')"
        if name == "entry":
            return c.say(where, "no-event", "there is no 'entry' here", hint)
        return c.say(where, "no-event", "there is no 'event' here", hint)
    if c.bare:
        return Code("m", "event", missing=False, sure=True, events=types)
    return Code(f"m.{name}", "event", sure=True, events=types, missing=name == "entry")


def _subject(c: Compiler, name: str, field: str, where: tuple[int, int], at: tuple[int, int]) -> Code:
    if name != c.scope.subject:
        return _of_another(c, name, field, where, at)
    if name == "group":
        return _group_field(c, field, at)
    own = _SUBJECT.get(field)
    if own is not None:
        return own
    schema = c.scope.schema
    declared = schema.profile.get(field)
    if declared is None and name == "user" and not schema.any_user_field:
        near = did_you_mean(
            field, [*_SUBJECT, *schema.profile], f"declare it in the profile, or read user.get('{field}')"
        )
        return c.say(at, "unknown-field", f"'user' has no field '{field}'", near)
    return typed(c, f"m.state.traits.get({field!r})", declared or ANY)


def _of_another(c: Compiler, name: str, field: str, where: tuple[int, int], at: tuple[int, int]) -> Code:
    """A field of what the playbook is not about."""
    if name == "group" and field == "id":
        return Code("group_id(m)", "text", nullable=True, family="group")
    if name == "group":
        hint = "only group.id is known: the playbook is not about groups (subject: group)"
        return c.say(at, "unknown-field", f"'group' has no field '{field}' here", hint)
    if c.scope.subject == "program":
        hint = "a playbook of the program is about nobody: ask the event, or an audience"
        return c.say(where, "not-here", "'user' is not known where the program is the subject", hint)
    hint = f"did you mean 'group.{field}'?" if field in _GROUP else "ask the event: event.user is who caused it"
    return c.say(where, "not-here", "'user' is not known where a group is the subject", hint)


def _group_field(c: Compiler, field: str, at: tuple[int, int]) -> Code:
    """A field of the group the playbook is about: its own, or one that ``set`` or ``group.updated`` wrote."""
    own = _GROUP.get(field)
    if own is None:
        near = nearest(field, _GROUP)
        if near is not None:
            hint = f"did you mean 'group.{near}'? one that is written by set is read by group.get('{field}'), too"
            return c.say(at, "unknown-field", f"'group' has no field '{field}'", hint)
        return typed(c, f"m.state.traits.get({field!r})", ANY)
    if field in _MOVING:
        c.change(_MOVING[field])
    return own


def _step_result(c: Compiler, name: str, field: str, where: tuple[int, int], at: tuple[int, int]) -> Code:
    if c.scope.steps is None:
        return c.say(where, "not-here", "'steps' is not known here", "it exists in the steps of a playbook")
    if field not in c.scope.steps:
        return c.say(at, "unknown-step", f"there is no step '{field}'", did_you_mean(field, c.scope.steps))
    return Code(f"m.steps.get({field!r})", "map", nullable=True, family=f"step:{field}")


def _variable(c: Compiler, name: str, field: str, where: tuple[int, int], at: tuple[int, int]) -> Code:
    if c.scope.variables is None:
        return c.say(where, "not-here", "'vars' is not known here", "it exists inside a playbook")
    if field not in c.scope.variables:
        hint = did_you_mean(field, c.scope.variables, "define it under 'vars' of the playbook")
        return c.say(at, "unknown-field", f"'vars' has no field '{field}'", hint)
    return Code(f"m.vars.get({field!r})")


def _trigger(c: Compiler, name: str, field: str, where: tuple[int, int], at: tuple[int, int]) -> Code:
    if not c.scope.trigger:
        return c.say(where, "not-here", "'trigger' is not known here", "it exists inside a playbook")
    if field != "id":
        return c.say(at, "unknown-field", f"'trigger' has no field '{field}'", "only trigger.id is known")
    return Code("m.trigger", "text")


_NAMED: Final = {
    "user": _subject,
    "group": _subject,
    "steps": _step_result,
    "vars": _variable,
    "trigger": _trigger,
}


def typed(c: Compiler, src: str, declared: FieldType) -> Code:
    """A field as it is declared: times and dates are read from their text."""
    if declared.kind in ("time", "date"):
        src = f"as_{declared.kind}({src})"
    family = "level" if declared.kind == "tier" else None
    choices = declared.values or None
    sure = declared.kind in ("time", "date")
    return Code(
        src, declared.kind, True, declared.optional and declared is not ANY, sure, choices=choices, family=family
    )


def _step(c: Compiler, code: Code, link: Any) -> Code:
    """One more field or place."""
    if isinstance(link, nodes.Getitem):
        if isinstance(link.arg, nodes.Slice):
            return c.visit(link.arg)
        if not (isinstance(link.arg, nodes.Const) and isinstance(link.arg.value, str)):
            place = c.still(link.arg)
            if code.kind not in ("list", "text", "map", "any", "event") or place.kind not in ("number", "text", "any"):
                return c.say(link, "type-mismatch", f"there are no places in {WORDS.get(code.kind, code.kind)}")
            return Code(f"item({code.src}, {place.src})", nullable=code.nullable)
    name = link.attr if isinstance(link, nodes.Getattr) else link.arg.value
    return field_of(c, code, name, link.node, _name_span(c, link))


def field_of(c: Compiler, code: Code, name: str, node: nodes.Node, at: tuple[int, int]) -> Code:
    """``code.name``."""
    if code.kind == "event":
        return _event_field(c, code, name, node, at)
    if code.kind == "map" and code.family is not None and code.family.startswith("step:"):
        return _result_field(c, code, name, at)
    if code.kind in ("map", "any"):
        return Code(f"field({code.src}, {name!r})", nullable=code.nullable)
    shown = unparse(node)
    hints = {"length": f"write {shown} | length", "first": f"write {shown} | first", "last": f"write {shown} | last"}
    if code.kind == "list" and name not in hints:
        hints[name] = f"take one entry, such as {shown}[0].{name}"
    hint = hints.get(name, f"write hour({shown}) or weekday({shown})" if code.kind == "time" else "")
    return c.say(at, "unknown-field", f"'{shown}' is {WORDS[code.kind]} and has no field '{name}'", hint)


def _result_field(c: Compiler, code: Code, name: str, at: tuple[int, int]) -> Code:
    step = str(code.family).partition(":")[2]
    fields = (c.scope.steps or {}).get(step)
    if fields is not None and name not in fields:
        return c.say(
            at, "unknown-field", f"step '{step}' gives no '{name}'", did_you_mean(name, fields, _gives(fields))
        )
    src = f"field({code.src}, {name!r})"
    if name.endswith("_at"):  # by custom an instant, whatever form the step gave it
        return Code(f"as_time({src})", "time", nullable=True, sure=True)
    return Code(src, nullable=True)


def _gives(fields: frozenset[str]) -> str:
    return "it gives " + ", ".join(sorted(fields)) if fields else "it gives nothing"


def _event_field(c: Compiler, code: Code, name: str, node: nodes.Node, at: tuple[int, int]) -> Code:
    if name in OWN_EVENT:
        return _own_field(c, code, name)
    declared = _declared(c, code.events or (), name)
    if declared is None:
        fields = {field for type_ in code.events or () for field in c.scope.schema.events[type_]}
        one = code.events[0] if code.events and len(code.events) == 1 else None
        said = f"event '{one}'" if one is not None else f"'{unparse(node)}'"
        return c.say(at, "unknown-field", f"{said} has no field '{name}'", did_you_mean(name, {*fields, *OWN_EVENT}))
    if code.src in ("m", "m.event"):
        src = f"m.data.get({name!r})"
    elif code.src == "m.entry":
        temp = c.module.temp()
        src = f"({temp}.data.get({name!r}) if ({temp}:=m.entry) is not None else None)"
    else:
        src = f"field({code.src}, {name!r})"
    found = typed(c, src, declared)
    found.nullable = found.nullable or code.nullable
    return found


def _own_field(c: Compiler, code: Code, name: str) -> Code:
    if code.src == "m":
        src = f"m.{name}"
    elif code.src == "m.event" and name == "data":
        src = "m.data"
    else:
        temp = c.module.temp()
        src = f"({temp}.{name} if ({temp}:={code.src}) is not None else None)"
    if name == "time":
        return Code(f"moment_of({src})", "time", code.missing, code.nullable, sure=True, instant=src)
    if name == "data":
        return Code(src, "map", code.missing, code.nullable)
    choices = code.events if name == "type" and code.events else None
    nullable = code.nullable or name in ("user", "group")
    return Code(src, "text", code.missing or nullable, nullable, sure=True, choices=choices)


def _declared(c: Compiler, types: tuple[str, ...], name: str) -> FieldType | None:
    """The type of a field over all types the event may have; None: no type has it."""
    if not types:
        return ANY
    found: list[FieldType] = []
    for type_ in types:
        fields = c.scope.schema.events.get(type_)
        if fields is None:
            return ANY
        if name in fields:
            found.append(fields[name])
    if not found:
        return None
    first = found[0]
    if any((one.base, one.values) != (first.base, first.values) for one in found):
        return ANY
    return FieldType(first.base, first.values, len(found) < len(types) or any(one.optional for one in found))


def declared_field(c: Compiler, type_: str, name: str) -> FieldType | None:
    """The declared type of a (possibly dotted) data field of one event type; None: it has no such field."""
    head, dot, _ = name.partition(".")
    found = _declared(c, (type_,), head)
    return ANY if found is not None and dot else found


def user_get(c: Compiler, node: Any, name: str) -> Code:
    """``user.get('x')``: a field that may be undeclared."""
    arguments = node.args or []
    if len(arguments) != 1 or node.kwargs:
        return c.say(node, "wrong-arguments", f"{name}.get() takes one name", f"write {name}.get('x') | default(0)")
    field = c.text_of(arguments[0], "the name of a field")
    if field is None:
        return UNKNOWN
    declared = c.scope.schema.profile.get(field) if name == "user" else None
    mark = len(c.leaves)
    own = (_GROUP if name == "group" else _SUBJECT).get(field)
    return c.leaf(node, own or typed(c, f"m.state.traits.get({field!r})", declared or ANY), mark)
