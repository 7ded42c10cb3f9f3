"""What every store promises of the ledger: order, narrowing down, erasure, export; and what an old store takes over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_store import Bench, batch

from engine.core.model import Entry, State
from engine.stores import codec, sqlite
from engine.stores.erasing import ALIAS
from engine.stores.sql import migrations, sqlite_schema
from engine.stores.sqlite import SqliteStore

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
maybe = st.none() | texts
numbers = st.integers(-(2**62), 2**62)
entries = st.builds(
    Entry, key=texts, time=numbers, book=texts, name=texts, what=texts, delta=numbers, subject=maybe, unit=maybe,
    amount=st.none() | st.decimals(allow_nan=False, allow_infinity=False), until=st.none() | numbers,
    playbook=maybe, step=maybe, origin=maybe,
)  # fmt: skip


@pytest.fixture(params=("memory", "sqlite", "folding", "postgres"))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if request.param == "folding":
        monkeypatch.setattr(sqlite, "FOLD_SUBJECTS", 0)
        monkeypatch.setattr(sqlite, "TRAIL_ROWS", 0)
    made = Bench(request.param, tmp_path / "s.db")
    made.store.set_meta("secret", "ab" * 32)
    yield made
    made.store.close()


def key(n: int) -> str:
    """An effect key: a hash, as the engine makes them."""
    return f"{n:032x}"


def entry(n: int, subject: str | None = "u1", **more: Any) -> Entry:
    fields: dict[str, Any] = {"book": "points", "name": "main", "what": "earned", "delta": n, "step": "s", **more}
    return Entry(key=fields.pop("key", key(n)), time=fields.pop("time", n), subject=subject, **fields)


@given(st.lists(entries, max_size=5))
def test_bytes_and_back(found: list[Entry]) -> None:
    """A block of entries comes back as it was, amounts exact."""
    assert codec.decode_entries(codec.encode_entries(found)) == found


def test_entries_come_back_in_order(bench: Bench) -> None:
    """Entries come back in the order in which they were decided, of all or of one subject, book and name, and also
    after the store was opened again; more than one block of them too.

    Semantics: ledger.append — in order
    """
    first = [entry(n, f"u{n % 3}", name="main" if n % 2 else "extra") for n in range(1, 251)]
    more = [entry(300, "u1", book="coupon", name="茶", what="issued", unit="A-1", amount=Decimal("5.50"), until=9)]
    last = [entry(301, None, book="seat", name="club", what="released", delta=-1, origin=key(7))]
    for part in (first[:130], first[130:], more, [], last):
        bench.store.commit(batch(entries=part))
    store = bench.reopen()
    whole = [*first, *more, *last]
    assert list(store.ledger()) == whole
    for subject in ("u0", "u1", "u2", "nobody"):
        assert list(store.ledger(subject=subject)) == [it for it in whole if it.subject == subject]
    assert list(store.ledger(book="points", name="extra")) == [it for it in first if it.name == "extra"]
    assert list(store.ledger(subject="u1", book="coupon")) == more
    store.commit(batch(clock=2, entries=[entry(400)]))
    assert [it.key for it in bench.reopen().ledger()][-2:] == [key(301), key(400)]


def test_names_that_hold_one_another(bench: Bench) -> None:
    """Entries of a subject are its own, also when another's id holds its id, quotes or letters of any script."""
    names = ["a", "aa", 'a"', '"a"', "\\a", "周a", "a,b", '","']
    bench.store.commit(batch(entries=[entry(n, name) for n, name in enumerate(names, 1)]))
    for n, name in enumerate(names, 1):
        assert [it.key for it in bench.store.ledger(subject=name)] == [key(n)]


def test_an_erasure_leaves_the_amounts(bench: Bench) -> None:
    """Entries of somebody who was erased go on under the pseudonym, links between them hold, ids of events are hashed;
    entries of others and later ones are as they were.

    Semantics: erasure.records — the ledger keeps amounts under a pseudonym
    """
    mine = [
        entry(1, key="canary-order:main", step=None),
        entry(2, what="reversed", delta=-1, key="canary-refund:main", origin="canary-order:main", step=None),
        entry(3, origin=key(9)),
    ]
    others = [entry(4, "u2"), entry(5, "u11")]
    bench.store.commit(batch(clock=5, entries=[*mine, *others]))
    rest = State(id="u1", memory={"erased": 6}, points={"main": 3})
    bench.store.commit(batch(clock=6, states=[rest], erased=[("u1", 6)], entries=[entry(8, time=8)]))
    store = bench.reopen()
    assert [it.delta for it in store.ledger(subject="u1")] == [8]
    assert [list(store.ledger(subject=it.subject)) for it in others] == [[it] for it in others]
    (alias,) = {it.subject or "" for it in store.ledger()} - {"u1", "u2", "u11"}
    assert alias.startswith(ALIAS)
    kept = list(store.ledger(subject=alias))
    assert [it.delta for it in kept] == [1, -1, 3]
    assert kept[1].origin == kept[0].key
    assert (kept[2].key, kept[2].origin) == (key(3), key(9))
    assert "canary" not in repr(list(store.ledger()))
    if bench.kind != "memory":
        assert {fault.check for fault in store.check()} <= {"counter", "figure", "effect-subject", "points-balance"}


def test_a_commit_that_fails_writes_no_entry(tmp_path: Path) -> None:
    """What fails takes its entries with it."""

    class Planted(Exception):
        pass

    def fault(point: str) -> None:
        if point == "commit.before_commit":
            raise Planted

    store = SqliteStore.open(tmp_path / "s.db")
    store.commit(batch(entries=[entry(1)]))
    store.fault = fault
    with pytest.raises(Planted):
        store.commit(batch(entries=[entry(2)]))
    store.fault = lambda point: None
    store.commit(batch(clock=2, entries=[entry(3)]))
    assert [it.delta for it in store.ledger()] == [1, 3]
    store.close()


def test_an_old_store_takes_its_balances_over(tmp_path: Path) -> None:
    """A store from before the ledger opens with one entry for each balance and seat that stands in its states (those of
    the log are newer), and one for each coupon it gave, as it gave it.

    Semantics: ledger.append — old stores
    """
    path = tmp_path / "s.db"
    db = sqlite3.connect(path, isolation_level=None)
    before = [it for it in migrations("sqlite") if it.name != "ledger"][:8]
    sqlite_schema.migrate(db, path, read_only=False, fault=lambda point: None, steps=before)
    states = [State(id=f"u{n:03}", points={"main": n, "extra": 2 * n, "none": 0}) for n in range(120)]
    for state in states:
        row = (state.id, codec.encode_states([state])[:-1], state.wake_at)
        db.execute("insert into subject (id, state, wake_at) values (?, ?, ?)", row)
    newer = [
        State(id="u001", points={"main": 70}, wake_at=5, traits={"t": "\u2028\n,周", "n": Decimal("1.10")}),
        State(id="z", holds=[]),
    ]
    db.execute("insert into state_log (body) values (?)", (codec.encode_states(newer),))
    held = b'{"id":"u1x","holds":[["club","r1",77,"%s"],["club","r2",null,"x9"]]}' % key(3).encode()
    db.execute("insert into state_log (body) values (?)", (held + b"\n",))
    for code, detail, who in (
        ("A", '{"pool":"tea","code":"A","expires_at":"2026-03-08T09:00:00Z","value":{"off":5.50}}', "u001"),
        ("B", '{"pool":"tea","code":"B","expires_at":null,"value":null}', "u002"),
    ):
        body = f'["gift","c","coupon","{who}",null,"planned",null,{detail},null,null]'.encode()
        row = (key(ord(code)), who, 40, body)
        db.execute("insert into effect (key, subject, time, body) values (?, ?, ?, ?)", row)
        db.execute("insert into coupon_grant (code, pool, key) values (?, 'tea', ?)", (code, key(ord(code))))
    db.execute("insert into clock values (1, 99)")
    db.close()
    store = SqliteStore.open(path)
    found = list(store.ledger(book="points"))
    assert {(it.what, it.time, it.step) for it in found} == {("opening", 99, None)}
    wanted = {(it.id, name): n for it in [*states[:1], newer[0], *states[2:]] for name, n in it.points.items() if n}
    assert {(it.subject, it.name): it.delta for it in found} == wanted
    assert len(found) == len(wanted)
    assert len({it.key for it in store.ledger()}) == len(list(store.ledger()))
    coupons = [msgspec.structs.astuple(it)[1:] for it in store.ledger(book="coupon")]
    until = 1_772_960_400_000_000
    assert coupons == [
        (40, "coupon", "tea", "issued", 1, "u001", "A", Decimal("5.50"), until, "gift", "c", None),
        (40, "coupon", "tea", "issued", 1, "u002", "B", None, None, "gift", "c", None),
    ]
    seats = [(it.key, it.unit, it.until, it.delta, it.what) for it in store.ledger(subject="u1x")]
    assert seats == [(key(3), "r1", 77, 1, "opening"), ("x9", "r2", None, 1, "opening")]
    assert store.load(["u001"])["u001"] == newer[0]
    store.commit(batch(clock=100, entries=[entry(1, "u001")]))
    store.fold()
    assert [it.what for it in store.ledger(subject="u001")] == ["issued", "opening", "earned"]
    store.close()
