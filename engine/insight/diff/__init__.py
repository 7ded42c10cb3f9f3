"""What another program would do to the same people: the effects of two simulations of one feed, compared."""

from engine.insight.diff.compare import Sides, compare
from engine.insight.diff.names import Side

__all__ = ["Side", "Sides", "compare"]
