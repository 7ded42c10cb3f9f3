"""Reads ``feeds`` and ``channels`` of the program file: each kind says itself which keys it takes.

Rule 1: a word is looked up in the table of its family, and the shape of its class is all that is known of it here.
Rule 2: what needs a secret holds ``${NAME}``; whether the variable is set is the business of ``doctor`` and ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.channels import CHANNELS
from engine.core import shapes as sh
from engine.core.plan import ChannelInfo
from engine.core.policies import Quota
from engine.core.receipts import SHAPE as RECEIPTS
from engine.core.shapes import Duration, Int, Many, Map, Text, optional, required
from engine.errors import UsageError
from engine.feeds import FEEDS
from engine.language.belts import WINDOWS, cap_of
from engine.language.forms import RATE
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.services import FAULT
from engine.language.workshop import Workshop
from engine.registry import Registry, nearest

_USER_FIELD = r"user\.[A-Za-z_][A-Za-z0-9_]*"

QUOTA = Map(
    {
        "max": required(Int(low=1), "most messages a user, of all purposes and playbooks"),
        "per": required(
            Text(what="7d, day, week or month"), "7d: rolling window; day, week, month: of the user's calendar"
        ),
        "kept": optional(
            Many(
                Map(
                    {
                        "priority": required(Int(low=0, high=100), "playbooks of at least this priority"),
                        "slots": required(Int(low=1), "how many of the last are theirs alone"),
                    }
                ),
                only_list=True,
            ),
            "slots kept for playbooks of high priority",
        ),
    }
)

CHANNEL = Map(
    {
        "via": required(Text(what="kind of channel"), "kind: " + ", ".join(CHANNELS)),
        "mode": optional(Text(("at_most_once", "at_least_once")), "what a crash while sending means"),
        "address": optional(Text(pattern=_USER_FIELD, what=sh.USER_FIELD), "trait with the address"),
        "rate": optional(RATE, "most messages"),
        "concurrency": optional(Int(low=1, high=256), "messages on their way at once"),
        "attempts": optional(Int(low=1, high=100), "tries before a message is given up"),
        "retry_for": optional(Duration(), "how long after the first try it may be tried again (24h)"),
        "receipts": optional(RECEIPTS, "how reports of its provider are read, see howto.md"),
        "max_chars": optional(Int(low=1), "longest text of one message"),
        "quota": optional(QUOTA, "what the platform allows for each user, see howto.md"),
    }
)
"""Keys that every channel takes."""

def channel_shape(via: str) -> Map:
    """All keys of a kind of channel."""
    return _with(CHANNEL, CHANNELS, via)


def feed_shape(word: str) -> Map:
    """All keys of a kind of feed."""
    shape: Map = FEEDS.get(word).shape  # type: ignore[attr-defined]  # each kind has one, see engine/feeds/__init__.py
    return shape


def _with(common: Map, registry: Registry[Any], word: str) -> Map:
    own: Map = registry.get(word).shape
    return Map({**common.fields, **own.fields}, one_of=own.one_of)


class WaysMaker:
    """Reads the two sections; what was read goes to the settings as it is."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop

    # ------------------------------------------------------------------ feeds

    def feeds(self, node: Node | None) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """(word, its keys) of each feed, in order."""
        found = []
        for place, item in enumerate(node.items if isinstance(node, SeqNode) else [] if node is None else [node]):
            mapping = self.shop.reading.mapping(item, f"feeds[{place}]", "such as {file: feed/*.jsonl}")
            if not isinstance(mapping, MapNode) or mapping.broken:
                continue
            read = [(key.text, self._feed(key, value)) for key, value in mapping]
            found += [(word, fields) for word, fields in read if fields is not None]
            if len(mapping) != 1:
                where = mapping.entries[1][0] if len(mapping) else mapping
                message = "a feed is one word with its setting"
                self.shop.problems.error(where, "conflict", message, hint="{file: feed/*.jsonl}")
        return tuple(found)

    def _feed(self, key: ScalarNode, value: Node) -> Mapping[str, Any] | None:
        problems = self.shop.problems
        if key.text in FEEDS:
            fields = self.shop.reading.read(value, feed_shape(key.text), f"feeds.{key.text}")
            return None if fields is FAULT or not self._holds(key, fields) else fields
        known = list(FEEDS)
        near = nearest(key.text, known)
        hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(known)
        problems.error(key, "unknown-feed", f"unknown feed '{key.text}'", hint=hint)
        return None

    def _holds(self, key: ScalarNode, fields: Mapping[str, Any]) -> bool:
        """Does a kind of feed take its keys together? What it says otherwise is told at its word."""
        check = getattr(FEEDS.get(key.text), "check", None)
        try:
            if check is not None:
                check(fields)
        except UsageError as error:
            self.shop.problems.error(key, "wrong-value", f"feeds.{key.text}: {error.message}", hint=error.hint)
            return False
        return True

    # ------------------------------------------------------------------ channels

    def channels(self, node: Node | None) -> dict[str, Mapping[str, Any]]:
        """Name -> keys of each channel; without any, messages go to the console."""
        if node is None:
            return {"console": {"via": "console"}}
        names = self.shop.reading.read(node, sh.Table(sh.Plain(), pattern=sh.NAME, what="channel"), "channels")
        found: dict[str, Mapping[str, Any]] = {}
        for key, value in node if isinstance(node, MapNode) and names is not FAULT else ():
            inner = self.shop.reading.mapping(value, f"channels.{key.text}", "{via: file, path: out/messages.jsonl}")
            if isinstance(inner, MapNode) and not inner.broken:
                fields = self._channel(key, inner)
                if fields is not None:
                    found[key.text] = fields
        return found

    def _channel(self, key: ScalarNode, inner: MapNode) -> Mapping[str, Any] | None:
        via = inner.get("via")
        word = via.text if isinstance(via, ScalarNode) else None
        problems, what = self.shop.problems, f"channels.{key.text}"
        if word is not None and word not in CHANNELS:
            near = nearest(word, CHANNELS)
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(CHANNELS)
            problems.error(via or inner, "unknown-channel-kind", f"there is no channel of kind '{word}'", hint=hint)
            return None
        shape = CHANNEL if word is None else channel_shape(word)
        fields = self.shop.reading.fields(inner, shape, what, ignore=() if word else tuple(inner.keys()))
        if fields is FAULT:
            return None
        if word is not None and not self._sound(word, inner, fields):
            return None
        if not self._quota_holds(key, inner.get("quota"), fields.get("quota")):
            return None
        if word == "file" and "path" not in fields:
            message = f"channel '{key.text}' has no 'path': simulate decides all the same, run refuses to deliver"
            problems.warning(key, "missing-path", message, hint="path: out/messages.jsonl")
        found: Mapping[str, Any] = fields
        return found

    def _quota_holds(self, key: ScalarNode, node: Node | None, quota: Mapping[str, Any] | None) -> bool:
        """Is its window one, and is something left for everybody?"""
        if quota is None or not isinstance(node, MapNode):
            return True
        problems, what = self.shop.problems, f"channels.{key.text}.quota"
        try:
            cap_of(quota)
        except ValueError as error:
            message = f"a quota is per {WINDOWS}, got '{quota['per']}'"
            problems.error(node.get("per") or node, "bad-duration", message, hint=str(error))
            return False
        kept = sum(row["slots"] for row in quota.get("kept", ()))
        if kept > quota["max"]:
            message = f"'{what}' keeps {kept} slots of {quota['max']}"
            problems.error(node.get("kept") or node, "out-of-range", message, hint="keep fewer than there are")
        elif kept == quota["max"]:
            least = min(row["priority"] for row in quota["kept"])
            message = f"'{what}' keeps all slots: playbooks of a priority below {least} never send here"
            problems.warning(node.get("kept") or node, "cap-starved", message, hint="leave some for everybody")
        return True

    def _sound(self, word: str, inner: MapNode, fields: Mapping[str, Any]) -> bool:
        """Does the kind itself find nothing wrong with the keys of an entry?"""
        faults = getattr(CHANNELS.get(word), "faults", None)
        found = list(faults(fields)) if faults is not None else []
        for key, message, hint in found:
            self.shop.problems.error(inner.get(key) or inner, "wrong-value", message, hint=hint)
        return not found


def channel_info(name: str, fields: Mapping[str, Any]) -> ChannelInfo:
    """What deciding needs to know of a channel."""
    address, via = fields.get("address"), fields["via"]
    default = "email" if via == "smtp" else None
    trait = address.removeprefix("user.") if address else default
    return ChannelInfo(
        name=name, via=via, address=trait, receipts=fields.get("receipts"), quota=_quota(name, fields.get("quota"))
    )


def _quota(name: str, fields: Mapping[str, Any] | None) -> Quota | None:
    if fields is None:
        return None
    kept = tuple((row["priority"], row["slots"]) for row in fields.get("kept", ()))
    return Quota(cap_of(fields, channel=name), f"{fields['max']}/{fields['per']}", kept)


def webhook_channel(channels: Mapping[str, ChannelInfo]) -> ChannelInfo | None:
    """The channel of webhook steps: the first of kind ``webhook``, else the one of that name."""
    kinds = [channel for channel in channels.values() if channel.via == "webhook"]
    return kinds[0] if kinds else channels.get("webhook")
