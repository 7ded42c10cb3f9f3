"""Message templates against what the program declares and what the steps hand over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from engine.core.kinds import Trigger
from engine.language.diagnostics import Comment, Mark, Page, read_allows
from engine.language.expressions.scope import FieldType
from engine.language.lint.registry import Check
from engine.language.lint.world import Book, Step, World
from engine.language.nodes import MapNode, ScalarNode
from engine.language.workshop import OWN_FIELDS
from engine.registry import nearest
from engine.render import Template

PAGES: Final[dict[str, Page]] = {
    "template-field": Page(
        "a template names a field the profile does not declare",
        "The field is like a declared one, so it is most likely misspelt: nobody would have it, and the message would "
        "never be sent. Correct it, or declare the field under 'profile' in drumbeat.yaml.",
        "# file: templates/tea/new.sms.j2\nHello {{ user.nmae }}.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        '# file: templates/tea/new.sms.j2\nHello {{ user.name|default("you") }}.\n'
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
    ),
    "template-undeclared": Page(
        "a template prints a field nobody declares",
        "Whoever lacks the field is not sent the message. Declare it under 'profile' (or under the event's fields), or "
        "print it with |default.",
        "# file: templates/tea/new.sms.j2\nYour size is {{ user.shoe_size }}.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        '# file: templates/tea/new.sms.j2\nYou live in {{ user.city|default("town") }}.\n'
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "warning",
    ),
    "may-be-empty": Page(
        "a template prints a field that may be empty",
        "The field is declared with '| none', and a message with an empty field is not sent. Write what stands there "
        "instead, with |default, or ask for the field in the step's 'if' or in the template.",
        "# file: templates/tea/new.sms.j2\nHello {{ user.name }}.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        '# file: templates/tea/new.sms.j2\nHello {{ user.name|default("you") }}.\n'
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "warning",
    ),
    "missing-with": Page(
        "a template needs a value the step does not hand over",
        "The template prints 'with.<name>' and the step's 'with' has no such name, so the message can never be sent.",
        "# file: templates/tea/new.sms.j2\nCode {{ with.code }}.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "# file: templates/tea/new.sms.j2\nCode {{ with.code }}.\n"
        "# file: playbooks/tea.yaml\nsteps:\n"
        "  - message: {template: tea/new, via: sms, purpose: service, with: {code: TEA}}",
        "warning",
    ),
    "template-no-event": Page(
        "a template prints a field of an event where none is",
        "The playbook begins without an event (a timer fired), so nothing of 'event' can be printed, and the "
        "message is not sent.",
        "# file: templates/tea/new.sms.j2\nYou paid {{ event.amount }}.\n"
        "# file: playbooks/tea.yaml\ntrigger: {inactivity: 60d}\nsteps:\n"
        "  - message: {template: tea/new, via: sms, purpose: service}",
        "# file: templates/tea/new.sms.j2\nYou paid {{ event.amount }}.\n"
        "# file: playbooks/tea.yaml\ntrigger: {event: order.paid}\nsteps:\n"
        "  - message: {template: tea/new, via: sms, purpose: service}",
        "warning",
    ),
    "text-too-long": Page(
        "a text longer than its channel takes",
        "The fixed words alone, without any value, are longer than 'max_chars' of the channel: it would be cut, split "
        "or refused.",
        "# file: drumbeat.yaml\nchannels:\n  sms: {via: file, path: out/sms.jsonl, max_chars: 10}\n"
        "  wecom: {via: console}\n"
        "# file: templates/tea/new.sms.j2\nA new tea has come in today.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "# file: drumbeat.yaml\nchannels:\n  sms: {via: file, path: out/sms.jsonl, max_chars: 70}\n"
        "  wecom: {via: console}\n"
        "# file: templates/tea/new.sms.j2\nA new tea has come in today.\n"
        "# file: playbooks/tea.yaml\nsteps:\n  - message: {template: tea/new, via: sms, purpose: service}",
        "warning",
    ),
}

_PIECES: Final = re.compile(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_PATH: Final = re.compile(r"(?<![\w.])(user|event|vars)\.([A-Za-z_]\w*)")
_OPENS: Final = re.compile(r"\{%[-+]?\s*(if|for)\b")
_CLOSES: Final = re.compile(r"\{%[-+]?\s*end(if|for)\b")
_ALWAYS: Final = frozenset({"id", "tags", "points", "points_pending", "badges", "groups", "zone"})
_KNOWN: Final = frozenset({*OWN_FIELDS, "zone", "locale", "get"})
_OWN_EVENT: Final = frozenset({"type", "time", "id", "user", "group", "data"})


class Use(NamedTuple):
    """A look-up in a template: ``user.city`` at an offset of the file."""

    root: str
    name: str
    start: int
    length: int


class Look(NamedTuple):
    """What a template's text says."""

    uses: tuple[Use, ...]
    fixed: int  #: characters of the body that are always there


@lru_cache(maxsize=8192)
def look(source: str) -> Look:
    """Read a template's text: its look-ups and its fixed words."""
    uses: list[Use] = []
    fixed, depth, here = 0, 0, _body_start(source)
    words: list[str] = []
    for piece in _PIECES.finditer(source):
        if piece.start() >= here:
            if depth == 0:
                words.append(source[here : piece.start()])
            here = piece.end()
        text = piece[0]
        if text.startswith("{#"):
            continue
        depth += 1 if _OPENS.match(text) else -1 if _CLOSES.match(text) else 0
        for found in _PATH.finditer(_QUOTED.sub(lambda quoted: "'" * len(quoted[0]), text)):
            uses.append(Use(found[1], found[2], piece.start() + found.start(), len(found[0])))
    if depth == 0:
        words.append(source[here:])
    fixed = len("".join(words).strip())
    return Look(tuple(uses), fixed)


def _body_start(source: str) -> int:
    """Where the text begins, behind the front matter."""
    if not source.startswith("---\n"):
        return 0
    end = source.find("\n---", 3)
    return source.find("\n", end + 4) + 1 if end >= 0 else 0


def _mark(text: Template, offset: int) -> Mark:
    before = text.source[:offset]
    return Mark(text.file, before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


def read_texts(world: World) -> None:
    """Take in ``{# allow: code — reason #}`` of the templates."""
    for text in world.templates:
        if "allow" in text.source:
            world.problems.learn(read_allows(_comments(text)))


def _comments(text: Template) -> Iterator[Comment]:
    for found in re.finditer(r"\{#-?\s*(allow\s*[:：].*?)\s*-?#\}", text.source):
        mark = _mark(text, found.start())
        yield Comment(mark, "# " + found[1], mark.line)


def look_fields(world: World) -> None:
    """Fields of the user: misspelt ones, and undeclared ones that are printed bare."""
    schema = world.schema
    if schema.any_user_field:
        return
    known = {*schema.profile, *_KNOWN}
    for text in world.templates:
        needed = text.variables()
        for use in look(text.source).uses:
            if use.root != "user" or use.name in known:
                continue
            near = nearest(use.name, known)
            where = _mark(text, use.start + 5)
            message = f"'user' has no field '{use.name}'"
            if near is not None:
                world.say(where, "template-field", message, f"did you mean '{near}'?", len(use.name))
            elif f"user.{use.name}" in needed:
                hint = "declare it under 'profile', or write |default"
                world.say(where, "template-undeclared", message, hint, len(use.name))


def look_messages(world: World) -> None:
    """What the steps hand over, and whether what is printed can be there."""
    told: set[tuple[str, str]] = set()
    for book, step, channels in world.messages:
        name = step.node.action.template  # type: ignore[attr-defined]  # ``messages`` holds only steps that have one
        asked = _asked(book, step)
        given = step.at("with")
        names = set(given.keys()) if isinstance(given, MapNode) else set()
        missing: set[str] = set()
        for text in world.variants(name, channels):
            for path in sorted(text.variables()):
                root, _, rest = path.partition(".")
                field = rest.partition(".")[0]
                if root == "with" and field and field not in names:
                    missing.add(field)
                elif root not in ("user", "event") or f"{root}.{field}" in asked or (text.file, path) in told:
                    continue
                elif _may_be_empty(world, book, text, root, field):
                    told.add((text.file, path))
        for field in sorted(missing):
            near = nearest(field, names)
            hint = f"did you mean '{field}' for '{near}'?" if near else f"with: {{{field}: ...}}"
            message = f"template '{name}' prints 'with.{field}', and this step hands over no '{field}'"
            place = step.at("template")
            world.say(place if isinstance(place, ScalarNode) else step.key, "missing-with", message, hint)


def _may_be_empty(world: World, book: Book, text: Template, root: str, field: str) -> bool:
    """Report a printed field that may be empty; False when it is always there, or nobody can know."""
    if root == "event":
        types = _types(book.plan.triggers)
        if types is None:
            said = f"'event.{field}' is printed, and playbook '{book.id}' begins without an event"
            hint = "print a field of 'user', or write |default"
            return _told(world, text, root, field, "template-no-event", said, hint)
        if not types or field in _OWN_EVENT:
            return False
        declared = [world.schema.events[type_].get(field) for type_ in types if type_ in world.schema.events]
        if len(declared) < len(types):
            return False
        if all(one is not None and not one.optional for one in declared):
            return False
        said = f"'event.{field}' may be empty, and then the message is not sent"
        return _told(world, text, root, field, "may-be-empty", said, _DEFAULT)
    one = world.schema.profile.get(field)
    if field == "tier" and _everybody_has_a_level(world):
        return False
    if field in _ALWAYS or (one is None and field not in _KNOWN) or (one is not None and not one.optional):
        return False
    said = f"'user.{field}' may be empty, and then the message is not sent"
    return _told(world, text, root, field, "may-be-empty", said, _DEFAULT if one is None else _default(field, one))


def _everybody_has_a_level(world: World) -> bool:
    """A ladder that begins at 0 takes in those who have done nothing yet."""
    levels = world.catalog.ladders[0].levels if world.catalog.ladders else ()
    return bool(levels) and levels[0][1] <= 0


_DEFAULT: Final = "write what stands there instead: |default(...)"


def _default(field: str, declared: FieldType) -> str:
    if declared.kind != "text":
        return _DEFAULT
    return f'write what stands there instead: {{{{ user.{field}|default("...") }}}}'


def _told(world: World, text: Template, root: str, field: str, code: str, message: str, hint: str) -> bool:
    for use in look(text.source).uses:
        if (use.root, use.name) == (root, field):
            world.say(_mark(text, use.start), code, message, hint, use.length)
            return True
    return False


def _types(triggers: tuple[Trigger, ...]) -> frozenset[str] | None:
    """Types ``event`` may have; None when no trigger has one, empty when it may be anything."""
    heard = [trigger.listens() for trigger in triggers]
    if any(types is None for types in heard):
        return frozenset()
    return frozenset().union(*(types for types in heard if types)) or None


def _asked(book: Book, step: Step) -> set[str]:
    """Fields the conditions on the way to a step ask about."""
    conditions = list(book.plan.when)
    conditions += [one.node.guard for one in (step, *step.above()) if one.node.guard is not None]
    if len(book.plan.triggers) == 1 and book.plan.triggers[0].condition is not None:
        conditions.append(book.plan.triggers[0].condition)
    texts = [condition.text for condition in conditions]
    for above in step.above():
        if above.verb == "choose":
            texts += [condition.text for condition, _ in above.node.action.branches if condition is not None]  # type: ignore[attr-defined]
    return {match[0] for text in texts for match in re.finditer(r"\b(?:user|event)\.[A-Za-z_]\w*", text)}


def look_lengths(world: World) -> None:
    """Fixed words against ``max_chars`` of the channel."""
    channels = world.program.get("channels") if world.program is not None else None
    most: dict[str, int] = {}
    for key, value in channels if isinstance(channels, MapNode) else ():
        limit = value.get("max_chars") if isinstance(value, MapNode) else None
        if isinstance(limit, ScalarNode) and isinstance(limit.value, int):
            most[key.text] = limit.value
    for text in world.templates if most else ():
        limit_of = most.get(text.channel)
        fixed = look(text.source).fixed if limit_of is not None else 0
        if limit_of is not None and fixed > limit_of:
            message = f"the fixed words alone are {fixed} characters; channel '{text.channel}' takes {limit_of}"
            line = text.source[: _body_start(text.source)].count("\n") + 1
            world.say(Mark(text.file, line, 1), "text-too-long", message, "shorten it; values come on top")


CHECKS: Final = (
    Check(("template-field", "template-undeclared"), look_fields),
    Check(("may-be-empty", "missing-with", "template-no-event"), look_messages),
    Check(("text-too-long",), look_lengths),
)
