"""Starts a process, waits for it, and says what it took: wall time, CPU time, peak memory.

The parent must stay small: on Linux a child's `ru_maxrss` begins with the parent's own peak, which it shares until
`exec`. So whatever needs memory (making the workload, comparing effects) runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes on macOS and KiB elsewhere


class ChildFailed(Exception):
    """A measured process ended with another exit code than 0."""


@dataclass(frozen=True)
class Taken:
    """What one process took."""

    wall: float  #: seconds
    cpu: float  #: seconds, user and system, of the process and the children it waited for
    peak: float  #: MB, of the biggest single process
    report: dict[str, Any]  #: the JSON object the process printed; empty when it printed none


def script(name: str, *args: str | Path) -> list[str]:
    """The command line of another script of this folder."""
    return [sys.executable, str(BENCH / name), *map(str, args)]


def drumbeat(verb: str, *args: str | Path) -> list[str]:
    """The command line of a verb of the program under measurement."""
    return [sys.executable, "-m", "engine", verb, *map(str, args)]


def environment() -> dict[str, str]:
    """That of this process, but Python may keep its bytecode: an installed package has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def measure(argv: Sequence[str], folder: Path) -> Taken:
    """Run to the end; stdout and stderr go to files in `folder`, so that no pipe needs to be drained meanwhile."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)  # wait4 has taken it; Popen must not ask again
    if child.returncode != 0:
        said = err.read_text(errors="replace").strip() or out.read_text(errors="replace").strip()
        raise ChildFailed(f"{' '.join(argv)}\nended with {child.returncode}:\n{said[-2000:]}")
    peak = usage.ru_maxrss * RSS_UNIT / 1_000_000
    return Taken(wall, usage.ru_utime + usage.ru_stime, peak, last_object(out.read_text()))


def last_object(text: str) -> dict[str, Any]:
    """The JSON object in a program's output: all of it, or its last line."""
    stripped = text.strip()
    for candidate in (stripped, stripped.rpartition("\n")[2]):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}
