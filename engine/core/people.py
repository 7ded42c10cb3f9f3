"""What people are asked, and what their answers mean.

Rule: an answer counts when it fits its question; anything else in what comes back is left out, never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from engine.core.plan import Span

QUESTIONS: Final = ("nps", "scale", "choice", "text")
"""Kinds of questions: 0 to 10, 1 to ``max``, one of several, free text."""

NPS_MOST: Final = 10


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a survey."""

    id: str
    text: str
    kind: str  #: one of ``QUESTIONS``
    choices: tuple[str, ...] = ()
    most: int = NPS_MOST  #: highest number of a scale

    def read(self, value: Any) -> Any:
        """The answer, as far as it fits; else None. Numbers may come as text, as forms send them."""
        if self.kind == "text":
            return value if isinstance(value, str) and value.strip() else None
        if self.kind == "choice":
            return value if isinstance(value, str) and value in self.choices else None
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
        low = 0 if self.kind == "nps" else 1
        whole = isinstance(number, int) and not isinstance(number, bool)
        return number if whole and low <= number <= self.most else None


@dataclass(frozen=True, kw_only=True)
class SurveyInfo:
    """A survey of the catalog."""

    name: str
    title: str
    questions: tuple[Question, ...]
    open: Span  #: how long answers are waited for
    rest: Span | None = None  #: nobody is asked who was asked anything within it
    purpose: str = "service"  #: of the invitation
    url: str | None = None  #: where it is answered

    def read(self, answers: Any) -> dict[str, Any]:
        """The answers that fit, in order of the questions."""
        given = answers if isinstance(answers, Mapping) else {}
        found = {it.id: it.read(given.get(it.id)) for it in self.questions}
        return {name: value for name, value in found.items() if value is not None}

    def score(self, answers: Mapping[str, Any]) -> int | None:
        """The answer to the first nps question, else to the first scale; None where there is none."""
        for kind in ("nps", "scale"):
            question = next((it for it in self.questions if it.kind == kind), None)
            if question is not None:
                found: int | None = answers.get(question.id)
                return found
        return None

    @property
    def measured(self) -> str | None:
        """The kind of question that gives the score."""
        kinds = {it.kind for it in self.questions}
        return next((kind for kind in ("nps", "scale") if kind in kinds), None)


@dataclass(frozen=True)
class Nps:
    """A net promoter score: how many would recommend, less how many would not, in percent of all who answered."""

    promoters: int  #: 9 and 10
    passives: int  #: 7 and 8
    detractors: int  #: 0 to 6

    @property
    def answers(self) -> int:
        return self.promoters + self.passives + self.detractors

    @property
    def score(self) -> Decimal | None:
        """-100 to 100, to one place; None without answers."""
        if not self.answers:
            return None
        return (Decimal(100) * (self.promoters - self.detractors) / self.answers).quantize(Decimal("0.1"))


def nps(scores: Iterable[int]) -> Nps:
    """The figure over answers to an nps question."""
    promoters = passives = detractors = 0
    for score in scores:
        promoters += score >= 9
        passives += 7 <= score <= 8
        detractors += score <= 6
    return Nps(promoters, passives, detractors)
