"""From the pool to the till and back: what becomes of a coupon that was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coupon_kit import Answering, ledger, moves, program, pump_of, row
from test_store import Bench

from engine.core.coupons import Coupon
from engine.core.model import DAY, HOUR
from engine.ports import Outgoing, Sent, Store
from engine.stores.memory import MemoryStore

GIFT = """\
trigger: {event: asked}
entry: {mode: parallel, limit: unlimited}
steps:
  - coupon: tea
    id: gift
  - message: {template: gift, via: box, purpose: service}
"""
TEA = "  tea: {value: {off: 20}, codes: {generate: TEA}, valid_for: 7d, limits: {per_user: 1, total: 3, budget: 60}}\n"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = Bench(request.param, tmp_path / "s.db").store
    yield made
    if hasattr(made, "check"):
        assert made.check() == []
    made.close()


def only(store: Store) -> Coupon:
    """The one coupon that was given."""
    (found,) = store.coupons()
    return found


def code_of(root: Path, asked: str, user: str = "u1") -> str:
    """The code a request will get: generated codes hang on the effect key alone."""
    trial = MemoryStore()
    pump_of(program(root / "trial", {"gift": GIFT}, TEA), trial, [row(asked, "asked", "10:00", user)]).until_idle()
    return only(trial).code


def test_redeemed_and_reversed_by_events(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.redeem — redeemed once and reversed once, whatever is told twice; entries name their origin."""
    code = code_of(tmp_path, "a1")
    rows = [
        row("a1", "asked", "10:00"),
        row("r1", "coupon.redeemed", "11:00", code=code, order="o1", amount=120),
        row("r2", "coupon.redeemed", "11:01", code=code, order="o1", amount=120),
        row("b1", "coupon.reversed", "12:00", code=code, order="o1"),
        row("b2", "coupon.reversed", "12:01", code=code, order="o1"),
    ]
    pump = pump_of(program(tmp_path, {"gift": GIFT}, TEA), store, rows, channel=Answering(lambda it: Sent(ok=True)))
    pump.until_idle()
    assert ledger(store) == [(code, "issued", 1), (code, "redeemed", -1), (code, "reversed", 1)]
    entries = list(store.ledger(book="coupon"))
    assert [it.origin for it in entries] == [None, entries[0].key, entries[1].key]
    assert [it.amount for it in entries] == [20, 20, 20]
    assert only(store).status == "reversed"
    refused = {name: n for name, n in store.counts().items() if name.startswith("coupons.refused")}
    assert refused == {"coupons.refused.redeemed": 1, "coupons.refused.not_redeemed": 1}


@pytest.mark.parametrize("batch", [1, 500])
def test_what_is_not_ours_changes_nothing(tmp_path: Path, store: Store, batch: int) -> None:
    """Semantics: coupon.redeem — a foreign code, a wrong owner, no code, or a lapsed one: no entry, and a trace."""
    code = code_of(tmp_path, "a1")
    rows = [
        row("a1", "asked", "10:00"),
        row("f1", "coupon.redeemed", "10:10", code="OTHER-1"),
        row("f2", "coupon.redeemed", "10:11", "u2", code=code),
        row("f3", "coupon.redeemed", "10:12"),
        row("f4", "coupon.redeemed", "+8d 10:00", code=code),
        row("f5", "coupon.reversed", "+8d 10:01", code=code),
    ]
    pump_of(program(tmp_path, {"gift": GIFT}, TEA), store, rows, batch=batch).until_idle()
    assert moves(store) == ["issued"]
    told = [why.text for user in ("u1", "u2") for it in store.decisions(user) for why in it.why if why.at == "coupon"]
    assert [words.rpartition(": ")[2] for words in told] == [
        "no such code was given", "the event names no code", "it had lapsed", "it was not redeemed, or reversed before",
        "it was given to somebody else",
    ]  # fmt: skip


def test_in_time_counts_however_late_it_is_told(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.redeem — a redemption that happened in time counts after the lapse was told; at the very last
    instant it is in time."""
    listens = GIFT.partition("steps")[0].replace("asked", "coupon.expired") + "steps: [{tag: {add: [late]}}]\n"
    plan = program(tmp_path, {"gift": GIFT, "late": listens}, TEA)
    code = code_of(tmp_path, "a1")
    early = [row("a1", "asked", "10:00"), row("x", "ping", "+8d 09:00", "u9")]
    pump_of(plan, store, early).until_idle()
    assert moves(store) == ["issued", "expired"]
    late = [*early, row("r1", "coupon.redeemed", "+7d 10:00", code=code)]
    pump_of(plan, store, late).until_idle()
    assert ledger(store) == [(code, "issued", 1), (code, "expired", -1), (code, "redeemed", 0)]
    assert only(store).status == "redeemed"


def test_reversed_may_be_redeemed_again(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.redeem — what was reversed can be redeemed until it lapses, and counts once all the same."""
    code = code_of(tmp_path, "a1")
    rows = [row("a1", "asked", "10:00")]
    for number in range(3):
        rows.append(row(f"r{number}", "coupon.redeemed", f"1{number}:10", code=code))
        rows.append(row(f"b{number}", "coupon.reversed", f"1{number}:20", code=code))
    rows.append(row("r9", "coupon.redeemed", "+9d 10:00", code=code))
    pump_of(program(tmp_path, {"gift": GIFT}, TEA), store, rows).until_idle()
    assert sum(delta for _, _, delta in ledger(store)) == 1
    assert moves(store).count("redeemed") == 3
    assert only(store).status == "reversed"


# ---------------------------------------------------------------------- told in time

REMINDS = """\
trigger: {event: [coupon.expiring, coupon.expired]}
entry: {mode: parallel, limit: unlimited}
steps:
  - message: {template: remind, via: box, purpose: service}
"""
CAKE = "  cake: {codes: {generate: CAKE}, valid_for: 3d, remind: 1d, limits: {per_user: 2, total: 9}}\n"


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_lapse_and_reminder_are_told_at_their_instants(tmp_path: Path, store: Store, batch: int) -> None:
    """Semantics: coupon.expiry — coupon.expiring is told ``remind`` before, coupon.expired at the instant; neither of a
    coupon that was redeemed before."""
    gift = GIFT.replace("tea", "cake")
    words = "{{ event.type }} {{ event.code }} {{ event.expires_at }}"
    plan = program(tmp_path, {"gift": gift, "reminds": REMINDS}, CAKE, remind=words)
    rows = [
        row("a1", "asked", "10:00"),
        row("a2", "asked", "11:00", "u2"),
        row("x", "ping", "+9d 10:00", "u9"),
    ]
    pump_of(plan, MemoryStore(), rows).until_idle()
    trial = MemoryStore()
    pump_of(plan, trial, rows[:2]).until_idle()
    second = next(it.code for it in trial.coupons() if it.subject == "u2")
    first = next(it.code for it in trial.coupons() if it.subject == "u1")
    rows.insert(2, row("r1", "coupon.redeemed", "12:00", "u2", code=second))
    pump_of(plan, store, rows, batch=batch).until_idle()
    start = only_times(store, "gift")["u1"]
    said = [(it.time - start, it.detail["text"].split()[:2]) for it, _ in store.effects() if it.playbook == "reminds"]
    assert said == [(2 * DAY, ["coupon.expiring", first]), (3 * DAY, ["coupon.expired", first])]
    assert moves(store) == ["issued", "issued", "redeemed", "expired"]
    assert all(not state.lapses for state in store.subjects())


def only_times(store: Store, playbook: str) -> dict[str, int]:
    """User -> instant of the coupon a playbook gave."""
    return {it.user or "": it.time for it, _ in store.effects() if it.playbook == playbook and it.kind == "coupon"}


def test_nobody_listens_nothing_is_kept(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.expiry — where no playbook listens, no instant stands in the state and nobody is woken."""
    pump_of(program(tmp_path, {"gift": GIFT}, TEA), store, [row("a1", "asked", "10:00")]).until_idle()
    (state,) = store.subjects()
    assert not state.lapses
    assert state.wake_at is None


# ---------------------------------------------------------------------- given back

WAITS = """\
trigger: {event: asked}
entry: {mode: parallel, limit: unlimited}
exit: [{event: left}]
steps:
  - coupon: tea
    id: gift
  - wait: 2h
  - message: {template: gift, via: box, purpose: service}
"""


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_an_exit_before_the_message_gives_it_back(tmp_path: Path, store: Store, batch: int) -> None:
    """Semantics: coupon.returned — a run that ends before anything was said gives the coupon back, once: stock, budget
    and the limit of the user are as before; the code is good for nothing."""
    plan = program(tmp_path, {"gift": WAITS}, TEA)
    rows = [row("a1", "asked", "10:00"), row("l1", "left", "10:30"), row("l2", "left", "10:40")]
    trial = MemoryStore()
    pump_of(plan, trial, rows).until_idle()
    code = only(trial).code
    rows += [row("r1", "coupon.redeemed", "10:50", code=code), row("a2", "asked", "11:00")]
    pump = pump_of(plan, store, rows, batch=batch)
    pump.until_idle()
    assert moves(store) == ["issued", "returned", "issued"]
    state = pump.session.desk.state("coupon", "tea")
    assert (state.issued, state.spent, state.returned) == (1, 20, 1)
    assert len(store.load(["u1"])["u1"].coupons["tea"]) == 1
    assert store.counts()["coupons.refused.cancelled"] == 1


def test_a_suppressed_message_gives_it_back(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a run ends whose messages were all suppressed: nobody saw the code."""
    strict = "program: shop\nchannels: {box: {via: file, path: out.jsonl}}\n"
    gift = GIFT.replace("purpose: service", "purpose: marketing")
    pump_of(program(tmp_path, {"gift": gift}, TEA, head=strict), store, [row("a1", "asked", "10:00")]).until_idle()
    assert moves(store) == ["issued", "returned"]


@pytest.mark.parametrize(
    ("why", "steps"),
    [
        ("a message went out", "  - message: {template: gift, via: box, purpose: service}\n  - wait: 1d\n"),
        ("another message went out first", "  - message: {template: hi, via: box, purpose: service}\n  - wait: 1d\n"
         "  - message: {template: gift, via: box, purpose: service}\n"),
        ("a person was told", "  - task: {assign: ops, title: 'call about {{ steps.gift.code }}'}\n  - wait: 1d\n"),
        ("an event was told", "  - emit: {type: told, data: {code: '{{ steps.gift.code }}'}}\n  - wait: 1d\n"),
        ("the playbook tells nobody", "  - {tag: {add: [tea]}, if: steps.gift is not none}\n  - wait: 1d\n"),
    ],
)  # fmt: skip
def test_what_may_have_been_seen_stays_given(tmp_path: Path, store: Store, why: str, steps: str) -> None:
    """Semantics: coupon.returned — told by a message, a task or an event, or left to others to tell: it stays given."""
    head = WAITS.partition("  - wait")[0]
    plan = program(tmp_path, {"gift": head + steps}, TEA)
    rows = [row("a1", "asked", "10:00"), row("l1", "left", "10:30")]
    pump_of(plan, store, rows, channel=Answering(lambda it: Sent(ok=True)), batch=1).until_idle()
    assert moves(store) == ["issued"], why


def refuses(item: Outgoing) -> Sent:
    return Sent(ok=False, reason="no such number")


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_a_dead_letter_gives_it_back_once(tmp_path: Path, store: Store, batch: int) -> None:
    """Semantics: coupon.returned — dead before the code was seen: stock returns exactly once, and the letter that told
    of it can be sent by nobody any more.

    Failure: unit.returned — dead letter
    """
    plan = program(tmp_path, {"gift": GIFT}, TEA)
    rows = [row(f"a{n}", "asked", f"1{n}:00", f"u{n}") for n in range(4)]
    channel = Answering(refuses)
    pump = pump_of(plan, store, rows, channel=channel, batch=batch)
    pump.until_idle()
    pump_of(plan, store, rows, channel=channel).until_idle()
    assert moves(store).count("returned") == moves(store).count("issued") >= 3
    state = pump.session.desk.state("coupon", "tea")
    assert (state.issued, state.spent) == (0, 0)
    assert list(store.outbox("dead")) == []
    keys = [it.item.key for it in store.outbox("cancelled")]
    assert store.redrive(keys) == 0
    assert {it.reason for it in store.outbox("cancelled")} == {"coupon returned"}


def test_one_of_two_messages_went_out(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a coupon one message of which went out stays given when another is dead."""
    steps = GIFT + "  - message: {template: again, via: box, purpose: service}\n"
    plan = program(tmp_path, {"gift": steps}, TEA, again="again {{ steps.gift.code }}")

    def answer(item: Outgoing) -> Sent:
        again = str(item.effect.detail["text"]).startswith("again")
        return Sent(ok=False, reason="no such number") if again else Sent(ok=True)

    pump_of(plan, store, [row("a1", "asked", "10:00")], channel=Answering(answer)).until_idle()
    assert moves(store) == ["issued"]


def test_dead_while_the_journey_goes_on(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a letter dead while the journey goes on decides nothing: its last message may still
    tell; when the journey ends without it, the coupon goes back."""
    steps = GIFT.replace("entry:", "exit: [{event: left}]\nentry:")
    steps += "  - wait: 2d\n  - message: {template: again, via: box, purpose: service}\n"
    plan = program(tmp_path, {"gift": steps}, TEA, again="again {{ steps.gift.code }}")
    channel = Answering(lambda it: Sent(ok=str(it.effect.detail["text"]).startswith("again"), reason="no"))
    rows = [
        row("a1", "asked", "10:00"), row("a2", "asked", "10:00", "u2"), row("l2", "left", "+1d 10:00", "u2"),
        row("x", "ping", "+5d 10:00", "u9"),
    ]  # fmt: skip
    pump_of(plan, store, rows, channel=channel, batch=1).until_idle()
    assert sorted(moves(store)) == ["issued", "issued", "returned"]
    assert {it.subject: it.status for it in store.coupons()} == {"u1": "issued", "u2": "returned"}


def test_dropped_by_hand(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a waiting message that a person drops takes its coupon back to the pool."""
    from engine.runtime import byhand

    plan = program(tmp_path, {"gift": GIFT}, TEA)
    rows = [row("a1", "asked", "10:00")]
    pump_of(plan, store, rows).until_idle()
    (waiting,) = store.outbox("pending")
    byhand.drop(store, [waiting.item.key], store.clock() + HOUR)
    pump_of(plan, store, rows, channel=Answering(lambda it: Sent(ok=True))).until_idle()
    assert moves(store) == ["issued", "returned"]


def test_an_exit_takes_a_waiting_message_and_its_coupon_back(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a message that an exit finds still in the outbox is cancelled, and its coupon goes
    back with it."""
    steps = GIFT.replace("entry:", "exit: [{event: left}]\nentry:") + "  - wait: 2d\n"
    plan = program(tmp_path, {"gift": steps}, TEA)
    pump_of(plan, store, [row("a1", "asked", "10:00")]).until_idle()
    rows = [row("a1", "asked", "10:00"), row("l1", "left", "10:30")]
    pump_of(plan, store, rows, channel=Answering(lambda it: Sent(ok=False, reason="later", passing=True))).until_idle()
    pump_of(plan, store, rows, channel=Answering(lambda it: Sent(ok=True))).until_idle()
    assert moves(store) == ["issued", "returned"]


def test_a_code_of_a_list_goes_to_the_next(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — a returned code of a list is given to the next who asks; there are never more out
    than the list holds."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "tea.csv").write_text("A1\nA2\n", encoding="utf-8")
    tea = "  tea: {codes: {file: lists/tea.csv}, valid_for: 7d, limits: {per_user: 1, total: 9}}\n"
    plan = program(tmp_path, {"gift": WAITS}, tea)
    rows = [
        row("a1", "asked", "10:00"), row("a2", "asked", "10:01", "u2"), row("a3", "asked", "10:02", "u3"),
        row("l1", "left", "10:30"), row("a4", "asked", "10:31", "u4"), row("a5", "asked", "10:32", "u5"),
    ]  # fmt: skip
    pump_of(plan, store, rows, batch=2).until_idle()
    assert ledger(store) == [("A1", "issued", 1), ("A2", "issued", 1), ("A1", "returned", -1), ("A1", "issued", 1)]
    assert {it.code: it.subject for it in store.coupons()} == {"A1": "u4", "A2": "u2"}


def test_an_erased_user_gives_back_what_was_not_seen(tmp_path: Path, store: Store) -> None:
    """Semantics: coupon.returned — an erasure ends the run: the coupon nobody saw goes back, under the pseudonym."""
    plan = program(tmp_path, {"gift": WAITS}, TEA)
    store.set_meta("secret", "00" * 32)
    rows = [row("a1", "asked", "10:00"), row("d1", "user.deleted", "10:30")]
    pump_of(plan, store, rows, batch=1).until_idle()
    assert moves(store) == ["issued", "returned"]
    assert "u1" not in {it.subject for it in store.ledger(book="coupon")}
