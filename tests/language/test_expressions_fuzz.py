"""Expressions under fire: whatever the text and whatever the payload, the outcome is an answer, an issue or an
ExpressionError, and time never turns a verdict before the announced instant.

``DRUMBEAT_EXPRESSIONS`` says how many expressions a cheap generator tries beside hypothesis (default 2,000),
``DRUMBEAT_PATTERNS`` how many patterns that are made to be slow (default 60).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from time import process_time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.history import HistoryBook
from engine.core.model import DAY, HOUR, MINUTE, Event, State
from engine.core.moment import Condition, Env, Moment
from engine.errors import ExpressionError
from engine.language.expressions import (
    EXPRESSION_PAGES,
    FieldType,
    Issue,
    Schema,
    Scope,
    compile_condition,
    compile_expression,
    compile_value,
)

EXPRESSIONS = int(os.environ.get("DRUMBEAT_EXPRESSIONS", "2000"))
PATTERNS = int(os.environ.get("DRUMBEAT_PATTERNS", "60"))
NOW = 1_774_742_400_000_000  # 2026-03-29T00:00:00Z, the night clocks change in Europe
FIELDS = {
    "city": FieldType("text"),
    "age": FieldType("integer"),
    "birthday": FieldType("date"),
    "vip_since": FieldType("time"),
    "langs": FieldType("list"),
    "more": FieldType("map"),
}
SCOPE = Scope(
    schema=Schema(profile=FIELDS, profile_open=True, events={"declared": {"amount": FieldType("money")}}),
    event_types=("order.paid",),
    entry_types=("declared",),
    steps={"gift": None},
    variables=frozenset({"x"}),
    trigger=True,
    segments=frozenset({"dormant"}),
    ladders={"member": ("bronze", "gold")},
    ladder="member",
)
ENV = Env(
    zone="Europe/Berlin",
    ladder="member",
    ranks={"member": {"bronze": 0, "gold": 1}},
    segments={"dormant": lambda m: bool(m.time // HOUR % 2)},
    segment_changes={"dormant": lambda m: (m.time // HOUR + 1) * HOUR},
)
FAST = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def pieces(*rows: str) -> list[str]:
    """The texts between two semicolons."""
    return [text.strip(" ") for row in rows for text in row.split(" ; ")]


def choice(*rows: str) -> st.SearchStrategy[str]:
    """One of the texts between two semicolons."""
    return st.sampled_from(pieces(*rows))


WORDS = pieces(
    "user ; event ; entry ; steps ; vars ; now ; today ; city ; age ; gift ; . ; . ; , ; ( ; ( ; ) ; ) ; [ ; ] ; { ; }",
    "{{ ; }} ; == ; != ; < ; >= ; = ; && ; || ; ! ; and ; or ; not ; in ; is ; none ; true ; if ; else ; + ; - ; * ; /",
    "// ; % ; ** ; ~ ; | ; lower ; default ; round ; older_than ; matching ; count ; sum ; within ; where",
    "'order.paid' ; '7d' ; \"x\" ; ' ; \" ; 1 ; 2.5 ; 30d ; 2026-01-01 ; “ ; ” ; ， ; ： ; （ ; ） ; \\ ; \n",
    "\u200b ; ٣ ; \ud83d ; {% ; %} ; ? ; @ ; ; ; 1e999999999 ; 0x1F ; 007 ; def",
    "lambda ; __class__ ; user.__class__ ; event.data.items",
)
words = st.sampled_from(WORDS)
soup = st.lists(words, max_size=30).flatmap(lambda parts: st.sampled_from([" ", ""]).map(lambda gap: gap.join(parts)))


def checked(text: str, issues: list[Issue], found: object) -> None:
    """Issues lie inside the text, have pages, and something is compiled exactly when none is an error."""
    for issue in issues:
        assert issue.code in EXPRESSION_PAGES
        assert 0 <= issue.start < issue.end <= max(len(text), 1) + 1
        assert issue.message
    assert (found is None) is any(issue.severity == "error" for issue in issues)


@FAST
@given(st.one_of(soup, st.text(max_size=60)))
def test_any_text_gives_a_condition_or_issues(text: str) -> None:
    """No text makes the compiler raise.

    Threat: expression.limits
    """
    for compiler in (compile_condition, compile_expression):
        found, issues = compiler(text, SCOPE, HistoryBook(), time_free=True)
        checked(text, issues, found)
    for value_text in (text, "{{ " + text + " }}", "a {{" + text + "}} b"):
        value, issues = compile_value(value_text, SCOPE, HistoryBook())
        checked(value_text, issues, value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 30_000,
        "(" * 30_000 + ")" * 30_000,
        "[" * 2000 + "]" * 2000,
        "(" * 40 + "user.age" + ")" * 40,
        "not " * 1000 + "user.age",
        "-" * 4000 + "1",
        "user" + ".a" * 2000,
        "user.age" + "[0]" * 600,
        "user.age" + " + 1" * 400,
        "user.city" + " ~ 'x'" * 300,
        "user.age" + " | abs" * 400,
        " and ".join(["user.age == 1"] * 160),
        " or ".join(["(user.age == 1 and event.amount >= 5)"] * 60),
        "1" + " if user.age else 1" * 100,
        "user.age < " + " < ".join("123456789" * 20),
        "count('order.paid', where='" + "(" * 2000 + "') > 1",
        "'" + "x" * 5000 + "' == user.city",
        "'" + "上" * 1400 + "' == user.city",
        "9" * 4000 + " == user.age",
        "user.city is matching('" + "*a" * 1000 + "')",
        "not (" * 39 + "user.age" + ")" * 39,
        "{'a': " * 300 + "1" + "}" * 300,
        "user.age if " * 300 + "1",
    ],
    ids=lambda text: text[:12],
)
def test_limits_instead_of_recursion(text: str) -> None:
    """However deep or long, the outcome is an issue or a condition that runs."""
    found, issues = compile_condition(text, SCOPE, HistoryBook())
    checked(text, issues, found)
    if found is not None:
        outcome(found, moment({"amount": 5}))
    value, issues = compile_value("{{" + text + "}}", SCOPE, HistoryBook())
    checked("{{" + text + "}}", issues, value)


EVIL = ("*", "?", "[a]", "[!b]", "[a-z]", "a", "aa", "*a", "*?", "?*", "a*a", "**", "[*]", "(", ")+", "{9}", "|")


def test_evil_patterns(record_property: Callable[[str, object], None]) -> None:
    """Whatever stars, signs and classes a pattern is made of, 64 KiB that almost fit take it under 10 ms of work.

    Threat: regex.exhaust — many patterns
    """
    rng, slowest = random.Random(6), 0.0
    for _ in range(PATTERNS):
        pattern = "".join(rng.choice(EVIL) for _ in range(rng.randrange(4, 60))) + rng.choice(("b", "", "*b", "?"))
        found, issues = compile_condition(f"event.city is matching('{pattern}')", SCOPE, HistoryBook())
        checked(pattern, issues, found)
        if found is None:
            continue
        m = moment({"city": rng.choice(("a", "ab", "aaab", "a(a)+")) * 65_536})
        m.event.data["city"] = m.event.data["city"][:65_536]  # type: ignore[union-attr]  # it has one
        took = min(_work(lambda m=m, found=found: outcome(found, m)) for _ in range(3))  # type: ignore[misc]
        assert took < 0.01, pattern
        slowest = max(slowest, took)
    record_property("patterns", PATTERNS)
    record_property("slowest_pattern_us", round(slowest * 1e6))


def _work(what: Callable[[], object]) -> float:
    """Seconds of processor time."""
    begun = process_time()
    what()
    return process_time() - begun


def test_a_greedy_pattern_takes_no_time() -> None:
    """Patterns of many stars stay quick on long text.

    Threat: regex.exhaust
    """
    found, _ = compile_condition("event.city is matching('" + "*a" * 30 + "*b')", SCOPE, HistoryBook())
    assert found is not None
    assert not found.test(moment({"city": "a" * 20_000}))


PATHS = pieces(
    "user.age ; user.city ; user.birthday ; user.vip_since ; user.langs ; user.more ; user.tags",
    "user.points ; user.tier ; user.created_at ; user.last_active_at ; event.amount ; event.x",
    "event.x.y ; event.x[0] ; event.time ; event.type ; entry.amount ; steps.gift.code",
    "steps.gift.expires_at ; vars.x ; trigger.id ; now ; today ; first('order.paid').amount",
    "last('order.paid') ; since('order.paid') ; user.get('zz')",
)
CALLS = pieces(
    "count('order.paid') ; count('order.paid', within='1d')",
    "count('order.paid', where='event.amount > 1') ; sum('order.paid', 'amount', within='2d')",
    "avg('order.paid', 'amount') ; max('order.paid', 'x', within='6h')",
    "distinct('order.paid', 'x', within='1d') ; streak('order.paid') ; bucket('s') ; hour(now)",
    "weekday(today) ; is_workday(today) ; in_segment('dormant') ; duration('90m') ; hour(event.time)",
    "weekday(event.time)",
)
CONSTANTS = pieces(
    "0 ; 1 ; 2.50 ; 'x' ; '' ; none ; true ; false ; 'gold' ; '2026-03-28'",
    "'2026-03-29T02:30:00+01:00' ; [] ; ['x', 1, none] ; [1]",
)
atoms = st.one_of(*map(st.sampled_from, (PATHS, CALLS, CONSTANTS)))
SIGNS = pieces("== ; != ; < ; <= ; > ; >= ; in ; not in ; + ; - ; * ; / ; // ; % ; ~")
TAILS = pieces(
    "is none ; is not none ; is older_than('1d') ; is newer_than('90m') ; is at_least('gold')",
    "is above(1) ; is below('x') ; is matching('x*') ; | lower ; | length ; | default(0) ; | round(1)",
    "| int ; | abs ; | first ; | last ; | join(',') ; | float ; .x ; [0] ; ['x']",
)


def _bigger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    both = st.tuples(inner, inner)
    signs, tails = st.sampled_from(SIGNS), st.sampled_from(TAILS)
    logic = st.sampled_from(["and", "or"])
    return st.one_of(
        st.builds(lambda pair, sign: f"({pair[0]} {sign} {pair[1]})", both, signs),
        st.builds(lambda pair, sign: f"({pair[0]} {sign} {pair[1]})", both, logic),
        st.builds(lambda one: f"(not {one})", inner),
        st.builds(lambda one: f"(-{one})", inner),
        st.builds(lambda one, tail: f"({one} {tail})" if tail[0] not in ".[" else f"({one}){tail}", inner, tails),
        st.builds(lambda pair, one: f"({pair[0]} if {one} else {pair[1]})", both, inner),
    )


expressions = st.recursive(atoms, _bigger, max_leaves=8)
texts = choice(" ; x ; xx ; gold ; 2026-03-28 ; soon ; 2026-03-28T12:00:00Z")
numbers: Any = st.sampled_from([0, 1, 7, -3, Decimal("2.50"), Decimal("1E+90"), 2.5, 10**30, Decimal("NaN")])
others: Any = st.sampled_from([None, True, [], [1, "x"], ["x"], {"y": 1}, {"x": "x"}])
odd_values: Any = st.one_of(texts, numbers, others)
data_of = st.fixed_dictionaries({}, optional={"amount": odd_values, "x": odd_values, "city": odd_values})
traits_of = st.fixed_dictionaries({}, optional=dict.fromkeys((*FIELDS, "zz"), odd_values))


def moment(
    data: dict[str, Any], traits: dict[str, Any] | None = None, time: int = NOW, state: State | None = None
) -> Moment:
    if state is None:
        state = State(
            id="u1", traits=traits or {}, created_at=NOW - 3 * DAY, tiers={"member": ["gold", None]}, tags=["x"]
        )
    event = Event(id="e1", type="order.paid", time=NOW, user="u1", data=data)
    return Moment(
        state,
        event,
        time,
        time,
        ENV,
        entry=event,
        steps={"gift": {"code": data.get("x"), "expires_at": NOW + DAY}},
        trigger="t",
        variables={"x": data.get("amount")},
    )


def outcome(condition: Condition, m: Moment) -> bool | str:
    """The verdict, or that there is none."""
    try:
        verdict = condition.test(m)
    except ExpressionError:
        return "error"
    assert verdict is True or verdict is False
    return verdict


def history(book: HistoryBook, data: dict[str, Any], hours: list[int]) -> State:
    m = moment(data)
    for number, hour in enumerate(hours):
        event = Event(id=f"h{number}", type="order.paid", time=NOW - hour * HOUR, user="u1", data=data)
        for series in book.by_type.get("order.paid", ()):
            series.update(m.state, event, "Europe/Berlin")
    return m.state


@FAST
@given(expressions, data_of, traits_of)
def test_any_condition_on_any_payload_is_true_false_or_an_error(
    text: str, data: dict[str, Any], traits: dict[str, Any]
) -> None:
    """Nothing but ExpressionError leaves a condition, its leaves and its next change never raise, and the normal form
    is the same condition."""
    found, issues = compile_condition(text, SCOPE, HistoryBook())
    checked(text, issues, found)
    if found is None:
        return
    m = moment(data, traits)
    verdict = outcome(found, m)
    found.seen(m)
    if found.next_change is not None:
        following = found.next_change(m)
        assert following is None or following > m.time
    again, _ = compile_condition(found.text, SCOPE, HistoryBook())
    assert again is not None
    assert again.text == found.text
    assert outcome(again, m) == verdict
    opposite, _ = compile_condition(f"not ({text})", SCOPE, HistoryBook())
    assert opposite is not None
    other = outcome(opposite, m)
    assert other == ("error" if verdict == "error" else not verdict)


@FAST
@given(expressions, data_of, traits_of)
def test_any_value_is_a_value_or_an_error(text: str, data: dict[str, Any], traits: dict[str, Any]) -> None:
    """Nothing but ExpressionError leaves a value, alone or inside text."""
    for whole in ("{{ " + text + " }}", "a {{ " + text + " }} b"):
        found, issues = compile_value(whole, SCOPE, HistoryBook())
        checked(whole, issues, found)
        if found is not None:
            try:
                found.get(moment(data, traits))
            except ExpressionError:
                continue


def _random(rng: random.Random, depth: int) -> str:
    """An expression as ``expressions`` makes them, or now and then a soup of words."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(rng.choice((PATHS, CALLS, CONSTANTS)))
    one, kind = _random(rng, depth - 1), rng.randrange(6)
    if kind < 2:
        return f"({one} {rng.choice(SIGNS if kind else ('and', 'or'))} {_random(rng, depth - 1)})"
    if kind == 2:
        tail = rng.choice(TAILS)
        return f"({one} {tail})" if tail[0] not in ".[" else f"({one}){tail}"
    if kind == 3:
        return f"({one} if {_random(rng, depth - 1)} else {_random(rng, depth - 1)})"
    return f"({rng.choice(('not ', '-'))}{one})"


ODD: list[Any] = [
    "", "x", "gold", "2026-03-28", "soon", "2026-03-28T12:00:00Z", 0, 1, 7, -3, Decimal("2.50"), Decimal("1E+90"), 2.5,
    10**30, Decimal("NaN"), None, True, [], [1, "x"], ["x"], {"y": 1}, {"x": "x"}, "x" * 20_000, list(range(2_000)),
]  # fmt: skip


def test_expressions_by_the_thousand(record_property: Callable[[str, object], None]) -> None:
    """Random texts and payloads: an answer, an issue or an ExpressionError, and a verdict takes under 5 ms of work.

    Threat: expression.limits — at size
    """
    rng, slowest, answered = random.Random(7), 0.0, 0
    for number in range(EXPRESSIONS):
        if number % 5:
            text = _random(rng, rng.randrange(1, 5))
        else:
            text = rng.choice(("", " ")).join(rng.choice(WORDS) for _ in range(rng.randrange(30)))
        found, issues = compile_condition(text, SCOPE, HistoryBook())
        checked(text, issues, found)
        if found is None:
            continue
        answered += 1
        data = {name: rng.choice(ODD) for name in ("amount", "x", "city") if rng.random() < 0.7}
        m = moment(data, {name: rng.choice(ODD) for name in (*FIELDS, "zz") if rng.random() < 0.7})
        took = _work(lambda m=m, found=found: outcome(found, m))  # type: ignore[misc]
        if took > 0.005:  # or was it the machine?
            took = min(_work(lambda m=m, found=found: outcome(found, m)) for _ in range(3))  # type: ignore[misc]
        assert took < 0.005, text
        slowest = max(slowest, took)
    assert answered > EXPRESSIONS // 10
    record_property("expressions", EXPRESSIONS)
    record_property("slowest_verdict_us", round(slowest * 1e6))


times = choice(
    "now ; now ; user.created_at ; user.vip_since ; steps.gift.expires_at ; '2026-03-29T05:00:00Z'",
    "(now + duration('2h')) ; (user.created_at + duration('80h')) ; (now - duration('30m'))",
    "user.created_at + since('order.paid')",
)
spans = choice(
    "since('order.paid') ; since('order.paid') ; duration('5h') ; duration('3d') ; (now - user.created_at)",
    "(user.vip_since - now) ; (since('order.paid') + duration('1h')) ; (now - user.created_at - duration('70h'))",
)
counts = choice(
    "count('order.paid', within='1d') ; count('order.paid', within='6h') ; sum('order.paid', 'amount', within='2d')",
    "max('order.paid', 'amount', within='6h') ; distinct('order.paid', 'x', within='1d') ; streak('order.paid')",
    "hour(now) ; weekday(today) ; weekday(now) ; 1 ; 2 ; 5 ; 10 ; 23 ; count('order.paid')",
)
order = choice("< ; <= ; > ; >= ; == ; !=")
ages = choice("older_than('1h') ; older_than('3d') ; older_than('80h') ; newer_than('13h') ; newer_than('75h')")
still = choice("user.created_at ; user.vip_since ; user.birthday ; steps.gift.expires_at ; event.time")
timed = st.recursive(
    st.one_of(
        *(st.builds(lambda a, sign, b: f"({a} {sign} {b})", kind, order, kind) for kind in (times, spans, counts)),
        st.builds(lambda a, age: f"({a} is {age})", still, ages),
        choice(
            "in_segment('dormant') ; today == '2026-03-30' ; is_workday(today) ; is_workday(now) ; 3 <= hour(now) < 5"
        ),
    ),
    lambda inner: st.one_of(
        st.builds(lambda a, word, b: f"({a} {word} {b})", inner, choice("and ; or"), inner),
        st.builds(lambda a: f"(not {a})", inner),
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    timed, st.lists(st.integers(0, 60), max_size=6), st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Asia/Shanghai"])
)
def test_passing_time_turns_no_verdict_before_it_is_announced(text: str, hours: list[int], zone: str) -> None:
    """Between now and the next change the verdict stands, for whatever the compiler accepts as time-free."""
    book = HistoryBook()
    found, _ = compile_condition(text, replace(SCOPE, event_types=()), book, time_free=True)
    if found is None:
        return
    state = history(book, {"amount": 5, "x": "x"}, hours)
    state.traits = {"zone": zone, "vip_since": "2026-03-28T12:00:00Z", "birthday": "2026-03-28"}
    start = moment({}, time=NOW, state=state)
    verdict = outcome(found, start)
    announced = found.next_change(start) if found.next_change is not None else None
    for step in range(1, 97):
        for time in (NOW + step * 30 * MINUTE, NOW + step * 30 * MINUTE + 1):
            if announced is None or time < announced:
                assert outcome(found, moment({}, time=time, state=state)) == verdict
