"""Tasks for people, as a store has them: which are open, and what became of the others.

Rule 1: what is read here is what was decided; closing a task is an event like any other (``task.done``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.core.model import Effect, State, Task
from engine.core.subjects import subject_of
from engine.core.tasks import DONE, fits
from engine.errors import UsageError
from engine.insight.subject import instant
from engine.ports import Store

_SHORTEST = 6
"""Letters of a key that are enough to name a task, when no other begins with them."""


def given(store: Store, user: str | None = None) -> Iterator[Effect]:
    """The rows of all tasks that were given, the oldest first; not those of their escalations."""
    for effect, _ in store.effects(user):
        if effect.kind == "task" and effect.status == "planned" and "escalates" not in effect.detail:
            yield effect


def rows(store: Store, *, user: str | None = None, every: bool = False) -> list[dict[str, Any]]:
    """Tasks ready for JSON: the open ones, or ``every`` one."""
    found = list(given(store, user))
    states = store.load({_whose(effect) for effect in found})
    now = store.clock()
    shown = [row(effect, states.get(_whose(effect)), now) for effect in found]
    return shown if every else [one for one in shown if one["open"]]


def row(effect: Effect, state: State | None, now: int) -> dict[str, Any]:
    """One task, as things stand at ``now``, the engine's clock."""
    task = task_of(state, effect.key)
    detail = effect.detail
    return {
        "key": effect.key,
        "open": task is not None,
        "assign": detail.get("assign"),
        "title": detail.get("title"),
        "user": effect.user,
        "group": effect.group,
        "playbook": effect.playbook,
        "step": effect.step,
        "given": instant(effect.time),
        "due": detail.get("due"),
        "overdue": task is not None and task.due is not None and now > task.due,
        "escalated_to": task.to if task is not None and task.escalate_at is None else None,
        "outcomes": detail.get("outcomes", []),
        "body": detail.get("body"),
    }


def _whose(effect: Effect) -> str:
    return subject_of(effect.user, effect.group)


def task_of(state: State | None, key: str) -> Task | None:
    """The open task of a key."""
    return next((task for task in state.tasks if task.key == key), None) if state is not None else None


def one(store: Store, key: str) -> dict[str, Any]:
    """A task by its key or the beginning of it, with what became of it; raises UsageError when none is meant."""
    hint = "drumbeat tasks list shows the keys"
    if len(key) < _SHORTEST:
        raise UsageError(f"'{key}' is too short for the key of a task: give {_SHORTEST} letters at least", hint=hint)
    found = [effect for effect in given(store) if effect.key.startswith(key)]
    if len(found) != 1:
        message = f"{len(found)} tasks have a key that begins with '{key}'" if found else f"there is no task '{key}'"
        raise UsageError(message, hint="give more letters" if found else hint)
    effect = found[0]
    user = _whose(effect)
    shown = row(effect, store.load([user]).get(user), store.clock())
    outcomes = shown["outcomes"]
    place = effect.playbook or "", effect.step or ""
    words = [it for it, _ in store.events(user) if it.type == DONE and fits(it.data, effect.key, place, outcomes)]
    words = [it for it in words if it.time >= effect.time]
    done = words[0] if words and not shown["open"] else None
    shown["state"] = "open" if shown["open"] else "done" if done is not None else "withdrawn"
    shown["outcome"] = done.data.get("outcome") if done is not None else None
    shown["by"] = done.data.get("by") if done is not None else None
    shown["done"] = instant(done.time) if done is not None else None
    return shown
