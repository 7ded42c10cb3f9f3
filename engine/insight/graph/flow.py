"""One playbook as a flow: what begins it, who may enter, its steps with their branches, and what ends it."""

from __future__ import annotations

from engine.core.kinds import STOP, Action
from engine.core.moment import Condition
from engine.core.plan import Block, Node, Playbook
from engine.core.slots import Slotted
from engine.insight.graph.people import Standing
from engine.insight.graph.picture import Box, Picture

_END = "end"
_WAITS = frozenset({"wait", "wait_for"})
_CHOICES = frozenset({"choose", "split", "repeat"})


def flow(playbook: Playbook, people: Standing | None = None) -> Picture:
    """The picture of a playbook; ``people`` puts live counts at its steps."""
    return _Flow(playbook, people).draw()


class _Flow:
    def __init__(self, playbook: Playbook, people: Standing | None) -> None:
        self.playbook = playbook
        self.people = people
        self.picture = Picture(f"{playbook.title} ({playbook.id})")

    def draw(self) -> Picture:
        """All of it."""
        entry = self._begin()
        self._join(entry, self.playbook.body.first, "")
        for node in self.playbook.nodes.values():
            self._step(node)
        self.picture.boxes.append(Box(_END, "end", "end"))
        self._endings(entry)
        self._strangers()
        return self.picture

    def _begin(self) -> str:
        picture, playbook = self.picture, self.playbook
        for place, trigger in enumerate(playbook.triggers):
            audience = trigger.audience if isinstance(trigger, Slotted) else None
            guard = (*_guard("for", audience), *_guard("if", trigger.condition))
            picture.boxes.append(Box(f"trigger:{place}", "trigger", trigger.word, _lines(trigger.gist(), *guard)))
            picture.join(f"trigger:{place}", "entry")
        picture.boxes.append(Box("entry", "entry", "entry", tuple(self._terms()), self._count(None)))
        return "entry"

    def _terms(self) -> list[str]:
        """Who may enter, and how often."""
        playbook, entry = self.playbook, self.playbook.entry
        out = [f"when {condition.text}" for condition in playbook.when]
        mode = entry.mode + (f" by {entry.key.text}" if entry.key is not None else "")
        out.append(mode + (f", again after {entry.again_after.text}" if entry.again_after is not None else ""))
        if entry.limit is not None:
            out.append(f"at most {entry.limit.count} a {entry.limit.per}")
        if entry.inside:
            out.append("in " + ", ".join(entry.inside))
        if entry.outside:
            out.append("not in " + ", ".join(entry.outside))
        if playbook.holdout is not None:
            out.append(f"{playbook.holdout.percent / 100:g} % held out")
        if playbook.status != "live":
            out.append(playbook.status)
        return out

    def _step(self, node: Node) -> None:
        action = node.action
        body = _lines(action.gist(), *_guard("if", node.guard))
        self.picture.boxes.append(Box(_name(node), _kind(action), action.word, body, self._count(node.id)))
        for words, target in action.ways():
            if target is STOP:
                self.picture.join(_name(node), _END, words)
            else:
                self._join(_name(node), (target.first if isinstance(target, Block) else None) or node.next, words)
        ends = all(target is STOP for _, target in action.ways())
        if node.guard is not None and (ends or _kind(action) != "step"):
            self._join(_name(node), node.next, "if not", aside=True)
        if node.rescue is not None:
            self._join(_name(node), node.rescue.first or node.next, "on error", aside=True)
        elif node.on_error == "stop":
            self.picture.join(_name(node), _END, "on error", aside=True)

    def _join(self, source: str, target: Node | None, words: str, *, aside: bool = False) -> None:
        self.picture.join(source, _END if target is None else _name(target), words, aside=aside)

    def _endings(self, entry: str) -> None:
        """Goal and exits: they listen beside the steps."""
        picture, goal = self.picture, self.playbook.goal
        if goal is not None:
            body = (", ".join(sorted(goal.events)) + f" within {goal.within.text}", *_guard("if", goal.test))
            picture.boxes.append(Box("goal", "goal", "goal", body))
            picture.join(entry, "goal", aside=True)
            if goal.then == "exit":
                picture.join("goal", _END, aside=True)
        for place, exit_ in enumerate(self.playbook.exits):
            what = f"{exit_.moves} {exit_.segment}" if exit_.segment is not None else ", ".join(sorted(exit_.events))
            picture.boxes.append(Box(f"exit:{place}", "goal", "exit", _lines(what, *_guard("if", exit_.test))))
            picture.join(entry, f"exit:{place}", aside=True)
            picture.join(f"exit:{place}", _END, aside=True)

    # -- people

    def _count(self, step: str | None) -> int | None:
        return None if self.people is None else self.people.steps[self.playbook.id, step]

    def _strangers(self) -> None:
        """People at steps this version does not have."""
        if self.people is None:
            return
        for (playbook, step), number in sorted(self.people.steps.items(), key=str):
            if playbook == self.playbook.id and step is not None and step not in self.playbook.nodes:
                self.picture.notes.append(f"{number} at step '{step}', which this version does not have")


def _name(node: Node) -> str:
    return f"step:{node.id}"


def _kind(action: Action) -> str:
    waits = action.word in _WAITS or (action.word == "task" and bool(action.hears()))
    return "wait" if waits else "choice" if action.word in _CHOICES else "step"


def _guard(word: str, condition: Condition | None) -> tuple[str, ...]:
    return () if condition is None else (f"{word} {condition.text}",)


def _lines(*lines: str) -> tuple[str, ...]:
    return tuple(line for line in lines if line)
