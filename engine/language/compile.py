"""A folder of YAML and templates -> a Plan, or every reason why not, in one pass over all files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from engine.core import localtime
from engine.core.admission import EventTypes
from engine.core.figures import Figures, calendars
from engine.core.history import HistoryBook
from engine.core.moment import Env
from engine.core.plan import Plan, Playbook, Segment
from engine.core.slots import Slotted
from engine.core.starts import CALLED
from engine.core.subjects import USER
from engine.errors import InternalError
from engine.language.assemble import Ground, assemble, digest_of
from engine.language.audiences import Audiences, remark
from engine.language.building import Bench, subject_in
from engine.language.catalog import CALENDAR, Catalog, CatalogMaker
from engine.language.codes import PAGES
from engine.language.compiled import Compiled
from engine.language.diagnostics import Mark, Problems
from engine.language.expressions.scope import RESERVED_TYPES, Schema
from engine.language.files import PROGRAM_FILE, SCENARIOS, ProgramFiles, read_program, text_of
from engine.language.forms import SECTION_OF, SECTIONS
from engine.language.lint import LINT_PAGES, Book, World, look
from engine.language.loops import OWN_ENDS, SETS, TOLD, cycles, edges, set_edges
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.older import OlderMaker
from engine.language.playbooks import PlaybookMaker, playbook_names
from engine.language.program import ProgramMaker, ProgramSpec
from engine.language.scenario_model import Scenario
from engine.language.scenarios import ScenarioMaker
from engine.language.segment_loops import MOVES, segment_edges
from engine.language.source import Source
from engine.language.versions import Sealer
from engine.language.ways import webhook_channel
from engine.language.workshop import Workshop
from engine.ports import Version
from engine.registry import nearest
from engine.render import TemplateSet

_PLAYBOOK = re.compile(r"^playbook\s*[:：]", re.MULTILINE)
_RUNNING = ("live", "shadow", "paused")


def compile_program(
    root: Path, older: Sequence[Version] = (), *, today: date | None = None, scenarios: bool = False
) -> Compiled:
    """Read, check and compile the program in a folder.

    Parameters
    ----------
    root: the folder that holds ``drumbeat.yaml``.
    older: versions of playbooks that a store keeps, to be compiled too.
    today: with it, what depends on the present is checked too: whether tables of holidays run out.
    scenarios: read its scenario tests, too. What is wrong with a test is no reason not to run the program.
    """
    return _Compiler(root, older, today, scenarios).run()


class _Compiler:
    def __init__(
        self, root: Path, older: Sequence[Version] = (), today: date | None = None, scenarios: bool = False
    ) -> None:
        self.root = root
        self.older = older
        self.problems = Problems(known_codes=PAGES)
        self.files: ProgramFiles = read_program(root, scenarios=scenarios)
        self.templates, faults = TemplateSet.load(root)
        for fault in faults:
            mark = Mark(fault.file, fault.line or 1, fault.col or 1)
            severity = "warning" if fault.severity == "warning" else "error"
            self.problems.add(mark, fault.code, fault.message, severity=severity, hint=fault.hint)  # type: ignore[arg-type]
        self.book = HistoryBook()
        self.shop = Workshop(self.problems, Schema(), self.book, self.templates)
        self.shop.today = today
        self.shop.unread_templates = [fault.file for fault in faults if fault.severity != "warning"]
        self.playbooks: list[Playbook] = []
        self._slotted: list[tuple[Slotted, Node, str]] = []  #: triggers that fire at slots, and for whom
        self.made: list[tuple[MapNode, Playbook | None]] = []  #: each playbook file, and what was made of it
        self.scenarios: list[Scenario] = []
        self._selections: frozenset[str] = frozenset()  #: names of the sets that steps choose
        self.plan_of: Callable[[list[Playbook]], Plan] | None = None
        self._program: MapNode | None = None

    def run(self) -> Compiled:
        """The whole way."""
        files = (self.files.program, *self.files.documents, *self.files.scenarios)
        sources = [source for source in files if source is not None]
        self._take([source for source in sources if source not in self.files.scenarios])
        self._doubt()
        program = self._program = self._root_of(self.files.program, PROGRAM_FILE)
        maker = ProgramMaker(self.shop, self.root)
        self.shop.schema = maker.schema(program) if program is not None else Schema(profile_declared=False)
        if "field" in self.shop.unread:
            self.shop.schema = replace(self.shop.schema, profile_open=True, closed=False)
        spec = maker.make(program) if program is not None else maker.nothing()
        for book in self.shop.books.values():
            book.late = spec.act_within
        catalog, plan = self._content(spec, maker)
        settings = spec.settings
        self._make_scenarios(spec)
        result = self.problems.result()
        wrong = {it.file for it in result if it.severity == "error"}
        errors = any(not file.startswith(f"{SCENARIOS}/") for file in wrong)
        return Compiled(
            root=self.root,
            plan=None if errors else plan,
            problems=result,
            sources=self._texts(sources, {problem.file for problem in result}),
            settings=settings,
            known_types=self._known_types(catalog),
            audiences=None if errors or plan is None else self._audiences(plan, catalog),
            counts={
                "playbooks": len(self.playbooks),
                "templates": len(self.templates),
                "segments": len(catalog.segments),
                "coupons": len(catalog.pools),
                "groups": len(catalog.groups),
                **({"scenarios": len(self.files.scenarios)} if self.files.scenarios else {}),
            },
            scenarios=tuple(it for it in self.scenarios if it.file not in wrong),
            rehearse=None if errors or self.plan_of is None else self._rehearse,
            playbooks=tuple(self.playbooks),
            lists=tuple(name for name, _ in catalog.lists if not name.startswith(CALENDAR)),
            policies=spec.policies,
        )

    def _known_types(self, catalog: Catalog) -> EventTypes | None:
        schema = self.shop.schema
        names = frozenset(schema.events) | RESERVED_TYPES if schema.closed else None
        return EventTypes(names, catalog.schemas) if names is not None or catalog.schemas else None

    def _take(self, sources: list[Source]) -> None:
        """Take over what reading the files found."""
        for source in sources:
            self.problems.extend(source.problems)
            self.problems.learn(source.allows, incomplete="" if source.complete else source.file)
            _doubt_last(source)
        self._unreadable(tests=False)

    def _unreadable(self, *, tests: bool) -> None:
        for file, wrong in self.files.broken:
            if file.startswith(f"{SCENARIOS}/") is not tests:
                continue
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
            if not source.complete:
                self.shop.unread.add("playbook")
        if unread:
            self.shop.unread |= {*SECTION_OF, "level", "playbook"}

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

    def _content(self, spec: ProgramSpec, program: ProgramMaker) -> tuple[Catalog, Plan | None]:
        """Catalog and playbooks."""
        catalogs: list[MapNode] = []
        playbooks: list[MapNode] = []
        for source in self.files.documents:
            self._sort_in(source, catalogs, playbooks)
        maker = CatalogMaker(self.shop, self.root, spec.zone)
        for node in catalogs:
            maker.gather(node)
        maker.name_all()
        program.belts.check_calendars()
        catalog = maker.make()
        policies = spec.policies or {}
        business = program.open_on(catalog.calendars)
        self.shop.names |= playbook_names(playbooks)
        for node in playbooks:
            name = node.get("playbook")
            if isinstance(name, ScalarNode):
                self.shop.playbook_kinds[name.text] = subject_in(node)
        self._make_playbooks(playbooks, spec, catalog, Sealer(self._program, catalogs, self.templates))
        maker.check_selections(self._selections)
        self._look(spec, catalog, catalogs)
        if self.problems.has_errors:
            return catalog, None
        present = {playbook.id: playbook for playbook in self.playbooks}
        older = OlderMaker(self.root, self.shop, spec, catalog, present).make(self.older)
        running = [playbook for playbook in self.playbooks if playbook.status in _RUNNING]
        digest = self._digest(catalog)
        archived = [playbook for playbook in self.playbooks if playbook.status == "archived"]
        statuses = {playbook.id: playbook.status for playbook in self.playbooks}

        def plan_of(playbooks: list[Playbook], *, alone: bool = True) -> Plan:
            env = Env(
                zone=spec.zone,
                zones={name: card.zone for name, card in catalog.cards.items() if card.zone is not None},
                cards=catalog.cards,
                locale=spec.locale,
                account=next(iter(catalog.accounts), "main"),
                ladder=catalog.ladders[0].name if catalog.ladders else None,
                ranks={it.name: {level: rank for rank, (level, _) in enumerate(it.levels)} for it in catalog.ladders},
                holidays=catalog.holidays.is_holiday if catalog.holidays is not None else None,
                workdays=catalog.holidays.is_workday if catalog.holidays is not None else None,
                business=business,
                figures=_figures(catalog, spec.zone),
            )
            ground = Ground(
                program=spec.name, digest=digest, env=env, catalog=catalog, books=self.shop.books,
                channels=spec.channels, policies=policies.values(), watched=self.shop.watched,
                activity=spec.activity, act_within=spec.act_within, control=spec.control, links=spec.links,
                kept={} if alone else older.kept, lost={} if alone else older.lost,
                archived={} if alone else {playbook.id: playbook for playbook in archived},
                statuses={} if alone else statuses,
            )  # fmt: skip
            plan = assemble(ground, playbooks)
            ask = self._audiences(plan, catalog).at_slots
            # groups and the program are few: they are judged one by one
            plan.schedules = tuple(
                replace(it, filter=ask(it.trigger.audience)) if it.playbook.subject == USER else it
                for it in plan.schedules
            )
            return plan

        self.plan_of = plan_of
        plan = plan_of(running, alone=False)
        self._ask_in_python(self._audiences(plan, catalog))
        return catalog, plan

    def _ask_in_python(self, audiences: Audiences) -> None:
        """Say which audiences of schedules the store cannot answer whole."""
        for trigger, node, kind in self._slotted:
            if kind != USER:
                continue
            said = remark(audiences.of(trigger.audience))
            if said is not None:
                self.problems.warning(node, "audience-in-python", said[0], hint=said[1])

    def _make_scenarios(self, spec: ProgramSpec) -> None:
        """The tests, checked against everything the program defines."""
        self._unreadable(tests=True)
        playbooks = {playbook.id: playbook for playbook in self.playbooks}
        maker = ScenarioMaker(self.shop, playbooks, spec.zone, spec.control)
        for source in self.files.scenarios:
            self.problems.extend(source.problems)
            self.problems.learn(source.allows, incomplete="" if source.complete else source.file)
            _doubt_last(source)
            if source.partial is not None:
                scenario = maker.make(source.partial, source.file)
                if scenario is not None and source.complete:
                    self.scenarios.append(scenario)

    def _rehearse(self, names: Collection[str]) -> Plan:
        """A plan for a test: copies, because assembling writes into playbooks."""
        chosen = [replace(it, status="live") for it in self.playbooks if it.id in names]
        if not names:
            chosen = [replace(it) for it in self.playbooks if it.status in _RUNNING]
        if self.plan_of is None:
            raise InternalError("a program with errors cannot be rehearsed")
        return self.plan_of(chosen)

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
        account = next(iter(catalog.accounts), "main")
        bench = Bench(self.shop, list(spec.channels), spec.activity, account, spec.locale, spec.best_hour)
        bench.webhooks = webhook_channel(spec.channels)
        bench.defined = catalog.defined()
        maker = PlaybookMaker(bench, spec.policies)
        self.shop.names["playbook"] = {it.text for node in nodes if isinstance(it := node.get("playbook"), ScalarNode)}
        seen: dict[str, MapNode] = {}
        for node in nodes:
            playbook = maker.make(node)
            where = node.get("playbook")
            first = seen.setdefault(bench.playbook, node)
            if first is not node and isinstance(where, ScalarNode):
                hint = f"the first one is in {first.mark.file}"
                message = f"two playbooks are called '{bench.playbook}'"
                self.problems.error(where, "duplicate-playbook", message, hint=hint)
            self.made.append((node, playbook))
            if playbook is not None:
                playbook.identify = partial(sealer.identity, node, tuple(bench.templates))
                self.playbooks.append(playbook)
        self._slotted, self._selections = bench.audiences, frozenset(bench.selections)
        self._loops(bench, {name: node.mark.file for name, node in seen.items()}, catalog.segments)

    def _look(self, spec: ProgramSpec, catalog: Catalog, catalogs: list[MapNode]) -> None:
        """The checks beyond shape, of every playbook that has none but good shapes."""
        problems = self.problems
        unread = [node.mark.file for node, playbook in self.made if playbook is None]
        # what a template may hold hangs on the steps that send it
        problems.unasked((), [*unread, *(text.file for text in self.templates if unread)])
        program = self.files.program.partial if self.files.program is not None else None
        world = World(
            problems=problems, pages=LINT_PAGES, root=self.root,
            program=program if isinstance(program, MapNode) else None, catalogs=catalogs,
            books=[Book(node, playbook) for node, playbook in self.made if playbook is not None],
            catalog=catalog, schema=self.shop.schema, templates=self.templates, channels=spec.channels,
            locale=spec.locale, used=self.shop.in_use, links=spec.links,
        )  # fmt: skip
        look(world, whole=not problems.has_errors)

    def _loops(self, bench: Bench, files: dict[str, str], segments: Mapping[str, Segment]) -> None:
        told = edges(bench.tells, bench.unasked)
        plain = [*edges(bench.emits, bench.listens), *set_edges(bench.sets, bench.triggers), *told]
        moved = segment_edges(bench.alters, bench.bare, bench.triggers, segments)
        for cycle in cycles([*plain, *moved], moved):
            way = " -> ".join(f"{edge.source} ({files.get(edge.source, '?')}) {_says(edge.type)}" for edge in cycle)
            message = f"these may begin each other in a circle: {way} -> {cycle[0].source}"
            hint = "let one of them ask who should go on (if: on its trigger or step, when:), or begin once a person"
            self.problems.warning(cycle[0].where, "segment-loop", message, hint=hint)  # type: ignore[arg-type]
        for cycle in cycles(plain):
            way = " -> ".join(f"{edge.source} ({files.get(edge.source, '?')}) {_says(edge.type)}" for edge in cycle)
            message = f"trigger loop: {way} -> {cycle[0].source}"
            hint = "break the circle: another event type, or no emit (or start, or set)"
            if any(edge.type in TOLD for edge in cycle):
                hint = "break the circle, or ask the event when to go on: if: event.balance >= 1000"
            if cycle[0].type in OWN_ENDS:
                hint = "say whose journey: if: event.playbook == \"welcome\""
            self.problems.error(cycle[0].where, "trigger-loop", message, hint=hint)  # type: ignore[arg-type]

    def _audiences(self, plan: Plan, catalog: Catalog) -> Audiences:
        segments = {name: it for name, it in catalog.segments.items() if it.subject == USER}
        self.shop.turn_to(USER)
        return Audiences(self.shop.scope("user"), self.book, plan.env, segments)

    def _digest(self, catalog: Catalog) -> str:
        parts = [(source.file, source.text.encode()) for source in self.files.documents]
        if self.files.program is not None:
            parts.append((self.files.program.file, self.files.program.text.encode()))
        parts.append(("templates", self.templates.digest.encode()))
        parts.extend(catalog.lists)
        if self.shop.lunar_table is not None:
            parts.append(("lunar", repr(self.shop.lunar_table.firsts).encode()))
        return digest_of(parts)


def _says(type_: str) -> str:
    """What a step does that begins a playbook, for the message about a circle."""
    if type_ in OWN_ENDS:
        return f"tells {type_}"
    if type_ in TOLD:
        return f"books points ({type_})"
    if type_.startswith(MOVES):
        return type_.removeprefix(MOVES)
    if type_.startswith(SETS):
        return "sets " + type_.removeprefix("set ")
    return f"starts {type_.removeprefix(CALLED)}" if type_.startswith(CALLED) else f"emits {type_}"


def _figures(catalog: Catalog, zone: str) -> Figures:
    """Where the figures of the catalog's metrics are kept."""
    metrics, tz = catalog.metrics, localtime.zone(zone) or localtime.UTC
    return Figures(
        meanings={name: f"{it.per} {zone} {it.meaning}" for name, it in metrics.items()},
        calendars=calendars({name: it.per for name, it in metrics.items()}, tz),
        scores={name: it for name, it in metrics.items() if it.kind == "score"},
    )


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
