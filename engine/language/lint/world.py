"""What a check may look at: compiled playbooks beside the YAML they were made from, and all names of the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engine.core import plan as core
from engine.core.links import Links
from engine.core.moment import Condition
from engine.core.plan import Block, ChannelInfo, Playbook
from engine.language.catalog import Catalog
from engine.language.diagnostics import Located, Mark, Page, Problems
from engine.language.expressions.scope import Schema
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.render import Template, TemplateSet


@dataclass(eq=False, slots=True)
class Step:
    """One step in place.

    Parameters
    ----------
    node: the compiled step.
    yaml: the mapping it was made from.
    parent: the step it stands in, or None at the top.
    branch: number of the list of the parent it stands in.
    place: number in that list.
    """

    node: core.Node
    yaml: MapNode
    parent: Step | None
    branch: int
    place: int

    @property
    def verb(self) -> str:
        """The word of the step."""
        return self.node.action.word

    @property
    def key(self) -> Node:
        """The node of the verb, for problems of the whole step."""
        return self.yaml.key(self.verb) or self.yaml

    @property
    def body(self) -> Node | None:
        """What stands behind the verb."""
        return self.yaml.get(self.verb)

    def at(self, *path: str) -> Node:
        """The value at a path of keys of the body; the verb's word when it is not written."""
        here: Node | None = self.body
        for name in path:
            here = here.get(name) if isinstance(here, MapNode) else None
        return here or self.key

    def above(self) -> Iterator[Step]:
        """The steps it stands in, innermost first."""
        here = self.parent
        while here is not None:
            yield here
            here = here.parent


@dataclass(eq=False)
class Book:
    """A playbook that compiled.

    Parameters
    ----------
    yaml: its file's mapping.
    plan: what was made of it.
    """

    yaml: MapNode
    plan: Playbook

    @property
    def id(self) -> str:
        """Its id."""
        return self.plan.id

    @property
    def running(self) -> bool:
        """Does it decide anything?"""
        return self.plan.status in ("live", "shadow")

    @cached_property
    def steps(self) -> list[Step]:
        """All steps in order of writing."""
        steps_node = self.yaml.get("steps")
        found: dict[tuple[int, int], MapNode] = {}
        for node in below(steps_node) if steps_node is not None else ():
            if isinstance(node, MapNode):
                found.setdefault((node.mark.line, node.mark.col), node)
        out: list[Step] = []
        _gather(self.plan.body, None, 0, found, out)
        return out

    def conditions(self) -> Iterator[tuple[Condition, Node]]:
        """Every condition with the YAML it was made from."""
        plan, yaml = self.plan, self.yaml
        for place, trigger in enumerate(plan.triggers):
            if trigger.condition is not None:
                yield trigger.condition, self.trigger_at(place, "if")
        when = yaml.get("when")
        if when is not None and plan.when:
            listed = isinstance(when, SeqNode) and len(when) == len(plan.when)
            for place, condition in enumerate(plan.when):
                yield condition, when.items[place] if listed and isinstance(when, SeqNode) else when
        if plan.goal is not None and plan.goal.test is not None:
            yield plan.goal.test, _inside(yaml.get("goal"), "if") or yaml
        exits = yaml.get("exit")
        rows = exits.items if isinstance(exits, SeqNode) else [exits]
        for row, made in zip(rows, plan.exits, strict=False):
            if made.test is not None:
                yield made.test, _inside(row, "if") or yaml
        for step in self.steps:
            if step.node.guard is not None:
                yield step.node.guard, step.yaml.get("if") or step.yaml
            test = getattr(step.node.action, "test", None)
            if isinstance(test, Condition):
                yield test, step.at("if")

    def trigger_at(self, place: int, key: str = "") -> Node:
        """A trigger, or the value of one of its keys."""
        found = self.yaml.get("trigger")
        item = found.items[place] if isinstance(found, SeqNode) and place < len(found) else found
        return (_inside(item, key) if key else None) or item or self.yaml


@dataclass(eq=False)
class World:
    """One program, as its checks see it.

    Parameters
    ----------
    problems: where everything goes.
    pages: code -> its page, which says how severe it is.
    root: folder of the program.
    program: the program file, if it could be read.
    catalogs: the catalog files.
    books: the playbooks that compiled.
    catalog, schema, templates, channels, locale: of the program.
    used: (kind, name) of every name some file refers to.
    links: where signed links lead; None: the program says nothing of them.
    """

    problems: Problems
    pages: Mapping[str, Page]
    root: Path
    program: MapNode | None
    catalogs: list[MapNode]
    books: list[Book]
    catalog: Catalog
    schema: Schema
    templates: TemplateSet
    channels: Mapping[str, ChannelInfo]
    locale: str
    used: set[tuple[str, str]]
    links: Links | None = None

    def say(self, where: Mark | Located, code: str, message: str, hint: str = "", length: int | None = None) -> None:
        """Report a problem, as severe as the page of its code says."""
        self.problems.add(where, code, message, severity=self.pages[code].severity, hint=hint, length=length)

    def variants(self, name: str, channels: list[str]) -> list[Template]:
        """The texts of a template for some channels, in every locale."""
        found = []
        for channel in channels:
            for locale in self.templates.locales(name, channel):
                text = self.templates.find(name, channel, locale, self.locale)
                if text is not None:
                    found.append(text)
        return found

    @cached_property
    def messages(self) -> list[tuple[Book, Step, list[str]]]:
        """(playbook, step, channels) of every step that renders a message template."""
        found: list[tuple[Book, Step, list[str]]] = []
        for book in self.books:
            for step in book.steps:
                if isinstance(getattr(step.node.action, "template", None), str):
                    via = getattr(step.node.action, "via", None)
                    found.append((book, step, list(via) if isinstance(via, (list, tuple)) else []))
        return found


def below(node: Node) -> Iterator[Node]:
    """A node and all nodes in it, keys left out, in order of writing."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        if isinstance(here, MapNode):
            waiting.extend(value for _, value in reversed(here.entries))
        elif isinstance(here, SeqNode):
            waiting.extend(reversed(here.items))


def scalars(node: Node) -> Iterator[ScalarNode]:
    """The single values in a node."""
    return (one for one in below(node) if isinstance(one, ScalarNode))


def _inside(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, MapNode) else None


def _gather(
    block: Block, parent: Step | None, branch: int, found: Mapping[tuple[int, int], MapNode], out: list[Step]
) -> None:
    for place, node in enumerate(block.nodes):
        line, col = node.where.rsplit(":", 2)[1:]
        yaml = found.get((int(line), int(col)))
        if yaml is None:
            continue
        step = Step(node, yaml, parent, branch, place)
        out.append(step)
        blocks = list(node.action.blocks())
        for number, inner in enumerate([*blocks, node.rescue] if node.rescue is not None else blocks):
            if inner is not None:
                _gather(inner, step, number, found, out)
