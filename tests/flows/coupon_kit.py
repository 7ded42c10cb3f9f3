"""A program with coupons of every kind, run over a feed as ``run`` does, in a file or in memory, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.core.plan import Plan
from engine.door import read_event
from engine.language.compile import compile_program
from engine.ports import Channel, Outgoing, Record, Sent, Store
from engine.runtime.claims import Claims
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Pump
from engine.runtime.virtual import VirtualClock

HEAD = """\
program: shop
timezone: UTC
channels: {box: {via: file, path: out.jsonl}}
policies:
  default:
    consent: {marketing: none, community: none, service: none, transactional: none}
    quiet_hours: never
"""

SECRET = b"a secret of thirty-two bytes ...."


class Lines:
    """A feed of rows in hand."""

    name = "lines"

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = list(rows)

    def read(self, position: int, limit: int) -> Iterator[Record]:
        for place, row in enumerate(self.rows[position : position + limit], position + 1):
            raw = json.dumps(row).encode()
            yield Record("lines", place, raw, read_event(raw))


class Answering:
    """A channel that answers as it is told, by the text of the message."""

    name = "box"
    once = True

    def __init__(self, answer: Callable[[Outgoing], Sent]) -> None:
        self.answer = answer
        self.sent: list[Outgoing] = []

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        found = [self.answer(item) for item in items]
        self.sent += [item for item, said in zip(items, found, strict=True) if said.ok]
        return found

    def close(self) -> None:
        """Nothing is open."""


def program(root: Path, playbooks: dict[str, str], coupons: str, head: str = HEAD, **templates: str) -> Plan:
    """Write and compile a program."""
    files = {"drumbeat.yaml": head, "playbooks/catalog/all.yaml": f"coupons:\n{coupons}"}
    files |= {f"playbooks/{id_}.yaml": f"playbook: {id_}\ntitle: t\n{text}" for id_, text in playbooks.items()}
    templates = {"gift": "code {{ steps.gift.code }}", "hi": "hi {{ user.id }}", **templates}
    files |= {f"templates/{name.replace('__', '/')}.box.j2": text for name, text in templates.items()}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = compile_program(root)
    assert found.plan is not None, [str(it) for it in found.problems]
    return found.plan


def row(id_: str, type_: str, time: str, user: str = "u1", **data: Any) -> dict[str, Any]:
    """One record; a time without a day is on 2026-03-01, UTC; ``+3d 10:00`` three days later."""
    day, clock = 1, time
    if time.startswith("+"):
        days, _, clock = time[1:].partition("d ")
        day += int(days)
    return {"id": id_, "type": type_, "time": f"2026-03-{day:02d}T{clock}:00Z", "user": user, "data": data}


def pump_of(
    plan: Plan, store: Store, rows: Iterable[dict[str, Any]], *, channel: Channel | None = None, batch: int = 500
) -> Pump:
    """A pump over the rows; ``channel`` carries the messages."""
    clock = VirtualClock(1 << 60)
    outbox = None if channel is None else Outbox(store, {"box": channel}, clock, Claims(plan, store, clock))
    return Pump(plan, store, [Lines(list(rows))], outbox, clock, secret=SECRET, batch=batch)


def ledger(store: Store) -> list[tuple[str, str, int]]:
    """(code, what, delta) of every coupon entry, in order."""
    return [(it.unit or "", it.what, it.delta) for it in store.ledger(book="coupon")]


def moves(store: Store) -> list[str]:
    """What became of coupons, in order."""
    return [what for _, what, _ in ledger(store)]
