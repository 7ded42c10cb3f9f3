"""What holds for every test: this process and those that tests start keep the bytecode of what they import, as an
installed program does; compiling the sources anew would be half of the time of each."""

from __future__ import annotations

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
