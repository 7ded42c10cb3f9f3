"""What holds for every test.

This process and those that tests start keep the bytecode of what they import, as an installed program does; compiling
the sources anew would be half of the time of each. And the folders of tests lie in memory where there is room: nobody
pulls the plug here, so waiting until the disk has every byte proves nothing (``PYTEST_DEBUG_TEMPROOT`` or
``--basetemp`` lay them elsewhere).
"""

from __future__ import annotations

import gc
import os
import shutil
import sys

MEMORY = "/dev/shm"  # noqa: S108 - pytest makes a folder in it that belongs to this user alone
ROOM = 4 << 30
"""Bytes that must be free there; a run of everything takes a few hundred MB."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if os.access(MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)

gc.set_threshold(10_000, 20, 20)
"""Half a million objects here are tests: a look through all of them takes a third of a second."""
