"""``drumbeat trigger``: start a playbook for one user or group by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, compiled, emit_json, store_options, who_decides, writer
from engine.errors import EventRejected, UsageError


@click.command()
@click.argument("playbook", metavar="PLAYBOOK")
@click.option("--user", default=None, metavar="ID", help="The user it is started for.")
@click.option("--group", default=None, metavar="ID", help="The group it is started for.")
@click.option("--data", default=None, metavar="JSON", help="An object; the playbook sees it as event.")
@click.option("--id", "id_", default=None, help="Id of this request: given again, nothing is started twice.")
@store_options
def trigger(
    playbook: str,
    user: str | None,
    group: str | None,
    data: str | None,
    id_: str | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Start a playbook with the trigger manual (or webhook) for a user, for a group, or (without either) the program.

    The request goes into the inbox of the store, as with drumbeat ingest; a running daemon decides it at once, else the
    next drumbeat run. Whether the user enters is up to the playbook: its when and its entry are judged as always. The
    request happens now, so after the next run the engine's clock stands at now.
    """
    found = compiled(program)
    type_ = _type(found.plan, playbook)
    subject = _subject(found.plan.by_id[playbook], user, group)
    event, raw = _event(type_, subject, data, id_)
    accepted, decides = _put(found, event, raw, store)
    if format_ == "json":
        about = {"user": user} if group is None else {"user": None, "group": group}
        emit_json({"playbook": playbook, **about, "id": event.id, "accepted": accepted})
    elif accepted:
        click.echo(f"accepted    {event.id}\nnext        {decides} it")
    else:
        click.echo(f"nothing new: the request {event.id} was there before")
    return EXIT_OK


def _type(plan: Any, name: str) -> str:
    """The type of the event that starts a playbook."""
    from engine.core.starts import asked_for
    from engine.registry import nearest

    ready = asked_for(plan.playbooks)
    if name in ready:
        return ready[name]
    if name in plan.by_id:
        message = f"playbook '{name}' cannot be started by hand: it has no trigger {{manual: true}}"
        raise UsageError(message, hint=_ready(ready))
    near = nearest(name, ready)
    hint = f"did you mean '{near}'?" if near else _ready(ready)
    raise UsageError(f"no running playbook is called '{name}'", hint=hint)


def _ready(ready: dict[str, str]) -> str:
    return "these can be: " + ", ".join(sorted(ready)) if ready else "no running playbook of the program has one"


def _subject(playbook: Any, user: str | None, group: str | None) -> str:
    """For whom: as the playbook says what it is about."""
    from engine.core.subjects import GROUP, PROGRAM, USER, of_group

    kind = playbook.subject
    said = [name for name, value in (("--user", user), ("--group", group)) if value is not None]
    wanted = {USER: ["--user"], GROUP: ["--group"]}.get(kind, [])
    if said != wanted:
        words = {USER: "a user: name it by --user", GROUP: "a group: name it by --group"}
        hint = words.get(kind, "the program: leave --user and --group out")
        message = f"playbook '{playbook.id}' does not fit {' '.join(said) or 'that'}"
        raise UsageError(message, hint=f"it is about {hint}")
    return of_group(group) if group is not None else user if user is not None else PROGRAM


def _event(type_: str, subject: str, data: str | None, id_: str | None) -> tuple[Any, bytes]:
    """The request as an event, read as strictly as any record."""
    from engine.core.chance import effect_key
    from engine.core.instants import format_instant
    from engine.core.subjects import receiver_of, shown_as
    from engine.door import read_event
    from engine.runtime.clock import SystemClock

    now = format_instant(SystemClock().now())
    made = id_ if id_ is not None else "trigger:" + effect_key(type_, subject, now, data or "")
    user, group = shown_as(subject)
    about = {"user": user} if user is not None else {"group": group or "-"}
    parts = {"id": made, "type": type_, **about, "time": now}
    head = json.dumps(parts, ensure_ascii=False)[:-1]
    raw = f'{head}, "data": {data if data is not None else "{}"}}}'.encode("utf-8", "surrogatepass")
    try:
        event = read_event(raw)
    except EventRejected as error:
        hint = "--data is one JSON object, such as '{\"reason\": \"call\"}'"
        raise UsageError(f"the request is no event: {error.message}", hint=hint) from None
    event.user, event.group = receiver_of(subject)
    event.internal = True  # only a verb can say so: whatever comes through the door of a feed is not
    return event, raw


def _put(found: Any, event: Any, raw: bytes, store: str | None) -> tuple[bool, str]:
    """Into the inbox, the way ``ingest`` goes: False when its id was there before, and who decides it."""
    from engine.ports import Record
    from engine.runtime.clock import SystemClock
    from engine.runtime.intake import Intake

    opened = writer(found, store)
    try:
        intake = Intake(opened, SystemClock(), known_types=found.known_types)
        intake.take([Record("trigger", 1, raw, event)])
    finally:
        opened.close()
    return bool(intake.taken.accepted), who_decides(opened)
