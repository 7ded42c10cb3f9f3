"""``drumbeat audience`` with everything it can tell, over many users: processor seconds and memory of the whole verb.

    python bench/audience_whole.py [USERS]        (1,000,000 by default)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from audience import CATALOG, NOW, PROGRAM, person

from engine.language.compile import compile_program
from engine.ports import Batch
from engine.stores.sqlite import SqliteStore

MORE = """\
store: sqlite:///s.db
channels:
  app: {via: file, path: out/app.jsonl}
  sms: {via: file, path: out/sms.jsonl, address: user.phone, quota: {max: 4, per: month}}
control_group: {percent: 5, applies_to: [marketing]}
policies: {default: {quiet_hours: never, caps: [{purpose: marketing, max: 2, per: 7d}]}}
"""
COUPONS = """\
coupons:
  gift: {title: t, value: {off: 10, currency: CNY}, codes: {generate: G}, valid_for: 7d,
         limits: {per_user: 1, total: 500}}
"""
ASKED = (
    ("how many", ("in_segment('regulars')",)),
    ("everybody", ("true",)),
    ("everybody, with reach and coupon", ("true", "--reach", "--holdout", "10", "--coupon", "gift")),
    ("overlap of two segments and a condition", ('user.city == "Oslo"', "--overlap")),
)


def main() -> None:
    """Fill a store and ask."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "playbooks" / "catalog").mkdir(parents=True)
        program = PROGRAM.replace("{city: text", "{phone: text | none, city: text") + MORE
        (root / "drumbeat.yaml").write_text(program, "utf-8")
        (root / "playbooks" / "catalog" / "all.yaml").write_text(CATALOG + COUPONS, "utf-8")
        found = compile_program(root)
        assert found.plan is not None, found.problems
        store = SqliteStore.open(root / "s.db", durable=False)
        for start in range(0, number, 10_000):
            states = [person(found, one) for one in range(start, min(number, start + 10_000))]
            store.commit(Batch(NOW, states, [], [], [], {}, [], [], [], {}))
        store.fold()
        store.close()
        size = (root / "s.db").stat().st_size
        print(f"{number:,} users, store of {size / 1e6:,.0f} MB")
        for what, words in ASKED:
            ask(root, what, words)


_SMALL = (
    "import resource, subprocess, sys; said = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True).stdout;"
    "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
    "print(f'{used.ru_utime + used.ru_stime:.1f} processor seconds, {used.ru_maxrss / 1024:.0f} MB');"
    "print('   ', said.splitlines()[0])"
)
"""A process as small as can be starts the verb: what forks off a large one counts the memory of that as its own."""


def ask(root: Path, what: str, words: tuple[str, ...]) -> None:
    """One process of its own."""
    line = [sys.executable, "-m", "engine", "audience", *words, "--program", str(root), "--quiet"]
    done = subprocess.run([sys.executable, "-c", _SMALL, *line], stdout=subprocess.PIPE, text=True, check=True)
    print(f"{what}: {done.stdout.rstrip()}")


if __name__ == "__main__":
    main()
