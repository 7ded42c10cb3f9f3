"""Reads what a scenario expects: one word and the keys that go with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from engine.core import shapes as sh
from engine.core.instants import InstantError
from engine.language import scenario_forms as forms
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.reading import FAULT
from engine.language.scenario_model import NOTHING, Expectation
from engine.language.workshop import Workshop
from engine.registry import nearest

if TYPE_CHECKING:
    from engine.language.scenarios import Times

_TIMES = ("at", "expires_at", "due")


class ExpectReader:
    """Reads one ``expect``.

    Parameters
    ----------
    shop: knows all names.
    times: how its times are read.
    """

    def __init__(self, shop: Workshop, times: Times) -> None:
        self.shop = shop
        self.times = times

    def read(self, node: Node, what: str) -> list[Expectation] | None:
        """The list, empty for ``nothing``; None after problems were reported."""
        if node.broken:
            return None
        if isinstance(node, ScalarNode):
            if node.text == NOTHING:
                return []
            near = nearest(node.text, (NOTHING,))
            hint = f"did you mean '{near}'?" if near else "such as [{entered: welcome}], or nothing"
            self.shop.reading.wrong_type(node, f"{what}.expect", "a list, or nothing", hint)
            return None
        items = node.items if isinstance(node, SeqNode) else [node]
        if not items:
            self.shop.problems.error(node, "empty", f"'{what}.expect' is empty", hint="write expect: nothing")
            return None
        found = [self._one(item, f"{what}.expect[{place}]") for place, item in enumerate(items)]
        kept = [one for one in found if one is not None]
        return kept if len(kept) == len(found) else None

    def _one(self, item: Node, what: str) -> Expectation | None:
        reading, problems = self.shop.reading, self.shop.problems
        node = reading.mapping(item, what, "such as {message: welcome/hello, via: sms}")
        if not isinstance(node, MapNode) or node.broken:
            return None
        # the first word is the verb: a refusal may carry the words of its kind as keys
        words = [key for key, _ in node if key.text in forms.WORDS]
        refusal = next((key for key in words if key.text in forms.REFUSALS), None)
        if not words:
            keys = [key for key, _ in node if key.text not in forms.COMMON.fields]
            near = nearest(keys[0].text, forms.WORDS) if keys else None
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(forms.WORDS)
            problems.error(keys[0] if keys else node, "scenario-word", f"'{what}' names nothing to expect", hint=hint)
            return None
        word = refusal or words[0]
        return self._word(node, word, what)

    def _word(self, node: MapNode, word: ScalarNode, what: str) -> Expectation | None:
        spec = forms.WORDS[word.text]
        body = node.get(word.text)
        kind = body.text if word.text in forms.REFUSALS and isinstance(body, ScalarNode) else word.text
        keys = forms.keys_of(word.text, kind)
        shape = sh.Map({word.text: sh.Field(spec.value, True), **keys})
        fields = self.shop.reading.fields(node, shape, what)
        if fields is FAULT:
            return None
        wanted: dict[str, Any] = {}
        at = None
        for name, value in fields.items():
            place = node.get(name) or node
            if name in _TIMES:
                try:
                    value = self.times.instant(value)
                except (ValueError, InstantError) as error:
                    self.shop.problems.error(place, "bad-time", str(error))
                    return None
            if not self._regular(node, name, value):
                return None
            if name == "at":
                at = value
            elif name != word.text:
                wanted[name] = value
        if word.text in forms.REFUSALS:
            if "status" in wanted:
                self.shop.problems.error(node.key("status") or node, "conflict", f"'{word.text}' is a status itself")
                return None
            wanted["status"] = word.text
        else:
            wanted[spec.of] = fields[word.text]
            if word.text in forms.EFFECTS:
                wanted.setdefault("status", "planned")
        return Expectation(word.text, kind, wanted, at, node.mark, shown(node))


    def _regular(self, node: MapNode, name: str, value: Any) -> bool:
        """Can a pattern be read?"""
        if not isinstance(value, dict) or not isinstance(value.get("matches"), str):
            return True
        try:
            re.compile(value["matches"])
        except re.error as error:
            text = node.get(name)
            where = text.get("matches") if isinstance(text, MapNode) else None
            message = f"'{name}.matches' is no regular expression: {error}"
            self.shop.problems.error(where or node, "wrong-value", message)
            return False
        return True


def shown(node: Node) -> str:
    """A node as one line of YAML."""
    if isinstance(node, MapNode):
        return "{" + ", ".join(f"{key.text}: {shown(value)}" for key, value in node) + "}"
    if isinstance(node, SeqNode):
        return "[" + ", ".join(shown(item) for item in node) + "]"
    return " ".join(node.text.split()) if isinstance(node, ScalarNode) else "?"
