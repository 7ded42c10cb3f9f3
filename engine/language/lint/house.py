"""Keeping house: who answers for a playbook, what nobody tests, and what nobody uses."""

from __future__ import annotations

import re
from typing import Final

from engine.core.subjects import GROUP
from engine.language.diagnostics import Mark, Page
from engine.language.files import read_program_file
from engine.language.lint.registry import Check
from engine.language.lint.world import Book, World, scalars
from engine.language.nodes import MapNode

PAGES: Final[dict[str, Page]] = {
    "missing-owner": Page(
        "a playbook nobody answers for",
        "When something goes wrong at night, somebody has to be asked. Write a mail address, a team or a name.",
        "playbook: example\nsteps:\n  - points: 1",
        "playbook: example\nowner: growth@shop.example\nsteps:\n  - points: 1",
        "warning",
    ),
    "untested": Page(
        "a live playbook no scenario tests",
        "The program has scenario tests, and none of them names this playbook under 'playbooks'. What it does to "
        "people is only found out by doing it.",
        "# file: playbooks/a.yaml\nplaybook: a\nowner: ops\n# file: playbooks/b.yaml\nplaybook: b\nowner: ops\n"
        "# file: scenarios/a.yaml\nscenario: a\nplaybooks: [a]\n",
        "# file: playbooks/a.yaml\nplaybook: a\nowner: ops\n# file: playbooks/b.yaml\nplaybook: b\nowner: ops\n"
        "# file: scenarios/a.yaml\nscenario: a\nplaybooks: [a, b]\n",
        "warning",
    ),
    "unused": Page(
        "a definition nobody uses",
        "Nothing refers to it. Often a name was misspelt elsewhere, or what used it is gone. Delete it, or say why it "
        "stays: '# allow: unused — why'.",
        "playbook: example\nvars: {gift: 50}\nsteps:\n  - points: 1",
        'playbook: example\nvars: {gift: 50}\nsteps:\n  - points: {add: "{{ vars.gift }}"}',
        "warning",
    ),
}


def look_owners(world: World) -> None:
    """Playbooks without an owner."""
    for book in world.books:
        if book.running and "owner" not in book.yaml:
            where = book.yaml.get("playbook") or book.yaml
            world.say(where, "missing-owner", f"playbook '{book.id}' has no 'owner'", "owner: team@shop.example")


def look_tests(world: World) -> None:
    """Live playbooks no scenario names. A program without any scenario is not judged: it has no tests yet."""
    folder = world.root / "scenarios"
    files = sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]) if folder.is_dir() else []
    tested: set[str] = set()
    for path in files:
        node = read_program_file(world.root, path)
        found = node.get("playbooks") if isinstance(node, MapNode) else None
        if found is None:
            return  # a file that cannot be read, or one that runs them all
        tested.update(one.text for one in scalars(found))
    for book in world.books if files else ():
        if book.plan.status == "live" and book.id not in tested:
            where = book.yaml.get("playbook") or book.yaml
            message = f"no scenario tests playbook '{book.id}'"
            world.say(where, "untested", message, "write one under scenarios/ with 'playbooks: [...]'")


# ---------------------------------------------------------------------- unused definitions

_SECTIONS: Final = {
    "segments": "segment", "coupons": "coupon", "rewards": "reward", "badges": "badge", "groups": "group",
}  # fmt: skip
_WORDS: Final = re.compile(r"['\"]([^\s'\"`\\]+)(?=['\"])")


def look_unused(world: World) -> None:
    """Catalog entries, templates, policies and vars nothing refers to."""
    quoted = _quoted(world)
    alive = any(book.plan.subject == GROUP for book in world.books)
    for catalog in world.catalogs:
        for key, section in catalog:
            kind = _SECTIONS.get(key.text)
            if kind == "group" and alive:
                continue  # each of them is a subject, named or not
            for name, _ in section if kind is not None and isinstance(section, MapNode) else ():
                if (kind, name.text) not in world.used and name.text not in quoted:
                    world.say(name, "unused", f"nothing uses {kind} '{name.text}'", "delete it, or say why it stays")
    policies = world.program.get("policies") if world.program is not None else None
    for name, _ in policies if isinstance(policies, MapNode) else ():
        if name.text != "default" and ("policy", name.text) not in world.used:
            world.say(name, "unused", f"no playbook has the policy '{name.text}'", "delete it, or say why it stays")
    _templates(world)
    for book in world.books:
        _vars(world, book)


def _templates(world: World) -> None:
    used = {name for kind, name in world.used if kind == "template"}
    sent = {(step.node.action.template, channel) for _, step, channels in world.messages for channel in channels}  # type: ignore[attr-defined]  # ``messages`` holds only steps that have one
    for text in world.templates:
        where = Mark(text.file, 1, 1)
        if text.name not in used:
            world.say(where, "unused", f"no step names the template '{text.name}'", "delete it, or say why it stays")
        elif text.channel not in world.channels:
            message = f"the program has no channel '{text.channel}', so nobody is sent this text"
            world.say(where, "unused", message, "channels: " + ", ".join(world.channels))
        elif (text.name, text.channel) not in sent and any(name == text.name for name, _ in sent):
            message = f"no step sends template '{text.name}' through '{text.channel}'"
            world.say(where, "unused", message, "delete it, or add the channel to 'via'")


def _vars(world: World, book: Book) -> None:
    table = book.yaml.get("vars")
    if not isinstance(table, MapNode):
        return
    texts = [one.text for key, value in book.yaml if key.text != "vars" for one in scalars(value)]
    texts += [
        text.source
        for owner, step, channels in world.messages
        if owner is book
        for text in world.variants(step.node.action.template, channels)  # type: ignore[attr-defined]
    ]
    for name, _ in table:
        if not any(f"vars.{name.text}" in text for text in texts):
            world.say(name, "unused", f"nothing uses 'vars.{name.text}'", "delete it, or write it as vars.<name>")


def _quoted(world: World) -> set[str]:
    """Every word in quotes of every file: names of segments, badges, groups in functions stand so."""
    found: set[str] = set()
    for node in (*world.catalogs, *(book.yaml for book in world.books)):
        found.update(_WORDS.findall(node.source.text))
    return found


CHECKS: Final = (
    Check(("missing-owner",), look_owners, whole=True),
    Check(("untested",), look_tests, whole=True),
    Check(("unused",), look_unused, whole=True),
)
