"""One side of ``drumbeat diff``, a process of its own: a program through a feed, its effects into a file.

``python -m engine.cli.oneside REQUEST``. Its first line on standard output says whether the program could be compiled
(``ready``) or what became of it (``failed``); the rest stands in files beside the request.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.cli.common import EXIT_CANNOT, EXIT_INTERRUPTED, alone, progress_bar, quick_garbage, verdict
from engine.core.plan import Plan
from engine.errors import DrumbeatError
from engine.insight.diff import Side

REQUEST, ROWS, SIDE, FAILURE = "request.json", "effects.jsonl", "side.json", "failure.json"
"""Files of a side, all in one folder."""

READY, FAILED = "ready", "failed"


class Request(msgspec.Struct, kw_only=True):
    """What a side is asked for."""

    label: str  #: as the side was named
    revision: str | None  #: its commit; None: a folder
    root: str  #: folder of the program
    home: str  #: folder the patterns of its feeds stand for, where ``root`` is a copy
    events: list[str]  #: files of the feed, in order
    columns: str | None = None  #: which columns of CSV and Parquet form an event; None: as the program's feeds say
    until: int | None  #: end of the virtual clock, microseconds
    color: bool  #: diagnostics in colours
    quiet: bool  #: no progress
    workers: int = 1  #: processes it may take


class Failure(msgspec.Struct, kw_only=True):
    """Why a side could not be simulated."""

    message: str
    exit_code: int
    text: str = ""  #: diagnostics of an invalid program
    verdict: dict[str, Any] | None = None  #: the same for readers of JSON


def main(request: Path) -> int:
    """Do what a request asks; the exit code."""
    asked = msgspec.json.decode(request.read_bytes(), type=Request)
    folder = request.parent
    try:
        return _simulate(asked, folder)
    except DrumbeatError as error:
        return _failed(folder, Failure(message=str(error), exit_code=error.exit_code))
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _failed(folder, Failure(message=what, exit_code=EXIT_CANNOT))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED  # whoever asked was interrupted, too, and says so
    except Exception as error:
        if os.environ.get("DRUMBEAT_TRACE"):
            raise
        what = f"an internal fault of Drumbeat: {type(error).__name__}: {error} (DRUMBEAT_TRACE=1 shows where)"
        return _failed(folder, Failure(message=what, exit_code=EXIT_CANNOT))


def _simulate(asked: Request, folder: Path) -> int:
    from engine.cli.workers import Feed, in_parts
    from engine.feeds.layouts import layout_of
    from engine.feeds.replay import Replay
    from engine.language.compile import compile_program
    from engine.runtime.simulate import simulate
    from engine.stores.memory import MemoryStore

    found = compile_program(Path(asked.root))
    if found.plan is None:
        return _invalid(found, asked, folder)
    layout = layout_of(found.settings.feeds, Path(asked.home), asked.columns)
    replay = Replay([Path(path) for path in asked.events], asked.until, layout=layout, types=found.known_types)
    _say(READY)
    with (
        quick_garbage(last=True),
        (folder / ROWS).open("wb", buffering=1 << 20) as rows,
        progress_bar(None, "simulating", asked.quiet) as advance,
    ):
        feed = Feed([Path(path) for path in asked.events], asked.columns, until=asked.until, home=Path(asked.home))
        # nobody asked for processes, so nobody need be told why there is one
        apart = in_parts(found, feed, None, at_most=asked.workers, effects=rows, progress=advance, quiet=True)
        outcome = simulate(
            found.plan, replay, MemoryStore(keep_log=False), until=asked.until, effects=rows,
            known_types=found.known_types, progress=advance,
        ) if apart is None else apart.outcome  # fmt: skip
    put_off: dict[str, dict[str, int]] = {}
    for (playbook, step), number in sorted(outcome.put_off.items()):
        put_off.setdefault(playbook, {})[step] = number
    used, parts = resource.getrusage(resource.RUSAGE_SELF), () if apart is None else apart.parts
    side = Side(
        label=asked.label, revision=asked.revision, program=found.plan.program, zone=found.plan.env.zone,
        links=None if found.plan.links is None else found.plan.links.base,
        titles={playbook.id: playbook.title for playbook in found.plan.playbooks}, steps=_steps(found.plan),
        summary=_summary(outcome), put_off=put_off,
        cpu_seconds=round(used.ru_utime + used.ru_stime + sum(it.cpu_seconds for it in parts), 2),
        peak_mb=round(used.ru_maxrss / 1024 + sum(it.peak_mb for it in parts), 1),
    )  # fmt: skip
    (folder / SIDE).write_bytes(msgspec.json.encode(side))
    return 0


def _steps(plan: Plan) -> dict[str, list[tuple[str, str, str]]]:
    return {
        playbook.id: [(node.id, node.action.word, node.action.gist()) for node in playbook.nodes.values()]
        for playbook in plan.playbooks
    }


def _summary(outcome: Any) -> dict[str, Any]:
    groups = {} if outcome.groups is None else {"groups": outcome.groups}
    return {
        "events": outcome.events,
        "users": outcome.users,
        **groups,
        "journeys": outcome.journeys,
        "playbooks": outcome.playbooks,
        "clock": outcome.clock,
    }


def _invalid(found: Any, asked: Request, folder: Path) -> int:
    from engine.language.diagnostics import render_text

    errors = [problem for problem in found.problems if problem.severity == "error"]
    failure = Failure(
        message=f"the program is invalid: {found.errors} error(s)",
        exit_code=1,
        text=render_text(errors, found.sources, asked.color),
        verdict=verdict(found, found.problems, failed=True),
    )
    return _failed(folder, failure)


def _failed(folder: Path, failure: Failure) -> int:
    (folder / FAILURE).write_bytes(msgspec.json.encode(failure))
    _say(FAILED)
    return failure.exit_code


def _say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    alone()
    sys.exit(main(Path(sys.argv[1])))
