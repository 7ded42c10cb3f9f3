"""Reads what a scenario lays down of the world: control group, jitter of quiet hours, answers of other systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from engine.actions.webhook import CallWebhook
from engine.core.chance import BUCKETS
from engine.core.instants import parse_duration
from engine.core.plan import Playbook
from engine.core.policies import DRAW, MOST_JITTER, Control
from engine.language.diagnostics import Located
from engine.language.nodes import MapNode
from engine.registry import nearest


class Report(Protocol):
    """Tells of something that cannot be laid down."""

    def __call__(self, where: Located, message: str, hint: str = "") -> None: ...


def belts(
    report: Report, node: MapNode, fields: Mapping[str, Any], control: Control | None, users: Sequence[str]
) -> dict[tuple[str, str], int]:
    """(place, user) -> bucket, for what is drawn for a user as a whole.

    Parameters
    ----------
    node, fields: ``fixed``, as written and as read.
    control: the program's control group.
    users: all of the scenario.
    """
    draws: dict[tuple[str, str], int] = {}
    chosen = fields.get("control_group", {})
    where = node.get("control_group") or node
    if chosen and control is None:
        report(where, "the program has no 'control_group'")
        chosen = {}
    for user, word in chosen.items():
        percent = control.percent if control is not None else 0
        drawn = 0 if word == "held_out" else percent
        if (drawn < percent) != (word == "held_out") or drawn >= BUCKETS:
            report(where, f"with a control group of {percent / 100:g} % nobody can be '{word}'")
        draws[DRAW["control_group"], user] = drawn
    jitter = fields.get("jitter", {})
    for user, text in (dict.fromkeys(users, jitter) if isinstance(jitter, str) else jitter).items():
        length = 0 if text[:-1].strip("0") == "" else parse_duration(text.lstrip("0"))
        if length >= MOST_JITTER:
            report(node.get("jitter") or node, f"'fixed.jitter' needs less than 30m, got '{text}'")
            break
        draws[DRAW["quiet_hours"], user] = -(-length * BUCKETS // MOST_JITTER)
    return draws


def answers(
    report: Report, node: MapNode, fields: Mapping[str, Any], playbooks: Mapping[str, Playbook]
) -> dict[str, Mapping[str, Any]]:
    """playbook/step -> what the other system answers; empty: it never does."""
    steps = {
        f"{playbook.id}/{it.id}": it
        for playbook in playbooks.values()
        for it in playbook.nodes.values()
        if isinstance(it.action, CallWebhook)
    }
    inner = node.get("webhooks")
    found: dict[str, Mapping[str, Any]] = {}
    for name, answer in fields.get("webhooks", {}).items():
        where = (inner.key(name) if isinstance(inner, MapNode) else None) or node
        step = steps.get(name)
        if step is None:
            near = nearest(name, steps)
            known = "webhook steps: " + ", ".join(steps) if steps else "no playbook of the program has a 'webhook' step"
            report(where, f"there is no webhook step '{name}'", f"did you mean '{near}'?" if near else known)
        elif not step.used:
            name_of = name.partition("/")[2]
            report(where, f"nobody reads the answer of '{name}'", f"a condition or template asks for steps.{name_of}")
        else:
            found[name] = {} if answer == "no_answer" else {"status": answer["status"], "body": answer.get("body")}
    return found
