"""Reads the program file: zone, profile, events, channels, policies, and where things come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.core.business import BusinessHours
from engine.core.calendars import Calendar
from engine.core.links import Links, fault_of_base, fault_of_host
from engine.core.model import DAY, HOUR
from engine.core.plan import ChannelInfo, Policy
from engine.core.policies import Control
from engine.core.shapes import Text
from engine.language.belts import BeltMaker, default_policy
from engine.language.compiled import Settings
from engine.language.expressions.scope import FieldType, Schema
from engine.language.forms import PROGRAM
from engine.language.meant import zone_hint
from engine.language.nodes import MapNode, Node, ScalarNode
from engine.language.reading import FAULT, zone_exists
from engine.language.services import kind_word
from engine.language.ways import WaysMaker, channel_info
from engine.language.workshop import Workshop
from engine.registry import nearest
from engine.site import masked

_OPENNESS = Text(("open", "closed"))

IDS_AT_LEAST = 35 * DAY
"""How long ids of events are remembered at least."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class ProgramSpec:
    """The program file, checked."""

    name: str = "program"
    zone: str = "UTC"
    locale: str = "en"
    activity: frozenset[str] = frozenset()
    act_within: int = 24 * HOUR
    channels: dict[str, ChannelInfo] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    control: Control | None = None
    best_hour: str = "10:00"
    links: Links | None = None
    settings: Settings = field(default_factory=Settings)
    business: BusinessHours | None = None
    business_calendar: tuple[str, Node] | None = None  #: its name and where it stands


class ProgramMaker:
    """Reads ``drumbeat.yaml`` in two goes: the schema first (expressions need it), then the rest."""

    def __init__(self, shop: Workshop, root: Path) -> None:
        self.shop = shop
        self.root = root
        self.spec = ProgramSpec()
        self.belts = BeltMaker(shop)
        self.ways = WaysMaker(shop)

    # ------------------------------------------------------------------ schema

    def schema(self, node: MapNode) -> Schema:
        """The declared fields; faults are reported."""
        profile_node, events_node = node.get("profile"), node.get("events")
        profile: dict[str, FieldType] = {}
        open_profile = isinstance(profile_node, ScalarNode) and profile_node.text == "open"
        if isinstance(profile_node, MapNode):
            profile = self._fields(profile_node, "profile")
        elif profile_node is not None and not open_profile:
            self.shop.problems.error(profile_node, "wrong-type", "'profile' needs fields with types, or open")
        events, closed = self._events(events_node)
        return Schema(
            profile=profile, profile_open=open_profile, profile_declared=profile_node is not None,
            events=events, closed=closed,
        )  # fmt: skip

    def _events(self, node: Node | None) -> tuple[dict[str, Mapping[str, FieldType]], bool]:
        if node is None:
            return {}, False
        mapping = self.shop.reading.mapping(node, "events")
        if not isinstance(mapping, MapNode):
            return {}, False
        events: dict[str, Mapping[str, FieldType]] = {}
        closed = False
        for key, value in mapping:
            if key.text == "*":
                closed = self.shop.reading.read(value, _OPENNESS, "events.*") == "closed"
            else:
                inner = self.shop.reading.mapping(value, f"events.{key.text}")
                events[key.text] = self._fields(inner, f"events.{key.text}") if isinstance(inner, MapNode) else {}
        return events, closed

    def _fields(self, node: MapNode, what: str) -> dict[str, FieldType]:
        out: dict[str, FieldType] = {}
        for key, value in node:
            plain = value.plain()
            spec = [("none" if one is None else one) for one in plain] if isinstance(plain, list) else plain
            found = FieldType.parse(spec)
            if _FIELD.fullmatch(key.text) is None:
                self.shop.problems.error(key, "bad-name", f"'{key.text}' is no field name", hint="a to z, digits and _")
            elif found is None and not value.broken:
                hint = "text number integer money bool time date list map tier, with '| none', or a list of values"
                message = f"'{what}.{key.text}' needs a type or a list of texts, got {kind_word(value)}"
                if isinstance(value, ScalarNode) and value.text:
                    message = f"'{what}.{key.text}' has no type '{value.text}'"
                self.shop.problems.error(value, "bad-type", message, hint=hint)
                found = FieldType()
            out[key.text] = found or FieldType()
        return out

    # ------------------------------------------------------------------ the rest

    def make(self, node: MapNode) -> ProgramSpec:
        """Check the whole file."""
        shop, spec = self.shop, self.spec
        channels_node = node.get("channels")
        shop.names["channel"] = set(channels_node.keys()) if isinstance(channels_node, MapNode) else {"console"}
        policies_node = node.get("policies")
        shop.names["policy"] = {*(policies_node.keys() if isinstance(policies_node, MapNode) else ()), "default"}
        fields = shop.reading.fields(node, PROGRAM, "program")
        if fields is FAULT:
            return self._names_only()
        spec.name = fields["program"]
        spec.zone = self._zone(node, fields.get("timezone", "UTC"))
        spec.locale = fields.get("locale", "en")
        spec.activity = frozenset(fields.get("activity", ()))
        if "late_events" in fields:
            spec.act_within = fields["late_events"]["act_within"].elapsed
        self._business(node, fields.get("business_hours"))
        feeds, channels = self.ways.feeds(node.get("feeds")), self.ways.channels(node.get("channels"))
        known = {name: channel_info(name, it) for name, it in channels.items()}
        spec.channels = {**self._broken_channels(channels_node), **known}
        spec.policies = self.belts.policies(node, fields.get("policies", {}))
        spec.control = self.belts.control(fields.get("control_group"), node.get("control_group"))
        spec.best_hour = fields.get("best_hour", spec.best_hour)
        self._settings(node, fields, feeds, channels)
        spec.links = self._links(node.get("links"), fields.get("links"), any(word == "http" for word, _ in feeds))
        return spec

    def nothing(self) -> ProgramSpec:
        """What the rest is checked against when the program file cannot be read."""
        self.shop.names["channel"], self.shop.names["policy"] = {"console"}, {"default"}
        return self._names_only()

    def _names_only(self) -> ProgramSpec:
        """The names a broken program file defines, so that using them is no second problem."""
        names = self.shop.names
        self.spec.policies = {name: default_policy(name) for name in names["policy"]}
        self.spec.channels = {name: ChannelInfo(name=name, via="file", address=None) for name in names["channel"]}
        return self.spec

    def _broken_channels(self, node: Node | None) -> dict[str, ChannelInfo]:
        """Stand-ins for channels that cannot be read, so that using them is no second problem."""
        names = node.keys() if isinstance(node, MapNode) else []
        return {name: ChannelInfo(name=name, via="file", address=None) for name in names}

    def _zone(self, node: MapNode, name: str) -> str:
        if zone_exists(name):
            return name
        message = f"there is no time zone '{name}'"
        where = node.get("timezone") or node
        self.shop.problems.error(where, "unknown-zone", message, hint=zone_hint(name))
        return "UTC"

    def _business(self, node: MapNode, fields: dict[str, Any] | None) -> None:
        """Opening comes before closing; the calendar is looked up when the catalog is there."""
        if fields is None:
            return
        inner = node.get("business_hours")
        place = inner if isinstance(inner, MapNode) else node
        if fields["from"] >= fields["to"]:
            message = f"'business_hours' open at {fields['from']} and close at {fields['to']}: not later the same day"
            hint = '{from: "09:00", to: "18:00"}'
            self.shop.problems.error(place.get("to") or place, "out-of-range", message, hint=hint)
            return
        self.spec.business = BusinessHours(opens=fields["from"], closes=fields["to"], zone=self.spec.zone)
        if "calendar" in fields:
            self.spec.business_calendar = fields["calendar"], place.get("calendar") or place

    def open_on(self, calendars: Mapping[str, Calendar]) -> BusinessHours | None:
        """The business hours, once the calendars of the catalog are known."""
        hours, named = self.spec.business, self.spec.business_calendar
        if hours is None or named is None:
            return hours
        name, place = named
        if name in calendars:
            return replace(hours, works=calendars[name].is_workday)
        if not self.shop.doubtful("calendar", name):
            near = nearest(name, calendars)
            defined = "defined: " + ", ".join(sorted(calendars)) if calendars else "the program defines no calendar"
            hint = f"did you mean '{near}'?" if near else defined
            message = f"unknown calendar '{name}' in 'business_hours.calendar'"
            self.shop.problems.error(place, "unknown-calendar", message, hint=hint)
        return hours

    def _links(self, place: Node | None, fields: dict[str, Any] | None, served: bool) -> Links | None:
        """Where links lead; ``served``: the daemon listens for requests at all."""
        if fields is None or not isinstance(place, MapNode):
            return None
        problems = self.shop.problems
        base, hosts = fields["base"], fields.get("hosts", [])
        if fault_of_base(base) is not None:
            message = f"links.base is {base!r}; it needs {fault_of_base(base)}"
            problems.error(place.get("base") or place, "wrong-value", message, hint="base: https://go.shop.example")
        for host in hosts:
            if fault_of_host(host) is not None:
                message = f"links.hosts has {host!r}; it needs {fault_of_host(host)}"
                problems.error(place.get("hosts") or place, "wrong-value", message, hint="hosts: [shop.example]")
        if not served:
            message = "nobody answers the links: without a feed of kind http the daemon does not listen"
            hint = "feeds: [{http: {port: 8080}}]"
            problems.warning(place.get("base") or place, "links-unserved", message, hint=hint)
        return Links(base=base.rstrip("/"), hosts=tuple(hosts))

    def _settings(self, node: MapNode, fields: dict[str, Any], feeds: Any, channels: Any) -> None:
        store = fields.get("store", "sqlite:///drumbeat.db")
        if not store.startswith(("sqlite:///", "postgresql://", "memory:")):
            where, message = node.get("store") or node, f"there is no store '{masked(store)}'"
            self.shop.problems.error(where, "unknown-store", message, hint="sqlite:///drumbeat.db")
        self.spec.settings = Settings(
            store=store,
            feeds=feeds,
            channels=channels,
            hosts=fields.get("hosts", {}),
            retention=self._retention(node, fields.get("retention", {})),
            coupon_key=fields.get("coupon_key"),
            testers=tuple(fields.get("preview", {}).get("allow", ())),
        )

    def _retention(self, node: MapNode, fields: Mapping[str, Any]) -> dict[str, int]:
        """How long things are kept; ids at least as long as feeds may bring a record again."""
        kept = {kind: duration.elapsed for kind, duration in fields.items()}
        if kept.get("ids", IDS_AT_LEAST) < IDS_AT_LEAST:
            inner = node.get("retention")
            where = (inner.get("ids") if isinstance(inner, MapNode) else None) or node
            message = f"'retention.ids' is shorter than {IDS_AT_LEAST // DAY}d"
            hint = "a record that comes again after its id was cleared away would be decided twice: ids: 35d or longer"
            self.shop.problems.error(where, "out-of-range", message, hint=hint)
        return kept

