"""A program about groups and random feeds for it: members, posts, targets, roles, silence; one of the program."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from flow_program import BASE

from engine.core.instants import format_instant
from engine.core.model import DAY, HOUR, MINUTE

FILES = {
    "drumbeat.yaml": """\
program: clubs
timezone: Asia/Shanghai
activity: [group.post, order.paid]
profile: {city: text | none}
events: {group.post: {text: text | none}, order.paid: {amount: money}, "*": open}
feeds: [{file: feed/*.jsonl}]
channels:
  box: {via: file, path: out/box.jsonl, mode: at_least_once}
  wecom: {via: file, path: out/wecom.jsonl, mode: at_least_once}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: {from: "23:00", to: "07:00"}
    caps: [{purpose: community, max: 2, per: 3d}]
""",
    "playbooks/silent.yaml": """\
playbook: silent
title: A group nobody writes in
subject: group
trigger: {inactivity: 2d}
entry: {mode: single, again_after: 1d}
goal: {event: group.post, within: 2d}
holdout: {percent: 20}
steps:
  - post: {template: revive, at: "10:00", with: {days: "{{ group.silent_days }}"}}
  - wait_for: {event: group.post, up_to: 1d, then: [{tag: {add: [revived]}}], else: [{set: {group.stage: asleep}}]}
""",
    "playbooks/target.yaml": """\
playbook: target
title: Ten posts of a group in three days
subject: group
trigger: {count: {event: group.post, at_least: 5, within: 3d}}
when: group.members >= 2
entry: {mode: single, again_after: 4d}
steps:
  - emit: {type: target.reached, to: members, data: {members: "{{ group.members }}", title: "{{ group.title }}"}}
  - task: {assign: "{{ group.owner | default('ops') }}", title: "恭喜 {{ group.id }}", due: 1d}
  - points: 100
""",
    "playbooks/reward.yaml": """\
playbook: reward
title: The reward of a member
trigger: {event: target.reached}
entry: {mode: parallel, limit: unlimited}
steps:
  - points: 10
  - message: {template: hello, via: box, purpose: service}
  - wait: 1d
  - emit: {type: thanked, group: "{{ event.group }}"}
""",
    "playbooks/woken.yaml": """\
playbook: woken
title: A group came to life again
subject: group
trigger: {changed: group.stage, to: asleep}
entry: {mode: single, again_after: 3d}
exit: [{event: thanked}, {if: group.members == 0}]
steps:
  - wait: 12h
  - post: {template: revive, with: {days: 0}}
  - start: later
""",
    "playbooks/later.yaml": """\
playbook: later
title: A called one
subject: group
trigger: [{called: true}, {segment: {enters: big}}]
entry: {mode: single, again_after: 1h}
steps:
  - tag: {add: [later]}
  - badge: lively
    if: distinct("group.post", "user", within="7d") >= 2
""",
    "playbooks/weekly.yaml": """\
playbook: weekly
title: Every other day
subject: group
trigger: {schedule: {cron: "0 20 * * *", audience: 'group.members >= 1 and count("group.post", within="7d") >= 1'}}
entry: {mode: single}
steps:
  - post: {template: revive, at: best_hour, with: {days: "{{ group.members }}"}}
""",
    "playbooks/pulse.yaml": """\
playbook: pulse
title: Orders of the whole program
subject: program
trigger: {schedule: {cron: "30 9 * * *", audience: 'count("order.paid", within="1d") >= 2'}}
entry: {mode: single}
steps:
  - task: {assign: ops, title: "a good day"}
  - emit: {type: praised, audience: 'count("order.paid", within="1d") >= 1', data: {why: orders}}
""",
    "playbooks/praised.yaml": """\
playbook: praised
title: Who ordered is praised
trigger: {event: praised}
entry: {mode: single, again_after: 1d}
steps: [{points: 1}]
""",
    "playbooks/catalog/catalog.yaml": """\
segments:
  big: {subject: group, if: group.members >= 3}
badges: {lively: {title: Lively, once: true}}
points: {main: {title: Points}}
roles: {moderator: {per_members: 100, term: 20d}}
groups:
  tea: {title: 茶友会, topic: tea, platform: wecom, owner: li, zone: Asia/Tokyo}
  run: {title: Runners, topic: run, channel: box}
  none: {title: Nobody yet}
""",
    "templates/revive.wecom.j2": "{{ group.title }} {{ with.days }} {{ group.members }}",
    "templates/revive.box.j2": "{{ group.id }} {{ with.days }}",
    "templates/hello.box.j2": "hello {{ user.id }}: {{ event.title }}",
}

GROUPS = ("tea", "run", "wild", "猫咪")


def write_program(root: Path, files: dict[str, str] = FILES) -> Path:
    """The program's folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def make_events(seed: int, count: int, users: int = 12) -> list[dict[str, Any]]:
    """A feed in order of time; people join and leave, write, order, hold roles, and one is erased."""
    rng = random.Random(seed)
    steps = [0, 0, 0, MINUTE, HOUR, HOUR, 3 * HOUR, 12 * HOUR, DAY]
    at, events = BASE, []
    for number in range(count):
        at += rng.choice(steps)
        kind = rng.choices(
            ["group.joined", "group.left", "group.post", "order.paid", "role.granted", "group.updated", "user.deleted"],
            [6, 2, 9, 4, 1, 1, 0.1],
        )[0]
        event: dict[str, Any] = {"id": f"e{number:05d}", "type": kind, "time": format_instant(at), "data": {}}
        if kind != "group.updated":
            event["user"] = f"u{rng.randrange(users):02d}"
        if kind not in ("order.paid", "user.deleted"):
            event["group"] = rng.choice(GROUPS)
        if kind == "order.paid":
            event["data"] = {"amount": rng.choice([5, 12.5])}
        if kind == "role.granted":
            event["data"] = {"role": "moderator"}
        if kind == "group.updated":
            event["data"] = {"stage": rng.choice(["asleep", "awake"])}
        events.append(event)
    return events
