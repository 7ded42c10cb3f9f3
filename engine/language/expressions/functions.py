"""The functions of the language, one entry of a table each: its arguments and the builder of its code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from jinja2 import nodes

from engine.core.history import Reader, Where
from engine.core.series import OWN
from engine.language.expressions import paths
from engine.language.expressions.calling import Arguments, Word, bound
from engine.language.expressions.code import UNKNOWN, WORDS, Code, Line
from engine.language.expressions.filtering import FILTERS
from engine.language.expressions.issues import did_you_mean
from engine.language.expressions.lexer import unquoted
from engine.language.expressions.metering import METERING
from engine.language.expressions.parse import parse
from engine.language.expressions.scope import Scope
from engine.language.expressions.testing import TESTS
from engine.language.expressions.unparse import unparse

if TYPE_CHECKING:
    from engine.language.expressions.compiler import Compiler

# -- calling


def call(c: Compiler, node: Any) -> Code:
    """``name(...)`` or ``user.get('x')``."""
    target = node.node
    if isinstance(target, nodes.Getattr):
        base = target.node
        if target.attr == "get" and isinstance(base, nodes.Name) and base.name == c.scope.subject and not c.scope.where:
            return paths.user_get(c, node, base.name)
        hint = f"write {unparse(base)} | {target.attr}" if target.attr in FILTERS else ""
        return c.say(c.parsed.after(target.lineno), "not-allowed", f"'.{target.attr}()': values have no methods", hint)
    if not isinstance(target, nodes.Name):
        return c.say(node, "not-allowed", "only functions can be called")
    name, where = target.name, c.parsed.span(target)
    word = FUNCTIONS.get(name)
    if word is None:
        other = _other_family(name)
        return c.say(where, "unknown-function", f"unknown function '{name}'", did_you_mean(name, FUNCTIONS, other))
    if word.subject and c.scope.where:
        return c.say(where, "not-here", f"{name}() is not known in where=", "where= looks at the event alone")
    mark = len(c.leaves)
    arguments = bound(c, node, word, f"{name}()", where)
    if arguments is None:
        return UNKNOWN
    code = word.build(c, arguments, where)
    if code is UNKNOWN:
        return code
    beside, c.beside = c.beside, []
    found = c.leaf(node, code, mark)
    c.leaves += beside
    return found


def _other_family(name: str) -> str:
    if name in FILTERS:
        return f"'{name}' is a filter: write x | {name}"
    return f"'{name}' is a test: write x is {name}(...)" if name in TESTS else ""


# -- history


def _type(c: Compiler, arguments: Arguments) -> str | None:
    name = c.text_of(arguments["type"], "the event type")
    schema = c.scope.schema
    if name is not None and not schema.knows_type(name):
        hint = did_you_mean(name, schema.type_names(), 'declare it, or declare "*": open')
        c.say(arguments["type"], "unknown-event", f"there is no event '{name}'", hint)
        return None
    return name


def _field(c: Compiler, arguments: Arguments, type_: str, numeric: bool) -> str | None:
    name = c.text_of(arguments["field"], "the field")
    if name is None:
        return None
    declared = paths.declared_field(c, type_, name)
    if declared is None:
        hint = did_you_mean(name, c.scope.schema.events[type_])
        c.say(arguments["field"], "unknown-field", f"event '{type_}' has no field '{name}'", hint)
        return None
    if numeric and declared.kind not in ("number", "any"):
        c.say(arguments["field"], "type-mismatch", f"'{name}' is {WORDS[declared.kind]}, not a number")
    return name


def _whose(c: Compiler, arguments: Arguments, type_: str) -> str | None:
    """``distinct(type, "user")``: who caused the events, unless the data declares a field of that name."""
    node = arguments["field"]
    name = node.value if isinstance(node, nodes.Const) else None
    declared = c.scope.schema.events.get(type_, {})
    return OWN.get(str(name)) if name not in declared else None


def _window(c: Compiler, arguments: Arguments) -> tuple[bool, int | None]:
    """(understood, microseconds or None for ever)."""
    if "within" not in arguments:
        return True, None
    length = c.duration_of(arguments["within"])
    return length is not None, length


def _where(c: Compiler, arguments: Arguments, type_: str) -> tuple[bool, Where | None]:
    """(understood, the condition on the event alone)."""
    node = arguments.get("where")
    if node is None:
        return True, None
    token = c.parsed.token(node.lineno)
    if not (isinstance(node, nodes.Const) and isinstance(node.value, str)):
        return _bare_where(c, node, token.start if token is not None else 0, type_)
    text = c.text_of(node, "where=")
    if text is None or token is None:
        return False, None
    inner = parse(text)
    found = judged(c.inner(inner, where_scope(c.scope, (type_,))))
    body, places = unquoted(c.parsed.text, token.start, token.end)
    c.issues.take(inner.issues.found, places if body == text else (token.start,) * len(text))
    return found is not None, found


def _bare_where(c: Compiler, node: nodes.Expr, start: int, type_: str) -> tuple[bool, Where | None]:
    """``where=event.amount >= 100`` without quotes means the same; its problems are told where it begins."""
    text = unparse(node)
    inner = parse(text)
    found = judged(c.inner(inner, where_scope(c.scope, (type_,))))
    c.issues.take(inner.issues.found, (start,) * max(1, len(text)))
    return found is not None, found


def where_scope(scope: Scope, types: tuple[str, ...]) -> Scope:
    """What exists in ``where=``: the event alone."""
    return replace(scope, where=True, event_types=types, entry_types=None, steps=None, variables=None, trigger=False)


def judged(compiler: Compiler) -> Where | None:
    """The condition on the event alone that a bare compiler makes; None when one of its issues is an error."""
    node = compiler.parsed.node
    if node is None:
        return None
    code = compiler.still(node)
    if not compiler.issues.found and not compiler.leaves:
        hint = "name event.<field>"
        compiler.say(node, "constant-condition", "this looks at nothing of the event and never changes", hint)
    if compiler.issues.fatal:
        return None
    name = compiler.module.function(code.src if code.kind == "bool" else f"bool({code.src})")
    return Where(unparse(node), compiler.module.build(compiler.parsed.text)[name])


def _number(c: Compiler, reader: Reader, what: str, within: int | None, *, nullable: bool = False) -> Code:
    """The answer of a reader that gives numbers; asked twice, it is one."""
    key = (reader.key, what, within)
    if reader.next_change is not None:
        c.change(f"{c.module.name(reader.next_change, (*key, 'change'))}(m.state, m.time)")
    src = reader.src or f"{c.module.name(reader.read, key)}(m.state, m.time)"
    return Code(src, "number", nullable, nullable, sure=True)


def _count(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    type_ = _type(c, arguments)
    fine, within = _window(c, arguments)
    okay, condition = _where(c, arguments, type_) if type_ is not None else (False, None)
    if type_ is None or not fine or not okay:
        return UNKNOWN
    return _number(c, c.book.count(type_, within, condition), "count", within)


def _over(what: str) -> Callable[..., Code]:
    def build(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
        type_ = _type(c, arguments)
        fine, within = _window(c, arguments)
        if type_ is None:
            return UNKNOWN
        field = _whose(c, arguments, type_) if what == "distinct" else None
        field = field or _field(c, arguments, type_, what != "distinct")
        okay, condition = _where(c, arguments, type_)
        if field is None or not fine or not okay:
            return UNKNOWN
        if what == "distinct":
            return _number(c, c.book.distinct(type_, field, within, condition), what, within)
        reader = c.book.numbers(what, type_, field, within, condition)
        return _number(c, reader, what, within, nullable=what != "sum")

    return build


def _end(which: str) -> Callable[..., Code]:
    def build(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
        type_ = _type(c, arguments)
        if type_ is None:
            return UNKNOWN
        reader = c.book.first(type_) if which == "first" else c.book.last(type_)
        src = f"{c.module.name(reader.read, (reader.key,))}(m.state, m.time)"
        return Code(src, "event", nullable=True, sure=True, events=(type_,))

    return build


def _since(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    type_ = _type(c, arguments)
    if type_ is None:
        return UNKNOWN
    reader = c.book.latest(type_)
    latest = f"{c.module.name(reader.read, (reader.key,))}(m.state, m.time)"
    return Code(f"since(m, {latest})", "duration", nullable=True, sure=True, line=Line(1, (), (latest,)))


def _interval(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    type_ = _type(c, arguments)
    percent = _whole(c, arguments["percent"], "a percentile", 1, 100)
    if type_ is None or percent is None:
        return UNKNOWN
    reader = c.book.interval(type_, percent)
    src = f"{c.module.name(reader.read, (reader.key, percent))}(m.state, m.time)"
    return Code(src, "duration", nullable=True, sure=True)


def _whole(c: Compiler, node: nodes.Expr, what: str, low: int, high: int) -> int | None:
    """A written whole number."""
    value = node.value if isinstance(node, nodes.Const) else None
    if value.__class__ is int and low <= value <= high:
        return value
    c.say(node, "type-mismatch", f"{what} is a whole number from {low} to {high}")
    return None


def _streak(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    type_ = _type(c, arguments)
    savers = _whole(c, arguments["savers"], "the number of savers", 1, 31) if "savers" in arguments else 0
    if type_ is None or savers is None:
        return UNKNOWN
    c.change("midnight(m)")
    series = c.book.streak(type_)
    if savers:
        src = f"{c.module.name(series.saved, (series.key, 'saved'))}(m.state, day_number(m), {savers})"
    else:
        src = f"{c.module.name(series.length, (series.key,))}(m.state, day_number(m))"
    return Code(src, "number", missing=False, sure=True)


# -- the subject


def _member(family: str, src: str) -> Callable[..., Code]:
    def build(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
        name = c.text_of(arguments["name"], f"the name of a {family}")
        if name is None:
            return UNKNOWN
        c.known(family, name, c.parsed.span(arguments["name"]))
        if family == "segment":
            c.change(f"segment_change(m, {name!r})")
        if family == "role":
            c.change("role_change(m)")
        if family == "group" and c.scope.subject != "user":
            return c.say(where, "not-here", "in_group() asks about a user", "the playbook is not about users")
        return Code(src.format(repr(name)), "bool", missing=False, sure=True)

    return build


def _account(c: Compiler, node: nodes.Expr | None) -> str | None:
    """Source of the name of an account, the program's first by default; None after a problem."""
    if node is None:
        return "m.env.account"
    name = c.text_of(node, "the name of an account")
    known = c.scope.accounts
    if name is None:
        return None
    if known is not None and name not in known:
        hint = did_you_mean(name, known, c.scope.elsewhere(name))
        c.say(node, "unknown-account", f"there is no account '{name}'", hint)
        return None
    return repr(name)


def _points(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    account = _account(c, arguments["account"])
    return UNKNOWN if account is None else Code(f"m.state.points.get({account}, 0)", "number", missing=False, sure=True)


def _expiring(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    length, account = c.duration_of(arguments["within"]), _account(c, arguments.get("account"))
    if length is None or account is None:
        return UNKNOWN
    c.change(f"expiring_change(m, {account}, {length})")
    return Code(f"expiring(m, {account}, {length})", "number", missing=False, sure=True)


def _bucket(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    salt = c.still(arguments["salt"])
    if salt.kind not in ("text", "tier", "any"):
        return c.say(arguments["salt"], "type-mismatch", f"the salt is text, not {WORDS[salt.kind]}")
    return Code(f"bucket(m, {salt.src})", "number", salt.missing, salt.nullable, sure=True)


def _clock(name: str, kind: str, kinds: tuple[str, ...], change: str) -> Callable[..., Code]:
    """A function of a time that changes with the local hour or day."""

    def build(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
        node = arguments["time"]
        code = c.visit(node)
        if code is UNKNOWN:
            return UNKNOWN
        if code.kind not in (*kinds, "any"):
            return c.say(node, "type-mismatch", f"{name}() looks at {WORDS[kinds[0]]}, not at {WORDS[code.kind]}")
        if isinstance(node, nodes.Name) and node.name == "now":
            c.change(f"{change}(m)")
        else:
            c.freeze(code, node)
        if name == "is_holiday" and not c.scope.holidays:
            return c.say(where, "unknown-name", "the program has no calendar of holidays", "define one: {holidays: CN}")
        missing = kind != "bool" and code.missing
        if name == "weekday" and isinstance(node, nodes.Name) and node.name == "today":
            src = "((day_number(m) - 1) % 7 + 1)"  # day 1 was a Monday
        elif name == "hour":
            src = f"hour_at(m, {code.instant})" if code.instant is not None else f"hour_of(m, {code.src})"
        else:
            src = f"{name}(m, {code.src})"
        return Code(src, kind, missing, missing and code.nullable, sure=True)

    return build


def _duration(c: Compiler, arguments: Arguments, where: tuple[int, int]) -> Code:
    node = arguments["text"]
    if not isinstance(node, nodes.Const):
        return c.say(node, "bad-duration", "a duration must be text in quotes", "such as duration('7d')")
    length = c.duration_of(node)
    return UNKNOWN if length is None else c.module.const(timedelta(microseconds=length))


_HISTORY: Final = ("within", "where")

FUNCTIONS: Final[dict[str, Word]] = {
    "count": Word(_count, ("type",), named=_HISTORY),
    "sum": Word(_over("sum"), ("type", "field"), named=_HISTORY),
    "avg": Word(_over("avg"), ("type", "field"), named=_HISTORY),
    "min": Word(_over("min"), ("type", "field"), named=_HISTORY),
    "max": Word(_over("max"), ("type", "field"), named=_HISTORY),
    "distinct": Word(_over("distinct"), ("type", "field"), named=_HISTORY),
    "first": Word(_end("first"), ("type",)),
    "last": Word(_end("last"), ("type",)),
    "since": Word(_since, ("type",)),
    "streak": Word(_streak, ("type",), named=("savers",)),
    "interval": Word(_interval, ("type", "percent")),
    "in_segment": Word(_member("segment", "in_segment(m, {})"), ("name",)),
    "in_group": Word(_member("group", "({} in m.state.groups)"), ("name",)),
    "has_role": Word(_member("role", "holds_role(m, {})"), ("name",)),
    "has_badge": Word(_member("badge", "({} in m.state.badges)"), ("name",)),
    "points": Word(_points, ("account",)),
    "points_expiring": Word(_expiring, ("within",), ("account",)),
    "bucket": Word(_bucket, ("salt",)),
    "hour": Word(_clock("hour", "number", ("time",), "now_hour"), ("time",)),
    "weekday": Word(_clock("weekday", "number", ("date", "time"), "now_midnight"), ("time",)),
    "is_workday": Word(_clock("is_workday", "bool", ("date", "time"), "now_midnight"), ("time",)),
    "is_holiday": Word(_clock("is_holiday", "bool", ("date", "time"), "now_midnight"), ("time",)),
    "duration": Word(_duration, ("text",), subject=False),
    **METERING,
}
