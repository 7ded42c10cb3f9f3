"""Conditions that say nothing: never true, always true, or hidden behind a branch above."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.actions.choose import Choose
from engine.core.moment import Condition
from engine.language.diagnostics import Page
from engine.language.lint.registry import Check
from engine.language.lint.terms import Choice, Terms, clash, covers_all, implies, terms
from engine.language.lint.world import Book, Step, World
from engine.language.nodes import MapNode, Node, SeqNode

PAGES: Final[dict[str, Page]] = {
    "never-true": Page(
        "a condition that is never true",
        "Two of its parts exclude each other, so nobody ever gets past it. Often 'and' was written where 'or' was "
        "meant, as in 'hour(now) >= 22 and hour(now) < 8'.",
        "when: hour(now) >= 22 and hour(now) < 8",
        "when: hour(now) >= 22 or hour(now) < 8",
        "warning",
    ),
    "always-true": Page(
        "a condition that is always true",
        "One of two alternatives always holds, so the condition lets everybody through. Often 'or' was written where "
        "'and' was meant, as in \"user.city != 'Oslo' or user.city != 'Lima'\".",
        "when: user.city == 'Oslo' or user.city != 'Oslo'",
        "when: user.city == 'Oslo' or user.city == 'Lima'",
        "warning",
    ),
    "shadowed-branch": Page(
        "a branch nobody comes to",
        "'choose' takes the first branch whose condition holds, and whoever fits this one fits a branch above it too. "
        "Put the narrower condition first.",
        "steps:\n  - choose:\n      - {when: event.amount > 3, do: [{points: 1}]}\n"
        "      - {when: event.amount > 5, do: [{points: 2}]}",
        "steps:\n  - choose:\n      - {when: event.amount > 5, do: [{points: 2}]}\n"
        "      - {when: event.amount > 3, do: [{points: 1}]}",
        "warning",
    ),
}


def _said(condition: Condition) -> Iterator[tuple[Condition, str, str]]:
    """(part, code, message) of every part of a condition that says nothing."""
    waiting = [condition]
    while waiting:
        part = waiting.pop()
        if part.op == "leaf":
            continue
        waiting.extend(part.parts)
        if part.op == "and":
            both = clash(terms(part))
            if both is not None:
                yield part, "never-true", f"{both[0].shown} and {both[1].shown} is never true"
                waiting = [one for one in waiting if one not in part.parts]
        elif part.op == "or":
            for choice in terms(part):
                either = covers_all(choice) if isinstance(choice, Choice) else None
                if either is not None:
                    yield part, "always-true", f"{either[0].shown} or {either[1].shown} is always true"


def _places(condition: Condition, node: Node) -> list[tuple[Condition, Node]]:
    """The entries of a list apart, each at its own place, besides the whole."""
    if condition.listed and isinstance(node, SeqNode) and len(node) == len(condition.parts):
        return list(zip(condition.parts, node.items, strict=True))
    return [(condition, node)]


def look_inside(world: World) -> None:
    """Every condition by itself."""
    silent: dict[str, bool] = {}
    for book in world.books:
        for condition, node in [*book.conditions(), *_branches(book)]:
            if condition.op == "leaf" or silent.get(condition.text):
                continue
            found = list(_said(condition))
            silent[condition.text] = not found
            for part, code, message in found:
                near = [place for one, place in _places(condition, node) if one is part or part in one.parts]
                world.say(near[0] if near else node, code, message, _HINTS[code])


_NEAR: Final = 200  # branches above that are looked at; without a bound a hostile file could make it quadratic
_HINTS: Final = {
    "never-true": "did you mean 'or', or another value?",
    "always-true": "did you mean 'and', or another value?",
}


def _branches(book: Book) -> Iterator[tuple[Condition, Node]]:
    for step in book.steps:
        if isinstance(step.node.action, Choose):
            for condition, where in _whens(step):
                if condition is not None:
                    yield condition, where


def _whens(step: Step) -> list[tuple[Condition | None, Node]]:
    """Condition and place of each branch of a ``choose``."""
    action, body = step.node.action, step.body
    if not isinstance(action, Choose) or not isinstance(body, SeqNode) or len(body) != len(action.branches):
        return []
    found: list[tuple[Condition | None, Node]] = []
    for (condition, _), row in zip(action.branches, body.items, strict=True):
        found.append((condition, (row.get("when") if isinstance(row, MapNode) else None) or row))
    return found


def look_together(world: World) -> None:
    """The trigger's ``if`` and ``when``, which are judged at the same instant."""
    for book in world.books:
        when = [(terms(condition), condition) for condition in book.plan.when]
        for place, trigger in enumerate(book.plan.triggers):
            own = terms(trigger.condition) if trigger.condition is not None else ()
            _join(world, book, own, book.trigger_at(place, "if"), [one for one, _ in when])


def _join(world: World, book: Book, own: Terms, place: Node, when: list[Terms]) -> None:
    together: list[tuple[Terms, Node]] = [(own, place)]
    node = book.yaml.get("when")
    for number, found in enumerate(when):
        listed = isinstance(node, SeqNode) and number < len(node)
        where = node.items[number] if listed and isinstance(node, SeqNode) else (node or book.yaml)
        for before, _ in together:
            both = clash((*before, *found))
            if both is not None and clash(before) is None and clash(found) is None:
                message = f"{both[0].shown} and {both[1].shown} is never true"
                world.say(where, "never-true", message, "nobody ever enters this playbook")
                return
        together.append((found, where))


def look_behind(world: World) -> None:
    """Branches that one above them always takes."""
    for book in world.books:
        for step in book.steps:
            above: list[tuple[Terms, Node, str]] = []
            for condition, where in _whens(step):
                if condition is None:
                    continue
                mine = terms(condition)
                cover = next((one for one in above[-_NEAR:] if implies(mine, one[0])), None)
                if cover is not None:
                    line = cover[1].mark.line
                    message = f"nobody comes to this branch: whoever fits it fits the one on line {line} ({cover[2]})"
                    world.say(where, "shadowed-branch", message, "put the narrower condition first")
                above.append((mine, where, condition.text))


CHECKS: Final = (
    Check(("never-true", "always-true"), look_inside),
    Check(("never-true",), look_together),
    Check(("shadowed-branch",), look_behind),
)
