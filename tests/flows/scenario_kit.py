"""A small program with scenario tests, read and run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.cli.rehearsing import run_one
from engine.insight.coverage import Coverage
from engine.insight.matching import Verdict
from engine.insight.rehearsal import Rehearsed
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.diagnostics import render_text

HEAD = """\
program: kit
profile: {name: text | none, city: text | none}
events: {order.paid: {amount: money, order_id: text | none}, app.opened: {}}
channels: {box: {via: file, path: out.jsonl}, sms: {via: file, path: sms.jsonl}}
policies:
  default:
    consent: {marketing: required, community: none, service: none, transactional: none}
    quiet_hours: never
    caps: [{purpose: marketing, max: 1, per: 7d}]
"""
FILES = {
    "drumbeat.yaml": HEAD,
    "playbooks/catalog/all.yaml": (
        "coupons:\n  tea: {codes: {generate: TEA}, valid_for: 5d, limits: {per_user: 2, total: 100}}\n"
        "segments: {quiet: {if: 'user.last_active_at is older_than(\"10d\")'}}\nbadges: {star: {}}\n"
    ),
    "playbooks/thanks.yaml": (
        "playbook: thanks\ntitle: t\ntrigger: {event: order.paid}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps:\n  - points: 10\n  - message: {template: hi, via: box, purpose: service}\n"
    ),
    "playbooks/offer.yaml": (
        "playbook: offer\ntitle: t\nstatus: draft\ntrigger: {inactivity: 10d}\nwhen: count('order.paid') >= 2\n"
        "entry: {mode: single, again_after: 30d}\nholdout: {percent: 50}\n"
        "goal: {event: order.paid, within: 20d}\nsteps:\n  - coupon: tea\n    id: gift\n"
        "  - message: {template: hi, via: [sms, box], purpose: marketing}\n  - wait: 2d\n"
        "  - message: {template: hi, via: [sms, box], purpose: marketing}\n    id: again\n"
    ),
    "playbooks/quiet.yaml": (
        "playbook: quiet\ntitle: t\ntrigger: {segment: {enters: quiet}}\nentry: once\nsteps:\n"
        "  - split: {arms: [{name: a, weight: 50, do: [{points: 1}]}, {name: b, weight: 50, do: [{points: 2}]}]}\n"
        "    id: draw\n"
    ),
    "templates/hi.box.j2": "hi {{ user.id }}",
    "templates/hi.sms.j2": "hi {{ user.id }} by sms",
}


def program(root: Path, scenario: str, files: Mapping[str, str] | None = None) -> Compiled:
    """Write the program with one scenario and compile it; a piece without head gets one."""
    text = scenario if scenario.startswith("scenario:") else f"scenario: test\n{scenario}"
    if "\nclock:" not in text:
        text = text.replace("\n", "\nclock: 2026-03-01T00:00:00Z\n", 1)
    for name, content in {**FILES, **(files or {}), "scenarios/s.yaml": text}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return compile_program(root, scenarios=True)


def played(root: Path, scenario: str, files: Mapping[str, str] | None = None) -> Rehearsed:
    """The scenario, run."""
    found = program(root, scenario, files)
    assert len(found.scenarios) == 1, render_text(found.problems, found.sources)
    return run_one(found, found.scenarios[0], Coverage(), update=False)[0]


def last(result: Rehearsed) -> Verdict:
    """The verdict of the last expect."""
    return result.checks[-1].verdict
