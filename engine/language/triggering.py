"""Compiles the triggers of a playbook."""

from __future__ import annotations

from engine.core import shapes as sh
from engine.core.kinds import Trigger
from engine.core.slots import Slotted
from engine.language.building import Bench, KindBuild, fits_subject, no_word
from engine.language.forms import TRIGGER_MODIFIERS
from engine.language.nodes import MapNode, ScalarNode, SeqNode
from engine.language.nodes import Node as Yaml
from engine.language.reading import FAULT, _Fault
from engine.triggers import TRIGGERS

LATER_TRIGGERS: tuple[str, ...] = ()
_MODIFIERS = tuple(TRIGGER_MODIFIERS.fields)


class TriggerReader:
    """Reads the triggers of one playbook after the other."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.shop = bench.shop

    def triggers(self, node: MapNode) -> list[Trigger]:
        """All triggers of a playbook; [] when one of them has a problem, or there is none."""
        found = node.get("trigger")
        if found is None:
            return []
        many = isinstance(found, SeqNode)
        items = found.items if isinstance(found, SeqNode) else [found]
        if not items and not found.broken:
            self.shop.problems.error(found, "empty", "'trigger' is an empty list")
        self._ids: dict[str, ScalarNode] = {}
        out: list[Trigger] = []
        for place, item in enumerate(items):
            trigger = self._trigger(item, place, f"trigger[{place}]" if many else "trigger")
            if trigger is not None:
                out.append(trigger)
        return out if len(out) == len(items) else []

    def _trigger(self, item: Yaml, place: int, path: str) -> Trigger | None:
        mapping = self.shop.reading.mapping(item, path, self._hint(item))
        if isinstance(mapping, _Fault):
            return None
        words = [key for key, _ in mapping if key.text in TRIGGERS]
        if not words:
            no_word(self.shop, mapping, TRIGGERS, LATER_TRIGGERS, "trigger", path, _MODIFIERS)
            return None
        if len(words) > 1:
            message = f"two triggers in one: '{words[0].text}' and '{words[1].text}'"
            self.shop.problems.error(words[1], "two-verbs", message, hint="write a list: trigger: [{...}, {...}]")
            return None
        trigger = self._built(mapping, words[0], place, path)
        condition_node = mapping.get("if")
        if condition_node is None:
            return trigger
        self.shop.trigger_types = event_types([trigger]) if trigger is not None else ()
        condition = self.shop.reading.read(condition_node, sh.Cond("trigger"), f"{path}.if")
        if trigger is None or condition is FAULT:
            return None
        trigger.condition = condition
        return trigger

    def _built(self, mapping: MapNode, word: ScalarNode, place: int, path: str) -> Trigger | None:
        kind = TRIGGERS.get(word.text)
        if not isinstance(kind.shape, sh.Map):
            raise TypeError("the shape of a trigger is a Map that holds its own word")
        fits = fits_subject(self.shop, kind, word)
        fields = self.shop.reading.fields(mapping, kind.shape, path, _MODIFIERS)
        extra = self._id(mapping, path)
        if isinstance(fields, _Fault) or isinstance(extra, _Fault) or not fits:
            return None
        body = mapping.get(word.text) or mapping
        trigger = kind.build(fields, KindBuild(self.bench, extra or f"trigger[{place}]", body, word))
        trigger.id = extra or (word.text if path == "trigger" else f"{word.text}[{place}]")
        trigger.path = path
        if isinstance(trigger, Slotted) and isinstance(body, MapNode):
            self.bench.audiences.append((trigger, body.get("audience") or body, self.shop.subject))
        return trigger

    def _id(self, mapping: MapNode, path: str) -> str | _Fault | None:
        found = mapping.get("id")
        if found is None:
            return None
        value = self.shop.reading.read(found, TRIGGER_MODIFIERS.fields["id"].shape, f"{path}.id")
        if isinstance(value, _Fault) or not isinstance(found, ScalarNode):
            return FAULT
        if self._ids.setdefault(found.text, found) is not found:
            hint = f"the first one is on line {self._ids[found.text].mark.line}"
            self.shop.problems.error(found, "duplicate-id", f"two triggers have the id '{found.text}'", hint=hint)
        return str(value)

    def _hint(self, item: Yaml) -> str:
        word = item.text if isinstance(item, ScalarNode) else ""
        return "write {signup: true}" if word == "signup" else "such as {event: order.paid}"


def event_types(triggers: list[Trigger]) -> tuple[str, ...] | None:
    """Types ``event`` may be; None when no trigger has an event, () when it may be anything."""
    types: set[str] = set()
    for trigger in triggers:
        heard = trigger.listens()
        if heard is None:
            return ()
        types |= heard
    return tuple(sorted(types)) if types else None
