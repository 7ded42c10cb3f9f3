"""Steps nobody comes to, and results used where they cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from engine.actions.choose import Choose
from engine.actions.split import Split
from engine.actions.stop import StopJourney
from engine.actions.wait_for import WaitFor
from engine.core.plan import Block, Node
from engine.language.diagnostics import Page
from engine.language.lint.registry import Check
from engine.language.lint.world import Book, Step, World, scalars
from engine.language.nodes import MapNode, ScalarNode

PAGES: Final[dict[str, Page]] = {
    "dead-step": Page(
        "a step nobody comes to",
        "Every way through the step above ends the journey, or the arm gets nobody, so this one never runs. Move it "
        "up, or let one of the ways go on.",
        "steps:\n  - stop: done\n  - points: 10",
        "steps:\n  - points: 10\n  - stop: done",
        "warning",
    ),
    "result-elsewhere": Page(
        "the result of a step of another branch",
        "Whoever walks this branch never walked the one that holds the step, so its result is always none here.",
        "steps:\n  - choose:\n      - when: user.city == 'Oslo'\n        do: [{coupon: new-user-20, id: gift}]\n"
        "      - otherwise: [{set: {user.stage: '{{ steps.gift.code }}'}}]",
        "steps:\n  - choose:\n      - when: user.city == 'Oslo'\n        do:\n"
        "          - {coupon: new-user-20, id: gift}\n"
        "          - set: {user.stage: '{{ steps.gift.code }}'}\n      - otherwise: [{points: 1}]",
        "warning",
    ),
    "result-maybe": Page(
        "the result of a step that may have been passed by",
        "The step stands in a branch, and this one comes after all branches: for some its result is none. A message "
        "that prints it is not sent to them. Ask 'if: steps.<id> is not none', or move the step into the branch.",
        "steps:\n  - choose:\n      - when: user.city == 'Oslo'\n        do: [{coupon: new-user-20, id: gift}]\n"
        "  - set: {user.stage: '{{ steps.gift.code }}'}",
        "steps:\n  - choose:\n      - when: user.city == 'Oslo'\n        do: [{coupon: new-user-20, id: gift}]\n"
        "  - set: {user.stage: '{{ steps.gift.code }}'}\n    if: steps.gift is not none",
        "warning",
    ),
}

_USED: Final = re.compile(r"\bsteps\.([a-z][a-z0-9_]*)")


def ends(block: Block) -> Node | None:
    """The step at which every way through a list ends the journey, or None when one goes on."""
    return next((node for node in block.nodes if _ends(node)), None)


def _ends(node: Node) -> bool:
    """Does every way through a step end the journey?"""
    action = node.action
    if node.guard is not None:
        return False
    if isinstance(action, StopJourney):
        return True
    if isinstance(action, WaitFor):
        return (action.otherwise is None or _stops(action.otherwise)) and _stops(action.then)
    if isinstance(action, Choose):
        whole = any(condition is None for condition, _ in action.branches)
        return whole and all(_stops(block) for _, block in action.branches)
    if isinstance(action, Split):
        return bool(action.arms) and all(not arm.holdout and _stops(arm.block) for arm in action.arms)
    return False


def _stops(block: Block) -> bool:
    return ends(block) is not None


def look_dead(world: World) -> None:
    """Steps behind one at which every journey ends, and arms nobody is sent down."""
    for book in world.books:
        lists: dict[tuple[int, int], list[Step]] = {}
        for step in book.steps:
            lists.setdefault((id(step.parent), step.branch), []).append(step)
        for steps in lists.values():
            for step, following in pairwise(steps):
                if _ends(step.node):
                    message = f"nobody comes to this step: every journey ends at '{step.verb}' on line "
                    world.say(following.key, "dead-step", f"{message}{step.yaml.mark.line}", "move it up, or drop it")
                    break
        for step in book.steps:
            _empty_arms(world, step)


def _empty_arms(world: World, step: Step) -> None:
    action, arms = step.node.action, step.body
    rows = arms.get("arms") if isinstance(arms, MapNode) else None
    if not isinstance(action, Split) or rows is None:
        return
    upto = 0
    for arm, row in zip(action.arms, getattr(rows, "items", ()), strict=False):
        if arm.upto == upto and isinstance(row, MapNode) and arm.block.nodes:
            message = f"nobody comes to the steps of arm '{arm.name}': its weight is 0"
            world.say(row.get("weight") or row, "dead-step", message, "give it a weight, or drop the arm")
        upto = arm.upto


def look_results(world: World) -> None:
    """``steps.x`` in a branch that excludes step x, or behind branches only some of which hold it."""
    for book in world.books:
        inner = [step for step in book.steps if step.parent is not None]
        makers = {step.node.id: step for step in inner if step.yaml.get("id") is not None}
        if not makers:
            continue
        for step in book.steps:
            told: set[str] = set()
            for node, name, offset in _uses(step):
                maker = makers.get(name)
                if maker is None or name in told or maker is step:
                    continue
                told.add(name)
                _judge(world, step, maker, node, offset)


def _judge(world: World, step: Step, maker: Step, node: ScalarNode, offset: int) -> None:
    name = maker.node.id
    line = [maker, *maker.above()]
    mine = [step, *step.above()]
    for own in mine:
        for other in line:
            if own.parent is other.parent and own.parent is not None and own.branch != other.branch:
                if _separate(own.parent, own.branch, other.branch):
                    message = f"'steps.{name}' is always none here: step '{name}' stands in another branch"
                    hint = f"it is on line {maker.yaml.mark.line}"
                    world.say(node.at(offset, len(name) + 6), "result-elsewhere", message, hint)
                return
    holder = maker.parent
    if holder is None or holder in mine or _asked(step, name) or _optional(world, step, node, name):
        return
    message = f"'steps.{name}' may be none here: not everybody comes by step '{name}'"
    hint = f"add 'if: steps.{name} is not none', or move it beside line {maker.yaml.mark.line}"
    world.say(node.at(offset, len(name) + 6), "result-maybe", message, hint)


def _separate(parent: Step, one: int, other: int) -> bool:
    """Does nobody walk both lists of a step?"""
    return parent.verb in ("choose", "split", "wait_for") and parent.node.rescue is None and one != other


def _asked(step: Step, name: str) -> bool:
    """Does the step, or one it stands in, ask about the result itself?"""
    for one in (step, *step.above()):
        if one.node.guard is not None and f"steps.{name}" in one.node.guard.text:
            return True
        if one is not step and one.verb == "choose" and f"steps.{name}" in _text(one):
            return True
    return False


def _text(step: Step) -> str:
    body = step.body
    rows = getattr(body, "items", [])
    whens = (row.get("when") for row in rows if isinstance(row, MapNode))
    return " ".join(one.text for when in whens if when is not None for one in scalars(when))


def _optional(world: World, step: Step, node: ScalarNode, name: str) -> bool:
    """A condition may ask about it, and so may the template it is handed to."""
    if "{{" not in node.text:
        return True
    given = step.at("with")
    if not isinstance(given, MapNode) or getattr(step.node.action, "template", None) is None:
        return "default" in node.text or " if " in node.text
    keys = [key.text for key, value in given if any(one is node for one in scalars(value))]
    needed = {
        path
        for text in world.variants(step.node.action.template, list(getattr(step.node.action, "via", [])))  # type: ignore[attr-defined]  # asked above
        for path in text.variables()
    }
    return not any(path == f"with.{key}" or path.startswith(f"with.{key}.") for key in keys for path in needed)


def _uses(step: Step) -> Iterator[tuple[ScalarNode, str, int]]:
    """Where a step itself names results: (value, id, offset), nested steps left out."""
    inner = _nested(step)
    for key, value in step.yaml:
        if key.text in ("id", "note", "on_error", "if"):
            continue
        for node in _own_scalars(value, inner):
            if "steps." in node.text:
                for match in _USED.finditer(node.text):
                    yield node, match[1], match.start()


def _nested(step: Step) -> set[int]:
    """The lists of steps inside a step."""
    found: set[int] = set()
    body = step.body
    waiting = [body] if body is not None else []
    while waiting:
        here = waiting.pop()
        if isinstance(here, MapNode):
            for key, value in here:
                if key.text in STEP_LISTS and not isinstance(value, ScalarNode):
                    found.add(id(value))
                else:
                    waiting.append(value)
        elif not isinstance(here, ScalarNode):
            waiting.extend(getattr(here, "items", []))
    return found


STEP_LISTS: Final = frozenset({"do", "otherwise", "then", "else", "on_exhausted", "on_full", "on_error"})
"""Keys under which a step holds steps."""


def _own_scalars(node: object, skipped: set[int]) -> Iterator[ScalarNode]:
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if id(here) in skipped:
            continue
        if isinstance(here, ScalarNode):
            yield here
        elif isinstance(here, MapNode):
            waiting.extend(value for _, value in here)
        else:
            waiting.extend(getattr(here, "items", []))


CHECKS: Final = (
    Check(("dead-step",), look_dead),
    Check(("result-elsewhere", "result-maybe"), look_results),
)

__all__ = ["CHECKS", "PAGES", "Book", "ends"]
