"""Written values: against the declared types of fields, as times without a zone, and as secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from engine.errors import ExpressionError
from engine.language.diagnostics import Page
from engine.language.expressions.runtime import as_date, as_time
from engine.language.expressions.scope import FieldType
from engine.language.lint.registry import Check
from engine.language.lint.world import Step, World, scalars
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.services import kind_word
from engine.registry import nearest

PAGES: Final[dict[str, Page]] = {
    "no-choice": Page(
        "a value the field is not declared with",
        "The field is declared with a list of values and this is none of them, so nothing that asks for a declared "
        "value will ever fit. Correct it, or add it to the list under 'profile'.",
        "# file: drumbeat.yaml\nprofile: {city: text | none, plan: [free, pro, none]}\n"
        "# file: playbooks/a.yaml\nsteps:\n  - set: {user.plan: pr0}",
        "# file: drumbeat.yaml\nprofile: {city: text | none, plan: [free, pro, none]}\n"
        "# file: playbooks/a.yaml\nsteps:\n  - set: {user.plan: pro}",
        "warning",
    ),
    "field-type": Page(
        "a value of another type than the field has",
        "The field is declared with a type under 'profile', and this value is of another one: conditions that ask for "
        "the field would then be errors, or never hold. Correct the value, or the declaration. Quotes make text; "
        "'null' takes the value of a field away that may be absent.",
        "# file: drumbeat.yaml\nprofile: {city: text | none, orders: integer | none}\n"
        "# file: playbooks/a.yaml\nsteps:\n  - set: {user.orders: many}",
        "# file: drumbeat.yaml\nprofile: {city: text | none, orders: integer | none}\n"
        "# file: playbooks/a.yaml\nsteps:\n  - set: {user.orders: 12}",
    ),
    "naive-time": Page(
        "an instant without a zone",
        "A date with a time of day is another instant in every zone. Write the offset, as in "
        "2026-05-01T10:00:00+08:00, or Z for UTC.",
        'steps:\n  - set: {user.stage: "2026-05-01T10:00:00"}',
        'steps:\n  - set: {user.stage: "2026-05-01T10:00:00+08:00"}',
        "warning",
    ),
    "secret": Page(
        "a secret written into a file",
        "Whoever may read the repository, now or later, has it. Put it into the environment and write ${NAME} here; "
        "and replace the secret, since it has been seen.",
        "channels:\n  sms: {via: http, url: https://sms.example/, headers: {Authorization: Bearer hunter2-for-real}}\n"
        "  wecom: {via: console}",
        "channels:\n"
        '  sms: {via: http, url: https://sms.example/send, headers: {Authorization: "Bearer ${SMS_TOKEN}"}}\n'
        "  wecom: {via: console}",
    ),
    "maybe-secret": Page(
        "a value that looks like a secret",
        "It is as long and as random as keys and tokens are. If it is one, put it into the environment, write ${NAME} "
        "here, and replace it; if not, say so: '# allow: maybe-secret — why'.",
        "channels:\n"
        "  sms: {via: http, url: https://sms.example/send, form: {app: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b}}\n"
        "  wecom: {via: console}",
        "channels:\n"
        '  sms: {via: http, url: https://sms.example/send, form: {app: "${SMS_APP}"}}\n  wecom: {via: console}',
        "warning",
    ),
}

# ---------------------------------------------------------------------- declared fields


def look_fields(world: World) -> None:
    """``set`` and ``changed`` with a value of another type than the field has, or that is none of the declared ones."""
    for book in world.books:
        for step in book.steps:
            if step.verb == "set" and isinstance(step.body, MapNode):
                for key, value in step.body:
                    _judge(world, key.text, value)
                    _judge_computed(world, step, key.text, value)
        for place, trigger in enumerate(book.plan.triggers):
            mapping = book.trigger_at(place)
            if trigger.word == "changed" and isinstance(mapping, MapNode):
                field = mapping.get("changed")
                for name in ("from", "to"):
                    found = mapping.get(name)
                    values = found.items if isinstance(found, SeqNode) else [found] if found is not None else []
                    for value in values:
                        if isinstance(field, ScalarNode):
                            _judge(world, field.text, value)


def _judge(world: World, path: str, value: Node) -> None:
    field = path.removeprefix("user.")
    declared = world.schema.profile.get(field)
    if declared is None or value.broken or (isinstance(value, ScalarNode) and "{{" in value.text):
        return
    if (wrong := _mistyped(declared, value)) is not None:
        world.say(
            value, "field-type", f"'user.{field}' is declared {_declared(declared)}, and this is {wrong[0]}", wrong[1]
        )
        return
    if not declared.values or not isinstance(value, ScalarNode):
        return
    if value.value is None or value.text in declared.values or (declared.optional and value.text == "none"):
        return
    near = nearest(value.text, declared.values)
    hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(declared.values)
    world.say(value, "no-choice", f"'user.{field}' is declared without '{value.text}'", hint)


def _declared(type_: FieldType) -> str:
    """A declared type as it is written."""
    absent = ["none"] if type_.optional else []
    return f"[{', '.join([*type_.values, *absent])}]" if type_.values else " | ".join([type_.base, *absent])


_TAKES: Final[dict[str, frozenset[str]]] = {
    "text": frozenset({"text", "time", "date", "duration"}), "number": frozenset({"number"}),
    "bool": frozenset({"bool"}), "date": frozenset({"date", "time", "text"}), "time": frozenset({"time", "text"}),
    "list": frozenset({"list"}), "map": frozenset({"map"}),
}  # fmt: skip
"""Kind of a field -> kinds of values that may be kept in it: times are kept as text."""
_KIND_WORDS: Final = {
    "number": "a number", "bool": "true or false", "time": "a time", "date": "a date", "list": "a list",
    "map": "a mapping", "duration": "a duration",
}  # fmt: skip


def _judge_computed(world: World, step: Step, path: str, value: Node) -> None:
    """A value that is worked out is never of the field's type, as far as what it is made of is declared."""
    field = path.removeprefix("user.")
    declared, found = world.schema.profile.get(field), dict(step.node.action.writes()).get(field)
    if declared is None or found is None or not isinstance(value, ScalarNode) or "{{" not in value.text:
        return
    given = found.kind
    takes = _TAKES.get(declared.kind)
    if takes is None or given in takes or given not in {"text", *_KIND_WORDS}:
        return
    message = f"'user.{field}' is declared {_declared(declared)}, and this gives {_KIND_WORDS.get(given, given)}"
    whole = given == "text" and "text" not in takes and _AROUND.search(value.text) is not None
    world.say(value, "field-type", message, "text around {{ }} makes text of it: leave it out" if whole else "")


_AROUND: Final = re.compile(r"^(?!\s*{{)|}}(?!\s*$)")

_FITS: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,), "tier": (str,), "date": (str,), "time": (str,), "integer": (int,), "number": (int, Decimal),
    "money": (int, Decimal), "bool": (bool,),
}  # fmt: skip
_SUCH_AS: Final = {"date": "such as 2026-05-01", "time": "such as 2026-05-01T10:00:00+08:00"}


def _mistyped(declared: FieldType, value: Node) -> tuple[str, str] | None:
    """(what a value is that a field cannot have, what to do), or None when it fits."""
    wanted = {"list": SeqNode, "map": MapNode}.get(declared.base, ScalarNode)
    if declared.base == "any":
        return None
    if isinstance(value, ScalarNode) and value.value is None and not value.style:
        return None if declared.optional else ("nothing", "it may not be absent: write its value, or '| none' there")
    if not isinstance(value, wanted):
        return kind_word(value), ""
    if not isinstance(value, ScalarNode):
        return None
    found = value.value
    if isinstance(found, bool) is not (declared.base == "bool") or not isinstance(found, _FITS[declared.base]):
        word = "true or false" if isinstance(found, bool) else "text" if isinstance(found, str) else "a number"
        return f"{word}, '{value.text}'", _mended(declared, value)
    if declared.base in _SUCH_AS and not _is_time(declared.base, value.text):
        return f"'{value.text}'", _SUCH_AS[declared.base]
    return None


def _mended(declared: FieldType, value: ScalarNode) -> str:
    if value.text == "none" and declared.optional:
        return "'null' takes the value away"
    if "text" in (declared.base, declared.kind) or declared.base == "tier":
        return f'in quotes it is text: "{value.text}"'
    if value.style:
        return "quotes make text: leave them out" if re.fullmatch(r"-?\d+(\.\d+)?|true|false", value.text) else ""
    return "true or false" if declared.base == "bool" else _SUCH_AS.get(declared.base, "")


def _is_time(base: str, text: str) -> bool:
    try:
        (as_time if base == "time" else as_date)(text)
    except (ExpressionError, ValueError):
        # an instant without its offset is told in words of its own
        return base == "time" and _NAIVE.fullmatch(text) is not None
    return True


# ---------------------------------------------------------------------- times

_NAIVE: Final = re.compile(r"(?<![\d-])(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?![\d:Zz+.-])")
_PROSE: Final = frozenset({"title", "note", "owner", "reason", "body"})


def look_times(world: World) -> None:
    """Written instants without an offset."""
    for book in world.books:
        # the file's characters first: they hold an instant far less often than its values are worth a look
        for node in _values(book.yaml) if _NAIVE.search(book.yaml.source.text) else ():
            if "T" in node.text or " " in node.text:
                for found in _NAIVE.finditer(node.text):
                    message = f"'{found[1]}' has no offset, so it is another instant in every zone"
                    example = found[1].replace(" ", "T") + "+08:00"
                    world.say(node.at(found.start(1), len(found[1])), "naive-time", message, f"such as {example}")


def _values(node: Node) -> Iterator[ScalarNode]:
    """Single values, without what is prose for people."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, ScalarNode):
            if len(here.text) >= 16:
                yield here
        elif isinstance(here, MapNode):
            waiting.extend(value for key, value in here if key.text not in _PROSE)
        elif isinstance(here, SeqNode):
            waiting.extend(here.items)


# ---------------------------------------------------------------------- secrets

_NAMES: Final = re.compile(r"(?:.*_)?(?:password|passwd|secret|api_?key|apikey|token|auth|authorization|private_key)")
_SAFE: Final = re.compile(
    r".*\$\{(?:[A-Za-z_]\w*|file:[^}]+)\}.*|.*\{\{.*\}\}.*|none|required|true|false|basic|bearer|hmac", re.IGNORECASE
)
_CERTAIN: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}"
    r"|AIza[0-9A-Za-z_-]{35}|glpat-[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{10,400}\.eyJ[A-Za-z0-9_-]{10})"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
)
_IN_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]+:([^/\s@]+)@")
_RANDOM: Final = re.compile(r"(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=-]{32,}")
_OUTWARD: Final = ("channels", "feeds", "store")


def look_secrets(world: World) -> None:
    """Passwords and tokens in the program file; tokens of known forms everywhere."""
    files = [*([world.program] if world.program is not None else []), *world.catalogs, *(it.yaml for it in world.books)]
    for file in files:
        for node in scalars(file) if _CERTAIN.search(file.source.text) else ():
            if len(node.text) >= 20 and _CERTAIN.search(node.text):
                world.say(node, "secret", "this looks like a secret of a known kind", _MOVE)
    for name in _OUTWARD:
        section = world.program.get(name) if world.program is not None else None
        for key, node in _named(name, section) if section is not None else ():
            _outward(world, key, node)


_MOVE: Final = "put it into the environment and write ${NAME}; replace the secret"


def _outward(world: World, key: str, node: ScalarNode) -> None:
    """Judge a value of a channel, feed or store."""
    text = node.text
    password = _IN_URL.match(text)
    if _CERTAIN.search(text):
        return
    if password is not None and not _SAFE.fullmatch(password[1]):
        world.say(node.at(password.start(1), len(password[1])), "secret", "a password stands in this address", _MOVE)
    elif _NAMES.fullmatch(key.lower()) and len(text) >= 6 and not _SAFE.fullmatch(text):
        world.say(node, "secret", f"'{key}' is written out here", _MOVE)
    elif _RANDOM.fullmatch(text) and not _SAFE.fullmatch(text):
        world.say(node, "maybe-secret", f"'{key}' looks like a key or token", "if it is one, write ${NAME}")


def _named(key: str, node: Node) -> Iterator[tuple[str, ScalarNode]]:
    """Single values with the key they stand under."""
    if isinstance(node, ScalarNode):
        yield key, node
    elif isinstance(node, MapNode):
        for name, value in node:
            yield from _named(name.text, value)
    elif isinstance(node, SeqNode):
        for item in node.items:
            yield from _named(key, item)


CHECKS: Final = (
    Check(("no-choice", "field-type"), look_fields),
    Check(("naive-time",), look_times),
    Check(("secret", "maybe-secret"), look_secrets),
)
