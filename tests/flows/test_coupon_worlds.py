"""Random worlds of coupons: ``simulate`` and every ``run`` decide the same, and kills harm nothing."""

from __future__ import annotations

import io
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coupon_kit import Answering, ledger, program, pump_of

from engine.core.instants import format_instant, parse_instant
from engine.core.model import DAY, HOUR, MINUTE
from engine.core.plan import Plan
from engine.feeds.replay import Replay
from engine.ports import Outgoing, Sent, Store
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

BASE = parse_instant("2026-03-01T00:00:00Z")
CODES = {"tea": [f"T{n}" for n in range(12)], "cake": [f"C{n}" for n in range(40)]}

COUPONS = """\
  tea: {value: {off: 5}, codes: {file: lists/tea.csv}, valid_for: 3d, remind: 1d,
        limits: {per_user: "2/4d", per_day: 4, total: 12, budget: 45}, on_exhausted: {use: cake}}
  cake: {value: {off: 1}, codes: imported, valid_for: 1d, limits: {per_user: 3, total: 30, per_day: 9}}
"""

PLAYBOOKS = {
    "told": """\
trigger: {event: ask}
entry: {mode: parallel, limit: unlimited}
exit: [{event: left}]
steps:
  - coupon: tea
    id: gift
  - wait: 6h
  - message: {template: gift, via: box, purpose: service}
    if: steps.gift is not none
  - wait: 6h
""",
    "silent": """\
trigger: {event: quiet}
entry: {mode: parallel, limit: unlimited}
steps:
  - coupon: cake
    id: gift
  - {tag: {add: [has]}, if: steps.gift is not none}
""",
    "lapses": """\
trigger: {event: [coupon.expiring, coupon.expired, coupon.redeemed]}
entry: {mode: parallel, limit: unlimited}
steps:
  - message: {template: what, via: box, purpose: service}
""",
}


def world(root: Path) -> Plan:
    (root / "lists").mkdir(exist_ok=True)
    (root / "lists" / "tea.csv").write_text("\n".join(CODES["tea"]), encoding="utf-8")
    return program(root, PLAYBOOKS, COUPONS, what="{{ event.type }} {{ event.code }}")


def feed(seed: int, count: int = 160) -> list[dict[str, Any]]:
    """People who ask, leave, and redeem or reverse whatever code comes to their mind; many things at one instant."""
    rng, at, rows = Random(seed), BASE, []
    for number in range(count):
        at += rng.choice([0, MINUTE, HOUR, 3 * HOUR])
        type_ = rng.choice(["ask", "ask", "quiet", "left", "coupon.redeemed", "coupon.redeemed", "coupon.reversed"])
        data = {}
        if type_.startswith("coupon"):
            pool = rng.choice(["tea", "cake"])
            data = {"code": rng.choice(CODES[pool][:6]), "order": f"o{number}"}
        user, time = f"u{rng.randrange(3)}", format_instant(at)
        rows.append({"id": f"e{number}", "type": type_, "user": user, "time": time, "data": data})
    rows.append({"id": "end", "type": "ping", "user": "u9", "time": format_instant(at + 9 * DAY), "data": {}})
    return rows


def stocked(store: Store) -> Store:
    store.add_codes("cake", CODES["cake"])
    return store


def rows_of(store: Store) -> Counter[str]:
    """Effects as far as they do not hang on anything but what was decided."""
    return Counter(
        json.dumps([it.key, it.time, it.kind, it.user, it.status, it.reason, it.detail], default=str)
        for it, _ in store.effects()
    )


class Kept(MemoryStore):
    """What a simulation hands over, with its ledger."""

    def __init__(self) -> None:
        super().__init__(keep_log=False)
        self.moves: list[tuple[str, str, int]] = []

    def commit(self, batch: Any) -> int:
        self.moves += [(it.unit or "", it.what, it.delta) for it in batch.entries if it.book == "coupon"]
        return super().commit(batch)


@pytest.mark.parametrize("seed", range(4))
def test_run_equals_simulate(tmp_path: Path, seed: int) -> None:
    """Semantics: coupon.sum — issue, redemption, reversal, lapse and return come out the same from ``simulate`` and
    from ``run``, whatever a batch holds; codes, ledger and figures of pools agree at the end."""
    plan, rows = world(tmp_path), feed(seed)
    (tmp_path / "feed.jsonl").write_text("".join(json.dumps(it) + "\n" for it in rows), encoding="utf-8")
    told = []
    for batch in (1, 7, 500):
        kept, out = Kept(), io.BytesIO()
        stocked(kept)
        simulate(plan, Replay([tmp_path / "feed.jsonl"], None), kept, effects=out, batch_size=batch)
        told.append((kept.moves, Counter(json.loads(line)["key"] for line in out.getvalue().splitlines())))
    assert told[0] == told[1] == told[2]
    for batch in (1, 7, 500):
        store = stocked(SqliteStore.open(tmp_path / f"{batch}.db", durable=False))
        pump_of(plan, store, rows, channel=Answering(lambda it: Sent(ok=True)), batch=batch).until_idle()
        assert ledger(store) == told[0][0]
        assert Counter(it.key for it, _ in store.effects()) == told[0][1]
        assert store.check() == []  # type: ignore[attr-defined]  # of a file
        store.close()


def test_no_code_has_two_owners_and_none_is_redeemed_twice(tmp_path: Path) -> None:
    """Semantics: coupon.sum — over many worlds: a code is out with one user at a time, redeemed at most once more than
    it was reversed, and no pool ever has more out than its limits."""
    plan, seen = world(tmp_path), set()
    for seed in range(20):
        store = stocked(MemoryStore())
        pump_of(plan, store, feed(seed), channel=Answering(lambda it: Sent(ok=True))).until_idle()
        out: dict[str, str] = {}
        used: Counter[str] = Counter()
        given: Counter[str] = Counter()
        for it in store.ledger(book="coupon"):
            code = it.unit or ""
            seen.add(it.what)
            if it.what == "issued":
                assert code not in out
                out[code] = it.subject or ""
                given[it.name] += 1
            else:
                assert out[code] == it.subject
            if it.what == "returned":
                del out[code]
                given[it.name] -= 1
            used[code] += {"redeemed": 1, "reversed": -1}.get(it.what, 0)
            assert used[code] in (0, 1)
            assert given["tea"] <= 9  # 45 / 5
            assert given["cake"] <= 30
    assert seen == {"issued", "redeemed", "reversed", "expired", "returned"}


def reliable(item: Outgoing) -> Sent:
    """A provider that sends everything."""
    return Sent(ok=True)


def picky(item: Outgoing) -> Sent:
    """A provider that will never send some of the codes."""
    return Sent(ok=str(item.effect.detail["text"])[-1] not in "258", reason="no such number")


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_anywhere(tmp_path: Path, seed: int) -> None:
    """A process killed at points all over its work, again and again: ledger, codes and effects are those of a run that
    nobody disturbed.

    Failure: unit.returned — killed
    """
    plan, rows = world(tmp_path), feed(seed, 60)
    whole, torn = lived(tmp_path, plan, rows, seed, reliable)
    assert ledger(torn) == ledger(whole)
    assert rows_of(torn) == rows_of(whole)
    assert list(torn.coupons()) == list(whole.coupons())
    torn.close()
    whole.close()


@pytest.mark.parametrize("seed", [3, 4])
def test_killed_anywhere_with_dead_letters(tmp_path: Path, seed: int) -> None:
    """As before, with letters that die (when, relative to other events, hangs on the world): each coupon that was never
    sent is returned, once, none that was sent is, and no letter that tells of a returned one can be sent again.

    Failure: unit.returned — killed among dead letters
    """
    plan, rows = world(tmp_path), feed(seed, 90)
    whole, torn = lived(tmp_path, plan, rows, seed, picky)
    returned = 0
    for store in (whole, torn):
        assert store.check() == []
        for dead in store.outbox("dead"):
            for code in dead.item.effect.carries:  # somebody knew it all the same
                coupon = store.coupon(code)
                assert coupon is not None
                assert (coupon.subject, coupon.status) == (dead.item.effect.user, "redeemed")
        told = [(it, delivery) for it, delivery in store.effects() if it.carries]
        issued: dict[str, int] = {}
        for it in store.ledger(book="coupon"):
            code = it.unit or ""
            if it.what == "issued":
                issued[code] = it.time
            elif it.what == "returned":
                since = issued.pop(code)  # once: a second one would not find it
                sent = [e for e, delivery in told if code in e.carries and e.user == it.subject and delivery == "sent"]
                assert not [e for e in sent if since <= e.time <= it.time]
                returned += 1
    assert returned > 2
    torn.close()
    whole.close()


def lived(
    tmp_path: Path, plan: Plan, rows: list[dict[str, Any]], seed: int, answer: Callable[[Outgoing], Sent]
) -> tuple[SqliteStore, SqliteStore]:
    """(the store of a run nobody disturbed, that of one that was killed 25 times)."""
    whole = SqliteStore.open(tmp_path / "whole.db", durable=False)
    stocked(whole)
    passes = 0

    def count(point: str) -> None:
        nonlocal passes
        passes += 1

    whole.fault = count
    pump_of(plan, whole, rows, channel=Answering(answer), batch=9).until_idle()
    path = tmp_path / "torn.db"
    stocked(SqliteStore.open(path)).close()
    rng = Random(seed)
    for _ in range(25):
        _killed(path, plan, rows, rng.randrange(1, passes // 3), answer)
    torn = SqliteStore.open(path)
    pump_of(plan, torn, rows, channel=Answering(answer), batch=9).until_idle()
    assert torn.check() == []
    return whole, torn


def _killed(
    path: Path, plan: Plan, rows: list[dict[str, Any]], moment: int, answer: Callable[[Outgoing], Sent]
) -> None:
    """A process works until it passes so many points, and is gone."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    left = iter(range(moment, -1, -1))

    def fault(point: str) -> None:
        if next(left, 0) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    store = SqliteStore.open(path)
    store.fault = fault
    pump_of(plan, store, rows, channel=Answering(answer), batch=9).until_idle()
    os._exit(0)
