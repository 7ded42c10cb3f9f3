"""A real disk that is full: a tmpfs in a namespace of its own (no root is needed), and a log that cannot be written.

``DRUMBEAT_DISK_EVENTS`` says how many events are taken in while the disk grows step by step (default 700). Where the
system gives nobody a namespace the test is passed over, also in CI: a disk that is full is met by every run all the
same, as a file that may not grow (``tests/flows/test_full_disk.py``) or has so many pages only
(``tests/flows/test_power.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from service_kit import FILES, Service, signups

EVENTS = int(os.environ.get("DRUMBEAT_DISK_EVENTS", "700"))
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def _may_mount(place: Path) -> bool:
    """Whether this system lets anybody mount a small disk of his own: some forbid the namespace, some the mount."""
    if shutil.which("unshare") is None:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]  # seen by this process alone, gone with it
    return subprocess.run([*UNSHARE, *mount], check=False, capture_output=True).returncode == 0


def test_a_full_disk_and_back(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Refused with 503 and Retry-After while there is no room, taken within seconds of room: what was accepted is
    stored, what was not is not, and everything is decided and sent once.

    Failure: disk.full — on a disk that is small
    """
    if not _may_mount(tmp_path):
        pytest.skip("no user and mount namespace with a tmpfs can be made here")
    script = Path(__file__).with_name("small_disk.py")
    words = [*UNSHARE, sys.executable, str(script), str(tmp_path), str(EVENTS)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    for name, value in found.items():
        record_property(name, value)
    assert found["full"] >= 5
    assert found["sound"] is True
    assert (found["accepted"], found["lost"], found["doubled"], found["stored_but_not_accepted"]) == (EVENTS, 0, 0, 0)
    assert found["recovered_max_ms"] < 5_000


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """Every line of the log fails as on a full disk: the engine goes on.

    Failure: disk.full — of the log
    """
    head = FILES["drumbeat.yaml"].replace("{http: {port: 0}}", "{file: feed/a.jsonl}")
    service = Service(tmp_path, {**FILES, "drumbeat.yaml": head, "feed/a.jsonl": signups(["u1"]).decode()})
    with Path("/dev/full").open("wb") as full:
        try:
            service.start(full)
            service.until(lambda: service.sent() == [("u1", "hello")])
            with (tmp_path / "feed" / "a.jsonl").open("ab") as feed:
                feed.write(b"no event\n" + signups(["u2"]))  # with something to say of it
            service.until(lambda: ("u2", "hello") in service.sent())
            service.end()
        finally:
            service.stop()
