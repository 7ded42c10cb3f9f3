"""``drumbeat diff`` against one ``drumbeat simulate`` of the same feed: processor time of each process, and memory.

    python bench/diff.py [EVENTS]        (1,000,000 by default)

Workload W1 (``bench/gen_w1.py``, ``bench/w1``). In the new plan one threshold is another: r13 asks for 5 orders, not 4.
Simulation and comparison run one after the other, so a machine with two cores has both for each.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENGINE = [sys.executable, "-m", "engine"]


def timed(words: list[str], out: Path) -> tuple[int, float, resource.struct_rusage]:
    """(exit code, seconds by the clock, what it and those it waited for used)."""
    begun = time.perf_counter()
    with out.open("wb") as file:
        process = subprocess.Popen(words, stdout=file)
        _, status, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begun, used


def cpu(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        feed, out = here / "w1.jsonl", here / "out.json"
        make = ["--events", str(events), "--users", str(events // 10), "--out", str(feed)]
        subprocess.run([sys.executable, str(HERE / "gen_w1.py"), *make], check=True, capture_output=True)
        for name in ("old", "new"):
            shutil.copytree(HERE / "w1", here / name)
        rule = here / "new" / "playbooks" / "r13.yaml"
        text = rule.read_text()
        assert ">= 4" in text
        rule.write_text(text.replace(">= 4", ">= 5"))
        plain = ["--events", str(feed), "--format", "json", "--quiet"]
        rows = ["--effects", str(here / "effects.jsonl")]
        code, wall, used = timed([*ENGINE, "simulate", "--program", str(here / "old"), *plain, *rows], out)
        assert code == 0
        print(f"simulate   {cpu(used):6.1f} CPU s  {wall:6.1f} s  {used.ru_maxrss / 1024:6.0f} MB")
        code, wall, used = timed([*ENGINE, "diff", str(here / "old"), str(here / "new"), *plain], out)
        assert code == 1
        found: dict[str, Any] = json.loads(out.read_bytes())
    sides = [found[side] for side in ("old", "new")]
    for name, side in zip(("old side", "new side"), sides, strict=True):
        print(f"{name:<10} {side['cpu_seconds']:6.1f} CPU s           {side['peak_mb']:6.0f} MB")
    rest = cpu(used) - sum(side["cpu_seconds"] for side in sides)
    print(f"comparing  {rest:6.1f} CPU s")
    print(f"diff       {cpu(used):6.1f} CPU s  {wall:6.1f} s  {used.ru_maxrss / 1024:6.0f} MB (the largest process)")
    told = {key: found["effects"][key] for key in ("old", "new", "unchanged", "gained", "lost", "moved", "changed")}
    print(", ".join(f"{key} {number:,}" for key, number in told.items()))


if __name__ == "__main__":
    main()
