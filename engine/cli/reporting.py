"""The figures of a period for the verbs: from the store, or from feed files that are simulated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from engine.cli.common import progress_bar, quick_garbage, say
from engine.errors import CannotRun

LOCALES = ("en", "zh-CN")
"""Languages a report is written in."""

LIBRARIES = ("duckdb", "numpy", "scipy")
"""What the extra ``report`` brings."""


def can_tell() -> bool:
    """Whether the libraries of the figures of a period are there."""
    return all(find_spec(name) is not None for name in LIBRARIES)


def need_libraries() -> None:
    """Raises CannotRun, with the extra to install, where libraries are missing."""
    if not can_tell():
        from engine.stores.lake import missing_extra

        raise missing_extra()


def day(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """A day given on the command line, as its number from 1970-01-01."""
    if value is None:
        return None
    try:
        return (date.fromisoformat(value) - date(1970, 1, 1)).days
    except ValueError:
        raise click.BadParameter(f"{value!r} is no day (for example 2026-03-01)") from None


def period_of_store(found: Any, opened: Any, first: int | None, last: int | None) -> dict[str, Any]:
    """The figures of a store that is open for reading."""
    from engine.insight import people, rooms
    from engine.insight.period import figures
    from engine.insight.tables import Source

    with lake_of(found.plan) as lake:
        sweep = opened.sweep()
        sweep.fill(lake)
        lake.settle()
        source = Source(
            plan=found.plan, tables=lake, clock=opened.clock(), forgotten=sweep.forgotten(),
            entries_since=sweep.entries_since(), groups=tuple(rooms.rows(found.plan, opened)),
            zone_of=_zones(found, opened),
            standing=people.standing(opened.places()),
        )  # fmt: skip
        return figures(source, first, last)


def period_of_feed(found: Any, replay: Any, first: int | None, last: int | None, quiet: bool) -> dict[str, Any]:
    """The figures of feed files (see ``replay_of``), run through the program on the virtual clock."""
    from engine.runtime.simulate import simulate
    from engine.stores.memory import MemoryStore

    with lake_of(found.plan) as lake:
        store = MemoryStore(keep_log=False)
        with quick_garbage(), progress_bar(None, "simulating", quiet) as advance:
            simulate(
                found.plan, replay, store, known_types=found.known_types, progress=advance, recorder=lake,
            )  # fmt: skip
        if replay.assigned_ids:
            say("note: records without id were given file:line as id", quiet)
        return period_of_lake(found, lake, store, first, last)


def period_of_lake(found: Any, lake: Any, store: Any, first: int | None, last: int | None) -> dict[str, Any]:
    """The figures of what a simulation told a lake; ``store``: the memory it was kept in."""
    from engine.insight import people, rooms
    from engine.insight.period import figures
    from engine.insight.tables import Source

    lake.settle()
    groups = tuple(rooms.rows(found.plan, store))
    stand = people.standing(store.subjects())
    source = Source(
        plan=found.plan, tables=lake, clock=store.clock(), groups=groups, standing=stand, zone_of=_zones(found, store)
    )
    return figures(source, first, last)


def _zones(found: Any, store: Any) -> Callable[[str], ZoneInfo | None]:
    """The zone of a user or group, as decisions about it have it; None: nothing is known of it."""
    from engine.core import localtime
    from engine.core.plan import zone_of

    def own(subject: str) -> ZoneInfo | None:
        state = store.load([subject]).get(subject)
        return None if state is None else localtime.zone(zone_of(state, found.plan.part(subject).env))

    return own


def write_page(path: Path, period: dict[str, Any], locale: str, *, simulated: bool) -> None:
    """The figures of a period as a page in a file; a folder that is missing is made."""
    from engine.insight.page import page

    whole = page(period, locale, simulated=simulated)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole, encoding="utf-8")
    except OSError as error:
        raise CannotRun(f"cannot write {path}: {error.strerror}", hint="name another file with --html") from error


def lake_of(plan: Any) -> Any:
    """An empty lake for a program; use it in a ``with``."""
    from engine.actions.survey import TakeSurvey
    from engine.core import localtime
    from engine.stores.lake import Lake

    asking = {
        node.action.invitation.template
        for playbook in plan.playbooks for node in playbook.nodes.values() if isinstance(node.action, TakeSurvey)
    }  # fmt: skip
    return Lake(localtime.zone(plan.env.zone) or localtime.UTC, _active(plan), asking)


def _active(plan: Any) -> Callable[[str], bool]:
    """Whether an event of a type is activity: as ``inactivity`` has it."""
    return lambda type_: bool(plan.dispatch.get(type_, plan.default).activity)
