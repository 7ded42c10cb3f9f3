"""The version of a playbook: a hash of what it means, and its sources packed so that it can be compiled again.

Rule 1: the hash covers what decides the steps of somebody on the way: the playbook and the bytes of its templates. A
comment, the order of keys, the place of the file, title, owner, notes, and what says how to publish (status, on_change,
migrate) are left out.
Rule 2: it does not cover what belongs to the program and not to one playbook: policies, channels, time zone, and the
definitions of the catalog. A stricter cap holds for everybody at once, also for those on an older version.
Rule 3: the hash is kept in stores: what goes into it, and in which form, never changes.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from engine.actions import ACTIONS
from engine.core.plan import Identity
from engine.language.forms import SECTION_OF
from engine.language.nodes import MapNode, SeqNode
from engine.language.nodes import Node as Yaml
from engine.render import TemplateSet
from engine.render.template import Template

LENGTH: Final = 12
"""Hex digits of a version: two of one playbook meet once in 10^14."""

_NOT_MEANT: Final = frozenset({"title", "owner", "status", "on_change", "migrate"})
CARRIED: Final = ("segments", "coupons", "points", "rewards", "badges", "groups", "roles", "surveys")
"""Sections of which an older version keeps what it names; a tier ladder that was taken away is gone for everybody."""

_NAME = re.compile(r"[^\s'\"{}\[\](),:]+")


def canonical(value: Any) -> str:
    """Plain values as JSON, equal for equal values: keys sorted, numbers in one form."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(canonical, value)) + "]"
    if isinstance(value, Decimal):
        return str(int(value)) if value == value.to_integral_value() else format(value.normalize(), "f")
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def meaning(node: MapNode) -> Any:
    """The values of a playbook without what does not change the way of anybody."""
    return {key.text: _meant(value) for key, value in node if key.text not in _NOT_MEANT}


def _meant(node: Yaml) -> Any:
    if isinstance(node, SeqNode):
        return [_meant(item) for item in node.items]
    if isinstance(node, MapNode):
        step = any(key.text in ACTIONS for key, _ in node)
        return {key.text: _meant(value) for key, value in node if not (step and key.text == "note")}
    return node.plain()


class Sealer:
    """Gives the playbooks of one program their identities.

    Parameters
    ----------
    program: the program file.
    catalogs: the catalog files.
    templates: all templates of the program.
    """

    def __init__(self, program: MapNode | None, catalogs: list[MapNode], templates: TemplateSet) -> None:
        self._program = program
        self._catalogs = catalogs
        self._templates = templates
        self._entries: dict[str, dict[str, Yaml]] | None = None

    def identity(self, node: MapNode, used: Iterable[str]) -> Identity:
        """The identity of a playbook that uses the templates of these names."""
        names = frozenset(used)
        templates = sorted((it for it in self._templates if it.name in names), key=_order)
        meant = canonical([meaning(node), [[it.name, it.channel, it.locale, it.digest] for it in templates]])
        version = sha256(meant.encode()).hexdigest()[:LENGTH]
        return Identity(version=version, sources=self._pack(node, templates))

    def _pack(self, node: MapNode, templates: list[Template]) -> bytes:
        """Everything the playbook needs to be compiled again in a program that has changed since."""
        text = node.source.text
        schema = self._program if self._program is not None else None
        packed = {
            "format": 1,
            "playbook": {"file": node.mark.file, "text": text},
            "templates": {it.file: it.source for it in templates},
            "catalog": self._named(text),
            "ladders": self._ladders(),
            "schema": {
                name: found.plain()
                for name in ("profile", "events")
                if schema is not None and (found := schema.get(name)) is not None
            },
        }
        return zlib.compress(canonical(packed).encode(), 6)

    def _sections(self) -> dict[str, dict[str, Yaml]]:
        if self._entries is None:
            self._entries = {}
            for node in self._catalogs:
                for key, table in node:
                    if isinstance(table, MapNode):
                        section = self._entries.setdefault(key.text, {})
                        section.update((name.text, entry) for name, entry in table)
        return self._entries

    def _named(self, text: str) -> dict[str, dict[str, Any]]:
        """The entries of the catalog whose names stand in a text, and those that these name in turn."""
        found: dict[str, dict[str, Any]] = {}
        waiting = [text]
        while waiting:
            words = set(_NAME.findall(waiting.pop()))
            for section in CARRIED:
                for name, entry in self._sections().get(section, {}).items():
                    if name in words and name not in found.get(section, {}):
                        found.setdefault(section, {})[name] = plain = entry.plain()
                        waiting.append(canonical(plain))
        return found

    def _ladders(self) -> dict[str, list[str]]:
        ladders = {}
        for name, entry in self._sections().get("tiers", {}).items():
            levels = entry.get("levels") if isinstance(entry, MapNode) else None
            ladders[name] = levels.keys() if isinstance(levels, MapNode) else []
        return ladders


def unpack(sources: bytes) -> dict[str, Any]:
    """What ``Sealer`` packed; numbers with a fraction are exact."""
    return dict(json.loads(zlib.decompress(sources), parse_float=Decimal))


def _order(template: Template) -> tuple[str, str, str]:
    return template.name, template.channel, template.locale or ""


KIND_OF: Final = {section: kind for kind, section in SECTION_OF.items()}
"""Section of the catalog -> how its names are called."""
