"""A folder of YAML and templates -> a Plan, or every reason why not, in one pass over all files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from engine.core.history import HistoryBook
from engine.core.moment import Env
from engine.core.plan import Plan, Playbook
from engine.language.assemble import assemble, digest_of
from engine.language.building import Bench
from engine.language.catalog import Catalog, CatalogMaker
from engine.language.codes import PAGES
from engine.language.compiled import Compiled
from engine.language.diagnostics import Mark, Problems
from engine.language.expressions.scope import RESERVED_TYPES, Schema
from engine.language.files import PROGRAM_FILE, ProgramFiles, read_program, text_of
from engine.language.forms import SECTION_OF, SECTIONS
from engine.language.loops import cycles, edges
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.older import OlderMaker
from engine.language.playbooks import PlaybookMaker
from engine.language.program import ProgramMaker, ProgramSpec
from engine.language.source import Source
from engine.language.versions import Sealer
from engine.language.workshop import Workshop
from engine.ports import Version
from engine.registry import nearest
from engine.render import TemplateSet

_PLAYBOOK = re.compile(r"^playbook\s*[:：]", re.MULTILINE)
_RUNNING = ("live", "shadow", "paused")


def compile_program(root: Path, older: Sequence[Version] = ()) -> Compiled:
    """Read, check and compile the program in a folder.

    Parameters
    ----------
    root: the folder that holds ``drumbeat.yaml``.
    older: versions of playbooks that a store keeps, to be compiled too.
    """
    return _Compiler(root, older).run()


class _Compiler:
    def __init__(self, root: Path, older: Sequence[Version] = ()) -> None:
        self.root = root
        self.older = older
        self.problems = Problems(known_codes=PAGES)
        self.files: ProgramFiles = read_program(root)
        self.templates, faults = TemplateSet.load(root)
        for fault in faults:
            mark = Mark(fault.file, fault.line or 1, fault.col or 1)
            severity = "warning" if fault.severity == "warning" else "error"
            self.problems.add(mark, fault.code, fault.message, severity=severity, hint=fault.hint)  # type: ignore[arg-type]
        self.book = HistoryBook()
        self.shop = Workshop(self.problems, Schema(), self.book, self.templates)
        self.shop.unread_templates = [fault.file for fault in faults if fault.severity != "warning"]
        self.playbooks: list[Playbook] = []
        self._program: MapNode | None = None

    def run(self) -> Compiled:
        """The whole way."""
        sources = [source for source in (self.files.program, *self.files.documents) if source is not None]
        self._take(sources)
        self._doubt()
        program = self._program = self._root_of(self.files.program, PROGRAM_FILE)
        maker = ProgramMaker(self.shop, self.root)
        self.shop.schema = maker.schema(program) if program is not None else Schema(profile_declared=False)
        if "field" in self.shop.unread:
            self.shop.schema = replace(self.shop.schema, profile_open=True, closed=False)
        spec = maker.make(program) if program is not None else maker.nothing()
        self.book.late = spec.act_within
        catalog, plan = self._content(spec)
        settings = spec.settings
        result = self.problems.result()
        errors = any(problem.severity == "error" for problem in result)
        return Compiled(
            root=self.root,
            plan=None if errors else plan,
            problems=result,
            sources=self._texts(sources, {problem.file for problem in result}),
            settings=settings,
            known_types=frozenset(self.shop.schema.events) | RESERVED_TYPES if self.shop.schema.closed else None,
            counts={
                "playbooks": len(self.playbooks),
                "templates": len(self.templates),
                "segments": len(catalog.segments),
                "coupons": len(catalog.pools),
                "groups": len(catalog.groups),
            },
            playbooks=tuple(self.playbooks),
        )

    def _take(self, sources: list[Source]) -> None:
        """Take over what reading the files found."""
        for source in sources:
            self.problems.extend(source.problems)
            self.problems.learn(source.allows, incomplete="" if source.complete else source.file)
            _doubt_last(source)
        for file, wrong in self.files.broken:
            self.problems.error(Mark(file, 1, 1), "unreadable", f"the file {wrong}")

    def _texts(self, sources: list[Source], files: set[str]) -> dict[str, str]:
        """The text of every file read, and of every other one a problem stands in."""
        texts = {source.file: source.text for source in sources}
        for file in files - texts.keys():
            text = text_of(self.root / file)
            if text is not None:
                texts[file] = text
        return texts

    def _doubt(self) -> None:
        """What stands behind the place where reading a file stopped is unknown, through no fault of who names it."""
        if self.files.program is None or not self.files.program.complete:
            self.shop.unread |= {"channel", "policy", "field"}
        unread = any(file != PROGRAM_FILE for file, _ in self.files.broken)
        for source in self.files.documents:
            unread = unread or not (source.complete or _PLAYBOOK.search(source.text))
        if unread:
            self.shop.unread |= {*SECTION_OF, "level"}

    def _root_of(self, source: Source | None, file: str) -> MapNode | None:
        if source is None:
            if all(name != file for name, _ in self.files.broken):
                hint = "it may be as short as one line: 'program: name'"
                self.problems.error(Mark(file, 1, 1), "no-program", f"there is no {file} in this folder", hint=hint)
            return None
        node = source.partial
        if node is None:
            return None
        mapping = self.shop.reading.mapping(node, file)
        return mapping if isinstance(mapping, MapNode) else None

    def _content(self, spec: ProgramSpec) -> tuple[Catalog, Plan | None]:
        """Catalog and playbooks."""
        catalogs: list[MapNode] = []
        playbooks: list[MapNode] = []
        for source in self.files.documents:
            self._sort_in(source, catalogs, playbooks)
        maker = CatalogMaker(self.shop, self.root, spec.zone)
        for node in catalogs:
            maker.gather(node)
        maker.name_all()
        catalog = maker.make()
        policies = spec.policies or {}
        self._make_playbooks(playbooks, spec, catalog, Sealer(self._program, catalogs, self.templates))
        if self.problems.has_errors:
            return catalog, None
        present = {playbook.id: playbook for playbook in self.playbooks}
        older = OlderMaker(self.root, self.shop, spec, catalog, present).make(self.older)
        running = [playbook for playbook in self.playbooks if playbook.status in _RUNNING]
        env = Env(
            zone=spec.zone,
            locale=spec.locale,
            account=(catalog.accounts or ["main"])[0],
            ladder=catalog.ladders[0].name if catalog.ladders else None,
            ranks={it.name: {level: rank for rank, (level, _) in enumerate(it.levels)} for it in catalog.ladders},
        )
        plan = assemble(
            spec.name, self._digest(catalog), env, running, catalog, self.book, spec.channels, policies.values(),
            self.shop.watched, spec.activity, spec.act_within,
            kept=older.kept, lost=older.lost,
            archived=[playbook for playbook in self.playbooks if playbook.status == "archived"],
            statuses={playbook.id: playbook.status for playbook in self.playbooks},
        )  # fmt: skip
        return catalog, plan

    def _sort_in(self, source: Source, catalogs: list[MapNode], playbooks: list[MapNode]) -> None:
        """The first key of a file names what it is."""
        node = source.partial
        if node is None:
            return
        mapping = self.shop.reading.mapping(node, source.file)
        if not isinstance(mapping, MapNode):
            return
        if "playbook" in mapping:
            playbooks.append(mapping)
            return
        keys = [key for key, _ in mapping]
        if keys and all(key.text in SECTIONS for key in keys):
            catalogs.append(mapping)
            return
        catalog_like = any(key.text in SECTIONS for key in keys)
        known = sorted(SECTIONS) if catalog_like else ["playbook", *sorted(SECTIONS)]
        for key in keys:
            if key.text in SECTIONS:
                continue
            near = nearest(key.text, known)
            begins = "a playbook begins with 'playbook:', a catalog file with one of " + ", ".join(sorted(SECTIONS))
            hint = f"did you mean '{near}'?" if near else begins
            self.problems.error(key, "unknown-key", f"unknown key '{key.text}' at the top of the file", hint=hint)
            if not catalog_like:
                break
        if catalog_like:
            catalogs.append(mapping)
        elif not keys and not mapping.broken:
            self.problems.error(mapping, "empty", "the file is empty")

    def _make_playbooks(
        self, nodes: list[MapNode], spec: ProgramSpec, catalog: Catalog, sealer: Sealer
    ) -> None:
        account = (catalog.accounts or ["main"])[0]
        bench = Bench(self.shop, list(spec.channels), spec.activity, account, spec.locale)
        maker = PlaybookMaker(bench, spec.policies)
        seen: dict[str, MapNode] = {}
        for node in nodes:
            playbook = maker.make(node)
            where = node.get("playbook")
            first = seen.setdefault(bench.playbook, node)
            if first is not node and isinstance(where, ScalarNode):
                hint = f"the first one is in {first.mark.file}"
                message = f"two playbooks are called '{bench.playbook}'"
                self.problems.error(where, "duplicate-playbook", message, hint=hint)
            if playbook is not None:
                playbook.identify = partial(sealer.identity, node, tuple(bench.templates))
                self.playbooks.append(playbook)
        self._loops(bench, {name: node.mark.file for name, node in seen.items()})

    def _loops(self, bench: Bench, files: dict[str, str]) -> None:
        for cycle in cycles(edges(bench.emits, bench.listens)):
            way = " -> ".join(f"{edge.source} ({files.get(edge.source, '?')}) emits {edge.type}" for edge in cycle)
            message = f"trigger loop: {way} -> {cycle[0].source}"
            hint = "break the circle: another event type, or no emit"
            self.problems.error(cycle[0].where, "trigger-loop", message, hint=hint)  # type: ignore[arg-type]

    def _digest(self, catalog: Catalog) -> str:
        parts = [(source.file, source.text.encode()) for source in self.files.documents]
        if self.files.program is not None:
            parts.append((self.files.program.file, self.files.program.text.encode()))
        parts.append(("templates", self.templates.digest.encode()))
        parts.extend(catalog.lists)
        return digest_of(parts)


def _doubt_last(source: Source) -> None:
    """Say nothing about the value at which reading a file had to stop: it may be half of what was meant."""
    last: Node | None = source.partial
    while isinstance(last, (MapNode, SeqNode)):
        children = [value for _, value in last.entries] if isinstance(last, MapNode) else last.items
        last = children[-1] if children else None
    if source.complete or last is None:
        return
    lines = {problem.line for problem in source.problems if problem.severity == "error"}
    if lines & {last.mark.line, last.end.line}:
        last.broken = True
