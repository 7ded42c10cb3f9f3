"""Compiles the steps of a playbook: verbs, ids, and the places where they go on."""

from __future__ import annotations

from typing import Any

from engine.actions import ACTIONS
from engine.core import shapes as sh
from engine.core.plan import Block, Node
from engine.language.building import Bench, KindBuild, fits_subject, no_word
from engine.language.diagnostics import Mark
from engine.language.forms import MODIFIERS
from engine.language.loops import TOLD
from engine.language.meant import outdented
from engine.language.nodes import MapNode, ScalarNode, SeqNode
from engine.language.nodes import Node as Yaml
from engine.language.reading import FAULT, _Fault
from engine.render import TemplateSet

MAX_NESTING = 8

_ON_ERROR = MODIFIERS.fields["on_error"].shape
_FRAME = sh.Map({name: field for name, field in MODIFIERS.fields.items() if name != "on_error"})
_STEP_HINT = "a step is a verb and its value, such as 'wait: 1d'"


class StepReader:
    """Reads the steps of one playbook after the other; becomes the bench's reader of steps."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.shop = bench.shop
        self._path: list[str] = []
        self._lists: dict[str, int] = {}  #: lists of steps met so far inside each step
        self._ids: dict[str, Mark] = {}
        self.shop.step_reader = self.steps

    def begin(self, steps: Yaml | None) -> None:
        """A new playbook; ``steps`` is its list, looked through for ids that are written further down."""
        self._path, self._lists, self._ids = ["steps"], {}, {}
        self.shop.known_steps, self.shop.used_steps = {}, set()
        self.shop.written_steps = ids_below(steps)

    def steps(self, node: SeqNode) -> Block | _Fault:
        """Read a list of steps in place."""
        if len(self._path) > MAX_NESTING:
            self.shop.problems.error(node, "too-deep", f"steps are nested deeper than {MAX_NESTING}")
            return FAULT
        nodes: list[Node] = []
        parent = self._path[-1]
        list_no = self._count_list(parent)
        for place, item in enumerate(node.items):
            here = f"{parent}[{place}]" if list_no == 0 else f"{parent}.{list_no}[{place}]"
            self._path.append(here)
            step = self._step(item, here)
            self._path.pop()
            if step is not None:
                nodes.append(step)
        return Block(nodes=nodes) if len(nodes) == len(node.items) and not node.broken else FAULT

    def _count_list(self, parent: str) -> int:
        number = self._lists.get(parent, 0)
        self._lists[parent] = number + 1
        return 0 if parent == "steps" else number + 1

    def _step(self, item: Yaml, path: str) -> Node | None:
        mapping = self.shop.reading.mapping(item, path, _STEP_HINT)
        if isinstance(mapping, _Fault):
            return None
        verbs = [key for key, _ in mapping if key.text in ACTIONS]
        if len(verbs) == 1:
            return self._verb(mapping, verbs[0], path)
        if verbs:
            message = f"two verbs in one step: '{verbs[0].text}' and '{verbs[1].text}'"
            hint = f"make '{verbs[1].text}' a step of its own, with '- '"
            self.shop.problems.error(verbs[1], "two-verbs", message, hint=hint)
        else:
            no_word(self.shop, mapping, ACTIONS, (), "verb", path, MODIFIERS.fields)
        return None

    def _verb(self, mapping: MapNode, verb: ScalarNode, path: str) -> Node | None:
        reading = self.shop.reading
        kind = ACTIONS.get(verb.text)
        if outdented(self.shop.problems, mapping, verb, kind.shape, {verb.text, *MODIFIERS.fields}):
            return None
        if not fits_subject(self.shop, kind, verb):
            return None
        frame = reading.fields(mapping, _FRAME, path, (verb.text, "on_error"))
        written = self._written_id(mapping)
        step_id = written or f"{verb.text}{path.removeprefix('steps')}"
        body = mapping.get(verb.text) or mapping
        fields = reading.read(body, kind.shape, verb.text)
        if written is not None:
            self.shop.known_steps = {**self.shop.known_steps, written: kind.results}
        rescue = mapping.get("on_error")
        on_error = reading.read(rescue, _ON_ERROR, "on_error") if rescue is not None else "continue"
        if fields is FAULT or frame is FAULT or on_error is FAULT:
            return None
        action = kind.build(fields, KindBuild(self.bench, step_id, body, verb))
        self._check_message(verb.text, action, body, verb)
        self._check_webhook(verb.text, verb)
        self.bench.emits.extend((self.bench.playbook, type_, verb) for type_, _ in action.says())
        self.bench.sets.extend((self.bench.playbook, name, value, verb) for name, value in action.writes())
        if len(self._path) == 2 and frame.get("if") is None:  # nobody is led past it
            told = (type_ for type_, _ in action.tells() if type_ in TOLD)
            self.bench.tells.extend((self.bench.playbook, type_, verb) for type_ in told)
        mark = mapping.mark
        return Node(
            id=step_id, action=action, guard=frame.get("if"), path=path,
            on_error="steps" if isinstance(on_error, Block) else on_error,
            rescue=on_error if isinstance(on_error, Block) else None,
            where=f"{mark.file}:{mark.line}:{mark.col}",
        )  # fmt: skip

    def _written_id(self, mapping: MapNode) -> str | None:
        """The id an author gave, if any; one that is taken is reported."""
        node = mapping.get("id")
        if not isinstance(node, ScalarNode) or (node.value is None and not node.style):
            return None
        first = self._ids.setdefault(node.text, node.mark)
        if first != node.mark:
            hint = f"the first one is on line {first.line}; ids are unique in a playbook"
            self.shop.problems.error(node, "duplicate-id", f"two steps have the id '{node.text}'", hint=hint)
        return node.text

    def _check_webhook(self, verb: str, where: Yaml) -> None:
        """Somebody must take the requests, or they stay where they are."""
        if verb == "webhook" and self.bench.webhooks is None and "channel" not in self.shop.unread:
            message = "no channel takes webhooks: simulate decides all the same, run refuses to deliver"
            hint = "channels: {webhook: {via: file, path: out/webhooks.jsonl}}"
            self.shop.problems.warning(where, "no-webhook-channel", message, hint=hint)

    def _check_message(self, verb: str, action: Any, body: Yaml, where: Yaml) -> None:
        """A message needs a template for every channel, in the last locale of the chain at least."""
        if verb == "survey":
            action = action.invitation
            self.shop.used("template", action.template)
        elif verb not in ("message", "post"):
            return
        if not isinstance(body, MapNode):
            return
        templates, name = self.shop.templates, action.template
        self.shop.used_steps |= {step for one in templates.variants(name) for step in one.steps}
        place = body.get("template") or where
        if not action.via and not self.shop.doubtful("template", name):
            message = f"template '{name}' is written for none of the program's channels"
            hint = "it is written for: " + ", ".join(templates.channels(name))
            self.shop.problems.error(place, "missing-variant", message, hint=hint)
        for channel in action.via:
            fault = missing_text(templates, name, channel, self.bench.locale)
            if fault is not None and not self.shop.doubtful("template", f"{name}.{channel}"):
                spot = _channel_node(body.get("via"), channel) or place
                self.shop.problems.error(spot if fault[0] == "missing-variant" else place, *fault[:2], hint=fault[2])


def missing_text(templates: TemplateSet, name: str, channel: str, locale: str) -> tuple[str, str, str] | None:
    """(code, message, hint) when a template has no text for a channel, or none everybody can be sent."""
    if channel not in templates.channels(name):
        written = ", ".join(templates.channels(name))
        message = f"template '{name}' has no variant for channel '{channel}'"
        return "missing-variant", message, f"write templates/{name}.{channel}.j2 (there is: {written})"
    if templates.find(name, channel, None, locale) is None:
        message = f"template '{name}' for '{channel}' has no text for the program's locale '{locale}'"
        return "missing-locale", message, f"write templates/{name}.{channel}.{locale}.j2, or one without locale"
    return None


def _channel_node(via: Yaml | None, channel: str) -> Yaml | None:
    items = via.items if isinstance(via, SeqNode) else [via]
    return next((item for item in items if isinstance(item, ScalarNode) and item.text == channel), via)


def ids_below(node: Yaml | None) -> dict[str, Mark]:
    """The ids of all steps below a node, also of those nobody can read, with the first place of each."""
    found: dict[str, Mark] = {}
    waiting: list[Yaml] = [] if node is None else [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, SeqNode):
            for item in here.items:
                own = item.get("id") if isinstance(item, MapNode) else None
                if isinstance(own, ScalarNode):
                    found[own.text] = min(own.mark, found.get(own.text, own.mark))
            waiting.extend(here.items)
        elif isinstance(here, MapNode):
            waiting.extend(value for _, value in here)
    return found


