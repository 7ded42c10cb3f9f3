#!/usr/bin/env python3
"""From the template to the channel: rendering beside bare Jinja2, and handing effects to a ``file`` channel.

    python bench/sending.py [--rounds 5] [--messages 50000]

- rendering: ``Template.render`` of Drumbeat (checked values, strict names, limits, local time) against
  ``jinja2.Template.render`` of the same text with autoescape off and ``StrictUndefined``, for the same people, in turn
- outbox: so many messages decided beforehand, then handed to a file, synchronous FULL

Processor time, in one process; medians of the rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, StrictUndefined

from engine import wiring
from engine.cli.common import compiled
from engine.runtime.claims import Claims
from engine.runtime.clock import SystemClock
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Pump

TEMPLATES = {
    "two fields": "Thank you for your order in {{ event.city }}, {{ user.name }}.",
    "filters and a choice": (
        "{% if user.points > 500 %}Dear {{ user.name | upper }}{% else %}Hello {{ user.name }}{% endif %},\n"
        "you have {{ user.points }} points in {{ event.city | default('your city', true) }}"
        " and paid {{ event.amount | round(1) }}.\n"
    ),
    "a list of ten": (
        "{{ user.name }}, you bought:\n{% for item in event['items'] %}- {{ loop.index }}. {{ item }}\n{% endfor %}"
        "In all {{ event['items'] | length }} things.\n"
    ),
}
PROGRAM = {
    "drumbeat.yaml": """\
program: sending
profile: {name: text, points: integer}
events: {order.paid: {city: text, amount: money, items: list}}
store: sqlite:///s.db
feeds: [{file: feed/*.jsonl}]
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {quiet_hours: never, consent: {service: none}}}
""",
    "playbooks/p.yaml": """\
playbook: p
title: One message an order
owner: bench@drumbeat.example
trigger: {event: order.paid}
entry: {mode: parallel, limit: unlimited}
steps:
  - message: {template: t0, via: box, purpose: service}
  - message: {template: t1, via: box, purpose: service}
  - message: {template: t2, via: box, purpose: service}
""",
}


def program(root: Path, messages: int) -> Any:
    for name, text in PROGRAM.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "templates").mkdir()
    for number, text in enumerate(TEMPLATES.values()):
        (root / "templates" / f"t{number}.box.j2").write_text(text, encoding="utf-8")
    (root / "feed").mkdir()
    with (root / "feed" / "f.jsonl").open("w", encoding="utf-8") as out:
        for number in range(messages // len(TEMPLATES)):
            when = f"2026-03-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
            who = f'"user":"u{number % 10_000}","time":"{when}"'
            if number < 10_000:
                data = f'{{"name":"Ada {number}","points":{number % 1000}}}'
                out.write(f'{{"id":"s{number}","type":"user.signup",{who},"data":{data}}}\n')
            items = ",".join(f'"tea {it}"' for it in range(10))
            data = f'{{"city":"Riga","amount":12.5,"items":[{items}]}}'
            out.write(f'{{"id":"e{number}","type":"order.paid",{who},"data":{data}}}\n')
    return compiled(root)


def rendering(found: Any, rounds: int) -> list[str]:
    out = ["| template | Drumbeat, microseconds | x bare Jinja2's speed |", "|---|---:|---:|"]
    people = [
        {
            "user": {"id": f"u{n}", "name": f"Ada {n}", "points": n},
            "event": {"city": "Riga", "amount": 12.5, "items": [f"tea {it}" for it in range(10)]},
        }
        for n in range(1_000)
    ]
    bare = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - these are texts
    for (name, text), node in zip(TEMPLATES.items(), found.plan.playbooks[0].body.nodes, strict=True):
        ours, theirs = node.action.templates("box", None), bare.from_string(text)
        assert all(ours.render(one).text.rstrip("\n") == theirs.render(one).rstrip("\n") for one in people)
        times = [(timed(ours.render, people), timed(theirs.render, people)) for _ in range(rounds)]
        speed = median(other / own for own, other in times)
        out.append(f"| {name} | {median(own for own, _ in times):.1f} | {speed:.2f} |")
    return out


def timed(render: Callable[[Any], Any], people: list[Any]) -> float:
    begun = time.process_time()
    for _ in range(5):
        for one in people:
            render(one)
    return (time.process_time() - begun) / (5 * len(people)) * 1e6


def outbox(found: Any, root: Path, rounds: int) -> str:
    rates = []
    for number in range(rounds):
        store = wiring.open_store(found.settings, root, override=f"sqlite:///s{number}.db")
        channels = wiring.open_channels(found.settings, root)
        clock = SystemClock()
        feeds = wiring.open_feeds(found.settings, root)
        Pump(found.plan, store, feeds, None, clock, secret=b"bench", known_types=found.known_types).until_idle()
        box = Outbox(store, channels, clock, Claims(found.plan, store, clock), pause=clock.pause)
        begun, sent = time.process_time(), 0
        while ended := box.drain():
            sent += sum(ended.values())
        rates.append(sent / (time.process_time() - begun))
        box.close()
        for channel in channels.values():
            channel.close()
        store.close()
    return f"outbox to a file: {median(rates):,.0f} effects a second of processor time ({sent:,} in each round)"


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--messages", type=int, default=50_000)
    args = p.parse_args()
    with TemporaryDirectory() as name:
        root = Path(name)
        found = program(root, args.messages)
        print("\n".join(rendering(found, args.rounds)))
        print(outbox(found, root, min(3, args.rounds)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
