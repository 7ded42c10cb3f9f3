"""Feeds: sources of records. A word of the ``feeds:`` list in drumbeat.yaml names the class behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.registry import Registry

if TYPE_CHECKING:
    from engine.ports import Feed

FEEDS: Registry[Feed] = Registry("feed", {"file": "engine.feeds.files:JsonlFeed"})
