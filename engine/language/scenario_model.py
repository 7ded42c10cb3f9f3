"""A scenario test, checked: what was there before, what happens, what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.language.diagnostics import Mark

NOTHING = "nothing"


@dataclass(frozen=True)
class Given:
    """An event of the past or of the timeline."""

    at: int  #: when it arrives
    time: int  #: when it happened
    type: str
    user: str | None
    group: str | None
    data: Mapping[str, Any]
    id: str | None  #: None: the runner gives one
    mark: Mark  #: where it stands
    by_hand: bool = False  #: said by a verb (``drumbeat trigger``, ``drumbeat tasks done``), which no feed can forge


@dataclass(frozen=True)
class Expectation:
    """One thing that should have happened."""

    word: str  #: see ``scenario_forms.WORDS``
    kind: str  #: kind of effect, or the word itself for journeys and deliveries
    wanted: Mapping[str, Any]  #: field -> value, the subject under "user"
    at: int | None  #: at which instant; None: any
    mark: Mark
    text: str  #: as one reads it


@dataclass(frozen=True)
class Check:
    """One ``expect``: everything since the one before."""

    at: int  #: the clock runs up to here, wake-ups of this instant included
    expected: tuple[Expectation, ...]  #: none: nothing may have happened
    mark: Mark


@dataclass(frozen=True)
class Refusal:
    """What a channel refuses."""

    channel: str
    attempts: frozenset[int]  #: empty: all
    user: str | None
    reason: str
    definitive: bool


@dataclass(frozen=True)
class Fixed:
    """Chance and the outside world, laid down."""

    draws: Mapping[tuple[str, str], int] = field(default_factory=dict)  #: (place, user) -> bucket
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: coupon -> its codes in order
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: playbook/step -> answer; {}: none comes
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Person:
    """A user or a group as the scenario begins."""

    id: str
    traits: Mapping[str, Any]
    consent: tuple[tuple[str, str], ...]  #: (channel, purpose) granted
    history: tuple[Given, ...]  #: in order of time
    members: tuple[str, ...] | None = None  #: of a group: the users in it; None: it is a user


@dataclass(frozen=True)
class Scenario:
    """One file below ``scenarios/``."""

    file: str
    title: str
    playbooks: tuple[str, ...]  #: those in play; empty: all that run
    clock: int
    people: tuple[Person, ...]
    fixed: Fixed
    timeline: tuple[Given | Check, ...]
    mark: Mark
