"""Which parts of playbooks the scenario tests went through: entries, steps, branches, timeouts.

Rule 1: a step counts when somebody who is treated walks it; a control subject shows nothing.
Rule 2: looking on changes nothing: a spied step asks the real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from engine.actions.choose import Choose
from engine.actions.repeat import Repeat
from engine.actions.split import Split
from engine.actions.task import GiveTask
from engine.actions.wait_for import WaitFor
from engine.actions.webhook import CallWebhook
from engine.core.journeys import Run
from engine.core.kinds import WAIT, Action
from engine.core.model import Answer, Event
from engine.core.plan import Node, Plan, Playbook

PARTS = ("entries", "steps", "branches", "timeouts")


@dataclass
class Covered:
    """The parts of one playbook, and how often each was gone through."""

    hits: dict[str, dict[str, int]] = field(default_factory=lambda: {part: {} for part in PARTS})

    def count(self, part: str) -> tuple[int, int]:
        """(gone through, there are)."""
        found = self.hits[part].values()
        return sum(number > 0 for number in found), len(found)

    @property
    def total(self) -> tuple[int, int]:
        """As ``count``, of all parts."""
        counts = [self.count(part) for part in PARTS]
        return sum(done for done, _ in counts), sum(there for _, there in counts)

    def missed(self) -> list[str]:
        """What no test went through."""
        return [f"{part}: {name}" for part in PARTS for name, number in self.hits[part].items() if not number]


class Coverage:
    """The coverage of a program; each playbook is known before it is tested, or nobody would see that it is not."""

    def __init__(self, playbooks: Iterable[Playbook] = ()) -> None:
        self.playbooks: dict[str, Covered] = {}
        self.paused = False
        self.learn(playbooks)

    def learn(self, playbooks: Iterable[Playbook]) -> None:
        """Take in the parts of playbooks."""
        for playbook in playbooks:
            if playbook.id not in self.playbooks:
                self.playbooks[playbook.id] = _parts(playbook)

    def hit(self, playbook: str, part: str, name: str) -> None:
        """Somebody went through a part."""
        covered = self.playbooks.get(playbook)
        if covered is not None and name in covered.hits[part] and not self.paused:
            covered.hits[part][name] += 1

    @property
    def percent(self) -> int:
        """Per cent of everything, rounded down; 100 when there is nothing."""
        totals = [covered.total for covered in self.playbooks.values()]
        there = sum(number for _, number in totals)
        return 100 * sum(number for number, _ in totals) // there if there else 100

    def rows(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            name: {
                **{part: dict(zip(("covered", "of"), covered.count(part), strict=True)) for part in PARTS},
                "percent": _percent(covered),
                "missed": covered.missed(),
            }
            for name, covered in sorted(self.playbooks.items())
        }


def _percent(covered: Covered) -> int:
    done, there = covered.total
    return 100 * done // there if there else 100


def _parts(playbook: Playbook) -> Covered:
    covered = Covered()
    for trigger in playbook.triggers:
        covered.hits["entries"][trigger.id] = 0
    for node in playbook.nodes.values():
        covered.hits["steps"][node.id] = 0
        for name in _branches(node):
            covered.hits["branches"][f"{node.id}: {name}"] = 0
        late = _timeout(node)
        if late:
            covered.hits["timeouts"][f"{node.id}: {late}"] = 0
    return covered


def _timeout(node: Node) -> str:
    """What it is called when nothing came; "" where that makes no difference."""
    action = node.action
    if isinstance(action, WaitFor):
        return "else"
    if isinstance(action, GiveTask) and action.outcomes and action.due is not None:
        return "due"
    matters = node.on_error == "stop" or node.rescue is not None
    return "no answer" if isinstance(action, CallWebhook) and node.used and matters else ""


def _branches(node: Node) -> list[str]:
    action = node.action
    if isinstance(action, Choose):
        return [_branch(place, condition is None) for place, (condition, _) in enumerate(action.branches)]
    if isinstance(action, Split):
        return [arm.name for arm in action.arms]
    if isinstance(action, GiveTask):
        return list(action.outcomes)
    if isinstance(action, Repeat):
        return ["until", "times"] if action.until is not None and action.times > 1 else []
    if isinstance(action, CallWebhook):
        return ["answer"] if node.used else []
    return ["then"] if isinstance(action, WaitFor) else []


def _branch(place: int, otherwise: bool) -> str:
    return "otherwise" if otherwise else f"when[{place}]"


class _Spied:
    """A step that tells which way it went; whatever else is asked of it, the real one answers."""

    def __init__(self, real: Action, step: str, coverage: Coverage) -> None:
        self._real = real
        self._step = step
        self._coverage = coverage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _hit(self, run: Run, part: str, name: str = "") -> None:
        self._coverage.hit(run.playbook.id, part, f"{self._step}: {name}" if name else self._step)

    def run(self, run: Run) -> Any:
        if run.journey.held is not None:
            return self._real.run(run)
        real = self._real
        if isinstance(real, Choose):
            self._choose(real, run)
        done = run.round() if isinstance(real, Repeat) else None
        out = real.run(run)
        if done is None or not isinstance(real, Repeat):
            self._hit(run, "steps")
        if isinstance(real, Split):
            self._hit(run, "branches", str((run.journey.results.get(self._step) or {}).get("arm")))
        elif isinstance(real, WaitFor) and out is not WAIT:
            self._hit(run, "timeouts", "else")
        elif isinstance(real, Repeat) and out is not WAIT and out is not real.block.first:
            rounds = 0 if done is None else done[0] + 1
            self._hit(run, "branches", "times" if rounds >= real.times else "until")
        elif isinstance(real, CallWebhook):
            self._webhook(run)
        return out

    def _webhook(self, run: Run) -> None:
        """Answers are laid down: one came, or none ever does."""
        answer = run.plan.env.fixed.get("webhooks", {}).get(f"{run.playbook.id}/{self._step}")
        if answer is not None:
            self._hit(run, "branches" if answer else "timeouts", "answer" if answer else "no answer")

    def _choose(self, real: Choose, run: Run) -> None:
        for place, (condition, _) in enumerate(real.branches):
            try:
                fits = condition is None or condition.test(run.m)
            except Exception:  # the real one fails at the same place, and says so
                return
            if fits:
                self._hit(run, "branches", _branch(place, condition is None))
                return

    def resume(self, run: Run, cause: Event | Answer | None) -> Any:
        if isinstance(self._real, WaitFor) and run.journey.held is None:
            came = isinstance(cause, Event)
            self._hit(run, "branches" if came else "timeouts", "then" if came else "else")
        elif isinstance(self._real, GiveTask) and run.journey.held is None:
            came = isinstance(cause, Event)
            word = str(cause.data.get("outcome")) if isinstance(cause, Event) else "due"
            self._hit(run, "branches" if came else "timeouts", word)
        out = self._real.resume(run, cause)
        if isinstance(self._real, Repeat) and run.journey.held is None and out is not self._real.block.first:
            self._hit(run, "branches", "until")
        return out


@contextmanager
def spied(plan: Plan, coverage: Coverage) -> Iterator[None]:
    """Have the steps of a plan tell which way they went while this lasts."""
    before = [(node, node.action) for playbook in plan.playbooks for node in playbook.nodes.values()]
    try:
        for node, action in before:
            node.action = cast("Action", _Spied(action, node.id, coverage))
        yield
    finally:
        for node, action in before:
            node.action = action
