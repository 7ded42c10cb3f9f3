"""Entries of a timeline that stand for a verb of the command line: ``trigger`` and ``task_done``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from engine.actions.task import GiveTask
from engine.core.plan import Playbook
from engine.core.starts import asked_for
from engine.core.tasks import DONE
from engine.language.diagnostics import Located
from engine.language.nodes import MapNode
from engine.registry import nearest


class Report(Protocol):
    """Tells of a word that cannot be meant."""

    def __call__(self, where: Located, code: str, message: str, hint: str = "") -> object: ...


Made = tuple[str, dict[str, Any]]
"""(type of the event, the data the verb itself gives)."""


def started(
    report: Report, node: MapNode, fields: Mapping[str, Any], playbooks: Mapping[str, Playbook]
) -> Made | None:
    """``trigger: playbook``; the playbook must want it."""
    name = fields["trigger"]
    if name not in playbooks:
        return None  # it has errors of its own
    type_ = asked_for((playbooks[name],)).get(name)
    if type_ is not None:
        return type_, {}
    message = f"playbook '{name}' cannot be started by hand: it has no trigger {{manual: true}}"
    report(node.get("trigger") or node, "not-manual", message)
    return None


def finished(
    report: Report, node: MapNode, fields: Mapping[str, Any], playbooks: Mapping[str, Playbook]
) -> Made | None:
    """``task_done: step``; the step must give a task, and the outcome be one of its own."""
    where, text = node.get("task_done") or node, fields["task_done"]
    tasks = {
        (playbook.id, it.id): it.action
        for playbook in playbooks.values()
        for it in playbook.nodes.values()
        if isinstance(it.action, GiveTask)
    }
    found = [place for place in tasks if text in (place[1], "/".join(place))]
    if len(found) != 1:
        near = nearest(text, [*map("/".join, tasks), *(step for _, step in tasks)])
        known = "tasks: " + ", ".join(map("/".join, found or tasks)) if tasks else "no playbook has a 'task' step"
        said = f"several steps called '{text}' give a task" if found else f"no step '{text}' gives a task"
        report(where, "unknown-task", said, f"did you mean '{near}'?" if near and not found else known)
        return None
    playbook, step = found[0]
    outcomes, outcome = tasks[found[0]].outcomes, fields.get("outcome")
    if outcomes and outcome not in outcomes:
        said = "needs 'outcome'" if outcome is None else f"has no outcome '{outcome}'"
        near = nearest(outcome or "", outcomes)
        hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(outcomes)
        report(node.get("outcome") or where, "wrong-value", f"task '{playbook}/{step}' {said}", hint)
        return None
    data = {"playbook": playbook, "step": step, "outcome": outcome, "by": fields.get("by")}
    return DONE, {name: it for name, it in data.items() if it is not None}


VERBS: Final[dict[str, Callable[[Report, MapNode, Mapping[str, Any], Mapping[str, Playbook]], Made | None]]] = {
    "trigger": started,
    "task_done": finished,
}
"""Word of an entry -> what it means."""
