"""What kinds of triggers and steps ask for while a playbook is compiled, and what is said when no kind is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.core.calendars import Calendar
from engine.core.history import Reader, Where
from engine.core.kinds import Action, Build, Trigger
from engine.core.lunar import Lunar
from engine.core.model import Event, State
from engine.core.moment import Condition, Env, Moment, Value
from engine.core.plan import ChannelInfo
from engine.core.slots import Slotted
from engine.core.subjects import GROUP, KINDS, USER
from engine.language.diagnostics import Mark
from engine.language.forms import RESERVED
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.slips import line_slip
from engine.language.workshop import Workshop
from engine.registry import nearest

_STEP_OF_PATH = re.compile(r"(?P<name>[^.\[\]]+)|\[(?P<place>[0-9]+)\]")


@dataclass
class Bench:
    """One playbook on the compiler's bench.

    Parameters
    ----------
    shop: names, scopes and problems of the whole program.
    channels: the program's channels, in order.
    activity: default activity types; empty: any external event.
    account: the first points account.
    locale: the program's locale.
    best_hour: the program's hour for messages to users of whom nothing is known.
    playbook: id of the playbook at hand.
    emits: (playbook, event type, node of the step) of every event a step emits, of all playbooks.
    listens: (playbook, event types its triggers listen to), of all playbooks.
    tells: (playbook, event type, node of the step) of what the engine is sure to tell of a step, of all playbooks.
    unasked: (playbook, event types that begin it without any condition), of all playbooks.
    webhooks: the channel that takes requests to other systems.
    sets: (playbook, trait, value, node of the step) of every trait a step sets, of all playbooks.
    triggers: (playbook, trigger), of all playbooks.
    templates: names of the templates that the playbook at hand uses.
    """

    shop: Workshop
    channels: list[str]
    activity: frozenset[str]
    account: str
    locale: str
    best_hour: str = "10:00"
    playbook: str = "?"
    emits: list[tuple[str, str, Node]] = field(default_factory=list)
    listens: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    audiences: list[tuple[Slotted, Node, str]] = field(default_factory=list)
    """(trigger that fires at slots, its audience, the kind of subjects it is about)."""
    webhooks: ChannelInfo | None = None
    sets: list[tuple[str, str, Value, Node]] = field(default_factory=list)
    triggers: list[tuple[str, Trigger]] = field(default_factory=list)
    templates: set[str] = field(default_factory=set)
    tells: list[tuple[str, str, Node]] = field(default_factory=list)
    unasked: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    defined: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: kind -> name -> what the catalog says
    selections: dict[str, str] = field(default_factory=dict)  #: set of a ``select`` step -> its playbook


class KindBuild(Build):
    """What a kind asks the compiler for.

    Parameters
    ----------
    bench: the playbook at hand.
    step: id of the step or trigger.
    body: the value the kind is built from.
    where: the word of the kind, for problems without a better place.
    """

    def __init__(self, bench: Bench, step: str, body: Node, where: Node) -> None:
        self.bench = bench
        self.playbook = bench.playbook
        self.step = step
        self.activity = bench.activity
        self.account = bench.account
        self.best_hour = bench.best_hour
        self.subject = bench.shop.subject
        self.body = body
        self.where = where

    def times(self, event: str, where: Condition | None, where_text: str, within: int | None) -> Reader:
        return self.bench.shop.book.count(event, within, _where(where))

    def times_of_users(self, event: str, where: Condition | None, within: int | None) -> Reader:
        return self.bench.shop.books[USER].count(event, within, _where(where))

    def streak(self, event: str) -> Any:
        return self.bench.shop.book.streak_days(event)

    def hours(self) -> Any:
        return self.bench.shop.book.hours(self.activity)

    def template(self, name: str) -> Any:
        templates, default = self.bench.shop.templates, self.bench.locale
        self.bench.templates.add(name)
        return lambda channel, locale: templates.find(name, channel, locale, default)

    def channels_of(self, name: str) -> list[str]:
        written = self.bench.shop.templates.channels(name)
        return [channel for channel in self.bench.channels if channel in written]

    def field_type(self, name: str) -> str:
        declared = self.bench.shop.schema.profile.get(name)
        return "any" if declared is None else declared.base

    def calendar(self, name: str) -> Calendar:
        # one that could not be compiled was told of; until then it has no days
        return self.bench.shop.calendars.get(name) or Calendar(name=name)

    def lunar(self) -> Lunar:
        return self.bench.shop.lunar()

    def defined(self, kind: str, name: str) -> Any:
        return self.bench.defined.get(kind, {}).get(name)

    def chooses(self, name: str) -> None:
        other = self.bench.selections.setdefault(name, f"{self.playbook}/{self.step}")
        if other != f"{self.playbook}/{self.step}":
            hint = "each set has one step that chooses it"
            self.problem("name", "duplicate-name", f"'{name}' is chosen by {other} already", hint)

    def is_called(self, playbook: str) -> bool:
        return playbook in self.bench.shop.names.get("called", ())

    def subject_of(self, playbook: str) -> str:
        return self.bench.shop.playbook_kinds.get(playbook, USER)

    def webhooks(self) -> ChannelInfo | None:
        return self.bench.webhooks

    def watch(self, segment: str) -> None:
        self.bench.shop.watched.add(segment)

    def problem(self, field: str, code: str, message: str, hint: str = "") -> None:
        self.bench.shop.problems.error(_place(self.body, field) or self.where, code, message, hint=hint)


def _place(body: Node, path: str) -> Node | None:
    """The node at a path such as ``arms[1].weight``; the nearest one around it that is there.

    A single value is shown itself, anything larger by its key. A list written instead of the mapping it is short for
    is entered by the first name of the path.
    """
    here: Node = body
    shown: Node | None = body if isinstance(body, ScalarNode) else None
    for part in _STEP_OF_PATH.finditer(path):
        name, place = part["name"], part["place"]
        if name is not None and isinstance(here, MapNode) and name in here:
            value = here.get(name) or here
            shown, here = (value if isinstance(value, ScalarNode) else here.key(name)), value
        elif place is not None and isinstance(here, SeqNode) and int(place) < len(here):
            here = here.items[int(place)]
            shown = here
        elif name is not None and isinstance(here, SeqNode) and part.start() == 0:
            continue
        else:
            break
    return shown


def fits_subject(shop: Workshop, kind: type[Trigger] | type[Action], word: ScalarNode) -> bool:
    """May the kind stand in a playbook about this subject? Says so, if not."""
    if shop.subject in kind.about:
        return True
    what = "trigger" if issubclass(kind, Trigger) else "step"
    message = f"{what} '{kind.word}' is about a {kind.about[0]}, and this playbook is about a {shop.subject}"
    hint = _INSTEAD.get((kind.word, shop.subject), f"write it in a playbook of subject {' or '.join(kind.about)}")
    shop.problems.error(word, "wrong-subject", message, hint=hint)
    return False


_TO_MEMBERS = "emit to the members, {emit: {type: ..., to: members}}, and let a playbook of users hear that"
_INSTEAD = {
    ("message", GROUP): "post into the group's channel, or " + _TO_MEMBERS,
    ("coupon", GROUP): _TO_MEMBERS,
    ("invite", GROUP): _TO_MEMBERS,
}


def subject_in(node: MapNode) -> str:
    """What a playbook or a segment is about: its ``subject``, as far as that is a word there is."""
    found = node.get("subject")
    return found.text if isinstance(found, ScalarNode) and found.text in KINDS else USER


def _where(condition: Condition | None) -> Where | None:
    """A condition on the event alone, as history judges it: with nobody and nothing around it."""
    if condition is None:
        return None
    m = Moment(State(id=""), None, 0, 0, Env())
    judge = condition.test

    def test(event: Event) -> bool:
        m.event, m.data = event, event.data
        m.time = m.now = event.time
        return judge(m)

    return Where(condition.text, test, condition.body, condition.names)


def no_word(
    shop: Workshop,
    mapping: MapNode,
    known: Iterable[str],
    later: tuple[str, ...],
    what: str,
    path: str,
    modifiers: Iterable[str],
) -> None:
    """No known word in a trigger or step: say which was meant.

    Parameters
    ----------
    known, later: words of this version, and of later ones.
    what: "trigger" or "verb".
    modifiers: keys that may stand beside the word.
    """
    keys = [key for key, _ in mapping if key.text not in modifiers]
    problems, words = shop.problems, "one of " + ", ".join(known)
    if mapping.broken and not keys:
        return
    if not keys:
        problems.error(mapping, "no-verb", f"'{path}' names no {what}", hint=words)
        return
    key = keys[0]
    slip = None if key.style else line_slip(key.text)
    if slip is not None:
        hint = "write ': ', with a space" if slip.code == "yaml-space" else slip.hint
        problems.extend([slip._replace(hint=hint).at(Mark(key.mark.file, *key.locate(slip.offset)))])
    elif key.text in later or key.text in RESERVED:
        problems.error(key, "not-yet", f"{what} '{key.text}' comes with a later version")
    else:
        near = nearest(key.text, known)
        hint = f"did you mean '{near}'?" if near else words
        problems.error(key, f"unknown-{what}", f"unknown {what} '{key.text}'", hint=hint)
