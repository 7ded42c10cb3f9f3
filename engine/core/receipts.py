"""``receipts:`` of a channel, as it is written: where a provider's reports say what, and what its words mean."""

from __future__ import annotations

from typing import Final

from engine.core.shapes import Map, Table, Text, optional, required

GONE: Final = "bounced_permanent"
STATUSES: Final = ("delivered", "opened", "clicked", "bounced", GONE, "complained", "unsubscribed")
"""What may become of a message that was sent; ``GONE``: it came back, and its address is gone for good."""

_KEY: Final = r"(?:[^.\\|\s]|\\.)+"
_WAY: Final = rf"{_KEY}(?:\.{_KEY})*"
_PATH: Final = Text(pattern=rf"{_WAY}(?: *\| *{_WAY})*", what="path such as data.id")

SHAPE: Final = Map(
    {
        "id": required(_PATH, "path of the id the provider gave the message"),
        "status": required(_PATH, "path of what became of it"),
        "time": optional(_PATH, "path of when; left out: when the report comes"),
        "time_unit": optional(Text(("s", "ms", "us")), "the time is a number of these since 1970; left out: RFC 3339"),
        "statuses": optional(Table(Text(STATUSES), what="word"), "what the provider calls it: " + " ".join(STATUSES)),
    }
)
"""Keys of ``receipts:``."""
