"""The flow suite imports its helpers by plain name; pytest's importlib mode needs this folder on the path."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

# the kit of stores
CONTRACTS = str(Path(__file__).resolve().parent.parent / "contracts")
if CONTRACTS not in sys.path:
    sys.path.append(CONTRACTS)
