"""The reference pages of the language, made from the kinds themselves; nobody types them.

A word's page is its docstring, its example and the table of its keys. A code's page is what ``drumbeat explain`` says.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from textwrap import dedent
from typing import Any, Final

from engine.actions import ACTIONS
from engine.channels import CHANNELS
from engine.core import shapes as sh
from engine.feeds import FEEDS
from engine.language.codes import PAGES, shown
from engine.language.forms import MODIFIERS, TRIGGER_MODIFIERS
from engine.language.ways import CHANNEL
from engine.registry import Registry
from engine.triggers import TRIGGERS

MADE: Final = "<!-- Made by `drumbeat docs --write docs/reference`; edit the code, not this file. -->"
_EXAMPLE: Final = "\nExample:\n"


def manual(kind: type[Any]) -> tuple[str, str]:
    """(text, example) of a kind's docstring; "" for an example that is not there."""
    text, _, example = (inspect.getdoc(kind) or "").partition(_EXAMPLE)
    return text.strip(), dedent(example).strip()


def pages() -> dict[str, str]:
    """File name -> text of every page made from the language."""
    return {
        "triggers.md": _words("Triggers", _TRIGGERS_HEAD, TRIGGERS, TRIGGER_MODIFIERS),
        "steps.md": _words("Steps", _STEPS_HEAD, ACTIONS, MODIFIERS),
        "channels.md": _words("Channels", _CHANNELS_HEAD, CHANNELS, CHANNEL),
        "feeds.md": _words("Feeds", _FEEDS_HEAD, FEEDS, None),
        "codes.md": _codes(),
    }


_TRIGGERS_HEAD: Final = (
    "What begins a journey: `trigger:` holds one of these words, or a list (any of them). "
    "Each may carry the keys of the last table."
)
_STEPS_HEAD: Final = (
    "What happens, in order: each step holds exactly one of these verbs, and may carry the keys of the last table."
)


_CHANNELS_HEAD: Final = (
    "The ways out: each entry of `channels:` in drumbeat.yaml names one of these kinds with `via`, and may carry "
    "the keys of the last table."
)
_FEEDS_HEAD: Final = "Where events come from: each entry of `feeds:` in drumbeat.yaml holds one of these words."


def summary(kind: type[Any]) -> str:
    """The first sentence of a kind's manual page."""
    text, _ = manual(kind)
    return " ".join(text.split(". ")[0].partition("\n\n")[0].split())


def _words(title: str, head: str, registry: Registry[Any], modifiers: sh.Map | None) -> str:
    parts = [f"# {title}", MADE, head]
    for word in registry:
        kind = registry.get(word)
        text, example = manual(kind)
        parts += [f"## {word}", text.replace("``", "`"), f"```yaml\n{example}\n```", _table(kind.shape)]
        results: frozenset[str] = getattr(kind, "results", frozenset())
        if results:
            parts.append("Gives " + ", ".join(f"`steps.<id>.{name}`" for name in sorted(results)) + ".")
    if modifiers is not None:
        parts += ["## Keys that go with each", _table(modifiers)]
    return "\n\n".join(parts) + "\n"


def _codes() -> str:
    head = "Every problem `drumbeat validate` can name. `drumbeat explain CODE` prints one of these on the terminal."
    parts = ["# Diagnostics", MADE, head]
    for code, page in PAGES.items():
        parts += [
            f"## {code}",
            f"*{page.severity}*: {_markdown(page.title)}.",
            _markdown(page.meaning),
            f"Bad:\n\n{fenced(shown(page.bad))}",
            f"Good:\n\n{fenced(shown(page.good))}",
        ]
    return "\n\n".join(parts) + "\n"


def fenced(text: str, kind: str = "yaml") -> str:
    """A block of code; its fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}"


def _markdown(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


# ---------------------------------------------------------------------- tables of keys


def _table(shape: sh.Shape) -> str:
    rows = list(_rows(shape, ""))
    lines = [f"| {name} | {look} | {note} |" for name, look, note in rows]
    head = "| key | takes | meaning |\n|---|---|---|"
    extra = f"\n\nA bare value stands for `{shape.short}`." if isinstance(shape, sh.Map) and shape.short else ""
    return "\n".join([head, *lines]) + extra


def _rows(shape: sh.Shape, above: str) -> Iterator[tuple[str, str, str]]:
    """One row a key, those of inner mappings below their own."""
    for name, field in _fields(shape).items():
        path = f"{above}{name}"
        star = " (required)" if field.required else ""
        yield f"`{path}`{star}", _cell(looks(field.shape)), _cell(field.note)
        inner = field.shape.of if isinstance(field.shape, sh.Many) else field.shape
        brackets = "[]" if isinstance(field.shape, sh.Many) else ""
        yield from _rows(inner, f"{path}{brackets}.")


def _fields(shape: sh.Shape) -> Mapping[str, sh.Field]:
    return shape.fields if isinstance(shape, sh.Map) else {}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def looks(shape: sh.Shape) -> str:
    """What a shape takes, in a few words."""
    simple = _SIMPLE.get(type(shape))
    if simple is not None:
        return simple
    if isinstance(shape, sh.Text):
        return _alternatives(shape.choices) if shape.choices else shape.what
    if isinstance(shape, sh.Flag):
        return "true or false" if shape.only is None else f"`{str(shape.only).lower()}`"
    if isinstance(shape, sh.Int | sh.Number):
        return _numeric(shape)
    if isinstance(shape, sh.WallTime):
        return "wall time `HH:MM`" + (f" or {_alternatives(shape.or_words)}" if shape.or_words else "")
    if isinstance(shape, sh.Duration):
        return _duration(shape)
    if isinstance(shape, sh.Ref):
        return name_of(shape.kind)
    return _structure(shape)


_SIMPLE: Final[Mapping[type[sh.Shape], str]] = {
    sh.DateText: "date `YYYY-MM-DD`",
    sh.Cond: "condition",
    sh.Expr: "expression",
    sh.Val: "value or `{{ expression }}`",
    sh.Plain: "anything",
    sh.EventName: "event type",
    sh.Steps: "list of steps",
}


def name_of(kind: str) -> str:
    """``name of a coupon``."""
    return f"name of {'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _numeric(shape: sh.Int | sh.Number) -> str:
    kind = "whole number" if isinstance(shape, sh.Int) else "number"
    if shape.low is not None and shape.high is not None:
        kind += f" {shape.low} to {shape.high}"
    elif shape.low is not None:
        kind += f" from {shape.low}"
    return f"{kind} or {_alternatives(shape.or_words)}" if shape.or_words else kind


def _duration(shape: sh.Duration) -> str:
    forms = ["duration such as `3d`"]
    if shape.calendar:
        forms.append('`{days: 3, at: "10:00"}`')
    if shape.until:
        forms.append("`{until: wall time or expression}`")
        forms.append("both with `calendar: workdays`")
    return ", ".join(forms)


def _structure(shape: sh.Shape) -> str:
    if isinstance(shape, sh.Many):
        one = looks(shape.of)
        return f"list of: {one}" if shape.only_list else f"{one}, or a list of such"
    if isinstance(shape, sh.Table):
        return f"mapping of {shape.what} to {looks(shape.of)}"
    if isinstance(shape, sh.Either):
        return ", or ".join(looks(part) for part in (shape.scalar, shape.seq, shape.map) if part is not None)
    return "`true`, or a mapping" if isinstance(shape, sh.Map) and shape.flag else "mapping"


def _alternatives(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


table_of, cell = _table, _cell  # what other pages are made with
