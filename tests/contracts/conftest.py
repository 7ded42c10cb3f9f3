"""The contract suite imports its helpers by plain name; pytest's importlib mode needs this folder on the path."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
if HERE in sys.path:  # other suites have it at the end, for the kit of stores
    sys.path.remove(HERE)
sys.path.insert(0, HERE)
