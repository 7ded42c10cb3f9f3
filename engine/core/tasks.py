"""Tasks for people, as a subject keeps them: open ones, their escalation, and how they are closed.

Rule 1: a task is open until a ``task.done`` names it, with one of its outcomes when it has any; nothing else closes it
but the end of a journey that waits for it (an exit, a goal), which withdraws it, and the erasure of the user.
Rule 2: it escalates once, by time, whether or not a journey still waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.chance import effect_key
from engine.core.instants import format_instant
from engine.core.model import Effect, Event, Journey, State, Task
from engine.core.subjects import shown_as

if TYPE_CHECKING:
    from engine.core.fold import Folding
    from engine.core.judging import Judging

DONE = "task.done"
"""The event that closes a task: data ``{task: key, outcome?, by?}``, or ``{playbook, step, outcome?, by?}``."""


def fits(data: dict[str, Any], key: str, place: tuple[str, str], outcomes: list[str]) -> bool:
    """Does the data of a ``task.done`` close this task? A word that is no outcome of it closes nothing.

    Parameters
    ----------
    key, place: what the task is named by: its key, or (without a key in the data) its playbook and step.
    outcomes: how it may end; empty: in any way.
    """
    named = data["task"] == key if "task" in data else (data.get("playbook"), data.get("step")) == place
    return named and (not outcomes or data.get("outcome") in outcomes)


def done(state: State, event: Event, folding: Folding) -> None:
    """``task.done``: the task it names is open no longer."""
    if state.tasks:
        data = event.data
        state.tasks = [it for it in state.tasks if not fits(data, it.key, (it.playbook, it.step), it.outcomes)]


def withdraw(state: State, journey: Journey) -> None:
    """A journey ends while it waits for a task: nobody needs to do it any more."""
    waiting = journey.waiting
    if waiting is not None and waiting.kind == "event" and waiting.key is not None:
        withdraw_all(state, (waiting.key, *several(journey)))


def several(journey: Journey) -> Mapping[str, Any]:
    """The tasks of a step that waits for more than one, by key (``nominate``)."""
    found = (journey.results.get(journey.at or "") or {}).get("tasks")
    return found if isinstance(found, dict) else {}


def withdraw_all(state: State, keys: Iterable[str]) -> None:
    """Nobody needs to do these any more."""
    gone = frozenset(keys)
    state.tasks = [task for task in state.tasks if task.key not in gone]


def escalate(turn: Judging) -> None:
    """Tasks whose time is up go to the next person, too: one row each."""
    state, kept = turn.state, []
    for task in state.tasks:
        if task.escalate_at is not None and task.escalate_at <= turn.now:
            turn.out.effects.append(_row(task, turn))
            task = msgspec.structs.replace(task, escalate_at=None)
        kept.append(task)
    state.tasks = kept


def _row(task: Task, turn: Judging) -> Effect:
    detail = {"assign": task.to, "title": task.title, "due": shown(task.due), "escalates": task.key}
    user, group = shown_as(turn.state.id)
    return Effect(
        key=effect_key(task.playbook, task.step, turn.state.id, task.key, "escalate"),
        time=turn.now, playbook=task.playbook, step=task.step, kind="task", user=user, group=group,
        status="planned", reason=None, detail=detail,
    )  # fmt: skip


def shown(instant: int | None) -> str | None:
    """An instant of a row, or none."""
    return None if instant is None else format_instant(instant)
