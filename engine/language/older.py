"""Compiles older versions of playbooks again, for those who are still on them.

Rule 1: policies, channels, zone and catalog are those of the present program. Only what an older version names and the
present catalog no longer has is taken from the version's own sources.
Rule 2: they share the history with the present playbooks, so whatever one of them needs is kept.
Rule 3: an older version that cannot be compiled any more (its channel is gone, say) never harms the present program:
its journeys stand still, and everybody is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.core.plan import Identity, Playbook
from engine.language.building import Bench
from engine.language.catalog import Catalog, CatalogMaker
from engine.language.diagnostics import Problems
from engine.language.expressions.scope import Schema
from engine.language.nodes import MapNode
from engine.language.playbooks import PlaybookMaker
from engine.language.program import ProgramMaker, ProgramSpec
from engine.language.source import read_source
from engine.language.versions import KIND_OF, canonical, unpack
from engine.language.ways import webhook_channel
from engine.language.workshop import Workshop
from engine.ports import Version
from engine.render import TemplateSet


@dataclass
class Older:
    """Older versions, compiled."""

    kept: dict[tuple[str, str], Playbook] = field(default_factory=dict)  #: (playbook, version) -> what it was
    lost: dict[tuple[str, str], str] = field(default_factory=dict)  #: (playbook, version) -> why it cannot be compiled


class OlderMaker:
    """Compiles older versions beside the present program.

    Parameters
    ----------
    root: the program's folder, for list files.
    shop: the present program on the bench; what older versions watch is added.
    spec: the present program file.
    catalog: the present catalog; what is carried over is added.
    present: the present playbooks by id, whatever their status.
    """

    def __init__(
        self, root: Path, shop: Workshop, spec: ProgramSpec, catalog: Catalog, present: dict[str, Playbook]
    ) -> None:
        self.root = root
        self.shop = shop
        self.spec = spec
        self.catalog = catalog
        self.present = present

    def make(self, versions: Iterable[Version]) -> Older:
        """Compile all that differ from the present; the oldest of a playbook also serves those without a version."""
        older = Older()
        first: set[str] = set()
        for version in sorted(versions, key=lambda it: (it.playbook, it.since)):
            oldest = version.playbook not in first
            first.add(version.playbook)
            now = self.present.get(version.playbook)
            if now is not None and (now.status == "draft" or now.version == version.hash):
                continue
            found = self._one(version)
            if isinstance(found, str):
                older.lost[version.playbook, version.hash] = found
                continue
            older.kept[version.playbook, version.hash] = found
            if oldest:
                older.kept[version.playbook, ""] = found
        return older

    def _one(self, version: Version) -> Playbook | str:
        try:
            pack = unpack(version.sources)
        except (ValueError, OSError) as error:
            return f"its sources cannot be read: {error}"
        problems = Problems()
        templates, faults = TemplateSet.of({file: text.encode() for file, text in pack["templates"].items()})
        shop = Workshop(problems, Schema(), self.shop.book, templates)
        shop.books, shop.segment_kinds = self.shop.books, dict(self.shop.segment_kinds)
        shop.playbook_kinds = self.shop.playbook_kinds
        declared = _tree(canonical(pack["schema"]), "schema")
        shop.calendars, shop.holidays = self.shop.calendars, self.shop.holidays
        shop.lunar_months, shop.lunar_table = self.shop.lunar_months, self.shop.lunar_table
        shop.schema = ProgramMaker(shop, self.root).schema(declared) if declared is not None else self.shop.schema
        carried = self._carried(shop, pack)
        source = read_source(pack["playbook"]["text"].encode(), pack["playbook"]["file"])
        if faults or not isinstance(source.root, MapNode):
            return "its sources cannot be read"
        policy = source.root.get("policy")
        policies = dict(self.spec.policies)
        if policy is not None and str(policy.plain()) not in policies:  # the belts of the program hold all the same
            policies[str(policy.plain())] = policies["default"]
            shop.names["policy"].add(str(policy.plain()))
        account = next(iter(self.catalog.accounts), "main")
        bench = Bench(
            shop, list(self.spec.channels), self.spec.activity, account, self.spec.locale, self.spec.best_hour,
            webhooks=webhook_channel(self.spec.channels),
        )  # fmt: skip
        playbook = PlaybookMaker(bench, policies).make(source.root)
        errors = [problem for problem in problems.result(unused=False) if problem.severity == "error"]
        if playbook is None or errors:
            return errors[0].message if errors else "it cannot be compiled"
        self._take_over(carried)
        self.shop.watched |= shop.watched
        now = self.present.get(version.playbook)
        playbook.status = now.status if now is not None else "live"
        playbook.identify = lambda: Identity(version=version.hash, sources=version.sources)
        return playbook

    def _carried(self, shop: Workshop, pack: dict[str, Any]) -> Catalog:
        """Name everything the present and the older program define; compile what only the older one does."""
        gone = {
            section: {name: entry for name, entry in entries.items() if name not in self.shop.names[KIND_OF[section]]}
            for section, entries in pack["catalog"].items()
        }
        maker = CatalogMaker(shop, self.root, self.spec.zone)
        node = _tree(canonical({section: entries for section, entries in gone.items() if entries}), "catalog")
        if node is not None:
            maker.gather(node)
        maker.name_all()
        for kind, names in self.shop.names.items():
            shop.names[kind] = shop.names.get(kind, set()) | names
        ladders = {it.name: tuple(level for level, _ in it.levels) for it in self.catalog.ladders}
        first = next(iter(ladders), next(iter(pack["ladders"]), None))
        ladders |= {name: tuple(levels) for name, levels in pack["ladders"].items()}
        shop.names["ladder"] |= ladders.keys()
        shop.names["level"] |= {level for levels in ladders.values() for level in levels}
        shop.settle_names(ladders, first)
        return maker.make()

    def _take_over(self, carried: Catalog) -> None:
        here = self.catalog
        here.segments |= carried.segments
        here.pools |= carried.pools
        here.groups |= carried.groups
        here.rewards |= {name: it for name, it in carried.rewards.items() if name not in here.rewards}
        for name, account in carried.accounts.items():  # it keeps its balances, but earns nothing any more
            here.accounts.setdefault(name, replace(account, rules=()))
        here.badges += [name for name in carried.badges if name not in here.badges]


def _tree(text: str, name: str) -> MapNode | None:
    root = read_source(text.encode(), f"({name} of an older version)").root
    return root if isinstance(root, MapNode) else None
