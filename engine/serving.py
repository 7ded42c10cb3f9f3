"""From a program's folder to a daemon at work: what ``wiring`` is for one run, kept up while files are edited.

Rule 1: an adapter whose settings did not change stays open over a reload.
Rule 2: the daemon starts with the last good program of its store when the files are broken, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from engine import wiring
from engine.errors import CannotRun, DrumbeatError, ProgramError
from engine.language.compile import compile_program
from engine.language.compiled import Compiled, Settings
from engine.language.keeping import Look, compile_pack, look_at, pack
from engine.ports import Channel, Feed, Store, Version
from engine.runtime import applied
from engine.runtime.applied import Applied, Pin
from engine.runtime.daemon import LAST_GOOD
from engine.runtime.fittings import Fitted, Program
from engine.runtime.hosts import Hosts
from engine.runtime.jobs import Jobs
from engine.runtime.reload import Built, Reloader
from engine.site import Site

_TOLD = 3
"""Problems of a broken program that are named; ``drumbeat validate`` shows all."""


class Adapters:
    """The feeds and channels of a program that may change.

    Parameters
    ----------
    site: the surroundings.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.hosts = Hosts()  #: who is asked how much, for whoever sends
        self._feeds: dict[str, list[Feed]] = {}  #: setting -> what is open
        self._channels: dict[str, Channel] = {}
        self._wanted: set[str] = set()  #: settings of the last ``fit``

    def fit(self, settings: Any) -> Fitted:
        """The adapters of these settings, those that are open already as they are."""
        wanted: Settings = settings
        limits = wiring.hosts_of(wanted)
        feeds: list[Feed] = []
        channels: dict[str, Channel] = {}
        used: set[str] = set()
        for word, fields in wanted.feeds:
            key = _key("feed", word, fields)
            if key not in self._feeds:
                self._feeds[key] = wiring.open_feed(word, fields, self._site)
            feeds += self._feeds[key]
            used.add(key)
        for name, fields in wanted.channels.items():
            key = _key("channel", name, fields)
            if key not in self._channels:
                self._channels[key] = wiring.open_channel(name, fields, self._site)
            channels[name] = self._channels[key]
            used.add(key)
        self._wanted = used
        self.hosts.allow(limits)  # at once, also where the rest of the program is not taken: they only say how fast
        return Fitted(feeds, channels)

    def tidy(self) -> None:
        """Close what the last ``fit`` does not need any more."""
        for key in [key for key in self._feeds if key not in self._wanted]:
            for feed in self._feeds.pop(key):
                _close(feed)
        for key in [key for key in self._channels if key not in self._wanted]:
            self._channels.pop(key).close()

    def close(self) -> None:
        """Close everything."""
        self._wanted = set()
        self.tidy()


def _key(kind: str, name: str, fields: Mapping[str, Any]) -> str:
    return msgspec.json.encode([kind, name, fields], order="sorted").decode()


def _close(feed: Feed) -> None:
    close: Callable[[], None] | None = getattr(feed, "close", None)
    if close is not None:
        close()


def reloader(
    root: Path, jobs: Jobs, accept: Callable[[Compiled], object], lists: Iterable[str], seen: Look | None = None,
    store: str | None = None, pin: Pin | None = None,
) -> Reloader[Program]:
    """Watches the files of a program.

    Parameters
    ----------
    accept: raises CannotRun for a program that cannot be put to work here.
    lists: files of codes and members the present program names.
    store: the store of the settings the process began with; None: it was named elsewhere.
    seen: how the other files stood before the present program was compiled; None: as they stand now.
    pin: says when a plan was applied: then it is built, and the files are not looked at.
    """
    named = list(lists)

    def look() -> object:
        return look_at(root, named) if pin is None or not pin.words else pin.words

    def build(older: Sequence[Version]) -> Built[Program]:
        wanted = pin.applied if pin is not None else None
        packed = pack(root) if wanted is None else wanted.pack
        found = compile_program(root, older) if wanted is None else compiled_applied(wanted, root, older)
        named[:] = found.lists
        if found.plan is None:
            return Built(None, problems_of(found))
        accept(found)
        moved = store is not None and found.settings.store != store
        return Built(replace(program_of(found, packed), at_restart=("store",) if moved else ()))

    made = Reloader(look, build, lambda: jobs.submit(lambda store: store.versions()), jobs.ring)
    if seen is not None and (pin is None or not pin.words) and look_at(root) != seen:
        made.force()
    return made


def program_of(found: Compiled, packed: str = "", warning: str = "") -> Program:
    """A program that compiled, for the daemon."""
    if found.plan is None:
        raise ProgramError("the program is invalid", problems=(found,))
    return Program(found.plan, found.known_types, found.settings, packed, warning, found.settings.retention)


def compiled_applied(wanted: Applied, root: Path, older: Sequence[Version]) -> Compiled:
    """The plan that was applied, compiled. Raises CannotRun when what it reads in its folder is not what it was."""
    found = compile_pack(wanted.pack, root, older)
    if found.plan is not None and found.plan.digest != wanted.plan:
        raise CannotRun(
            "the applied plan reads lists that are not what they were when it was planned",
            hint="put them back, or plan and apply once more",
        )
    return found


def first_program(root: Path, store: Store, accept: Callable[[Compiled], object]) -> tuple[Program, Compiled]:
    """What a daemon begins with: the plan that was applied, or else the program in its folder; or the last good one
    when that is broken.

    Raises ProgramError when it is broken and the store has none.
    """
    wanted = applied.read(store)
    packed = pack(root) if wanted is None else wanted.pack
    found, wrong = _first(root, store, wanted)
    if found.plan is not None and wrong is None:
        try:
            accept(found)
            return program_of(found, packed), found
        except CannotRun as error:
            wrong = error
    kept = store.get_meta(LAST_GOOD)
    if kept is None:
        if wrong is not None:
            raise wrong
        raise ProgramError(f"the program is invalid: {found.errors} error(s)", problems=(found,))
    older = compile_pack(kept, root, store.versions())
    if older.plan is None:
        raise ProgramError(
            f"the program is invalid: {found.errors} error(s)", problems=(found,),
            hint="the last good one that the store keeps cannot be compiled either",
        )  # fmt: skip
    warning = str(wrong) if wrong is not None else problems_of(found)
    return program_of(older, warning=warning), replace(found, plan=older.plan, settings=older.settings)


def _first(root: Path, store: Store, wanted: Applied | None) -> tuple[Compiled, DrumbeatError | None]:
    if wanted is None:
        return compile_program(root, store.versions()), None
    try:
        return compiled_applied(wanted, root, store.versions()), None
    except CannotRun as error:
        return compile_pack(wanted.pack, root, store.versions()), error


def problems_of(found: Compiled) -> str:
    """The first things that are wrong with a program, in a few words."""
    errors = [it for it in found.problems if it.severity == "error"]
    told = "; ".join(f"{it.file}:{it.line}:{it.col} {it.message}" for it in errors[:_TOLD])
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    return told + more
