"""Random conditions on a user, through the whole grammar, and random states with everything odd a feed may bring."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from engine.core.history import HistoryBook
from engine.core.model import DAY, HOUR, Event, State
from engine.core.moment import Condition, Env, Moment
from engine.core.plan import Segment
from engine.language.audiences import Audiences
from engine.language.expressions import FieldType, Schema, Scope, compile_condition
from engine.ports import Batch

NOW = 1_774_742_400_000_000  # 2026-03-29T00:00:00Z

PROFILE = {
    "city": FieldType("text"),
    "plan": FieldType("text", ("free", "pro"), True),
    "age": FieldType("integer"),
    "money": FieldType("money"),
    "vip": FieldType("bool"),
    "birthday": FieldType("date"),
    "since": FieldType("time"),
    "langs": FieldType("list"),
    "more": FieldType("map"),
    "rank": FieldType("tier"),
}
WORDS = (
    "上海", "Oslo", "oslo", "", "a", "A", "ß", "İ", "x\0y", "x", "tab\t", 'q"q', "b\\u0000", "100", "😀", "ﬀ", "none",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 5, 18, 100, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30,
    Decimal("0.0"), Decimal("0.1"), Decimal("100.00"), Decimal("99.99"), Decimal("1E+2"), Decimal("5.0"),
    Decimal("-0.0"), Decimal("1.000000000000000000000000000001"), Decimal("9007199254740993.0"), Decimal("1E-400"),
    Decimal("1E+400"),
)  # fmt: skip
DATES = ("2026-03-28", "2026-03-29", "2026-02-28", "1990-02-29", "2000-01-01", "1990-12-31", "nonsense", "2026-3-1")
TIMES = (
    "2026-03-28T23:59:59Z", "2026-03-29T00:00:00Z", "2026-03-29T08:00:00+08:00", "2026-02-27T00:00:00.000Z",
    "2026-02-27T00:00:00Z", "2026-02-31T00:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01", "0001-01-01T00:00:00+10:00",
    "2020-01-01t00:00:00z", "2026-03-01T00:00:00",
)  # fmt: skip
DURATIONS = ("1d", "30d", "2h", "1w", "3650d")
FIELDS = (*PROFILE, "free", "odd")
LEVELS = ("bronze", "silver", "gold")
BOOK = HistoryBook()
ENV = Env(
    zone="Europe/Berlin", ladder="member", account="main", ranks={"member": {it: n for n, it in enumerate(LEVELS)}}
)
SCOPE = Scope(
    schema=Schema(profile=PROFILE, profile_open=True),
    segments=frozenset({"rich", "listed", "both"}),
    ladders={"member": LEVELS},
    ladder="member",
    groups=frozenset({"g1", "g2"}),
    badges=frozenset({"b1"}),
    holidays=False,
)
HISTORY = (
    'count("pay")', 'count("pay", within="7d")', 'sum("pay", "amount")', 'sum("pay", "amount", within="30d")',
    'min("pay", "amount")', 'max("pay", "amount")', 'avg("pay", "amount")', 'distinct("pay", "sku")',
    'count("pay", where=event.amount > 5)', 'streak("pay")', 'count("pay", within="1d", where="event.sku == \'a\'")',
)  # fmt: skip


def _segments() -> dict[str, Segment]:
    found = {"listed": Segment(name="listed", members=frozenset({"u1", "u3", "u5", "nobody"}))}
    for name, text in (("rich", "user.money >= 100 or user.odd"), ("both", 'in_segment("rich") and user.city != "a"')):
        condition, issues = compile_condition(text, SCOPE, BOOK)
        assert condition is not None, issues
        found[name] = Segment(name=name, test=condition)
        ENV.segments[name] = condition.test
    ENV.segments["listed"] = lambda m: m.state.id in {"u1", "u3", "u5", "nobody"}
    return found


SEGMENTS = _segments()


class Words:
    """Conditions out of a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def one(self, *rows: str) -> str:
        return self.dice.choice(rows)

    def text(self) -> str:
        # written by hand: NUL and the like have to pass through the language's own escapes
        found = self.dice.choice(WORDS).replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\x00")
        return '"' + found.replace("\t", "\\t") + '"'

    def number(self) -> str:
        value = self.dice.choice([it for it in NUMBERS if abs(Decimal(it).adjusted()) < 35])
        return f"{value:f}" if isinstance(value, Decimal) and self.dice.random() < 0.5 else str(value)

    def constant(self) -> str:
        roll = self.dice.random()
        if roll < 0.4:
            return self.text()
        return self.number() if roll < 0.85 else self.one("true", "false", "none", '"gold"', '"free"')

    def field(self) -> str:
        name = self.dice.choice(FIELDS)
        roll = self.dice.random()
        if roll < 0.6:
            return f"user.{name}"
        if roll < 0.75:
            return f'user.get("{name}")'
        return self.one("user.more.deep", 'user.more["deep"]', "user.odd.deep", "user.more.deep.deeper", 'user["city"]',
                        'user.get("more").deep', 'user.get("no such \\"field\\"")')  # fmt: skip

    def value(self) -> str:
        roll = self.dice.random()
        if roll < 0.55:
            return self.field()
        if roll < 0.7:
            return "user." + self.one(
                "id", "tier", "points", "tags", "zone", "locale", "groups", "badges", "created_at", "last_active_at",
            )  # fmt: skip
        if roll < 0.8:
            return self.dice.choice(HISTORY)
        if roll < 0.9:
            word = self.one("lower", "upper", "length", "default(0)", 'default("a")', "default(true)", "int", "first",
                            "abs", "default(none)", "join")  # fmt: skip
            return f"({self.field()} | {word})"
        return self.one(
            'last("pay").amount', 'last("pay").sku', 'first("pay").time', 'bucket("s")', "bucket(user.city)",
            "user.points + 1", "user.age * 2", "(user.tags | length)", '(1 if user.vip else user.odd)',
        )  # fmt: skip

    def leaf(self) -> str:
        dice = self.dice
        roll = dice.random()
        sign = self.one("==", "!=", "<", "<=", ">", ">=")
        if roll < 0.34:
            sides = [self.value(), self.constant()]
            if dice.random() < 0.2:
                sides.reverse()
            return f"{sides[0]} {sign} {sides[1]}"
        if roll < 0.40:
            return f"{self.number()} {self.one('<', '<=')} {self.value()} {self.one('<', '<=', '!=')} {self.number()}"
        if roll < 0.46:
            return self.value()
        if roll < 0.54:
            word = self.one("in", "not in")
            if dice.random() < 0.5:
                return f"{self.value()} {word} [{', '.join(self.constant() for _ in range(dice.randint(0, 3)))}]"
            return f"{self.constant()} {word} {self.one(self.field(), 'user.tags', 'user.groups', 'user.id')}"
        if roll < 0.62:
            return f"{self.value()} is {self.one('', 'not ')}none"
        if roll < 0.72:
            what = self.one("user.created_at", "user.last_active_at", "user.since", "user.birthday", 'user.get("free")',
                            "user.odd", "user.city")  # fmt: skip
            return f'{what} is {self.one("", "not ")}{self.one("older_than", "newer_than")}("{dice.choice(DURATIONS)}")'
        if roll < 0.80:
            return self.times(sign)
        if roll < 0.86:
            test = self.one('at_least("silver")', 'above("bronze")', 'below("gold")', "above(5)", 'below("b")')
            what = self.one("user.tier", "user.rank", 'user.get("rank")', self.field())
            return f"{what} is {test}"
        if roll < 0.92:
            pattern = self.one("*", "a*", "*海", "?", "u?", "[ab]*", "", "*\\\\*", "x*")
            return f'{self.value()} is matching("{pattern}")' if pattern else f"{self.value()} == {self.text()}"
        return self.one(
            'in_segment("rich")', 'in_segment("listed")', "user is in_segment('both')", 'in_group("g1")',
            'in_group(name="g2")', 'has_badge("b1")', "is_workday(today)", "weekday(today) < 3",
        )  # fmt: skip

    def times(self, sign: str) -> str:
        when = self.one('now - duration("30d")', "now", '"2026-02-27T00:00:00Z"', 'now + duration("1d")')
        own = self.one("user.created_at", "user.last_active_at", "user.since", 'user.get("free")')
        return self.one(
            f"{own} {sign} {when}", f"{when} {sign} {own}", f'user.birthday {sign} "1990-12-31"',
            f'"2000-01-01" {sign} user.birthday', f'since("pay") {sign} duration("{self.dice.choice(DURATIONS)}")',
            f'now - {own} {sign} duration("30d")', "user.birthday == today", f"user.since {sign} user.created_at",
            "since('pay') is none", "last('pay') is none",
        )  # fmt: skip

    def condition(self, depth: int = 0) -> str:
        roll = self.dice.random()
        if depth > 3 or roll < 0.4:
            return self.leaf()
        if roll < 0.55:
            return f"not ({self.condition(depth + 1)})"
        if roll < 0.6:
            parts = [self.condition(depth + 2) for _ in range(3)]
            return f"(({parts[0]}) if ({parts[1]}) else ({parts[2]}))"
        word = self.one(" and ", " or ")
        return word.join(f"({self.condition(depth + 1)})" for _ in range(self.dice.randint(2, 3)))


def trait(dice: random.Random, deep: int = 0) -> Any:
    """Any value a field may hold."""
    roll = dice.random()
    if roll < 0.3:
        return dice.choice(WORDS)
    if roll < 0.6:
        return dice.choice(NUMBERS)
    if roll < 0.7:
        return dice.choice((True, False, None))
    if roll < 0.8 or deep > 1:
        return dice.choice((*DATES, *TIMES, *LEVELS))
    if roll < 0.9:
        return [trait(dice, deep + 1) for _ in range(dice.randint(0, 3))]
    return {name: trait(dice, deep + 1) for name in ("deep", "deeper", "a", "上海") if dice.random() < 0.5}


def typical(dice: random.Random, name: str) -> Any:
    """Mostly what the field is declared to be."""
    if dice.random() < 0.25:
        return trait(dice)
    kinds: dict[str, tuple[Any, ...]] = {
        "city": WORDS, "plan": ("free", "pro"), "age": (0, 17, 18, 99), "money": NUMBERS, "vip": (True, False),
        "birthday": DATES, "since": TIMES, "rank": LEVELS, "langs": (["a"], [], ["上海", "x"], [1, True, None]),
        "more": ({}, {"deep": 5}, {"deep": {"deeper": "a"}}, {"deep": None}),
    }  # fmt: skip
    return dice.choice(kinds[name]) if name in kinds else trait(dice)


def state(dice: random.Random, number: int) -> State:
    """A subject with some of everything, and most things missing somewhere."""
    found = State(id=f"u{number}" if number % 7 else f"用户{number}")
    found.traits = {name: typical(dice, name) for name in FIELDS if dice.random() < 0.75}
    if dice.random() < 0.2:
        found.traits["zone"] = dice.choice(("Asia/Shanghai", "Pacific/Kiritimati", "Pacific/Pago_Pago", "nowhere", 5))
    if dice.random() < 0.2:
        found.traits["locale"] = dice.choice(("zh-CN", "", None, 5))
    found.tags = [it for it in ("a", "x\0y", "上海", "vip", "gold") if dice.random() < 0.3]
    found.groups = [it for it in ("g1", "g2") if dice.random() < 0.4]
    found.badges = ["b1"] if dice.random() < 0.4 else []
    if dice.random() < 0.7:
        found.points = {dice.choice(("main", "other")): dice.choice((0, 1, 5, 100, 2**63, 2**70))}
    if dice.random() < 0.8:
        found.tiers = {"member": [dice.choice((*LEVELS, None)), None]}
    edges = (0, 1, HOUR, DAY, DAY - 1, 30 * DAY, 30 * DAY - 1, 30 * DAY + 1, -1, -DAY, 3650 * DAY, 7 * DAY)
    found.created_at = NOW - dice.choice(edges) if dice.random() < 0.8 else None
    found.last_active = NOW - dice.choice(edges) if dice.random() < 0.8 else None
    if dice.random() < 0.7:
        _live(found, dice, edges)
    return found


def _live(found: State, dice: random.Random, edges: tuple[int, ...]) -> None:
    """Some history, written by the series themselves."""
    for number, at in enumerate(sorted(NOW - dice.choice(edges) for _ in range(dice.randint(1, 5)))):
        amount = dice.choice((1, 5, 6, 100, Decimal("0.10"), Decimal("5.00"), 2**63, "many", Decimal("1E-9")))
        event = Event(f"e{number}", "pay", at, found.id, data={"amount": amount, "sku": dice.choice(("a", "b", 1))})
        for series in BOOK.by_type.get("pay", ()):
            series.update(found, event, "UTC")


def audiences() -> Audiences:
    """The program of this world; it keeps the history every condition here may ask for."""
    for text in (*HISTORY, 'last("pay")', 'first("pay")', 'since("pay")', 'count("pay", within="30d")'):
        found, issues = compile_condition(f"({text}) is none", SCOPE, BOOK)
        assert found is not None, issues
    return Audiences(SCOPE, BOOK, ENV, SEGMENTS)


def filled(store: Any, seed: int, size: int) -> Any:
    """A store whose subjects stand in the table, in the log, or in both with an older state in the table."""
    dice = random.Random(seed)
    older = [state(dice, number) for number in range(size * 2 // 3)]
    newer = [state(dice, number) for number in range(size // 3, size)]
    store.commit(batch(older, 1))
    store.fold()
    store.commit(batch(newer[::2], 2))
    store.commit(batch(newer[1::2], 3))
    return store


def batch(states: list[State], clock: int) -> Batch:
    """States alone."""
    return Batch(clock, states, [], [], [], {}, [], [], [], {})


def verdict(condition: Condition, subject: State) -> bool | None:
    """What Python says; None for an error."""
    try:
        return condition.test(Moment(subject, None, NOW, NOW, ENV))
    except Exception:
        return None
