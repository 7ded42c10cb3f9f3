"""Compiles one playbook file: frame, triggers, steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.actions import ACTIONS
from engine.core import shapes as sh
from engine.core.history import Where
from engine.core.kinds import Build, Trigger
from engine.core.model import Event, State
from engine.core.moment import Condition, Env, Moment
from engine.core.plan import Block, Entry, Exit, Goal, Holdout, Limit, Node, Playbook, Policy
from engine.language.forms import MODIFIERS, PLAYBOOK, TRIGGER_MODIFIERS
from engine.language.nodes import MapNode, ScalarNode, SeqNode
from engine.language.nodes import Node as Yaml
from engine.language.reading import FAULT, _Fault
from engine.language.workshop import Workshop
from engine.registry import nearest
from engine.triggers import TRIGGERS

MAX_NESTING = 8
_LATER_STEPS = (
    "task", "post", "webhook", "start", "nominate", "draw", "select", "survey", "repeat",
)  # fmt: skip
_LATER_TRIGGERS = ("date", "schedule", "calendar", "webhook", "manual", "called")
_RESERVED = ("parallel", "call", "fragment", "import")


class KindBuild(Build):
    """What a kind asks the compiler for."""

    def __init__(self, maker: PlaybookMaker, step: str, node: MapNode, where: Yaml) -> None:
        self.maker = maker
        self.playbook = maker.id
        self.step = step
        self.activity = maker.activity
        self.account = maker.account
        self.node = node
        self.where = where

    def times(self, event: str, where: Condition | None, where_text: str, within: int | None) -> Any:
        reader = self.maker.shop.book.count(event, within, _where(where))
        return lambda m: reader.read(m.state, m.time)

    def streak(self, event: str) -> Any:
        return self.maker.shop.book.streak_days(event)

    def template(self, name: str) -> Any:
        templates, default = self.maker.shop.templates, self.maker.locale
        return lambda channel, locale: templates.find(name, channel, locale, default)

    def channels_of(self, name: str) -> list[str]:
        written = self.maker.shop.templates.channels(name)
        return [channel for channel in self.maker.channels if channel in written]

    def watch(self, segment: str) -> None:
        self.maker.shop.watched.add(segment)

    def problem(self, field: str, code: str, message: str, hint: str = "") -> None:
        place = self.node.key(field) if isinstance(self.node, MapNode) else None
        self.maker.shop.problems.error(place or self.where, code, message, hint=hint)


def _where(condition: Condition | None) -> Where | None:
    """A condition on the event alone, as history judges it: with nobody and nothing around it."""
    if condition is None:
        return None
    nobody, env = State(id=""), Env()

    def test(event: Event) -> bool:
        return condition.test(Moment(nobody, event, event.time, event.time, env))

    return Where(condition.text, test)


class PlaybookMaker:
    """Compiles playbooks of one program.

    Parameters
    ----------
    shop: the compiler's bench.
    policies: by name; "default" is there.
    channels: the program's channels, in order.
    activity: default activity types; empty: any external event.
    account: the first points account.
    locale: the program's locale.
    """

    def __init__(
        self,
        shop: Workshop,
        policies: Mapping[str, Policy],
        channels: list[str],
        activity: frozenset[str],
        account: str,
        locale: str,
    ) -> None:
        self.shop = shop
        self.policies = policies
        self.channels = channels
        self.activity = activity
        self.account = account
        self.locale = locale
        self.emits: list[tuple[str, str, Yaml]] = []
        self.id = ""
        self._path: list[str] = []
        self._nodes: dict[str, Node] = {}
        self._lists: dict[str, int] = {}  #: lists of steps met so far inside each step
        shop.step_reader = self._steps

    # ------------------------------------------------------------------ frame

    def make(self, node: MapNode) -> Playbook | None:
        """The compiled playbook, or None after problems were reported."""
        shop, reading = self.shop, self.shop.reading
        name = node.get("playbook")
        self.id = name.text if isinstance(name, ScalarNode) else "?"
        self._path, self._nodes, self._lists = ["steps"], {}, {}
        shop.known_steps, shop.later_steps = {}, set()
        variables = node.get("vars")
        shop.variables = frozenset(variables.keys()) if isinstance(variables, MapNode) else frozenset()
        shop.trigger_types = ()
        triggers = self._triggers(node)
        if triggers:
            shop.trigger_types = _event_types(triggers)
        fields = reading.fields(node, PLAYBOOK, "playbook")
        if fields is not FAULT:
            self._later(node, fields)
        if fields is FAULT or not triggers or not self._entry_limit(node, fields["entry"]):
            return None
        return self._playbook(fields, triggers)

    def _later(self, node: MapNode, fields: dict[str, Any]) -> None:
        problems = self.shop.problems
        if fields.get("subject") == "group":
            problems.error(node.get("subject") or node, "not-yet", "groups as subjects come with a later version")
        for key in ("on_change", "migrate"):
            if key in fields and fields[key] != "finish":
                message = f"'{key}' is read, but this version lets running journeys finish where they stand"
                problems.warning(node.key(key) or node, "not-yet", message)

    def _entry_limit(self, node: MapNode, entry: dict[str, Any]) -> bool:
        if entry["mode"] in ("restart", "queue", "parallel") and "limit" not in entry:
            message = f"'entry' of mode '{entry['mode']}' needs 'limit'"
            hint = "for example limit: 1000/day, or limit: unlimited"
            self.shop.problems.error(node.get("entry") or node, "missing-limit", message, hint=hint)
            return False
        return True

    def _playbook(self, fields: dict[str, Any], triggers: list[Trigger]) -> Playbook:
        body: Block = fields["steps"]
        body.link(None)
        exits = tuple(self._exit(row) for row in fields.get("exit", ()))
        when = fields.get("when")
        holdout = fields.get("holdout")
        return Playbook(
            id=self.id,
            title=fields["title"],
            status=fields.get("status", "live"),
            priority=fields.get("priority", 50),
            triggers=tuple(triggers),
            when=_flat(when),
            entry=_entry(fields["entry"]),
            goal=_goal(fields.get("goal")),
            exits=exits,
            holdout=None if holdout is None else _holdout(holdout, self.id),
            policy=self.policies[fields.get("policy", "default")],
            variables=fields.get("vars", {}),
            body=body,
            nodes={it.id: it for it in body.walk()},
            exit_events=frozenset().union(*(it.events for it in exits)) if exits else frozenset(),
            always=any(not it.events and it.segment is None for it in exits),
        )

    def _exit(self, row: dict[str, Any]) -> Exit:
        for word in ("enters", "leaves"):
            if word in row:
                self.shop.watched.add(row[word])
                return Exit(segment=row[word], moves=word, test=row.get("if"))
        return Exit(events=frozenset(row.get("event", ())), test=row.get("if"))

    # ------------------------------------------------------------------ triggers

    def _triggers(self, node: MapNode) -> list[Trigger]:
        found = node.get("trigger")
        if found is None:
            return []
        many = isinstance(found, SeqNode)
        items = found.items if isinstance(found, SeqNode) else [found]
        out: list[Trigger] = []
        for place, item in enumerate(items):
            trigger = self._trigger(item, place, f"trigger[{place}]" if many else "trigger")
            if trigger is not None:
                out.append(trigger)
        return out if len(out) == len(items) else []

    def _trigger(self, item: Yaml, place: int, path: str) -> Trigger | None:
        reading, problems = self.shop.reading, self.shop.problems
        mapping = reading.mapping(item, path)
        if isinstance(mapping, _Fault):
            return None
        words = [key for key, _ in mapping if key.text in TRIGGERS]
        if not words:
            self._no_word(mapping, TRIGGERS, _LATER_TRIGGERS, "trigger", path, ("id", "if"))
            return None
        if len(words) > 1:
            message = f"two triggers in one: '{words[0].text}' and '{words[1].text}'"
            problems.error(words[1], "two-verbs", message, hint="write a list: trigger: [{...}, {...}]")
            return None
        kind = TRIGGERS.get(words[0].text)
        fields = reading.fields(mapping, _trigger_shape(kind.shape), path, frozenset(TRIGGER_MODIFIERS.fields))
        extra = self._trigger_id(mapping, path)
        build = KindBuild(self, extra or f"trigger[{place}]", mapping, words[0])
        trigger = kind.build(fields, build) if fields is not FAULT else None
        if trigger is not None:
            trigger.id = extra or (f"{words[0].text}" if path == "trigger" else f"{words[0].text}[{place}]")
            trigger.path = path
        condition_node = mapping.get("if")
        if condition_node is None:
            return trigger
        self.shop.trigger_types = _event_types([trigger]) if trigger is not None else ()
        condition = reading.read(condition_node, sh.Cond("trigger"), f"{path}.if")
        if trigger is None or condition is FAULT:
            return None
        trigger.condition = condition
        return trigger

    def _trigger_id(self, mapping: MapNode, path: str) -> str | None:
        found = mapping.get("id")
        if found is None:
            return None
        value = self.shop.reading.read(found, TRIGGER_MODIFIERS.fields["id"].shape, f"{path}.id")
        return None if value is FAULT else str(value)

    def _no_word(
        self, mapping: MapNode, registry: Any, later: tuple[str, ...], what: str, path: str, modifiers: tuple[str, ...]
    ) -> None:
        """No known word in a trigger or step: say which was meant."""
        keys = [key for key, _ in mapping if key.text not in modifiers]
        problems = self.shop.problems
        if mapping.broken and not keys:
            return
        if not keys:
            problems.error(mapping, "no-verb", f"'{path}' has no {what}", hint="one of " + ", ".join(registry))
            return
        key = keys[0]
        if key.text in later or key.text in _RESERVED:
            problems.error(key, "not-yet", f"{what} '{key.text}' comes with a later version")
            return
        near = nearest(key.text, registry)
        hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(registry)
        problems.error(key, f"unknown-{what}", f"unknown {what} '{key.text}'", hint=hint)

    # ------------------------------------------------------------------ steps

    def _steps(self, node: SeqNode) -> Block | _Fault:
        """Read a list of steps in place."""
        if len(self._path) > MAX_NESTING:
            self.shop.problems.error(node, "too-deep", f"steps are nested deeper than {MAX_NESTING}")
            return FAULT
        nodes: list[Node] = []
        good = True
        parent = self._path[-1]
        list_no = self._count_list(parent)
        for place, item in enumerate(node.items):
            here = f"{parent}[{place}]" if list_no == 0 else f"{parent}.{list_no}[{place}]"
            self._path.append(here)
            step = self._step(item, here)
            self._path.pop()
            if step is None:
                good = False
            else:
                nodes.append(step)
        return Block(nodes=nodes) if good and not node.broken else FAULT

    def _count_list(self, parent: str) -> int:
        number = self._lists.get(parent, 0)
        self._lists[parent] = number + 1
        return 0 if parent == "steps" else number + 1

    def _step(self, item: Yaml, path: str) -> Node | None:
        reading, problems = self.shop.reading, self.shop.problems
        mapping = reading.mapping(item, path)
        if isinstance(mapping, _Fault):
            return None
        verbs = [key for key, _ in mapping if key.text in ACTIONS]
        if not verbs:
            self._no_word(mapping, ACTIONS, _LATER_STEPS, "step", path, tuple(MODIFIERS.fields))
            return None
        if len(verbs) > 1:
            message = f"two verbs in one step: '{verbs[0].text}' and '{verbs[1].text}'"
            problems.error(verbs[1], "two-verbs", message, hint=f"make '{verbs[1].text}' a step of its own, with '- '")
            return None
        return self._verb(mapping, verbs[0], path)

    def _verb(self, mapping: MapNode, verb: ScalarNode, path: str) -> Node | None:
        reading = self.shop.reading
        kind = ACTIONS.get(verb.text)
        frame = reading.fields(mapping, _without_on_error(), path, frozenset({verb.text, "on_error"}))
        step_id = frame.get("id") if frame is not FAULT else None
        position = path.removeprefix("steps")
        step_id = step_id or f"{verb.text}{position}"
        if not self._claim_id(mapping, str(step_id)):
            return None
        body = mapping.get(verb.text)
        fields = reading.read(body, kind.shape, verb.text) if body is not None else FAULT
        self.shop.known_steps = {**self.shop.known_steps, str(step_id): kind.results}
        rescue = mapping.get("on_error")
        on_error = reading.read(rescue, MODIFIERS.fields["on_error"].shape, "on_error") if rescue is not None else "continue"
        if fields is FAULT or frame is FAULT or on_error is FAULT:
            return None
        inner = body if isinstance(body, MapNode) else mapping
        action = kind.build(fields, KindBuild(self, str(step_id), inner, verb))
        self._check_message(verb.text, action, inner, verb)
        for type_, _ in action.says():
            self.emits.append((self.id, type_, verb))
        mark = mapping.mark
        node = Node(
            id=str(step_id), action=action, guard=frame.get("if"), path=path,
            on_error="steps" if isinstance(on_error, Block) else on_error,
            rescue=on_error if isinstance(on_error, Block) else None,
            where=f"{mark.file}:{mark.line}:{mark.col}",
        )  # fmt: skip
        self._nodes[node.id] = node
        return node

    def _claim_id(self, mapping: MapNode, step_id: str) -> bool:
        if step_id in self.shop.known_steps:
            where = mapping.get("id") or mapping
            self.shop.problems.error(where, "duplicate-id", f"two steps have the id '{step_id}'", hint="ids are unique in a playbook")
            return False
        return True

    def _check_message(self, verb: str, action: Any, node: MapNode, where: Yaml) -> None:
        """A message needs a template for every channel, in the last locale of the chain at least."""
        if verb != "message":
            return
        templates, name = self.shop.templates, action.template
        place = node.get("template") or where
        if not action.via:
            message = f"template '{name}' is written for none of the program's channels"
            self.shop.problems.error(place, "missing-variant", message)
        for channel in action.via:
            if channel not in templates.channels(name):
                written = ", ".join(templates.channels(name))
                message = f"template '{name}' has no variant for channel '{channel}'"
                hint = f"write templates/{name}.{channel}.j2 (there is: {written})"
                self.shop.problems.error(node.get("via") or place, "missing-variant", message, hint=hint)
            elif templates.find(name, channel, None, self.locale) is None:
                message = f"template '{name}' for '{channel}' has no text for the program's locale '{self.locale}'"
                hint = f"write templates/{name}.{channel}.{self.locale}.j2, or one without locale"
                self.shop.problems.error(place, "missing-locale", message, hint=hint)


def _trigger_shape(shape: sh.Shape) -> sh.Map:
    if not isinstance(shape, sh.Map):
        raise TypeError("the shape of a trigger is a Map that holds its own word")
    return shape


def _without_on_error() -> sh.Map:
    return _FRAME


_FRAME = sh.Map({name: field for name, field in MODIFIERS.fields.items() if name != "on_error"})


def _event_types(triggers: list[Trigger]) -> tuple[str, ...] | None:
    """Types ``event`` may be; None when no trigger has an event, () when it may be anything."""
    types: set[str] = set()
    for trigger in triggers:
        heard = trigger.listens()
        if heard is None:
            return ()
        types |= heard
    return tuple(sorted(types)) if types else None


def _flat(when: Condition | None) -> tuple[Condition, ...]:
    """A list under ``when`` is judged one by one, so that a trace names the one that refused."""
    if when is None:
        return ()
    return when.parts if when.op == "and" and when.parts and when.listed else (when,)


def _entry(fields: dict[str, Any]) -> Entry:
    limit = fields.get("limit", "unlimited")
    count, _, per = limit.partition("/")
    return Entry(
        mode=fields["mode"],
        key=fields.get("key"),
        again_after=fields.get("again_after"),
        limit=None if limit == "unlimited" else Limit(count=int(count), per=per),
        on_limit=fields.get("on_limit", "wait"),
        inside=tuple(fields.get("in", ())),
        outside=tuple(fields.get("not_in", ())),
    )


def _goal(fields: dict[str, Any] | None) -> Goal | None:
    if fields is None:
        return None
    return Goal(
        events=frozenset(fields["event"]),
        test=fields.get("if"),
        within=fields["within"],
        then=fields.get("then", "exit"),
        value=fields.get("value"),
    )


def _holdout(fields: dict[str, Any], playbook: str) -> Holdout:
    return Holdout(percent=round(fields["percent"] * 100), salt=fields.get("salt", playbook))
