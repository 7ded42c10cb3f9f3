#!/usr/bin/env python3
"""Broken files are swapped in while the daemon is at work: is anything lost, and is every broken state told?

    python bench/reload_storm.py [--edits 1000] [--rate 20] [--json FILE]

Playbooks, templates and the program file are mutated (cut, doubled, cut off as half-written files are) twenty times a
second while events come in over HTTP; at the end the files are right again. Stated are the events, what the daemon said
of the files, and whether it answered all the time. Exit 1 when an event is lost or done twice, or nothing was told.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))
from service_kit import FILES, Service, signups, write

from engine.stores.sqlite import SqliteStore

WITHOUT_PROGRAM = [name for name in FILES if name != "drumbeat.yaml"]


def mutated(rng: random.Random, text: str) -> str:
    """A text with a piece cut out, doubled, or cut off at the end, as a half-written file is."""
    a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return rng.choice([text[:a], text[:a] + text[b:], text[:b] + text[a:], text + "\n# a remark\n"])


class Clients(threading.Thread):
    """Events at a steady rate; what was answered 202."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self.service, self.over = service, threading.Event()
        self.taken: list[str] = []
        self.refused = 0
        self.broke = ""

    def run(self) -> None:
        number, connection = 0, self.service.connection()
        while not self.over.wait(0.02):
            users = [f"u{number + n}" for n in range(5)]
            number += 5
            try:
                status, said, _ = self.service.post(signups(users), connection)
            except OSError as error:
                self.broke = repr(error)
                return
            if status == 202 and said["accepted"] == 5:
                self.taken += users
            else:
                self.refused += 1


def undecided(service: Service, users: list[str]) -> set[str]:
    """Events that were taken and of which the store knows nothing; a program that is whole may say another thing."""
    ids, store = [f"e-{it}" for it in users], SqliteStore.open(service.store, read_only=True)
    try:
        waiting = {event.id for _, event in store.inbox(0, 1_000_000)}
        known = {it for start in range(0, len(ids), 500) for it in store.known(ids[start : start + 500])}
        return set(ids) - known | waiting
    finally:
        store.close()


def work(root: Path, edits: int, rate: float, seed: int) -> dict[str, float]:
    service, rng = Service(root), random.Random(seed)  # noqa: S311 - edits, no secrets
    service.start()
    clients = Clients(service)
    clients.start()
    begun = time.monotonic()
    try:
        for number in range(edits):
            # the file of the program holds the feed: where it is whole, but says another thing, the port would go
            names = WITHOUT_PROGRAM if number % 4 else list(FILES)
            name = rng.choice(names)
            text = mutated(rng, FILES[name])
            if name == "drumbeat.yaml":
                text = text[: rng.randrange(40)] + "\n["
            write(root, {name: text})
            if rng.random() < 0.3:
                write(root, {name: FILES[name]})
            time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))
        seconds = time.monotonic() - begun
        write(root, FILES)
        clients.over.set()
        clients.join()
        time.sleep(3)  # for the files to be seen as they are
        write(root, {"templates/hello.box.j2": "good day"})
        extra = 0

        def greeted() -> bool:
            nonlocal extra
            extra += 1
            service.post(signups([f"x{extra}"]))
            return any(text == "good day" for _, text in service.sent()[-50:])

        service.until(greeted)
        service.until(lambda: not undecided(service, clients.taken))
        service.end()
    finally:
        service.stop()
    users = [user for user, _ in service.sent()]
    told, lost = service.told(), undecided(service, clients.taken)
    return {
        "edits": edits, "seconds": round(seconds, 1), "events": len(clients.taken), "refused": clients.refused,
        "connections_broken": int(bool(clients.broke)), "lost": len(lost),
        "twice": len(users) - len(set(users)), "told_broken": told.count("stay at work"), "sound": service.sound(),
    }  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    p.add_argument("--edits", type=int, default=1_000)
    p.add_argument("--rate", type=float, default=20, help="edits a second")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, help="write the figures there")
    given = p.parse_args()
    root = Path(tempfile.mkdtemp(prefix="reload-storm-"))
    try:
        found = work(root, given.edits, given.rate, given.seed)
    finally:
        shutil.rmtree(root)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    broken = found["lost"] or found["twice"] or found["connections_broken"] or not found["told_broken"]
    return 1 if broken or not found["sound"] else 0


if __name__ == "__main__":
    sys.exit(main())
