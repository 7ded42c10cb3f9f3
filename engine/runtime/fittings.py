"""What a daemon is given from outside: a compiled program, and the adapters it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engine.core.admission import EventTypes
from engine.core.plan import Plan
from engine.ports import Channel, Feed


@dataclass(frozen=True)
class Program:
    """A compiled program, as the daemon needs it."""

    plan: Plan
    known_types: EventTypes | None  #: event types let in; None: any
    settings: object  #: for the fittings alone
    pack: str = ""  #: its files, to be kept as the last good ones; "": they are kept already
    warning: str = ""  #: what the operator must know about it: it is not what the files say now
    retention: Mapping[str, int] = field(default_factory=dict)  #: kind of ``Store.forget`` -> microseconds it is kept
    at_restart: tuple[str, ...] = ()  #: keys that differ from those the process began with, and that it cannot change


@dataclass(frozen=True)
class Fitted:
    """The adapters of a program."""

    feeds: Sequence[Feed]
    channels: Mapping[str, Channel]


class Change(Protocol):
    """Other feeds, for whoever lets events in: prepared, and not yet in force."""

    def commit(self) -> None:
        """They are in force."""
        ...

    def abandon(self) -> None:
        """They will not be."""
        ...


class NoChange:
    """Nobody lets events in."""

    def commit(self) -> None:
        """Nothing."""

    def abandon(self) -> None:
        """Nothing."""


class Fittings(Protocol):
    """Opens feeds and channels; what has the same settings as before stays open."""

    def fit(self, settings: object) -> Fitted:
        """The adapters of these settings. Raises CannotRun, and then nothing has changed."""
        ...

    def tidy(self) -> None:
        """Close what the last ``fit`` does not need any more."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...
