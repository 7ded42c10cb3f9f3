"""Answers to surveys, and the net promoter score."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.model import DAY
from engine.core.people import Question, SurveyInfo, nps
from engine.core.plan import Span

NPS = Question(id="would", text="0-10", kind="nps")
SCALE = Question(id="stars", text="1-5", kind="scale", most=5)
CHOICE = Question(id="tea", text="哪种", kind="choice", choices=("绿茶", "红茶"))
TEXT = Question(id="why", text="为什么", kind="text")
ALL = SurveyInfo(name="s", title="s", questions=(SCALE, NPS, CHOICE, TEXT), open=Span(text="1d", elapsed=DAY))


@pytest.mark.parametrize(
    ("question", "given_", "read"),
    [
        *((NPS, value, value) for value in (0, 10)),
        *((NPS, value, None) for value in (-1, 11, True, None, Decimal("9.5"), "x", [9])),
        (NPS, "9", 9),
        *((SCALE, value, None) for value in (0, 6)),
        (SCALE, 5, 5),
        (CHOICE, "红茶", "红茶"),
        *((CHOICE, value, None) for value in ("白茶", 1, ["红茶"])),
        (TEXT, "好", "好"),
        *((TEXT, value, None) for value in ("  ", 5, None)),
    ],
)
def test_an_answer_fits_its_question_or_is_none(question: Question, given_: Any, read: Any) -> None:
    """What is no answer to the question is left out, never bent into one."""
    assert question.read(given_) == read


def test_answers_stand_in_order_and_nothing_else_does() -> None:
    """Keys nobody asked for are dropped; the score is that of the nps question, whatever stands before it."""
    answers = ALL.read({"why": "好", "would": "7", "stars": 4, "tea": "白茶", "card": "4111"})
    assert list(answers.items()) == [("stars", 4), ("would", 7), ("why", "好")]
    assert (ALL.score(answers), ALL.measured) == (7, "nps")


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_holds_no_answers_is_none(value: Any) -> None:
    """A payload of any kind is read as no answers."""
    assert ALL.read(value) == {}
    assert ALL.score({}) is None


@given(st.lists(st.integers(0, 10), max_size=50))
def test_the_net_promoter_score(scores: list[int]) -> None:
    """Nines and tens less zeros to sixes, in percent of all; none without answers."""
    found = nps(scores)
    high, low = sum(it > 8 for it in scores), sum(it < 7 for it in scores)
    assert (found.promoters, found.detractors, found.answers) == (high, low, len(scores))
    if scores:
        assert found.score is not None
        assert abs(found.score - Decimal(100 * (high - low)) / len(scores)) <= Decimal("0.05")
    else:
        assert found.score is None
