"""Wake-ups, ids, keys and codes: quick ways against the plain ones that define them."""

from __future__ import annotations

import random
from functools import partial

import pytest

from engine.core.chance import effect_key, step_key
from engine.core.coupons import code_for
from engine.core.model import HOUR
from engine.feeds.replay import Ids
from engine.runtime.alarms import Alarms, Entry


@pytest.mark.parametrize("seed", range(20))
def test_alarms_come_out_in_order(seed: int) -> None:
    """Whatever is put in while others are taken out, one by one or in one go, entries come in the order of (instant,
    subject)."""
    draw = random.Random(seed)
    alarms, waiting, now = Alarms(), list[Entry](), 0
    for _ in range(400):
        for _ in range(draw.randrange(4)):
            entry = (now + draw.randrange(-HOUR, 5 * HOUR), f"u{draw.randrange(9)}")
            alarms.put(*entry)
            waiting.append(entry)
        before = (now + draw.randrange(2 * HOUR), draw.choice(["", "u5"]))
        due = sorted(entry for entry in waiting if entry < before)
        if waiting:
            assert alarms.next <= min(waiting)[0]
        found = []
        in_one_go = not before[1] and draw.random() < 0.5
        for popped in alarms.until(before[0]) if in_one_go else iter(partial(alarms.pop, before), None):
            assert popped is not None
            found.append(popped)
            if draw.random() < 0.2 and popped[0] + 5 < before[0]:
                again = (popped[0] + draw.randrange(5), "u0")
                if again >= popped:
                    alarms.put(*again)
                    due = sorted([*due, again])
                    waiting.append(again)
        assert found == due
        for entry in found:
            waiting.remove(entry)
        now = before[0]
    assert alarms.pop((1 << 62, "")) == (min(waiting) if waiting else None)


def test_the_key_of_a_step_is_an_effect_key() -> None:
    """Keys made in half the time are the keys in every store."""
    for parts in [("r1", "gift", "u1", "", "e1", ""), ("活动", "步骤", "用户", "k", "wake:1#0", "2")]:
        assert step_key(*parts) == effect_key(*parts)


def test_codes_are_what_they_were() -> None:
    """A coupon code is 80 bits in Crockford's base 32, the highest first."""
    assert code_for("GIFT", "k1", b"secret") == "GIFT-TEW7WGSZ65DK68KE"
    assert code_for("GIFT", "k2", b"secret") == "GIFT-FZZXMZMECQKV573F"


@pytest.mark.parametrize("again", ["a1", "a5", "a6", "b2"])
def test_an_id_that_comes_again_is_noticed(again: str) -> None:
    """Ids are told apart while they ascend and after they did not: one that came before never passes."""
    for chunks in (["a1", "a5"], ["a6"], ["b2"]), (["a6", "a1"], ["b2", "a5"]):
        ids = Ids()
        assert all(ids.add(list(chunk)) for chunk in chunks)
        assert again in ids
        assert "c9" not in ids
        assert not ids.add([again])
    ids = Ids()
    assert not ids.add(["a1", again, "c1", again])


def test_ids_may_come_in_any_order() -> None:
    """An id that does not ascend is no repetition."""
    ids = Ids()
    assert ids.add(["a1", "a2"])
    assert ids.add(["a0", "a3"])
    assert ids.add(["a30", "Z"])
    assert not ids.add(["a2"])
