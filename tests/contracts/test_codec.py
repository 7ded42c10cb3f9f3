"""Records that go to bytes and back come back the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.model import (
    Answer,
    Claim,
    Decision,
    Effect,
    Event,
    GoalWatch,
    Hold,
    Journey,
    Purse,
    Reserved,
    State,
    Waiting,
    Why,
)
from engine.errors import InternalError
from engine.stores import codec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
instants = st.integers(-(2**62), 2**62)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | texts | decimals
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
tables = st.dictionaries(texts, values, max_size=4)
maybe = st.none() | texts

events = st.builds(
    Event,
    id=texts,
    type=texts,
    time=instants,
    user=maybe,
    group=maybe,
    data=tables,
    depth=st.integers(0, 16),
    internal=st.booleans(),
    history=st.booleans(),
    changes=st.none() | st.dictionaries(texts, st.tuples(values, values), max_size=2),
)
journeys = st.builds(
    Journey,
    playbook=texts,
    key=texts,
    occurrence=texts,
    started=instants,
    at=maybe,
    trigger=texts,
    entry=st.none() | events,
    held=maybe,
    waiting=st.none() | st.builds(Waiting, kind=texts, until=st.none() | instants, key=maybe, event=st.none() | events),
    results=tables,
    version=texts,
    passed=st.lists(texts, max_size=2).map(tuple),
    reserved=st.lists(
        st.builds(
            Reserved,
            step=texts,
            reward=texts,
            account=texts,
            points=instants,
            key=texts,
            parts=st.lists(st.tuples(st.none() | instants, instants), max_size=2),
        ),
        max_size=2,
    ).map(tuple),
)
goals = st.builds(
    GoalWatch,
    playbook=texts,
    key=texts,
    occurrence=texts,
    started=instants,
    until=instants,
    held=st.booleans(),
    entry=st.none() | events,
)
claims = st.builds(
    Claim, key=texts, rule=texts, match=maybe, left=instants, until=st.none() | instants, settles=st.none() | instants,
    open=instants,
)  # fmt: skip
purses = st.builds(
    Purse,
    lots=st.lists(st.tuples(instants, instants), max_size=2),
    claims=st.lists(claims, max_size=2),
    days=st.lists(st.tuples(instants, st.dictionaries(texts, instants, max_size=2)), max_size=2),
    owed=st.lists(st.tuples(texts, instants), max_size=2),
    undone=st.lists(st.tuples(texts, texts, instants, instants), max_size=2),
    reminded=instants,
)
states = st.builds(
    State,
    id=texts,
    wake_at=st.none() | instants,
    clock=instants,
    born=st.booleans(),
    **dict.fromkeys(("traits", "series", "memory"), tables),
    **{name: st.lists(texts, max_size=3) for name in ("tags", "badges", "segments", "groups", "entered")},
    **{name: st.dictionaries(texts, instants, max_size=2) for name in ("points", "ends")},
    consents=st.dictionaries(texts, st.booleans(), max_size=2),
    tiers=st.dictionaries(texts, st.lists(maybe | instants, max_size=2), max_size=2),
    holds=st.lists(st.builds(Hold, group=texts, room=texts, until=st.none() | instants, key=texts), max_size=2),
    coupons=st.dictionaries(texts, st.lists(instants, max_size=2), max_size=2),
    purses=st.dictionaries(texts, purses, max_size=2),
    rewards=st.dictionaries(texts, st.integers(1, 9), max_size=2),
    journeys=st.lists(journeys, max_size=2),
    goals=st.lists(goals, max_size=2),
    slots=st.lists(st.tuples(instants, texts, texts), max_size=2),
)
effects = st.builds(
    Effect,
    key=texts,
    time=instants,
    playbook=maybe,
    step=maybe,
    kind=texts,
    user=maybe,
    group=maybe,
    status=texts,
    reason=maybe,
    detail=tables,
    deliver=maybe,
    purpose=maybe,
    to=maybe,
)
whys = st.builds(Why, at=texts, value=st.none() | st.booleans(), text=texts, seen=tables)


@given(states)
def test_state(state: State) -> None:
    """A state comes back equal."""
    assert codec.decode_state(codec.encode_states([state])) == state


def test_states_are_lines() -> None:
    """Each state is one line of its own, whatever is in it, and its line says whose it is and when it wakes."""
    odd = {"t": "NaN\n\u2028Infinity\r", "n": Decimal("1.10"), "m": {"wake_at": 7}}
    many = [State(id="a", wake_at=-5, traits=odd), State(id="\n"), State(id="c", wake_at=2**60, memory={"x": {"y": 1}})]
    lines = codec.encode_states(many)
    assert [codec.decode_state(line) for line in lines.split(b"\n")[:-1]] == many
    assert codec.state_heads(lines) == (["a", "\n", "c"], [-5, None, 2**60])
    assert codec.encode_states([]) == b""


@given(events)
def test_event(event: Event) -> None:
    """An event comes back equal, from the inbox and from a block.

    Semantics: event.data
    """
    assert codec.decode_event(codec.encode_event(event)) == event
    assert codec.decode_events(codec.encode_events([(event, 7), None])) == [(event, 7), None]


@given(effects)
def test_effect(effect: Effect) -> None:
    """An effect comes back equal."""
    assert codec.effect_from(effect.key, effect.time, effect.deliver, codec.effect_body(effect)) == effect


@given(st.builds(Answer, key=texts, granted=st.booleans(), reason=maybe, at=st.none() | instants, data=tables))
def test_answer(answer: Answer) -> None:
    """An answer comes back equal."""
    assert codec.decode_answer(codec.encode_answer(answer)) == answer


@given(
    st.builds(
        Decision,
        time=instants,
        playbook=texts,
        user=maybe,
        group=maybe,
        verdict=texts,
        cause=st.dictionaries(texts, texts, max_size=2),
        why=st.lists(whys, max_size=2),
    )
)
def test_decision(decision: Decision) -> None:
    """A decision comes back equal."""
    assert codec.decision_from(codec.decision_body(decision)) == decision


def kept(value: Any) -> Any:
    """The value after the way to the store and back."""
    return codec.decode_state(codec.encode_states([State(id="u", traits={"x": value})])).traits["x"]


@pytest.mark.parametrize("text", ["12.50", "0.10", "-0.0", "1E+3", "1E-30", "123456789012345678901234567890.12"])
def test_decimals_keep_every_digit(text: str) -> None:
    """A decimal with a fraction or exponent comes back as a Decimal with the same digits, never by way of a float.

    Semantics: event.numbers
    """
    back = kept(Decimal(text))
    assert isinstance(back, Decimal)
    assert str(back) == text


def test_whole_decimals_come_back_as_equal_integers() -> None:
    """A decimal without fraction and exponent comes back as the equal integer."""
    assert kept(Decimal(5)) == Decimal(5)
    assert type(kept(Decimal(5))) is int


def test_text_that_looks_like_a_number_stays_text() -> None:
    """Text is never taken for a number."""
    assert kept(["12.50", "1", "null", "NaN"]) == ["12.50", "1", "null", "NaN"]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**40])
def test_huge_integers_are_exact(number: int) -> None:
    """Integers beyond 64 bits come back exactly."""
    assert kept(number) == number


@pytest.mark.parametrize("part", ["series", "memory"])
def test_keys_that_are_not_text_are_refused(part: str) -> None:
    """A mapping with other keys than text would come back changed, so it is refused by name."""
    with pytest.raises(InternalError, match="'x' has a key that is not text"):
        codec.encode_states([State(id="a"), State(id="u", **{part: {"x": {1: 2}}})])


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_decimals_that_are_no_numbers_are_refused(word: str) -> None:
    """NaN and infinity are refused when they are written, not when they are read."""
    with pytest.raises(InternalError, match="no number"):
        codec.encode_states([State(id="u", traits={"x": Decimal(word)})])


def test_body_holds_every_field() -> None:
    """A field added to Event, Effect or Decision must be added to its body as well."""
    assert len(Event.__struct_fields__) == 11
    assert len(Effect.__struct_fields__) == 15
    assert len(Decision.__struct_fields__) == 7
    assert len(Why.__struct_fields__) == 4
