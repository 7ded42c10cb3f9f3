"""Entry limits where many decide: a window is a resource of its own, so parts whose clocks differ share none.

Rule 1: whoever asks gets a place of the window of its own clock; when that is full, of the first behind it with room.
Rule 2: what one engine for all took before counts, and it counts what is taken here (``Desk``).
Rule 3: each place is an entry of the ledger by itself; nobody knows when the last part has left a window.
"""

from __future__ import annotations

from decimal import Decimal

from engine.core.chance import effect_key
from engine.core.model import Answer, Entry, Reserve
from engine.core.scarce import Desk, SlotState


class PartDesk(Desk):
    """The desk of one part; states are held as they are asked for."""

    def _slot(self, ask: Reserve, now: int) -> Answer:
        name = ask.names[0]
        limit = self.limits[name]
        end = first = self._boundary(now, limit.per)
        whole: SlotState = self.state("slot", name)
        whole.total = whole.total or whole.used
        window = self._window(name, now, end)
        if window.used + self._before(whole, end, limit.count) >= limit.count:
            if window.told < end:
                window.told = end
                self._alert(name, now, waits=ask.match != "drop")
                self.dirty.add(f"slot:{name}@{end}")
            if ask.match == "drop":
                return Answer(key=ask.key, granted=False, reason="limit", name=name)
        while window.used + self._before(whole, end, limit.count) >= limit.count:
            end, start = self._boundary(end, limit.per), end
            window = self._window(name, start, end)
        window.used += 1
        window.most = max(window.most, limit.count)
        self.dirty.add(f"slot:{name}@{end}")
        whole.total += 1
        self.dirty.add(f"slot:{name}")
        self.entries().append(
            Entry(
                effect_key("cap", name, str(end), ask.key), now, "cap", name, "used", 1,
                amount=Decimal(window.most), until=end, playbook=name,
            )
        )  # fmt: skip
        if end == first:
            return Answer(key=ask.key, granted=True, name=name, at=now)
        whole.booked += 1
        return Answer(key=ask.key, granted=True, name=name, at=window.start, data={"place": whole.booked})

    @staticmethod
    def _before(whole: SlotState, end: int, count: int) -> int:
        """Places of a window that one engine for all took: it books behind a window only when that is full."""
        return whole.used if end == whole.end else count if end < whole.end else 0

    def _window(self, name: str, start: int, end: int) -> SlotState:
        found: SlotState = self.state("slot", f"{name}@{end}")
        found.start, found.end = found.start or start, end
        return found
