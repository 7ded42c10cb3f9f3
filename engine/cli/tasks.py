"""``drumbeat tasks``: what people have to do, and saying that it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.cli.common import EXIT_OK, emit_json, store_options, who_decides, with_store
from engine.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN = 100
_KEY = 12
_key = click.argument("key", metavar="KEY")


@click.group()
def tasks() -> None:
    """Tasks that playbooks gave to people: look at them, and say when one is done."""


@tasks.command("list")
@click.option("--assign", default=None, metavar="WHO", help="Only tasks of one person.")
@click.option("--user", default=None, metavar="ID", help="Only tasks about one user.")
@click.option("--all", "every", is_flag=True, help="Also those that are done or withdrawn.")
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="Tasks shown at most.")
@store_options
def list_(
    assign: str | None,
    user: str | None,
    every: bool,
    limit: int,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Open tasks, the oldest first."""
    from engine.insight.tasks import rows

    opened = with_store(program, store, read_only=True)[1]
    try:
        found = rows(opened, user=user, every=every)
        found = [it for it in found if assign in (None, it["assign"], it["escalated_to"])]
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"total": len(found), "tasks": found[:limit]})
    else:
        click.echo(_listed(found, limit, every))
    return EXIT_OK


@tasks.command()
@_key
@store_options
def show(key: str, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """One task: what is to be done, for whom, and what became of it."""
    from engine.insight.tasks import one

    opened = with_store(program, store, read_only=True)[1]
    try:
        found = one(opened, key)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(found)
    else:
        click.echo("\n".join(_shown(found)))
    return EXIT_OK


@tasks.command()
@_key
@click.option("--outcome", default=None, metavar="WORD", help="How it ended: one of the outcomes of the task.")
@click.option("--by", default=None, metavar="WHO", help="Who did it.")
@store_options
def done(
    key: str,
    outcome: str | None,
    by: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Say that a task is done; the running daemon or the next drumbeat run decides what follows.

    The word goes into the inbox of the store, as with drumbeat ingest.
    """
    from engine.insight.tasks import one

    found, opened = with_store(program, store, read_only=False)
    try:
        task = one(opened, key)
        _check(task, outcome)
        accepted = _put(found, opened, task, outcome, by)
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"key": task["key"], "outcome": outcome, "accepted": accepted})
    elif accepted:
        click.echo(f"done        {task['title']}\nnext        {who_decides(opened)} what follows")
    else:
        click.echo(f"nothing new: that task {task['key'][:_KEY]} is done was said before")
    return EXIT_OK


def _check(task: dict[str, Any], outcome: str | None) -> None:
    """A task is closed once, by a word it knows."""
    from engine.registry import nearest

    if not task["open"]:
        ended = f"done ({task['outcome']})" if task["outcome"] else task["state"]
        raise UsageError(f"task {task['key'][:_KEY]} is not open: it is {ended}")
    outcomes = task["outcomes"]
    words = ", ".join(outcomes)
    if outcomes and outcome is None:
        raise UsageError(f"task {task['key'][:_KEY]} needs --outcome", hint=f"one of {words}")
    if outcomes and outcome not in outcomes:
        near = nearest(outcome or "", outcomes)
        raise UsageError(
            f"'{outcome}' is no outcome of this task", hint=f"did you mean '{near}'?" if near else f"one of {words}"
        )


def _put(found: Any, store: Any, task: dict[str, Any], outcome: str | None, by: str | None) -> bool:
    """Into the inbox, the way ``ingest`` goes; False when it was said before."""
    from engine.core.model import Event
    from engine.core.subjects import receiver_of, subject_of
    from engine.core.tasks import DONE
    from engine.ports import Record
    from engine.runtime.clock import SystemClock
    from engine.runtime.intake import Intake

    clock = SystemClock()
    data = {name: it for name, it in (("task", task["key"]), ("outcome", outcome), ("by", by)) if it is not None}
    user, group = receiver_of(subject_of(task["user"], task["group"]))
    event = Event(
        id=f"{DONE}:{task['key']}", type=DONE, time=clock.now(), user=user, group=group, data=data, internal=True
    )
    intake = Intake(store, clock, known_types=found.known_types)
    intake.take([Record("tasks", 1, json.dumps(data, ensure_ascii=False).encode(), event)])
    return bool(intake.taken.accepted)


def _listed(found: list[dict[str, Any]], limit: int, every: bool) -> str:
    if not found:
        return "no tasks" if every else "no open tasks"
    lines = [_line(it) for it in found[:limit]]
    if len(found) > limit:
        lines.append(f"... {len(found) - limit:,} more")
    return "\n".join(lines)


def _line(it: dict[str, Any]) -> str:
    due = f", due {it['due']}" if it["due"] else ""
    marks = [word for word, there in (("overdue", it["overdue"]), ("closed", not it["open"])) if there]
    marks += [f"escalated to {it['escalated_to']}"] if it["escalated_to"] else []
    tail = f" ({', '.join(marks)})" if marks else ""
    return f"{it['key'][:_KEY]}  {it['assign']}: {_plain(it['title'])} [{_about(it)}]{due}{tail}"


def _about(it: dict[str, Any]) -> str:
    return it["user"] or (f"group {it['group']}" if it["group"] else "the program")


def _shown(it: dict[str, Any]) -> list[str]:
    from engine.core.values import text as text_of

    facts = [
        ("task", it["key"]),
        ("state", f"{it['state']}: {it['outcome']}" if it["outcome"] else it["state"]),
        ("assign", it["assign"]),
        ("title", it["title"]),
        ("body", "" if it["body"] is None else text_of(it["body"])),
        ("user", it["user"] or ""),
        ("group", it["group"] or ""),
        ("playbook", f"{it['playbook']}/{it['step']}"),
        ("given", it["given"]),
        ("due", (it["due"] or "") + (" (overdue)" if it["overdue"] else "")),
        ("escalated", it["escalated_to"] or ""),
        ("outcomes", ", ".join(it["outcomes"])),
        ("done", it["done"] or ""),
        ("by", it["by"] or ""),
    ]
    return [f"{name:<10}  {_plain(str(value))}" for name, value in facts if value]


def _plain(text: str) -> str:
    """Text that changes no terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
