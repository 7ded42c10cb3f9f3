"""States written before a field was there still load, and say what they said."""

from __future__ import annotations

from engine.core.model import Task
from engine.stores.codec import decode_state, encode_states

OLD = (
    b'{"id":"u1","wake_at":7,"clock":3,"born":true,"journeys":['
    b'["p","","e1",1,"call","event",null,null,["event",9,null,2],{"gift":{"code":"X"}},null],'
    b'["q","k","e2",1,"say","event",{"id":"e2","type":"a","time":1,"user":"u1","group":null,"data":{},"depth":0,'
    b'"internal":false,"history":false,"changes":null},"holdout",["time",8,null,0],{},null]]}'
)
"""A state as the first version wrote it: without rounds, without tasks."""


def test_a_state_of_the_first_version() -> None:
    """New fields go last and have a default, so what stands in a store is read as it was."""
    state = decode_state(OLD)
    first, second = state.journeys
    assert (first.at, first.results, first.rounds) == ("call", {"gift": {"code": "X"}}, None)
    assert (second.held, second.waiting.until if second.waiting else None, second.rounds) == ("holdout", 8, None)
    assert list(state.tasks) == []


def test_rounds_and_tasks_come_back() -> None:
    """What this version adds goes out and in."""
    state = decode_state(OLD)
    state.journeys[0].rounds = {"again": (2, 1_700_000_000_000_000)}
    state.tasks = [Task("k", "p", "call", "回访", 5, None, ["ok"], 9, "boss")]
    again = decode_state(encode_states([state]))
    assert again == state
    assert again.journeys[0].rounds == {"again": (2, 1_700_000_000_000_000)}
    assert again.tasks[0].title == "回访"
