"""A scenario decides what ``simulate`` decides: the same events give the same effects at the same instants."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from scenario_kit import HEAD, program

from engine import wiring
from engine.core.instants import format_instant
from engine.feeds.replay import Replay
from engine.insight.rehearsal import rehearse
from engine.language.scenario_model import Given
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

SCENARIO = """\
users: {u1: {}, u2: {}, u3: {}}
playbooks: [thanks, quiet, offer]
timeline:
  - {event: consent.granted, user: u1, data: {channel: sms, purpose: marketing}}
  - {event: order.paid, user: u1, data: {amount: 5}, times: 3, every: 2d}
  - {event: order.paid, user: u2, data: {amount: 7}}
  - {at: +9d, event: app.opened, user: u2}
  - {at: +9d, event: order.paid, user: u2, data: {amount: 7.5}}
  - {at: +12d, event: order.paid, user: u3, data: {amount: 1}, times: 2, every: 30h}
  - {at: +70d, expect: nothing}
"""


NIGHTS = HEAD.replace("quiet_hours: never", 'quiet_hours: {from: "22:00", to: "08:00"}')
NIGHTS = NIGHTS.replace("{name:", "{birthday: date | none, name:")
NIGHTS += "control_group: {percent: 40, salt: x, applies_to: [community]}\n"
ALWAYS = "title: t\nentry: {mode: parallel, limit: unlimited}\n"
EVERYTHING = {
    "drumbeat.yaml": NIGHTS,
    "playbooks/catalog/c.yaml": "calendars: {sale: {dates: [2026-03-08..2026-03-12]}}\n",
    "playbooks/slots.yaml": f"playbook: slots\n{ALWAYS}trigger:\n"
    "  - {schedule: {cron: '0 23 * * *', audience: count('order.paid') >= 1}}\n"
    "  - {calendar: {name: sale, offset: -1d, at: '20:00', audience: true}}\n"
    "steps: [{message: {template: hi, via: box, purpose: service}}, {start: after}]\n",
    "playbooks/after.yaml": f"playbook: after\n{ALWAYS}trigger: {{called: true}}\n"
    "steps: [{repeat: {times: 2, every: 1d, do: [{message: {template: hi, via: box, purpose: community}}]}}]\n",
    "playbooks/day.yaml": f"playbook: day\n{ALWAYS}"
    "trigger: {date: {field: user.birthday, at: '07:00', repeat: yearly}}\n"
    "steps: [{task: {assign: li, title: call, due: 4h, outcomes: [reached], escalate: {after: 1h, to: zhou}}}, "
    "{message: {template: hi, via: box, purpose: service, at: best_hour}}]\n",
}
FULL = """\
users: {u1: {}, u2: {}, u3: {}}
playbooks: [slots, after, day]
timeline:
  - {event: order.paid, user: u1, data: {amount: 5}}
  - {event: user.updated, user: u2, data: {birthday: 1990-03-03}}
  - {at: +2d8h, event: task.done, user: u2, data: {playbook: day, step: "task[0]", outcome: reached}}
  - {at: +5d, event: user.updated, user: u3, data: {birthday: 1990-03-09}}
  - {at: +12d, expect: nothing}
"""


@pytest.mark.parametrize(("text", "files"), [(SCENARIO, {}), (FULL, EVERYTHING)], ids=["events", "everything"])
def test_the_same_effects(text: str, files: dict[str, str], tmp_path: Path) -> None:
    """Key, instant, step, kind, status and reason of every effect agree: wake-ups, cascades, slots, nights included.

    Semantics: order.paths
    """
    found = program(tmp_path, text, files)
    (scenario,) = found.scenarios
    assert found.rehearse is not None
    store = wiring.scratch_store(tmp_path)
    try:
        rehearse(found, scenario, store, fresh=lambda: MemoryStore(keep_log=False), stored=None)
        ours = {
            (it.key, format_instant(it.time), it.step, it.kind, it.status, it.reason) for it, _ in store.effects()
        }
        ids = [(event.id, event.type, format_instant(event.time)) for user in ("u1", "u2", "u3")
               for event, _ in store.events(user) if not event.internal]  # fmt: skip
    finally:
        store.close()
    given = [it for it in scenario.timeline if isinstance(it, Given)]
    named = {(type_, time): [it for it, *rest in ids if rest == [type_, time]] for _, type_, time in ids}
    rows = [
        {"id": next(it for it in named[one.type, format_instant(one.time)] if it.startswith(f"{one.user}/")),
         "type": one.type, "user": one.user, "time": format_instant(one.time), "data": json.loads(_json(one))}
        for one in given
    ]  # fmt: skip
    feed = tmp_path / "feed.jsonl"
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = io.BytesIO()
    until = scenario.timeline[-1].at
    plan = found.rehearse(scenario.playbooks)
    simulate(plan, Replay([feed], until), MemoryStore(keep_log=False), until=until, effects=out)
    theirs = {
        (row["key"], row["time"], row["step"], row["kind"], row["status"], row["reason"])
        for row in map(json.loads, out.getvalue().splitlines())
    }
    assert ours == theirs
    assert len(ours) > 15


def _json(one: Given) -> str:
    return json.dumps(dict(one.data), default=float)
