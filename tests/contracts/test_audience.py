"""Audiences: the database and Python give the same answer for every subject, on whatever page, from table and log.

``DRUMBEAT_AUDIENCE_CONDITIONS`` sets how many random conditions are tried (2,000 by default; of PostgreSQL, which
answers what SQLite leaves open, a third).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from audience_world import BOOK, ENV, NOW, SCOPE, Words, audiences, batch, filled, state, verdict
from test_store import Bench

from engine.core.model import DAY, State
from engine.core.moment import Condition
from engine.core.predicate import Ask, Filter, Selection
from engine.errors import ProgramError
from engine.language.audiences import Audiences, remark
from engine.language.expressions import compile_condition
from engine.stores.memory import MemoryStore
from engine.stores.sql.asking import write
from engine.stores.sql.postgres_words import PostgresWords
from engine.stores.sql.sqlite_words import SqliteWords

TRIED = int(os.environ.get("DRUMBEAT_AUDIENCE_CONDITIONS", "2000"))
BLOCKS = 4


@pytest.fixture(scope="module")
def program() -> Audiences:
    return audiences()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def made(request: pytest.FixtureRequest, program: Audiences, tmp_path_factory: pytest.TempPathFactory) -> Any:
    bench = Bench(request.param, tmp_path_factory.mktemp("crowd") / "s.db")
    filled(bench.store, seed=1, size=45)
    yield bench
    bench.store.close()


@pytest.fixture(scope="module")
def crowd(made: Bench) -> Any:
    return made.store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    found = Bench(request.param, tmp_path / "s.db").store
    yield found
    found.close()


def condition(text: str) -> Condition:
    found, issues = compile_condition(text, SCOPE, BOOK)
    assert found is not None, (text, issues)
    return found


def conditions(seed: int, number: int) -> Iterator[Condition]:
    """Random conditions the compiler lets pass."""
    words = Words(seed)
    while number:
        found, _ = compile_condition(words.condition(), SCOPE, BOOK)
        if found is not None:
            number -= 1
            yield found


def told(selection: Selection) -> tuple[list[str], list[str]]:
    return selection.ids, [subject for subject, _ in selection.errors]


def judged(found: Condition, states: list[State]) -> tuple[list[str], list[str]]:
    """Who fits, and who cannot be judged, as Python says."""
    answers = {one.id: verdict(found, one) for one in states}
    fits = sorted(subject for subject, answer in answers.items() if answer)
    return fits, sorted(subject for subject, answer in answers.items() if answer is None)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_sql_says_what_python_says(made: Bench, crowd: Any, program: Audiences, block: int) -> None:
    """For random conditions over odd states, both name the same who fit and the same who cannot be judged.

    Semantics: condition.sql, condition.error, condition.missing
    """
    states = list(crowd.subjects())
    for found in conditions(block, TRIED // BLOCKS // (3 if made.kind == "postgres" else 1)):
        assert told(crowd.audience(program.of(found), NOW, "", 1000)) == judged(found, states), found.text


def test_most_conditions_are_answered_by_the_database(crowd: Any, program: Audiences) -> None:
    """The proof above is no proof of nothing: most random conditions are asked of the database, all answers occur."""
    ways = [program.of(found).way for found in conditions(99, 200)]
    assert ways.count("sql") > 100
    assert {"sql", "mixed", "python"} == set(ways)
    answers = {verdict(found, one) for found in conditions(99, 20) for one in crowd.subjects()}
    assert answers == {True, False, None}


SURE = (
    'user.city == "上海"',
    'user.city != "上海" and not user.vip',
    'user.city in ["上海", "Oslo", none]',
    "user.age >= 18 and user.age < 65.5",
    "user.money > 99.99",
    'user.get("free") is none',
    '(user.city | lower) == "oslo"',
    "(user.tags | length) > 2",
    '(user.get("free") | default(0)) >= 3',
    '"vip" in user.tags or "x" in user.get("langs")',
    "user.points >= 100",
    'user.tier is at_least("silver")',
    'user.created_at is older_than("30d")',
    'user.last_active_at > now - duration("7d")',
    'user.since is newer_than("1d")',
    'user.birthday < "1990-12-31"',
    'user.id is matching("u*")',
    'in_segment("rich") or in_segment("listed")',
    'in_group("g1") and has_badge("b1")',
    'count("pay") >= 2 and count("pay", within="7d") < 5',
    'sum("pay", "amount") > 10.50',
    'max("pay", "amount") == 5 or last("pay").sku == "a"',
    'since("pay") > duration("30d")',
    '(user.vip if user.age > 5 else user.city == "a")',
)
"""Conditions operators write every day."""


@pytest.mark.parametrize("text", SURE)
def test_everyday_conditions_ask_nobody(program: Audiences, store: Any, text: str) -> None:
    """Over states as feeds bring them the database answers alone: no state is handed to Python."""
    dice = random.Random(5)
    people = [_ordinary(dice, number) for number in range(60)]
    store.commit(batch(people[:40], 1))
    store.fold()
    store.commit(batch(people[40:], 2))
    found = condition(text)
    chosen = program.of(found)
    page = store.audience(chosen, NOW, "", 1000)
    assert (chosen.way, page.asked) == ("sql", 0)
    assert told(page) == judged(found, people)


def _ordinary(dice: random.Random, number: int) -> State:
    found = state(random.Random(number), number * 10 + 1)
    found.traits = {
        "city": dice.choice(("上海", "Oslo", "杭州")), "vip": dice.random() < 0.5, "age": dice.randint(1, 90),
        "money": dice.choice((Decimal("12.50"), Decimal("100.10"), 7)), "since": "2026-03-28T12:00:00+08:00",
        "birthday": f"19{dice.randint(50, 99)}-05-01", "langs": ["x", "zh"], "more": {}, "free": dice.randint(0, 9),
    }  # fmt: skip
    found.traits = {name: value for name, value in found.traits.items() if dice.random() < 0.9}
    found.tags, found.points = [it for it in ("vip", "x", "茶") if dice.random() < 0.5], {"main": dice.randint(0, 200)}
    found.series = {}
    for at in sorted(NOW - dice.randint(0, 60) * DAY for _ in range(dice.randint(0, 4))):
        _paid(found, at, dice.choice((Decimal("0.10"), 5, Decimal("250.00"))))
    return found


def _paid(found: State, at: int, amount: Any) -> None:
    from engine.core.model import Event

    event = Event(f"e{at}", "pay", at, found.id, data={"amount": amount, "sku": "a"})
    for series in BOOK.by_type["pay"]:
        series.update(found, event, "UTC")


def test_what_sql_cannot_say_is_named(program: Audiences) -> None:
    """A part that falls back to Python is named with the reason; what stands beside it still sorts out."""
    found = program.of(condition('user.city == "上海" and bucket("spring") < 500'))
    assert found.way == "mixed"
    assert [(ask.text, ask.reason) for ask in found.asks] == [("bucket('spring') < 500", "bucket() is a hash")]
    assert program.of(condition("is_workday(today)")).way == "python"
    assert remark(found) is None
    every = remark(program.of(condition('bucket("spring") < 500')))
    assert every is not None
    assert every[0] == (
        "'bucket('spring') < 500' is no question for the database (bucket() is a hash): every user is judged in Python"
    )
    assert remark(program.of(condition('user.city == "a"'))) is None


def test_sure_parts_spare_the_others(program: Audiences, crowd: Any) -> None:
    """Python is asked only about those whom the parts in SQL leave open, whichever side they stand on."""
    everybody = crowd.head_count()
    for text in ('bucket("s") < 5000 and in_group("g1")', 'in_group("g1") and bucket("s") < 5000'):
        page = crowd.audience(program.of(condition(text)), NOW, "", 1000)
        inside = crowd.audience(program.of(condition('in_group("g1")')), NOW, "", 1000)
        assert page.asked == len(inside.ids) < everybody
        assert told(page) == judged(condition(text), list(crowd.subjects()))


def test_pages_join_to_the_whole(program: Audiences, crowd: Any) -> None:
    """Pages of any size give every subject once, in order; errors too."""
    for found in (*conditions(3, 10), condition('user.tier is at_least("silver")')):
        chosen = program.of(found)
        whole = told(crowd.audience(chosen, NOW, "", 1000))
        for size in (1, 2, 7):
            ids: list[str] = []
            errors: list[str] = []
            after: str | None = ""
            while after is not None:
                page = crowd.audience(chosen, NOW, after, size)
                assert len(page.ids) == size or page.last is None
                ids, errors, after = ids + page.ids, errors + [one for one, _ in page.errors], page.last
            assert (ids, errors) == whole


def test_every_store_gives_the_same(program: Audiences, made: Bench, crowd: Any) -> None:
    """The memory store, the writer, and a reader beside it give the same pages and the same population."""
    memory = MemoryStore()
    memory.commit(batch(list(crowd.subjects()), 1))
    reader = made.reader()
    for found in conditions(4, 20):
        chosen = program.of(found)
        pages = [told(one.audience(chosen, NOW, "u2", 5)) for one in (memory, crowd, reader)]
        assert pages[0] == pages[1] == pages[2]
    assert memory.head_count() == crowd.head_count() == reader.head_count() == len(list(crowd.subjects()))
    reader.close()


def test_candidates_leave_out_nobody_who_may_fit(program: Audiences, crowd: Any) -> None:
    """Who fits or cannot be judged is a candidate, on pages of any size; in SQL most of the others are none."""
    memory = MemoryStore()
    memory.commit(batch(list(crowd.subjects()), 1))
    for found in conditions(6, 30):
        chosen = program.of(found)
        fits, errors = judged(found, list(crowd.subjects()))
        assert memory.candidates(chosen, NOW, "", 1000) == sorted([*fits, *errors])
        whole = crowd.candidates(chosen, NOW, "", 1000)
        assert set(whole) >= {*fits, *errors}
        assert whole == sorted(set(whole))
        pages: list[str] = []
        while page := crowd.candidates(chosen, NOW, pages[-1] if pages else "", 4):
            pages += page
        assert pages == whole
    assert crowd.candidates(program.of(condition('in_group("g1")')), NOW, "", 1000) == judged(
        condition('in_group("g1")'), list(crowd.subjects())
    )[0]


def test_the_log_supersedes_the_table(program: Audiences, store: Any) -> None:
    """Who left the audience since the last fold is not in it, who came in is, and nobody is there twice."""
    chosen = program.of(condition('user.city == "a"'))
    for city, folded in (("a", True), ("b", False)):
        people = [State(id="u1", traits={"city": city}), State(id="u2", traits={"city": "a"})]
        store.commit(batch(people, 1))
        if folded:
            store.fold()
    assert store.audience(chosen, NOW).ids == ["u2"]
    store.fold()
    assert store.audience(chosen, NOW).ids == ["u2"]
    assert store.head_count() == 2


def test_an_error_is_named_and_left_out(program: Audiences, store: Any) -> None:
    """A subject that cannot be judged is in neither half of the audience, and its reason is told."""
    store.commit(batch([State(id="u1", traits={"odd": "text"}), State(id="u2", traits={"odd": 7})], 1))
    for text, fits in (("user.odd > 5", ["u2"]), ("not (user.odd > 5)", [])):
        page = store.audience(program.of(condition(text)), NOW)
        assert page.ids == fits
        assert page.errors == [("u1", "cannot compare text 'text' and a number (5)")]


HOSTILE = (
    "'; drop table subject; --", '") or 1=1 --', "?1", "$1", '{"}', "{verdict}", "\x01" + "0\x02", "%s", "$.tags",
)  # fmt: skip


@pytest.mark.parametrize("word", HOSTILE)
def test_no_text_of_a_user_is_sql(program: Audiences, store: Any, word: str) -> None:
    """Texts and field names are parameters; whatever they hold, the answer is Python's and the store is whole.

    Threat: sql.inject
    """
    store.commit(batch([State(id="u1", traits={"city": word, word: 1}), State(id="u2", traits={"city": "x"})], 1))
    shown = word.replace("\\", "\\\\").replace('"', '\\"').replace("\x01", "\\x01").replace("\x02", "\\x02")
    for text in (f'user.city == "{shown}"', f'user.get("{shown}") == 1', f'user.city < "{shown}"'):
        found = condition(text)
        chosen = program.of(found)
        for words in (SqliteWords(), PostgresWords()):
            assert word not in write(chosen.predicate, words, 3).sql
        assert told(store.audience(chosen, NOW)) == judged(found, list(store.subjects()))


ODD = ("\0", "a\0\0b", "\0\\u0000", "b\\u0000", "\\\\u0000", "\uffff", "\0\uffff", "é", "e\u0301", "\U0010ffff", "\x7f")


def test_odd_texts(program: Audiences, store: Any) -> None:
    """Texts with NUL, with what looks like NUL, and with the last of all letters are what they are."""
    store.commit(batch([State(id=f"u{n}", traits={"city": one, "n": 5}) for n, one in enumerate(ODD)], 1))
    states = list(store.subjects())
    for one in ODD:
        shown = one.replace("\\", "\\\\").replace("\0", "\\x00")
        for text in ('user.city == "{}"', 'user.city <= "{}"', '"{}" in user.city', 'user.city in ["{}", "x"]'):
            found = condition(text.format(shown))
            assert told(store.audience(program.of(found), NOW)) == judged(found, states), found.text
    for text in ("(user.city | length) > 1", 'user.get("n") == 5', "user.city", '(user.city | upper) > "A"'):
        found = condition(text)
        assert told(store.audience(program.of(found), NOW)) == judged(found, states), text


def test_a_deep_or_long_condition_is_no_failure(program: Audiences, crowd: Any) -> None:
    """What a database would refuse for its size is left to Python."""
    chain = " and ".join(f"user.f{n} != {n}" for n in range(120))
    nested = "not (" * 30 + "user.vip" + ")" * 30
    for text in (chain, nested, f"({chain}) or ({nested})"):
        found = condition(text)
        assert told(crowd.audience(program.of(found), NOW, "", 1000)) == judged(found, list(crowd.subjects()))


@pytest.mark.parametrize("subject", ["user.city", "user.id", "user.odd", 'user.get("free")'])
def test_a_long_list_or_chain_is_still_asked(program: Audiences, crowd: Any, subject: str) -> None:
    """What is long and flat is no burden: the database answers it alone."""
    words = ", ".join(f'"w{n}"' for n in range(200))
    found = condition(f'{subject} in [{words}, "a", "u1"]')
    page = crowd.audience(program.of(found), NOW, "", 1000)
    assert page.asked == 0
    assert told(page) == judged(found, list(crowd.subjects()))
    chain = condition(" and ".join(f'user.get("x{n}") != "a"' for n in range(110)) + f' and {subject} != "a"')
    page = crowd.audience(program.of(chain), NOW, "", 1000)
    assert page.asked == 0
    assert told(page) == judged(chain, list(crowd.subjects()))


def test_an_older_database_asks_python(
    program: Audiences, made: Bench, crowd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an SQLite that lacks the words, everybody is asked and nothing else changes."""
    if made.kind != "sqlite":
        pytest.skip("every PostgreSQL a store may be on knows the words")
    monkeypatch.setattr("engine.stores.sql.sqlite_words.OLDEST", (99, 0, 0))
    found = condition('user.city == "a"')
    page = crowd.audience(program.of(found), NOW, "", 1000)
    assert page.asked == crowd.head_count()
    assert told(page) == judged(found, list(crowd.subjects()))


def test_history_nobody_keeps_is_refused(program: Audiences) -> None:
    """A text that asks for events the program does not count is no audience of nobody: it is refused with the type."""
    with pytest.raises(ProgramError, match=r"keeps no such history of 'app\.opened'"):
        program.read('count("app.opened") == 0')
    with pytest.raises(ProgramError, match="history of 'pay'"):
        program.read('count("pay", within="90d") == 0')
    assert program.read('count("pay", within="7d") == 0')[0] is not None


def test_a_segment_name_is_an_audience(program: Audiences, crowd: Any) -> None:
    """The name of a segment alone means its members."""
    found, issues = program.read(" listed ")
    assert found is not None
    assert not issues
    assert crowd.audience(found, NOW).ids == ["u1", "u3", "u5"]


def test_a_limit_of_nothing_gives_nothing(program: Audiences, crowd: Any) -> None:
    """A page of no size is empty and stands where it began."""
    chosen = Filter("true", Ask("true", "a test"), lambda one, now: True)
    assert crowd.audience(chosen, NOW, "u1", 0) == Selection([], [], 0, "u1")
    assert ENV.ladder == "member"
