"""A daemon whose store and log lie on a tmpfs that is filled and grown: run by ``test_small_disk.py``, in a namespace.

    unshare -rm python small_disk.py FOLDER EVENTS

Batches come over HTTP; each that is refused is sent again until it is taken. Something else on the disk leaves little
room; every time the disk is full it goes, and comes back once the batch is taken. Prints what happened as one object.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from service_kit import Service, signups

BATCH = 25
SIZE = 64 << 10  # KiB of the disk: the reserve of the store has room twice over while nothing else lies there
NEEDED = 24 << 10  # KiB without which it does not go on: twice its reserve, and something to work with
ROOM = 400  # KiB that are left; a batch takes some 100 of the log and of the file
WAITED = 6.0  # seconds for it to go on before the disk grows


class Disk:
    """A small disk of our own."""

    def __init__(self, path: Path, kib: int) -> None:
        self.path, self.kib = path, kib
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)], check=True)

    def fill(self) -> None:
        """Something else takes all but ``ROOM``."""
        free = shutil.disk_usage(self.path).free - (ROOM << 10)
        with suppress(OSError), (self.path / "else").open("ab") as file:  # the daemon may take the last of it
            file.write(bytes(max(0, free)))

    def empty(self) -> None:
        """It goes; as the store grows, so does the disk."""
        (self.path / "else").unlink(missing_ok=True)
        missing = NEEDED - (shutil.disk_usage(self.path).free >> 10)
        if missing > 0:
            self.grow(missing)

    def grow(self, kib: int) -> None:
        self.kib += kib
        subprocess.run(["mount", "-o", f"remount,size={self.kib}k", str(self.path)], check=True)


def work(root: Path, events: int) -> dict[str, float]:
    disk = Disk(root / "disk", SIZE)
    service = Service(root / "program", store=disk.path / "s.db")
    service.start()
    disk.fill()
    full = growths = refused = twice = accepted = 0
    slowest = 0.0
    connection = service.connection()
    try:
        for first in range(0, events, BATCH):
            body = signups([f"u{n}" for n in range(first, first + BATCH)], note="x" * 1_000)
            grown, growths_before = None, growths
            while True:
                status, said, headers = service.post(body, connection)
                if status == 202:
                    break
                assert (status, "retry-after" in headers) == (503, True), (status, said)
                refused += 1
                full += grown is None
                if grown is None or time.monotonic() - grown > WAITED:
                    if grown is None:
                        disk.empty()
                    else:
                        disk.grow(NEEDED)
                    grown, growths = time.monotonic(), growths + 1
                assert growths - growths_before < 40, service.told()[-2_000:]
                time.sleep(0.05)
            if grown is not None:
                slowest = max(slowest, time.monotonic() - grown)
                disk.fill()
            accepted += said["accepted"]
            twice += BATCH - said["accepted"]
        disk.empty()
        disk.grow(65_536)
        service.until(lambda: len(service.sent()) >= events)
        service.end()
    finally:
        service.stop()
    sent = service.sent()
    return {
        "events": events, "accepted": accepted, "full": full, "growths": growths, "refused": refused,
        "stored_but_not_accepted": twice, "lost": len({f"u{n}" for n in range(events)} - {user for user, _ in sent}),
        "doubled": len(sent) - len(set(sent)), "sound": service.sound(), "recovered_max_ms": round(slowest * 1_000),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), int(sys.argv[2]))))
