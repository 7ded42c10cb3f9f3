"""``drumbeat why``: why something happened to a user, or why not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, common_options, compiled, emit_json, moment, replayed, tell
from engine.errors import UsageError

_SHOWN = 10
"""Effects a playbook shows as text; JSON has them all."""


_ENDS = {"end": "its last step", "stop": "a stop", "goal": "its goal"}


@click.command()
@click.option("--user", "user", default=None, help="The user asked about.")
@click.option("--group", "group", default=None, help="The group asked about.")
@click.option("--playbook", "playbook", default=None, help="Only this playbook.")
@click.option("--at", "at", callback=moment, help="As things stood then (default: as they stand).")
@click.option(
    "--events", multiple=True, metavar="FILE", help="A feed, replayed on the virtual clock, instead of a store."
)
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def why(
    user: str | None,
    group: str | None,
    playbook: str | None,
    at: int | None,
    events: tuple[str, ...],
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Why a user or a group got what it got, and why not: every playbook's verdict down to the value of each part.

    Its events are decided once more by the very core that decided them; nothing is written and nothing is sent.
    """
    from engine import wiring
    from engine.cli.atwork import Past, past
    from engine.core.subjects import PROGRAM, subject_of
    from engine.insight.why import answer
    from engine.stores.memory import MemoryStore

    if user is not None and group is not None:
        hint = "drumbeat why --user ID, or drumbeat why --group ID"
        raise UsageError("why is asked of a user or of a group", hint=hint)
    found = compiled(program)
    named = found.plan.by_id.get(playbook) if playbook is not None else None
    if user is None and group is None and (named is None or named.subject != "program"):
        hint = "drumbeat why --user ID, or --group ID; a playbook about the program is asked for by --playbook alone"
        raise UsageError("why needs a user or a group", hint=hint)
    subject = subject_of(user, group) if user is not None or group is not None else PROGRAM
    if events and store is not None:
        raise UsageError("--events stands in for a store", hint="leave out --store")
    if events:
        opened = replayed(found, events, at)
    else:
        opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        known = Past(found) if events else past(found, opened, _first(opened, subject))
        said = answer(
            known.found.plan, opened, subject, playbook=playbook, until=at, eras=known.eras, remarks=known.remarks,
            fresh=lambda: MemoryStore(keep_log=False), segments=known.found.audiences.segments,
        )  # fmt: skip
    finally:
        opened.close()
    if format_ == "json":
        emit_json(said)
    else:
        tell(lines(said))
    return EXIT_OK


def _first(store: Any, subject: str) -> int:
    """The engine's clock at the first event of a subject."""
    return min((clock for _, clock in store.events(subject)), default=0)


def _who(said: dict[str, Any]) -> str:
    if said["user"] is not None:
        return f"user {said['user']}"
    return "the program" if said.get("group") is None else f"group {said['group']}"


def lines(said: dict[str, Any]) -> list[str]:
    """The answer as text."""
    who = _who(said)
    out = [f"{who}, {said['events']} event(s) up to {said['at']}"]
    out += [f"note: {remark}" for remark in said["remarks"]]
    for name, playbook in said["playbooks"].items():
        shadow = "" if playbook["status"] == "live" else f" ({playbook['status']})"
        out += ["", f"{name}{shadow}: {playbook['title']}"]
        out += [f"  {line}" for line in _playbook(playbook)]
    if said["ladders"]:
        out += ["", "tiers (decided by no playbook)"]
        out += [f"  {line}" for row in said["ladders"] for line in _effect(row)]
    return out


def _playbook(it: dict[str, Any]) -> list[str]:
    out = []
    if it["entry"] is not None:
        out += _decision(it["entry"])
    if it["last"] is not None:
        out += _decision(it["last"])
    if it["looked_at"] > 1:
        counted = ", ".join(f"{number} {verdict}" for verdict, number in it["verdicts"].items())
        out.append(f"verdicts so far: {counted}")
    out += _change(it["nearest_change"])
    out += _listening(it)
    for journey in it["journeys"]:
        out.append(f"running since {journey['started']}: {standing(journey)}")
    for goal in it["goals"]:
        out.append(f"goal open until {goal['until']}")
    out += _reservations(it["reservations"])
    out += _effects(it["effects"])
    return out


def _decision(it: dict[str, Any]) -> list[str]:
    late = f" (due then, carried out at {it['carried_out']})" if it["carried_out"] else ""
    out = [f"{it['verdict']} at {it['time']}{late}, {cause(it['cause'])}"]
    if not it["present"]:
        out[0] += f", by version {it['version']} (an older one)"
    for line in it["why"]:
        out += [f"  {text}" for text in _why(line)]
    return out


def cause(it: dict[str, Any] | None) -> str:
    """What an effect or a verdict came from."""
    if it is None:
        return "cause not on record"
    if it.get("wake") == "publish":
        return "when the program was published"
    if "wake" in it:
        return "by time" if it["wake"] == "time" else f"by time ({it['wake']})"
    if "type" not in it:
        return f"at event {it['event']}"
    if not it["internal"]:
        return f"at {it['type']} {it['event']}"
    return f"at {it['type']}" + (f" ({cause(it['after'])})" if "after" in it else "")


def _change(it: dict[str, Any] | None) -> list[str]:
    """The nearest change of the verdict, as it was tried."""
    if it is None:
        return []
    out = []
    for place, option in enumerate(it["options"]):
        what = " and ".join(_at(change) for change in option["changes"])
        when = f" at {option['time']}" if option["time"] else ""
        out.append(f"{'or' if place else 'nearest change'}: {what}: {option['verdict']}{when}")
    if it["from"] is not None:
        if it["of"] is None:
            out.append(f"looks at {it['from']['at']} when nothing happens before: {it['from']['because']}")
        else:
            sure = "" if it["from"]["proved"] else ", as far as the condition goes"
            out.append(f"otherwise from {it['from']['at']} on{sure}: {it['from']['because']}")
    if it["cannot_say"] is not None:
        out.append(f"nearest change: cannot say: {it['cannot_say']}")
    return out


_DATED = ("data", "fewer", "without", "moved", "days", "figure", "listed", "unlisted")
"""Changes whose words tell when, or that are of no instant of their own."""


def _at(change: dict[str, Any]) -> str:
    return str(change["text"]) + (f" at {change['at']}" if change["change"] not in _DATED else "")


WAITS = {
    "time": "waits",
    "event": "waits for an event",
    "quiet_hours": "waits for the end of quiet hours,",
    "cap": "waits for room under a cap,",
    "at": "waits for its hour,",
    "slot": "waits for room under the entry limit,",
    "queue": "waits for the journey before it",
    "answer": "waits for an answer",
}
"""What a journey waits for, in words before ``until``."""


def standing(journey: dict[str, Any]) -> str:
    """Where a journey stands and what it waits for."""
    place = f"at step {journey['stands_at']}" if journey["stands_at"] else "before its first step"
    kind = journey["waits_for"]
    waits = f", {WAITS.get(kind, f'waits for {kind}')}" if kind else ""
    until = f" until {journey['until']}" if journey["until"] else ""
    held = f", held out ({journey['held_out']})" if journey["held_out"] else ""
    key = f" [{journey['key']}]" if journey["key"] else ""
    older = " (an older one)" if journey["older"] else ""
    version = f", version {journey['version']}{older}" if journey["version"] else ""
    return f"{place}{key}{waits}{until}{held}{version}"


# ---------------------------------------------------------------------- conditions


def _why(line: dict[str, Any]) -> list[str]:
    if line["at"] == "version":
        return [line["text"]]
    if line["at"] == "end":
        return [f"ended by {_ENDS.get(line['text'], line['text'])}"]
    out = [f"{_verdict(line['value'])} {line['at']}: {line['text']}"]
    tree = line.get("tree")
    if tree is not None and "parts" in tree:
        out += [f"  {text}" for part in tree["parts"] for text in _branch(part)]
    else:
        out += [f"        {name} = {shown(value)}" for name, value in line["seen"].items()]
    out += _nearest(line.get("nearest") or [], tree is not None and "parts" in tree)
    if line.get("by_time"):
        out.append(f"      passing time alone may change it at {line['by_time']}")
    return out


def _branch(part: dict[str, Any]) -> list[str]:
    if "parts" in part:
        out = [f"{_verdict(part['value'])} {part['op']}"]
        return out + [f"  {text}" for inner in part["parts"] for text in _branch(inner)]
    out = [f"{_verdict(part['value'])} {part['text']}"]
    if "error" in part:
        out.append(f"        error: {part['error']}")
    return out + [f"        {name} = {shown(value)}" for name, value in part["seen"].items()]


def _nearest(found: list[dict[str, Any]], named: bool) -> list[str]:
    """The changes that would turn the verdict: all of them, or one of those marked ``or``."""
    out = []
    first = True
    for it in found:
        word = "or " if it["either"] and not first else ""
        first = first and not it["either"]
        of = f" ({it['text']})" if named else ""
        if it["needs"] is not None:
            out.append(f"      {word}needs {it['needs']}, has {shown(it['has'])}{of}")
        elif named:
            out.append(f"      {word}needs to change: {it['text']}")
    return out


def _verdict(value: bool | None) -> str:
    return "error" if value is None else "true " if value else "false"


def shown(value: Any) -> str:
    """A value as conditions write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {shown(one)}" for name, one in value.items()) + "}"
    return str(value)


# ---------------------------------------------------------------------- what else there is


def _listening(it: dict[str, Any]) -> list[str]:
    out = [] if it["looked_at"] else ["never looked at"]
    for trigger in it["listens"]:
        what = "any event" if trigger["events"] is None else " or ".join(trigger["events"])
        if it["looked_at"] and trigger["next"] is None:
            continue
        if trigger["events"] == []:
            out.append(f"next slot of its {trigger['kind']}: {trigger['next'] or 'never'}")
            continue
        if trigger["came"]:
            silent = "" if it["looked_at"] else "; the trigger did not fire"
            text = f"{trigger['came']} came, the last at {trigger['last']}{silent}"
        else:
            text = "none came"
        out.append(f"listens to {what} ({trigger['kind']}): {text}")
        if trigger["needs"] is not None:
            out.append(f"  needs {trigger['needs']}, has {trigger['has']}")
        if trigger["next"] is not None:
            out.append(f"  fires at {trigger['next']} when nothing happens before")
    return out


def _reservations(found: list[dict[str, Any]]) -> list[str]:
    out = []
    for it in found:
        names = " or ".join(it["names"])
        given = f"given {it['name']}" if it["granted"] else f"refused ({it['reason']})"
        begins = f", from {it['at']}" if it["kind"] == "slot" and it["at"] not in (None, it["time"]) else ""
        out.append(f"asked for {it['kind']} {names} at {it['time']}: {given}{begins}")
    return out


def _effects(found: list[dict[str, Any]]) -> list[str]:
    more = len(found) - _SHOWN
    out = [f"{more} earlier effect(s), see --format json"] if more > 0 else []
    return out + [line for it in found[-_SHOWN:] for line in _effect(it)]


def _effect(it: dict[str, Any]) -> list[str]:
    reason = f" ({it['reason']})" if it["reason"] else ""
    told = f" ({it['delivery_reason']})" if it.get("delivery_reason") else ""
    sent = f", {it['delivery']} by {it['channel']}{told}" if it["delivery"] else ""
    step = f" {it['step']}" if it["step"] else ""
    due = f" (due at {it['due']})" if it.get("due") else ""
    return [f"{it['time']}{due} {it['effect']}{step} {it['status']}{reason}{sent}: {gist(it)}, {cause(it['cause'])}"]


_GIST = {
    "message": ("template",),
    "coupon": ("pool", "code"),
    "invite": ("group", "room"),
    "points": ("delta", "account"),
    "redeem": ("reward", "points"),
    "badge": ("name",),
    "tag": ("add", "remove"),
    "tier": ("ladder", "from", "to"),
    "set": ("field", "value"),
    "emit": ("type", "to"),
    "post": ("group", "template"),
}


def gist(effect: dict[str, Any]) -> str:
    """The few words of an effect's detail that tell what it was."""
    detail = effect["detail"]
    names = _GIST.get(effect["effect"]) or tuple(detail)
    return " ".join(f"{name}={shown(detail[name])}" for name in names if detail.get(name) not in (None, []))
