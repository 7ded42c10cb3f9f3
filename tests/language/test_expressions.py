"""Expressions: what they mean with missing values, what is said about mistakes and where, and when time turns them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import engine.language.expressions as package
from engine.core.history import HistoryBook
from engine.core.model import DAY, HOUR, MINUTE, Event, State
from engine.core.moment import Condition, Env, Moment, Value
from engine.errors import ExpressionError
from engine.language.expressions import (
    EXPRESSION_PAGES,
    FieldType,
    Issue,
    Schema,
    Scope,
    combine,
    compile_condition,
    compile_expression,
    compile_value,
    compile_where,
)
from engine.language.expressions.parse import parse
from engine.language.expressions.unparse import unparse

NOW = 1_772_330_400_000_000  # 2026-03-01T02:00:00Z, a Sunday; 10:00 in Shanghai


def kind(spec: object) -> FieldType:
    found = FieldType.parse(spec)
    assert found is not None
    return found


SCHEMA = Schema(
    profile={
        "name": kind("text | none"),
        "city": kind("text | none"),
        "age": kind("integer | none"),
        "birthday": kind("date | none"),
        "vip_since": kind("time | none"),
        "phone_verified": kind("bool"),
        "blocked": kind("bool | none"),
        "vip": kind("bool | none"),
        "staff": kind("bool | none"),
        "langs": kind("list | none"),
    },
    events={
        "order.paid": {"order_id": kind("text"), "amount": kind("money"), "items": kind("list | none")},
        "user.signup": {"source": kind(["app", "import", "none"]), "invited_by": kind("text | none")},
    },
)
SCOPE = Scope(
    schema=SCHEMA,
    event_types=("order.paid",),
    entry_types=("user.signup",),
    steps={"gift": frozenset({"code", "expires_at", "value"})},
    variables=frozenset({"bonus"}),
    trigger=True,
    segments=frozenset({"dormant", "staff"}),
    ladders={"member": ("bronze", "silver", "gold")},
    ladder="member",
    badges=frozenset({"gold-club"}),
    accounts=frozenset({"main"}),
    metrics={"dau": "", "spend": "user"},
    roles=frozenset({"moderator"}),
    groups=frozenset({"sh-runners"}),
    pools=frozenset({"new-user-20"}),
)
ENV = Env(
    zone="Asia/Shanghai",
    ladder="member",
    ranks={"member": {"bronze": 0, "silver": 1, "gold": 2}},
    segments={"dormant": lambda m: m.state.last_active is None, "staff": lambda m: m.state.id == "u9"},
    segment_changes={"dormant": lambda m: m.time + 5},
    holidays=lambda day: day == date(2026, 3, 1),
)


def moment(*, env: Env = ENV, time: int = NOW, now: int | None = None, data: Any = None, **state: Any) -> Moment:
    event = Event(id="e1", type="order.paid", time=time, user="u1", data=data if data is not None else {"amount": 100})
    entry = Event(id="e0", type="user.signup", time=time - DAY, user="u1", data={"source": "app"})
    return Moment(
        State(id="u1", **state),
        event,
        time,
        time if now is None else now,
        env,
        entry=entry,
        steps={"gift": {"code": "C1", "expires_at": "2026-03-08T02:00:00Z"}},
        trigger="t1",
        variables={"bonus": 5},
    )


def compiled(text: str, scope: Scope = SCOPE, book: HistoryBook | None = None, **options: Any) -> Condition:
    found, issues = compile_condition(text, scope, book or HistoryBook(), **options)
    assert found is not None, issues
    return found


def judge(text: str, **around: Any) -> bool:
    return compiled(text).test(moment(**around))


def value_of(text: str, m: Moment | None = None, scope: Scope = SCOPE) -> Any:
    found, issues = compile_expression(text, scope, HistoryBook())
    assert found is not None, issues
    return found.get(m or moment())


def issues_of(text: str, scope: Scope = SCOPE, **options: Any) -> list[Issue]:
    return compile_condition(text, scope, HistoryBook(), **options)[1]


def shown(text: str, scope: Scope = SCOPE, **options: Any) -> list[tuple[str, str, str, str]]:
    """(word under the caret, code, message, hint) of each issue."""
    return [(text[i.start : i.end], i.code, i.message, i.hint) for i in issues_of(text, scope, **options)]


# -- missing values, kinds, errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user.age >= 18", False),
        ("user.age < 18", False),
        ("user.age == none", True),
        ("user.age is none", True),
        ("user.age is not none", False),
        ("user.age != 18", True),
        ("user.age", False),
        ("not user.age", True),
        ("user.age + 1 >= 1", False),
        ("(user.age + 1) is none", True),
        ("-user.age is none", True),
        ("user.city in ['Oslo', 'Riga']", False),
        ("user.city in ['Oslo', none]", True),
        ("'Oslo' in user.city", False),
        ("'a' in user.langs", False),
        ("user.city not in ['Oslo']", True),
        ("user.city | lower == 'oslo'", False),
        ("user.city | default('Oslo') == 'Oslo'", True),
        ("user.city is matching('O*')", False),
        ("user.vip_since is older_than('1d')", False),
        ("user.vip_since is newer_than('1d')", False),
        ("user.tier is at_least('bronze')", False),
        ("user.age is above(0)", False),
        ("user.age is below(100)", False),
        ("user.birthday < '2000-01-01'", False),
        ("user.last_active_at > user.created_at", False),
        ("1 <= user.age <= 9", False),
        ("user.langs[0] == 'zh'", False),
        ("event.items[0].sku is none", True),
        ("last('order.paid').amount >= 1", False),
        ("since('order.paid') > duration('1d')", False),
        ("sum('order.paid', 'amount') == 0", True),
        ("count('order.paid') == 0", True),
        ("avg('order.paid', 'amount') is none", True),
        ("min('order.paid', 'amount') is none", True),
        ("first('order.paid') is none", True),
        ("(user.age or 18) >= 18", True),
        ("user.age >= 18 or event.amount == 100", True),
        ("steps.gift.value > 3", False),
        ("user.get('shoe_size') > 40", False),
    ],
)
def test_missing_values(text: str, expected: bool) -> None:
    """Ordering and arithmetic with a missing value are false and none, its truth is false, == treats it as a value.

    Semantics: condition.missing
    """
    assert judge(text) is expected


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("event.amount >= 5", {"amount": "12"}),
        ("event.amount >= 5", {"amount": True}),
        ("event.amount >= 5", {"amount": 12.5}),
        ("event.amount + 1 >= 5", {"amount": [1]}),
        ("event.amount % 2 == 0", {"amount": "%d"}),
        ("10 / event.amount >= 1", {"amount": 0}),
        ("event.order_id.x == 1", {"order_id": "A1"}),
        ("event.order_id | lower == 'a'", {"order_id": 5}),
        ("event.order_id is matching('a*')", {"order_id": 5}),
        ("event.order_id in event.amount", {"order_id": "a", "amount": 5}),
        ("event.amount < event.order_id", {"order_id": "a", "amount": 5}),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "not ({})", "({}) or true", "not not ({})", "none == none and ({})"])
def test_an_error_is_neither_true_nor_false(text: str, data: dict[str, Any], frame: str) -> None:
    """A broken payload raises ExpressionError, also under not and before an or.

    Semantics: condition.error
    """
    if ".x" in text:
        text = "event.data.order_id.x == 1"
    book = HistoryBook()
    open_scope = replace(SCOPE, event_types=("other",))
    condition = compiled(frame.format(text), open_scope, book)
    with pytest.raises(ExpressionError):
        condition.test(moment(data=data))
    assert any(str(one).startswith("error: ") for one in condition.seen(moment(data=data)).values()) or condition.leaves


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event.amount >= 100", True),
        ("event.amount > 100", False),
        ("event.amount // 30 == 3", True),
        ("event.amount % 30 == 10", True),
        ("event.amount / 8 == 12.5", True),
        ("event.amount * 0.1 == 10", True),
        ("0.1 + 0.2 == 0.3 and event.amount", True),
        ("-event.amount == -100", True),
        ("50 < event.amount <= 100", True),
        ("100 == event.amount", True),
        ("event.amount in [99, 100]", True),
        ("event.type == 'order.paid'", True),
        ("event.id ~ '-' ~ user.id == 'e1-u1'", True),
        ("entry.source == 'app'", True),
        ("entry.time < event.time", True),
        ("event.time - entry.time == duration('1d')", True),
        ("trigger.id == 't1'", True),
        ("vars.bonus * 2 == 10", True),
        ("steps.gift.code == 'C1'", True),
        ("steps.gift.expires_at - duration('7d') == now", True),
        ("steps.gift.expires_at > '2026-03-08T09:59:59+08:00'", True),
        ("event.data.amount == 100", True),
        ("event['amount'] == 100", True),
        ("user.tags == []", True),
        ("user.points >= 0", True),
        ("user.zone == 'Asia/Shanghai'", True),
        ("today == '2026-03-01'", True),
        ("hour(now) == 10 and hour(event.time) == 10", True),
        ("weekday(today) == 7 and weekday(now) == 7", True),
        ("is_workday(today)", False),
        ("is_holiday(today)", True),
        ("in_segment('dormant') and user is in_segment('dormant') and not in_segment('staff')", True),
        ("in_group('sh-runners') or has_badge('gold-club')", False),
        ("0 <= bucket('x') < 10000", True),
        ("'yes' == ('yes' if event.amount == 100 else 'no')", True),
        ("event.amount | round == 100 and '3' | int == 3 and -4 | abs == 4", True),
        ("2.5 | round == 3 and 2.25 | round(1) == 2.3 and event.amount", True),
        ("event.id | upper == 'E1' and event.id | length == 2", True),
        ("[3, 4] | first == 3 and ['a', 'b'] | join('+') == 'a+b' and event.amount", True),
        ("event.id is matching('e?')", True),
        ("event.amount is above(99) and event.amount is not below(100)", True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    """Each function, test, filter and operator gives what the language says."""
    assert judge(text) is expected


def test_declared_times_and_dates_are_read_from_their_text() -> None:
    """Traits declared as time or date compare as such, and age inclusively."""
    m = moment(traits={"birthday": "1999-12-31", "vip_since": "2026-02-22T02:00:00Z"})
    assert compiled("user.birthday < '2000-01-01'").test(m)
    assert compiled("user.vip_since is older_than('7d')").test(m)
    assert not compiled("user.vip_since is older_than('169h')").test(m)
    assert not compiled("user.vip_since is newer_than('7d')").test(m)
    assert compiled("user.vip_since is newer_than('169h')").test(m)
    assert compiled("user.birthday is older_than('3650d')").test(m)
    with pytest.raises(ExpressionError):
        compiled("user.birthday < '2000-01-01'").test(moment(traits={"birthday": "soon"}))


def test_local_time_is_the_subjects() -> None:
    """The user's zone counts when it is one, else the program's.

    Semantics: traits.zone
    """
    text = "hour(now) == 3 and today == '2026-03-01'"
    assert compiled(text).test(moment(traits={"zone": "Europe/Berlin"}))
    assert not compiled(text).test(moment(traits={"zone": "Mars/Olympus"}))
    assert compiled("user.zone == 'Asia/Shanghai'").test(moment(traits={"zone": "Mars/Olympus"}))


def test_tier_tests_go_by_rank() -> None:
    """at_least, above and below follow the ladder, not the alphabet."""
    m = moment(tiers={"member": ["silver", None]})
    for text, expected in (
        ("user.tier is at_least('silver')", True),
        ("user.tier is at_least('gold')", False),
        ("user.tier is above('silver')", False),
        ("user.tier is above('bronze')", True),
        ("user.tier is below('gold')", True),
        ("user.tier == 'silver'", True),
        ("user.tier in ['gold', 'silver']", True),
    ):
        assert compiled(text).test(m) is expected


def test_where_looks_at_the_event_alone() -> None:
    """where= is judged when the event comes in; the same where shares its series with compile_where's."""
    book = HistoryBook()
    text = "count('order.paid', where='event.amount >= 100 and event.type == \"order.paid\"') == 2"
    condition = compiled(text, book=book)
    m = moment()
    for number, amount in enumerate([100, 99, None, "x", Decimal("100.00")]):
        event = Event(id=f"e{number}", type="order.paid", time=NOW, user="u1", data={"amount": amount})
        for series in book.by_type["order.paid"]:
            series.update(m.state, event, "UTC")
    assert condition.test(m)
    where, issues = compile_where(
        "event.amount>=100 and event.type=='order.paid'", replace(SCOPE), book, ("order.paid",)
    )
    assert where is not None
    assert not issues
    assert book.count("order.paid", None, where).key == next(iter(m.state.series))


def test_a_condition_in_a_where_scope_is_judged_at_a_moment() -> None:
    """The same text as a condition of its own: it takes a moment, and knows the event's own fields."""
    scope = replace(SCOPE, where=True)
    assert compiled("event.type == 'order.paid' and event.amount >= 100 and event.id == 'e1'", scope).test(moment())
    assert [issue.code for issue in issues_of("user.city == 'x'", scope)] == ["not-here"]


# -- what is shown


def test_leaves_parts_and_normal_form() -> None:
    """why sees the tree of and, or, not, the value of every leaf, and one spelling."""
    condition = compiled('user.city=="上海" and not (count("order.paid")>=2 or event.amount//10>3)')
    assert condition.text == "user.city == '上海' and not (count('order.paid') >= 2 or event.amount // 10 > 3)"
    assert condition.op == "and"
    assert [part.op for part in condition.parts] == ["leaf", "not"]
    assert [part.text for part in condition.parts[1].parts[0].parts] == [
        "count('order.paid') >= 2",
        "event.amount // 10 > 3",
    ]
    assert condition.seen(moment()) == {"user.city": None, "count('order.paid')": 0, "event.amount": 100}
    assert compiled("user.created_at is none").seen(moment(created_at=NOW)) == {
        "user.created_at": "2026-03-01T02:00:00Z"
    }


def test_leaves_are_as_large_as_can_be() -> None:
    """A path or call is one leaf, with everything inside it; one written twice is one."""
    text = (
        "last('order.paid').amount | round(1) > user.langs[0] | length"
        " and hour(event.time) > 1 and hour(event.time) < 5"
    )
    assert [name for name, _ in compiled(text).leaves] == [
        "last('order.paid').amount",
        "user.langs[0]",
        "hour(event.time)",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a and (b or c) and not d",
        "not (a and b)",
        "(a or b) if c else (d if e else f)",
        "(a is none) == b",
        "(x is none) in y",
        "a if (x is none) else c",
        "x is above(5) and y is not none",
        "(-x) | abs",
        "-(x | abs)",
        "x - (y - z) - w",
        "x * (y + z) / w // 2 % 3",
        "a ~ (b + c) ~ 'd'",
        "(a < b) < c",
        "a < b <= c != d",
        "not a in b",
        "x | default(1) | round(2) is none",
        "f(x, within='7d')[0].name",
        "[1, (2,), (), {'a': 1}]",
        "'it\\'s \\\\ \\n' == x",
        "1.50 == 1_000",
    ],
)
def test_the_normal_form_reads_back_the_same(text: str) -> None:
    """Reading the normal form again gives the same tree and the same normal form."""
    first = parse(text)
    assert first.node is not None, first.issues.found
    normal = unparse(first.node)
    second = parse(normal)
    assert second.node is not None, (normal, second.issues.found)
    assert unparse(second.node) == normal
    assert re.sub(r"lineno=\d+", "", repr(second.node)) == re.sub(r"lineno=\d+", "", repr(first.node))


def test_combine() -> None:
    """all, any and none of a list: verdicts, texts, leaves and the earliest change."""
    a, b = compiled("event.amount == 100"), compiled("user.age >= 18 or today == '2026-03-01'")
    assert combine("and", [a, b]).text == "event.amount == 100 and (user.age >= 18 or today == '2026-03-01')"
    assert combine("and", [a, b]).test(moment())
    assert combine("or", [a, b]).test(moment())
    assert not combine("not", [a, b]).test(moment())
    assert combine("not", [a]).text == "not (event.amount == 100)"
    change = combine("and", [a, b]).next_change
    assert change is not None
    assert change(moment()) == NOW + 14 * HOUR
    assert combine("and", [a]) is a


# -- what is said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'user.city == "上海" and user.teir in ["golden", "diamond"]',
            [("teir", "unknown-field", "'user' has no field 'teir'", "did you mean 'tier'?")],
        ),
        (
            "user.tier == 'golden'",
            [("'golden'", "unknown-level", "there is no tier level 'golden'", "did you mean 'gold'?")],
        ),
        (
            "event.amout >= 5 and usr.city == 'x' and cuont('order.paid') > 1",
            [
                ("amout", "unknown-field", "event 'order.paid' has no field 'amout'", "did you mean 'amount'?"),
                ("usr", "unknown-name", "unknown name 'usr'", "did you mean 'user'?"),
                ("cuont", "unknown-function", "unknown function 'cuont'", "did you mean 'count'?"),
            ],
        ),
        (
            "user.city == shanghai",
            [("shanghai", "unknown-name", "unknown name 'shanghai'", "text needs quotes: 'shanghai'")],
        ),
        ("user.city == null", [("null", "unknown-name", "unknown name 'null'", "a missing value is 'none'")]),
        ("steps.git.code", [("git", "unknown-step", "there is no step 'git'", "did you mean 'gift'?")]),
        ("steps.gift.cod", [("cod", "unknown-field", "step 'gift' gives no 'cod'", "did you mean 'code'?")]),
        (
            "in_segment('dormnat')",
            [("'dormnat'", "unknown-segment", "there is no segment 'dormnat'", "did you mean 'dormant'?")],
        ),
        (
            "in_segment('gold-club')",
            [("'gold-club'", "unknown-segment", "there is no segment 'gold-club'", "'gold-club' is a badge")],
        ),
        (
            "'gold-clup' in user.badges",
            [("'gold-clup'", "unknown-badge", "there is no badge 'gold-clup'", "did you mean 'gold-club'?")],
        ),
        (
            "has_role('moderater')",
            [("'moderater'", "unknown-role", "there is no role 'moderater'", "did you mean 'moderator'?")],
        ),
        (
            "user.name | lowercase",
            [("lowercase", "unknown-filter", "unknown filter 'lowercase'", "did you mean 'lower'?")],
        ),
        (
            "user.name is not defined",
            [("defined", "unknown-test", "unknown test 'defined'", "whether a value is there: is none, is not none")],
        ),
        (
            "count('order.paid', withn='7d')",
            [("withn", "wrong-arguments", "count() has no 'withn='", "did you mean 'within'?")],
        ),
        ("sum('order.paid')", [("sum", "wrong-arguments", "sum() needs field", "")]),
        (
            "count('order.paid', within='7 days')",
            [
                (
                    "'7 days'",
                    "bad-duration",
                    "'7 days' is not a duration; write a whole number from 1 and one of s m h d w, like 7d",
                    "",
                )
            ],
        ),
        (
            "count('order.paid', where='event.amout > 1 and user.vip')",
            [
                ("amout", "unknown-field", "event 'order.paid' has no field 'amout'", "did you mean 'amount'?"),
                ("user", "not-here", "'user' is not known in where=", "where= looks at the event alone"),
            ],
        ),
        (
            "user.city >= 5",
            [("5", "type-mismatch", "cannot compare text and a number", "")],
        ),
        (
            "user.tier >= 'gold'",
            [
                (
                    "user.tier",
                    "tier-order",
                    "tier levels have an order of their own, not the alphabet's",
                    "write user.tier is at_least('gold')",
                )
            ],
        ),
        (
            "user.name.lower() == 'x'",
            [("lower", "not-allowed", "'.lower()': values have no methods", "write user.name | lower")],
        ),
        (
            "'user.blocked'",
            [
                (
                    "'user.blocked'",
                    "only-text",
                    "this condition is only a text, which is always true",
                    "write user.blocked",
                )
            ],
        ),
        ("user", [("user", "unknown-field", "'user' alone is no value", "name a field, such as user.city")]),
    ],
)
def test_mistakes(text: str, expected: list[tuple[str, str, str, str]]) -> None:
    """Every mistake of a text is told in one pass, under the very word, with the next move."""
    assert shown(text) == expected


CUT = "the text looks cut at a comma: quote the whole expression"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user.vip && user.staff", [("&&", "slip-and", "'&&' is not an operator here", "write 'and'")]),
        ("user.vip || user.staff", [("||", "slip-or", "'||' is not an operator here", "write 'or'")]),
        ("!user.vip", [("!", "slip-not", "'!' is not an operator here", "write 'not'")]),
        ("user.city = 'x'", [("=", "slip-equals", "'=' is not an operator here", "write '=='")]),
        ("user.city === 'x'", [("===", "slip-equals", "'===' is not an operator here", "write '=='")]),
        ("user.city <> 'x'", [("<>", "slip-not-equal", "'<>' is not an operator here", "write '!='")]),
        ("event.amount => 5", [("=>", "slip-order", "'=>' is not an operator here", "write '>='")]),
        ("user.vip AND user.staff", [("AND", "slip-and", "'AND' is not an operator here", "write 'and'")]),
        ("user.city == “上海”", [("“", "slip-full-width", "full-width quote '“'", "type \" or '")]),
        (
            "in_group（'sh-runners'）",
            [
                ("（", "slip-full-width", "full-width '（'", "type '('"),
                ("）", "slip-full-width", "full-width '）'", "type ')'"),
            ],
        ),
        ("count('order.paid'，within='7d') > 1", [("，", "slip-full-width", "full-width '，'", "type ','")]),
        ("event.amount ＞＝ 5", [("＞＝", "slip-full-width", "full-width '＞＝'", "type '>='")]),
        (
            "{{ user.vip }}",
            [
                ("{{", "slip-braces", "'{{' has no place in an expression", "leave the braces out"),
                ("}}", "slip-braces", "'}}' has no place in an expression", "leave the braces out"),
            ],
        ),
        ("user.city == 'x", [("'", "slip-quotes", "the quote ' is never closed", CUT)]),
        ("count('order.paid'", [("(", "slip-cut", "'(' is never closed", CUT)]),
        ("within='7d') >= 1", [(")", "slip-cut", "')' closes nothing", CUT)]),
        (
            "user.vip_since < 2026-01-01T00:00:00Z",
            [
                (
                    "2026-01-01T00:00:00Z",
                    "slip-date",
                    "the date 2026-01-01T00:00:00Z needs quotes",
                    'write "2026-01-01T00:00:00Z"',
                )
            ],
        ),
        ("count('order.paid', within=7d) > 1", [("7d", "slip-duration", "the duration 7d needs quotes", 'write "7d"')]),
        ("user.vip ? 1 : 2", [("?", "syntax", "unexpected character '?'", "write 'a if condition else b'")]),
        (
            "user.vip user.staff",
            [
                (
                    "user",
                    "syntax",
                    "unexpected 'user'",
                    "an operator is missing before it; text with spaces needs quotes",
                )
            ],
        ),
        ("user.age >=", [(">=", "syntax", "the expression ends too early", CUT)]),
        ("", [("", "syntax", "the expression is empty", "write a condition such as user.city == 'x'")]),
    ],
)
def test_slips(text: str, expected: list[tuple[str, str, str, str]]) -> None:
    """Operators' slips get their own words at the slip, and nothing else is said about what was meant."""
    assert shown(text) == expected


def test_a_slip_does_not_hide_the_other_problems() -> None:
    """Behind a slip the rest of the text is still checked."""
    assert [issue.code for issue in issues_of("event.amout >= 5 && user.teir = 'gold'")] == [
        "unknown-field",
        "slip-and",
        "unknown-field",
        "slip-equals",
    ]


def test_positions_inside_where_count_the_escapes() -> None:
    """The caret stands under the word also when quotes before it are escaped."""
    text = 'count("order.paid", where="event.order_id == \\"A\\" and event.amout > 1") > 1'
    assert [text[i.start : i.end] for i in issues_of(text)] == ["amout"]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("not user.age >= 18", True),
        ("not (user.city == 'x' and user.age >= 18)", True),
        ("not not user.age >= 18", False),
        ("not user.city == 'x'", False),
        ("user.age is not none and not user.age >= 18", False),
        ("user.age and not user.age >= 18", False),
        ("user.vip_since is not older_than('7d')", True),
        ("not avg('order.paid', 'amount') > 5", True),
        ("not count('order.paid') > 5", False),
        ("not event.amount > 5", False),
    ],
)
def test_nullable_under_not(text: str, warned: bool) -> None:
    """A comparison under not that a missing value would turn true is a warning, unless the text asks for the field."""
    assert [issue.code for issue in issues_of(text)] == (["nullable-under-not"] if warned else [])
    assert all(issue.severity == "warning" for issue in issues_of(text))


def test_negated_asks_as_under_not() -> None:
    """Under none: the same warning comes for the plain comparison."""
    assert [issue.code for issue in issues_of("user.age >= 18", negated=True)] == ["nullable-under-not"]


def test_open_and_closed_programs() -> None:
    """Undeclared profile fields and event types are errors only where the program says so."""
    bare = replace(SCOPE, schema=Schema(profile_declared=False))
    assert not issues_of("user.anything == 1 and event.anything == 2 and count('some.thing') > 1", bare)
    assert not issues_of("user.anything == 1", replace(SCOPE, schema=replace(SCHEMA, profile_open=True)))
    closed = replace(SCOPE, schema=replace(SCHEMA, closed=True))
    assert shown("count('order.payd') > 1", closed) == [
        ("'order.payd'", "unknown-event", "there is no event 'order.payd'", "did you mean 'order.paid'?")
    ]
    assert not issues_of("count('message.opened') > 1", closed)
    assert not issues_of("count('order.payd') > 1")


def test_an_event_of_several_types() -> None:
    """A field is known when one of the declared types has it, and anything goes when one is undeclared."""
    both = replace(SCOPE, event_types=("order.paid", "user.signup"))
    assert not issues_of("event.amount > 1 and event.source == 'app'", both)
    assert [i.code for i in issues_of("event.sourc == 'app'", both)] == ["unknown-field"]
    assert not issues_of("event.sourc == 'app'", replace(SCOPE, event_types=("order.paid", "other")))
    assert not issues_of("event.sourc == 'app'", replace(SCOPE, event_types=()))


def _page_scope(code: str) -> Scope:
    if code == "unknown-event":
        return replace(SCOPE, schema=replace(SCHEMA, closed=True))
    if code == "no-event":
        return replace(SCOPE, event_types=None)
    signup = code in ("impossible-value",)
    return replace(SCOPE, event_types=("user.signup",)) if signup else SCOPE


@pytest.mark.parametrize("code", sorted(EXPRESSION_PAGES))
def test_every_page_shows_its_problem_and_its_cure(code: str) -> None:
    """The bad example has the problem, the good one has none at all."""
    title, meaning, bad, good, severity = EXPRESSION_PAGES[code]
    assert title
    assert meaning
    assert severity in ("error", "warning")
    if code == "too-long":
        bad = "user.id in ['u1'" + ", 'u2'" * 2000 + "]"
    scope = replace(_page_scope(code), segments=frozenset({"pilot-users", "dormant"}))
    time_free = code == "raw-now"

    def codes(text: str) -> list[str]:
        if code == "no-blocks":
            return [issue.code for issue in compile_value(text, scope, HistoryBook())[1]]
        return [issue.code for issue in compile_condition(text, scope, HistoryBook(), time_free=time_free)[1]]

    assert code in codes(bad)
    assert codes(good) == []


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    """The table of pages and the codes in the sources are the same set."""
    folder = Path(package.__file__).parent
    sources = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "pages.py")
    words = set(re.findall(r'"([a-z]+(?:-[a-z]+)+|syntax)"', sources))
    words |= {f"unknown-{family}" for family in ("segment", "group", "role", "badge", "level")}
    assert set(EXPRESSION_PAGES) <= words
    assert {word for word in words if word.startswith(("slip-", "unknown-", "bad-", "too-", "not-", "no-"))} <= set(
        EXPRESSION_PAGES
    )


# -- values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("{{ event.amount }}", 100),
        (" {{ event.amount }}\n", 100),
        ("{{ user.tags }}", []),
        ("{{ user.city }}", None),
        ("{{ event.amount // 30 }}", 3),
        ("{{ 1.50 }}", Decimal("1.50")),
        ("{{ steps.gift.expires_at }}", datetime(2026, 3, 8, 2, tzinfo=UTC)),
        ("{{ now - event.time }}", timedelta(0)),
        ("hi {{ user.city }}!", "hi !"),
        ("{{ event.amount }} of {{ 1.50 }} at {{ event.time }}", "100 of 1.50 at 2026-03-01T02:00:00Z"),
        ("{{ '}}' }}{{ '{{' }}", "}}{{"),
        ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("{{ user.vip is none }}", True),
        ("vip: {{ user.vip is none }}", "vip: true"),
    ],
)
def test_values(text: str, expected: Any) -> None:
    """A whole expression keeps its native value; inside longer text everything is plain; the rest is literal."""
    found, issues = compile_value(text, SCOPE, HistoryBook())
    assert found is not None, issues
    got = found.get(moment())
    assert got == expected
    assert got.__class__ is expected.__class__
    assert found.constant is (
        "{{" not in text or text in ("{{ 1.50 }}", "{{ '}}' }}{{ '{{' }}", "{{ {'a': {'b': 1}} }}")
    )


def test_an_event_as_a_value_is_a_map() -> None:
    """Its data and the event's own fields above them."""
    found = value_of("event")
    assert found["amount"] == 100
    assert found["type"] == "order.paid"
    assert found["time"] == datetime(2026, 3, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("a {{ user.nme }} b", "unknown-field", "nme"),
        ("a {{ user.name", "slip-cut", "{{"),
        ("{% if x %}", "no-blocks", "{%"),
        ("x {{ }}", "syntax", " "),
        ("{{ user.city = 1 }} {{ usr }}", "slip-equals", "="),
    ],
)
def test_mistakes_in_values(text: str, code: str, word: str) -> None:
    """Problems inside {{ }} stand under their word of the whole text."""
    found, issues = compile_value(text, SCOPE, HistoryBook())
    assert found is None
    assert (issues[0].code, text[issues[0].start : issues[0].end]) == (code, word)


# -- time


@pytest.mark.parametrize(
    ("text", "state", "expected"),
    [
        ("user.age >= 18", {}, None),
        ("count('order.paid') >= 1", {}, None),
        ("user.created_at is older_than('30d')", {"created_at": NOW - DAY}, NOW + 29 * DAY),
        ("user.created_at is newer_than('30d')", {"created_at": NOW - 40 * DAY}, None),
        ("now - user.created_at > duration('30d')", {"created_at": NOW - DAY}, NOW + 29 * DAY),
        ("user.created_at < now - duration('30d')", {"created_at": NOW - DAY}, NOW + 29 * DAY),
        ("now >= '2026-03-01T05:00:00Z'", {}, NOW + 3 * HOUR),
        ("'2026-03-01T05:00:00Z' > now + duration('1h')", {}, NOW + 2 * HOUR),
        ("today == '2026-03-02'", {}, NOW + 14 * HOUR),
        ("hour(now) >= 12", {"traits": {"zone": "Asia/Kolkata"}}, NOW + 30 * MINUTE),
        ("weekday(now) == 1 or is_workday(today)", {}, NOW + 14 * HOUR),
        ("streak('checkin') >= 3", {}, NOW + 14 * HOUR),
        ("in_segment('dormant')", {}, NOW + 5),
        ("in_segment('staff')", {}, None),
        ("steps.gift.expires_at is older_than('1d') or now > steps.gift.expires_at", {}, NOW + 7 * DAY),
    ],
)
def test_the_next_change(text: str, state: dict[str, Any], expected: int | None) -> None:
    """The earliest instant at which passing time alone may turn the verdict."""
    condition = compiled(text, time_free=True)
    m = moment(**state)
    found = condition.next_change(m) if condition.next_change is not None else None
    assert found == expected


def test_the_turn_is_exact_to_the_microsecond() -> None:
    """At the announced instants, and not before, the verdict turns, for every comparison with now.

    Semantics: threshold.inclusive
    """
    for sign in ("<", "<=", ">", ">=", "==", "!="):
        condition = compiled(f"now - user.created_at {sign} duration('1h')", time_free=True)
        time, turns = NOW, [NOW]
        verdicts = [condition.test(moment(time=NOW, created_at=NOW))]
        assert condition.next_change is not None
        while (following := condition.next_change(moment(time=time, created_at=NOW))) is not None:
            time = following
            turns.append(time)
            verdicts.append(condition.test(moment(time=time, created_at=NOW)))
        assert turns == [NOW, NOW + HOUR, NOW + HOUR + 1]
        right = {"<": [1, 0, 0], "<=": [1, 1, 0], ">": [0, 0, 1], ">=": [0, 1, 1], "==": [0, 1, 0], "!=": [1, 0, 1]}
        assert verdicts == [bool(one) for one in right[sign]]


@pytest.mark.parametrize(
    "text",
    [
        "(now - user.created_at) / duration('1d') >= 3",
        "now | default(1) == 2",
        "hour(now - duration('1h')) == 3",
        "now in [user.created_at]",
        "now + (now - user.created_at) > user.created_at",
        "since('order.paid') * 2 > duration('1d')",
        "(now - duration('1d')) is older_than('1d')",
    ],
)
def test_time_must_not_pass_unseen(text: str) -> None:
    """Where only announced instants are looked at, other uses of now are an error; elsewhere they are fine."""
    assert {issue.code for issue in issues_of(text, time_free=True)} == {"raw-now"}
    assert issues_of(text) == []


def test_since_in_a_comparison_announces_its_turn() -> None:
    """since() compared with a duration needs no clock."""
    book = HistoryBook()
    condition = compiled("since('order.paid') >= duration('3d')", book=book, time_free=True)
    m = moment()
    assert condition.next_change is not None
    assert condition.next_change(m) is None
    assert m.event is not None
    for series in book.by_type["order.paid"]:
        series.update(m.state, m.event, "UTC")
    assert condition.next_change(m) == NOW + 3 * DAY
    later = moment(time=NOW + 3 * DAY)
    later.state.series = m.state.series
    assert condition.test(later)
    found, issues = compile_expression("since('order.paid')", SCOPE, HistoryBook(), time_free=True)
    assert found is None
    assert [issue.code for issue in issues] == ["raw-now"]


def test_a_change_that_cannot_be_told_does_not_hide_the_others() -> None:
    """A broken leaf leaves the other leaves' instants standing."""
    condition = compiled("user.vip_since is older_than('1d') or today == '2026-03-02'")
    assert condition.next_change is not None
    assert condition.next_change(moment(traits={"vip_since": "soon"})) == NOW + 14 * HOUR


def test_a_clock_behind_the_event_still_turns_it() -> None:
    """When the engine's clock is behind the event, an instant between the two is announced at once."""
    condition = compiled("now >= '2026-03-01T02:00:00Z'")
    m = moment(time=NOW + 2 * MINUTE, now=NOW - MINUTE)
    assert not condition.test(m)
    assert condition.next_change is not None
    assert condition.next_change(m) == NOW + 2 * MINUTE + 1


def test_values_know_their_next_change() -> None:
    """A metric over a window is looked at again when its window moves."""
    book = HistoryBook()
    found, issues = compile_expression("sum('order.paid', 'amount', within='365d')", SCOPE, book, time_free=True)
    assert isinstance(found, Value)
    assert not issues
    m = moment()
    assert m.event is not None
    for series in book.by_type["order.paid"]:
        series.update(m.state, m.event, "UTC")
    assert found.get(m) == 100
    assert found.next_change is not None
    assert found.next_change(m) == NOW + 365 * DAY


def test_a_group_as_subject() -> None:
    """Where a group is the subject, group.* is its state and user does not exist."""
    scope = replace(SCOPE, subject="group")
    assert not issues_of("group.topic == 'running' and group.id == 'g'", scope)
    assert [issue.code for issue in issues_of("user.city == 'x'", scope)] == ["not-here"]
    assert [issue.code for issue in issues_of("group.topic == 'x'")] == ["unknown-field"]
    assert not issues_of("group.id == 'sh-runners'")


def test_where_may_stand_without_quotes() -> None:
    """``where=event.n >= 3`` and the same in quotes mean one thing and share one history."""
    book = HistoryBook()
    scope = Scope()
    bare, none = compile_condition('count("x", where=event.n >= 3) >= 1', scope, book)
    quoted, also_none = compile_condition('count("x", where="event.n >= 3") >= 1', scope, book)
    assert (none, also_none) == ([], [])
    assert bare is not None
    assert quoted is not None
    assert len(book.by_type["x"]) == 1
