"""Audiences over many subjects: the database against Python, both in one run on one store.

    python bench/audience.py [SUBJECTS]        (100,000 by default)

Each condition is asked twice: as questions in SQL, and with every state handed to Python. Both give the same subjects,
which is checked; the ratio is what SQL spares.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from engine.core.chance import bucket
from engine.core.model import DAY, Event, State
from engine.core.predicate import Ask, Filter
from engine.insight.audience import pages
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.ports import Batch
from engine.stores.codec import encode_states
from engine.stores.sqlite import SqliteStore

NOW = 1_774_742_400_000_000
CITIES = ("上海", "杭州", "北京", "广州", "Oslo")
CONDITIONS = (
    'user.city == "上海"',
    'user.city in ["上海", "杭州"] and not user.blocked',
    'user.last_active_at is older_than("30d")',
    "user.score >= 80.5",
    '"vip" in user.tags',
    'user.tier is at_least("silver") and user.points >= 100',
    'count("order.paid") >= 3',
    'count("order.paid", within="30d") >= 1',
    'sum("order.paid", "amount", within="365d") >= 500',
    'in_segment("regulars")',
    'user.city == "上海" and bucket("spring") < 500',
)
PROGRAM = """\
program: bench
profile: {city: text | none, blocked: bool | none, score: number | none}
events: {order.paid: {amount: money}, "*": open}
"""
CATALOG = """\
segments:
  regulars: {if: 'count("order.paid") >= 3 and user.last_active_at is newer_than("60d")'}
  month: {if: 'count("order.paid", within="30d") >= 1'}
tiers:
  member: {metric: 'sum("order.paid", "amount", within="365d")', levels: {bronze: 0, silver: 200, gold: 1000}}
"""


def main() -> None:
    """Fill a store and ask."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "playbooks" / "catalog").mkdir(parents=True)
        (root / "drumbeat.yaml").write_text(PROGRAM, encoding="utf-8")
        (root / "playbooks" / "catalog" / "all.yaml").write_text(CATALOG, encoding="utf-8")
        found = compile_program(root)
        store = SqliteStore.open(root / "s.db")
        for start in range(0, number, 10_000):
            states = [person(found, one) for one in range(start, min(number, start + 10_000))]
            store.commit(Batch(start + 1, states, [], [], [], {}, [], [], [], {}))
        store.fold()
        print(f"{number:,} subjects, states of {len(encode_states([person(found, 7)]))} bytes, CPU seconds")
        print(f"{'condition':<62}{'fit':>9}{'asked':>9}{'SQL s':>8}{'Python s':>10}{'ratio':>7}")
        for text in CONDITIONS:
            ask(found, store, text)
        store.close()


def ask(found: Compiled, store: SqliteStore, text: str) -> None:
    """One condition both ways."""
    assert found.audiences is not None
    chosen, issues = found.audiences.read(text)
    assert chosen is not None, issues
    bare = Filter(chosen.text, Ask(chosen.text, "bench"), chosen.judge)
    whole = {}
    for name, one in (("sql", chosen), ("python", bare)):
        seconds, ids, asked = measured(lambda one=one: [*pages(store, one, NOW)])  # type: ignore[misc]
        whole[name] = (seconds, ids, asked)
    assert whole["sql"][1] == whole["python"][1], text
    sql, python = whole["sql"][0], whole["python"][0]
    fit, asked = len(whole["sql"][1]), whole["sql"][2]
    print(f"{text:<62}{fit:>9,}{asked:>9,}{sql:>8.2f}{python:>10.2f}{python / sql:>7.1f}")


def measured(call: Callable[[], list[object]]) -> tuple[float, list[str], int]:
    """(CPU seconds, subjects, states handed to Python); the better of two."""
    best, ids, asked = 9e9, [], 0
    for _ in range(2):
        begun = time.process_time()
        found = call()
        best = min(best, time.process_time() - begun)
        ids = [one for page in found for one in page.ids]  # type: ignore[attr-defined]
        asked = sum(page.asked for page in found)  # type: ignore[attr-defined]
    return best, ids, asked


def person(found: Compiled, number: int) -> State:
    """A user with traits, tags, a tier and some orders."""
    assert found.plan is not None
    name = f"u{number:06d}"
    dice = [bucket(salt, name) for salt in ("city", "score", "active", "orders", "tags", "points")]
    state = State(id=name, created_at=NOW - dice[2] * DAY // 10, last_active=NOW - dice[2] * DAY // 100)
    state.traits = {
        "name": f"用户{number}", "city": CITIES[dice[0] % 5], "score": Decimal(dice[1]) / 100,
        "phone": f"+86{number:010d}", "blocked": dice[0] % 50 == 0, "source": "app",
        "birthday": f"19{60 + dice[0] % 40}-05-01",
    }  # fmt: skip
    state.tags = ["vip"] if dice[4] < 1000 else ["new", "app"] if dice[4] < 5000 else []
    state.points = {"main": dice[5] // 20}
    state.tiers = {"member": [("bronze", "silver", "gold")[dice[3] % 3], None]}
    for place in range(dice[3] % 8):
        at = NOW - (dice[2] + 700 * (7 - place)) * DAY // 100
        event = Event(f"o{place}", "order.paid", at, name, data={"amount": Decimal(dice[5] + place) / 100})
        for series in found.plan.dispatch["order.paid"].series:
            series.update(state, event, "UTC")
    return state


if __name__ == "__main__":
    main()
