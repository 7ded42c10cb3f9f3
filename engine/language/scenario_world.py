"""Reads what a scenario lays down of chance and the world: holdouts, arms, control group, jitter, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.actions.split import Split
from engine.actions.webhook import CallWebhook
from engine.core.chance import BUCKETS
from engine.core.instants import parse_duration
from engine.core.plan import Playbook
from engine.core.policies import DRAW, MOST_JITTER, Control
from engine.language.nodes import MapNode, Node
from engine.language.scenario_verbs import Report
from engine.registry import nearest

FIXED: Final = "scenario-fixed"


def drawn(
    report: Report, node: MapNode, fields: Mapping[str, Any], playbooks: Mapping[str, Playbook]
) -> dict[tuple[str, str], int]:
    """(place, user) -> bucket, for holdouts and arms; what a playbook with errors of its own draws is left out."""
    draws: dict[tuple[str, str], int] = {}
    for name, users in fields.get("holdout", {}).items():
        if name in playbooks:
            _draw_holdout(report, playbooks[name], users, draws, _inner(node, "holdout", name))
    for name, chosen in fields.get("split", {}).items():
        for user, arms in chosen.items() if name in playbooks else ():
            for arm in arms:
                _draw_arm(report, playbooks[name], user, arm, draws, _inner(node, "split", name))
    return draws


def _draw_holdout(
    report: Report, playbook: Playbook, users: Mapping[str, str], draws: dict[tuple[str, str], int], where: Node
) -> None:
    if playbook.holdout is None:
        report(where, FIXED, f"playbook '{playbook.id}' has no 'holdout'")
        return
    percent = playbook.holdout.percent
    for user, word in users.items():
        bucket = 0 if word == "held_out" else percent
        if (bucket < percent) != (word == "held_out") or bucket >= BUCKETS:
            report(where, FIXED, f"with a holdout of {percent // 100} % nobody can be '{word}'")
        draws[playbook.id, user] = bucket


def _draw_arm(
    report: Report, playbook: Playbook, user: str, arm: str, draws: dict[tuple[str, str], int], where: Node
) -> None:
    """An arm by its name, in every split of the playbook that has one, or ``step.arm``."""
    splits = {it.id: it.action for it in playbook.nodes.values() if isinstance(it.action, Split)}
    hit = False
    names: list[str] = []
    for step, split in splits.items():
        low = 0
        for one in split.arms:
            names.append(one.name)
            if arm in (one.name, f"{step}.{one.name}") and one.upto > low:
                draws[f"{playbook.id}/{step}", user] = low
                hit = True
            low = one.upto
    if not hit:
        near = nearest(arm, names)
        known = "arms: " + ", ".join(names) if names else f"playbook '{playbook.id}' has no 'split'"
        hint = f"did you mean '{near}'?" if near and near != arm else known
        report(where, "unknown-arm", f"playbook '{playbook.id}' has no arm '{arm}'", hint)


def _inner(node: MapNode, *path: str) -> Node:
    """The key at the end of a path, as far as it goes."""
    here: Node = node
    key: Node = node
    for name in path:
        if isinstance(here, MapNode) and name in here:
            key, here = here.key(name) or here, here.get(name) or here
    return key


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
        report(where, FIXED, "the program has no 'control_group'")
        chosen = {}
    for user, word in chosen.items():
        percent = control.percent if control is not None else 0
        drawn = 0 if word == "held_out" else percent
        if (drawn < percent) != (word == "held_out") or drawn >= BUCKETS:
            report(where, FIXED, f"with a control group of {percent / 100:g} % nobody can be '{word}'")
        draws[DRAW["control_group"], user] = drawn
    jitter = fields.get("jitter", {})
    for user, text in (dict.fromkeys(users, jitter) if isinstance(jitter, str) else jitter).items():
        length = 0 if text[:-1].strip("0") == "" else parse_duration(text.lstrip("0"))
        if length >= MOST_JITTER:
            report(node.get("jitter") or node, FIXED, f"'fixed.jitter' needs less than 30m, got '{text}'")
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
            report(where, FIXED, f"there is no webhook step '{name}'", f"did you mean '{near}'?" if near else known)
        elif not step.used:
            hint = f"a condition or template asks for steps.{name.partition('/')[2]}"
            report(where, FIXED, f"nobody reads the answer of '{name}'", hint)
        else:
            found[name] = {} if answer == "no_answer" else {"status": answer["status"], "body": answer.get("body")}
    return found
