"""What an edit does to people who are in a playbook: an older program, or the people of a store, against the new one.

Rule 1: steps are compared by their ids; a step that changed inside is no problem, its people finish on their version.
Rule 2: with a store it is known who stands where; without one, a step in which nobody can stand is no problem, and
every other one may have people in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.actions.split import Split
from engine.core.plan import Goal, Node, Playbook
from engine.language.compiled import Compiled
from engine.language.diagnostics import Diagnostic, Mark, Problems, Spot
from engine.language.source import read_source
from engine.registry import nearest

_PASSED_AT_ONCE: Final = frozenset(
    {"badge", "choose", "coupon", "emit", "invite", "points", "redeem", "set", "split", "stop", "tag"}
)
"""Verbs at which nobody stands: they are over within the event that led there."""

_WORD = re.compile(r"[\w.-]+")

People = Mapping[tuple[str, str, str], int]
"""(playbook, version, step) -> how many people stand there."""


@dataclass
class _Side:
    """One playbook before and after."""

    old: Playbook | None  #: None: it cannot be compiled any more
    new: Playbook
    label: str  #: what the old one is called: a revision or a version
    people: Mapping[str, int] | None  #: step -> who stands there; None: not known


class Comparison:
    """Collects what is to be said about the edits of a program.

    Parameters
    ----------
    found: the new program, valid.
    """

    def __init__(self, found: Compiled) -> None:
        self.found = found
        self.problems = Problems()
        self._present = {playbook.id: playbook for playbook in found.playbooks}
        self._lines = {file: text.splitlines() for file, text in found.sources.items()}

    def with_program(self, old: Compiled, label: str) -> tuple[Diagnostic, ...]:
        """Against the program as it was at a revision."""
        for playbook in old.plan.playbooks if old.plan is not None else ():
            new = self._present.get(playbook.id)
            if new is None:
                self._removed(playbook.id, f"it was in {playbook.places.get('playbook', '?')} at {label}")
            elif new.version != playbook.version and new.status != "archived":
                self._playbook(_Side(playbook, new, label, None))
        return self._result()

    def with_people(self, people: People) -> tuple[Diagnostic, ...]:
        """Against the people of a store; the program was compiled with the versions the store keeps."""
        plan = self.found.plan
        standing: dict[tuple[str, str], dict[str, int]] = {}
        for (id_, version, step), number in people.items():
            standing.setdefault((id_, version), {})[step] = number
        for (id_, version), steps in sorted(standing.items()):
            new = self._present.get(id_)
            old = plan.kept.get((id_, version)) if plan is not None else None
            lost = plan.lost.get((id_, version)) if plan is not None else None
            number = sum(steps.values())
            if lost is not None and (new is None or new.status not in ("draft", "archived")):
                self._lost(id_, version, lost, number, new)
            if new is None:
                self._removed(id_, f"{_people(number)} in it finish on their version")
            elif new.status not in ("draft", "archived") and (old is not None or lost is not None):
                self._playbook(_Side(old, new, f"version {version}" if version else "their version", steps))
        return self._result()

    def _result(self) -> tuple[Diagnostic, ...]:
        """What was found, but for what ``# allow:`` comments beside it silence."""
        for file in {problem.file for problem in self.problems.result(unused=False)}:
            text = self.found.sources.get(file)
            if text is not None:
                self.problems.learn(read_source(text.encode(), file).allows)
        return self.problems.result(unused=False)

    # ------------------------------------------------------------------ one playbook

    def _playbook(self, side: _Side) -> None:
        self._steps(side)
        if side.old is None:
            return
        self._splits(side.old, side.new)
        old, new = side.old, side.new
        if old.holdout is not None and new.holdout is not None and old.holdout.salt != new.holdout.salt:
            self._salt("holdout", old.holdout.salt, new.holdout.salt, self._top(new, "holdout"))
        before, after = (it.entry.key.text if it.entry.key is not None else "" for it in (old, new))
        if before != after:
            message = f"the key of 'entry' was {_quoted(before)} and is {_quoted(after)}: who was in it counts as new"
            hint = "people enter once more, one journey a new key; keep the key, or mean it"
            self.problems.warning(self._top(new, "entry"), "key-changed", message, hint=hint)
        if _goal(old.goal) != _goal(new.goal):
            message = (
                f"the goal was {_goal(old.goal)} and is {_goal(new.goal)}: figures before and after do not compare"
            )
            where = self._top(new, "goal" if new.goal is not None else "playbook")
            self.problems.warning(where, "goal-changed", message, hint="who is in it keeps the goal it began with")

    def _steps(self, side: _Side) -> None:
        """Steps that are gone while people stand in them."""
        new, old = side.new, side.old
        if side.people is not None:
            standing = dict(side.people)
        else:
            nodes = old.nodes.values() if old is not None else ()
            standing = {node.id: 0 for node in nodes if node.action.word not in _PASSED_AT_ONCE}
        gone = [step for step in standing if step not in new.nodes and step not in new.migrate]
        if new.on_change == "cancel":
            return
        for step in sorted(gone):
            node = old.nodes.get(step) if old is not None else None
            what = f"step '{step}'" + (f" ({node.action.word})" if node is not None else "")
            number = standing[step]
            who = f"{_people(number)} of {side.label} {_stand(number)} in it" if number else "people may stand in it"
            was = f", {node.where} at {side.label}," if node is not None and not number else ""
            message = f"{what}{was} is gone from playbook '{new.id}', and {who}"
            where = self._top(new, "migrate" if "migrate" in new.places else "steps")
            self.problems.error(where, "step-removed", message, hint=_way_out(step, old, new))
        if old is not None and new.on_change == "move" and list(old.nodes) != list(new.nodes):
            self._unnamed([step for step in standing if "[" in step and step in new.nodes], new)

    def _unnamed(self, steps: list[str], new: Playbook) -> None:
        """Steps that are named after their places, in a playbook whose places changed."""
        for step in sorted(set(steps) - new.migrate.keys()):
            message = f"'{step}' of playbook '{new.id}' is named after its place, and may be another step than before"
            hint = "people move to the step of the same id: write 'id:' before you move them"
            self.problems.warning(self._node(new.nodes[step]), "step-unnamed", message, hint=hint)

    def _splits(self, old: Playbook, new: Playbook) -> None:
        for id_, node in old.nodes.items():
            if not isinstance(node.action, Split):
                continue
            after = new.nodes.get(id_) or _moved_split(node.action, old, new)
            if after is None or not isinstance(after.action, Split):
                continue
            place = self._node(after)
            if _arms(node.action) != _arms(after.action):
                message = f"the arms of split '{id_}' were {_shown(node.action)} and are {_shown(after.action)}"
                hint = "people change arms when they come again; begin a new test with a new salt"
                self.problems.warning(place, "arms-changed", message, hint=hint)
            if node.action.salt != after.action.salt:
                self._salt(f"split '{id_}'", node.action.salt, after.action.salt, place)

    def _salt(self, what: str, before: str, after: str, where: Mark | Spot) -> None:
        message = f"the salt of {what} was '{before}' and is '{after}': people change arms"
        self.problems.warning(
            where, "salt-changed", message, hint=f"write salt: {_key(before)} to keep everybody's arm"
        )

    def _removed(self, id_: str, more: str) -> None:
        message = f"playbook '{id_}' is gone; {more}"
        hint = "keep the file with 'status: archived' to end its journeys, or let them finish"
        self.problems.warning(Mark("drumbeat.yaml", 1, 1), "playbook-removed", message, hint=hint)

    def _lost(self, id_: str, version: str, why: str, number: int, new: Playbook | None) -> None:
        where = Mark("drumbeat.yaml", 1, 1) if new is None else self._top(new, "playbook")
        message = (
            f"version {version} of playbook '{id_}' cannot be compiled any more,"
            f" {_people(number)} {_stand(number)} still: {why}"
        )
        hint = "put back what it names, or write on_change: move or cancel"
        self.problems.error(where, "version-lost", message, hint=hint)

    # ------------------------------------------------------------------ places

    def _top(self, playbook: Playbook, key: str) -> Spot:
        return self._spot(playbook.places.get(key) or playbook.places.get("playbook") or "drumbeat.yaml:1:1")

    def _node(self, node: Node) -> Spot:
        return self._spot(node.where)

    def _spot(self, where: str) -> Spot:
        file, line, col = where.rsplit(":", 2)
        mark = Mark(file, int(line), int(col))
        lines = self._lines.get(file, [])
        found = _WORD.match(lines[mark.line - 1], mark.col - 1) if mark.line <= len(lines) else None
        return Spot(mark, len(found[0]) if found is not None else 1)


def _way_out(step: str, old: Playbook | None, new: Playbook) -> str:
    """The next move; as an example the step that followed the one that is gone, where it is still there."""
    order = list(old.nodes) if old is not None else []
    after = order[order.index(step) + 1 :] if step in order else []
    target = next((id_ for id_ in after if id_ in new.nodes), None) or nearest(step, new.nodes)
    example = f", such as {_key(target)}" if target is not None else ""
    return f"write migrate: {{{_key(step)}: keep}}, cancel, or the step they go on at{example}"


def _moved_split(action: Split, old: Playbook, new: Playbook) -> Node | None:
    """The new split of the same arms where one lost its id because steps were put in before it."""
    names = {arm.name for arm in action.arms}
    for id_, node in new.nodes.items():
        if isinstance(node.action, Split) and id_ not in old.nodes and {arm.name for arm in node.action.arms} == names:
            return node
    return None


def _arms(split: Split) -> list[tuple[str, int, bool]]:
    return [(arm.name, arm.upto, arm.holdout) for arm in split.arms]


def _shown(split: Split) -> str:
    borders = [0, *(arm.upto for arm in split.arms)]
    return ", ".join(f"{arm.name} {(arm.upto - low) / 100:g}%" for arm, low in zip(split.arms, borders, strict=False))


def _goal(goal: Goal | None) -> str:
    if goal is None:
        return "none"
    test = f" if {goal.test.text}" if goal.test is not None else ""
    return f"{' or '.join(sorted(goal.events))}{test} within {goal.within.text}"


def _quoted(text: str) -> str:
    return f"'{text}'" if text else "none"


def _key(step: str) -> str:
    """A step id as YAML writes it inside braces."""
    return step if _WORD.fullmatch(step) else f'"{step}"'


def _stand(number: int) -> str:
    """What so many people do."""
    return "stands" if number == 1 else "stand"


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"
