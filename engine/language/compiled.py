"""What compiling a program gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.admission import EventTypes
from engine.core.plan import Plan, Playbook, Policy
from engine.language.audiences import Audiences
from engine.language.diagnostics import Diagnostic
from engine.language.scenario_model import Scenario


@dataclass(frozen=True)
class Settings:
    """The part of the program file that the runtime wires: not what is decided, but where things come from and go."""

    store: str = "sqlite:///drumbeat.db"
    feeds: tuple[tuple[str, Mapping[str, Any]], ...] = ()  #: (word, its keys), in order
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hosts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: name, .name or * -> its rate, concurrency
    retention: Mapping[str, int] = field(default_factory=dict)
    """Kind of ``Store.forget`` -> microseconds it is kept; what is not named is kept for good."""
    testers: tuple[str, ...] = ()  #: addresses that may be sent a test, or ``${NAME}``
    coupon_key: str | None = None  #: ``${NAME}`` of what coupon codes are encrypted with; None: they are not


@dataclass(frozen=True)
class Compiled:
    """A program: its plan when it is valid, and everything that is wrong with it."""

    root: Path
    plan: Plan | None
    problems: tuple[Diagnostic, ...]
    sources: Mapping[str, str]  #: file -> text, for messages
    settings: Settings
    known_types: EventTypes | None = None  #: what is let in; None: anything (``"*": open``, and no schemas)
    counts: Mapping[str, int] = field(default_factory=dict)  #: playbooks, templates ... for the summary
    audiences: Audiences | None = None  #: makes filters of conditions on users; None without a plan
    scenarios: tuple[Scenario, ...] = ()  #: the tests that can be run, when they were asked for
    rehearse: Callable[[Collection[str]], Plan] | None = None  #: a fresh plan of these playbooks alone, as if live
    playbooks: tuple[Playbook, ...] = ()  #: all that could be compiled, whatever their status
    lists: tuple[str, ...] = ()  #: files of codes and members it names
    policies: Mapping[str, Policy] = field(default_factory=dict)  #: safety belts by name

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return len(self.problems) - self.errors
