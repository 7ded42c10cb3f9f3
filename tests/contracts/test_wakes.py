"""What the calendar of wake-ups promises, against a plain table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.model import HOUR
from engine.stores.wakes import Wakes

names = st.sampled_from(["a", "b", "c", "d", "e"])
instants = st.integers(-4, 40).map(lambda it: it * HOUR // 4) | st.sampled_from([0, HOUR - 1, HOUR, HOUR + 1])
puts = st.tuples(st.just("put"), names, st.none() | instants)
dues = st.tuples(st.just("due"), instants, st.integers(0, 4))
firsts = st.tuples(st.just("first"))


@given(st.lists(puts | dues | firsts, max_size=60))
def test_calendar_is_a_sorted_table(steps: list[tuple[object, ...]]) -> None:
    """Whatever was put, taken away and asked before: what is due comes in order of (instant, subject), each once."""
    wakes, table = Wakes(), dict[str, int]()
    for step in steps:
        match step:
            case "put", str(name), None:
                wakes.put(name, None)
                table.pop(name, None)
            case "put", str(name), int(at):
                wakes.put(name, at)
                table[name] = at
            case "due", int(before), int(limit):
                wanted = sorted((at, name) for name, at in table.items() if at < before)
                assert wakes.due(before, limit) == wanted[:limit]
            case _:
                assert wakes.first() == min(table.values(), default=None)
    assert {name: wakes.at(name) for name in "abcde"} == {name: table.get(name) for name in "abcde"}
