"""Compiles the catalog: segments, tiers, coupons, points, badges, groups, calendars."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from engine.core import localtime
from engine.core.calendars import Calendar
from engine.core.coupons import CouponPool
from engine.core.groups import GroupCard, RoleInfo
from engine.core.instants import parse_duration
from engine.core.metrics import Metric
from engine.core.model import HOUR
from engine.core.moment import Moment
from engine.core.people import SurveyInfo
from engine.core.plan import Ladder, Segment, Span
from engine.core.points import Account
from engine.core.referrals import MOST, Referral
from engine.core.rewards import Reward
from engine.core.seats import GroupInfo, Room
from engine.core.subjects import USER, name_of
from engine.language.building import subject_in
from engine.language.calendars import CalendarMaker
from engine.language.event_schemas import Check, EventSchemas
from engine.language.files import read_list
from engine.language.forms import LATER, LATER_SECTIONS, SECTION_OF, SECTIONS
from engine.language.meant import zone_hint
from engine.language.metrics import MetricMaker, spoken_of, whose
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.people import PeopleMaker
from engine.language.points import account
from engine.language.reading import FAULT, zone_exists
from engine.language.workshop import Workshop
from engine.registry import nearest

_DEFAULT_HOLD = Span(text="48h", elapsed=48 * HOUR)
_NO_GRACE = Span(text="0", elapsed=0)


CALENDAR = "calendar "
"""What the name of a calendar begins with among the lists that make the digest."""


@dataclass
class Catalog:
    """What the catalog files define, compiled."""

    segments: dict[str, Segment] = field(default_factory=dict)
    ladders: list[Ladder] = field(default_factory=list)
    pools: dict[str, CouponPool] = field(default_factory=dict)
    groups: dict[str, GroupInfo] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    rewards: dict[str, Reward] = field(default_factory=dict)
    cards: dict[str, GroupCard] = field(default_factory=dict)  #: what is said of groups beside their rooms
    roles: dict[str, RoleInfo] = field(default_factory=dict)
    spoken: bool = False  #: something speaks of groups as subjects that is none itself
    badges: list[str] = field(default_factory=list)
    repeating: set[str] = field(default_factory=set)  #: badges that may be earned again
    calendars: dict[str, Calendar] = field(default_factory=dict)
    referrals: dict[str, Referral] = field(default_factory=dict)
    surveys: dict[str, SurveyInfo] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    holidays: Calendar | None = None  #: the one that says which days are holidays and workdays
    lists: list[tuple[str, bytes]] = field(default_factory=list)  #: list files used, for the digest
    schemas: dict[str, Check] = field(default_factory=dict)  #: event type -> what its schema asks of the data

    def defined(self) -> dict[str, Mapping[str, Any]]:
        """What steps may ask for while they are built, by kind and name."""
        return {"coupon": self.pools, "group": self.groups, "role": self.roles, "survey": self.surveys}


class CatalogMaker:
    """Compiles all catalog files of a program.

    Parameters
    ----------
    shop: the compiler's bench.
    root: the program's folder, for list files.
    zone: the program's zone, for the last day of a link.
    """

    def __init__(self, shop: Workshop, root: Path, zone: str) -> None:
        self.shop = shop
        self.root = root
        self.zone = zone
        self.catalog = Catalog()
        self._entries: dict[str, dict[str, Node]] = {}  #: section -> name -> node
        self.selected: list[tuple[str, Node]] = []  #: sets of 'select' steps that segments stand for
        self._codes: dict[str, str] = {}  #: coupon code of a file -> the pool that gives it

    # ------------------------------------------------------------------ names first

    def gather(self, node: MapNode) -> None:
        """Take the names of one catalog file in, before anything is compiled."""
        shop = self.shop
        for key, value in node:
            if key.text not in SECTIONS:
                continue
            if key.text in LATER_SECTIONS:
                shop.problems.warning(key, "not-yet", f"'{key.text}' is read, but this version does not use it yet")
                continue
            table = shop.reading.mapping(value, key.text, f"write {key.text}: {{name: ...}}")
            if not isinstance(table, MapNode):
                continue
            section = self._entries.setdefault(key.text, {})
            for name, entry in table:
                shop.reading.name(name, SECTIONS[key.text])  # type: ignore[arg-type]  # the other sections were left
                if key.text == "event_schemas":
                    shop.event_type(name)
                if name.text in section:
                    other = section[name.text].mark
                    message = f"'{name.text}' is defined twice in '{key.text}'"
                    shop.problems.error(name, "duplicate-name", message, hint=f"first at {other.file}:{other.line}")
                section[name.text] = entry

    def check_selections(self, made: Collection[str]) -> None:
        """Every set that a segment stands for is chosen by some step."""
        for name, where in self.selected:
            if name not in made and not self.shop.doubtful("playbook", name):
                near = nearest(name, made)
                defined = "sets: " + ", ".join(sorted(made)) if made else "no playbook has a step 'select'"
                hint = f"did you mean '{near}'?" if near else defined
                self.shop.problems.error(where, "unknown-selection", f"no 'select' step is named '{name}'", hint=hint)

    def name_all(self) -> None:
        """Tell the bench all names."""
        for kind, section in SECTION_OF.items():
            self.shop.names[kind] = set(self._entries.get(section, {}))
        for name, node in self._entries.get("segments", {}).items():
            self.shop.segment_kinds[name] = subject_in(node) if isinstance(node, MapNode) else USER
        self.shop.metrics = {name: whose(node) for name, node in self._entries.get("metrics", {}).items()}
        if not self.shop.names["account"]:
            self.shop.names["account"] = {"main"}
        ladders: dict[str, tuple[str, ...]] = {}
        for name, node in self._entries.get("tiers", {}).items():
            levels = node.get("levels") if isinstance(node, MapNode) else None
            ladders[name] = tuple(levels.keys()) if isinstance(levels, MapNode) else ()
        self.shop.names["level"] = {level for levels in ladders.values() for level in levels}
        calendars = self._entries.get("calendars", {}).values()
        self.shop.holidays = any(isinstance(node, MapNode) and "holidays" in node for node in calendars)
        self.shop.settle_names(ladders, next(iter(ladders), None))

    # ------------------------------------------------------------------ entries

    def make(self) -> Catalog:
        """Compile every entry."""
        calendars, schemas = CalendarMaker(self.shop), EventSchemas(self.shop, self.root)
        people, metrics = PeopleMaker(self.shop), MetricMaker(self.shop)
        self.catalog.metrics = metrics.made
        self.catalog.surveys = people.surveys
        makers: dict[str, Callable[[str, Any, Node], None]] = {
            "segments": self._segment,
            "tiers": self._ladder,
            "coupons": self._coupon,
            "points": self._account,
            "rewards": self._reward,
            "badges": self._badge,
            "groups": self._group,
            "roles": self._role,
            "calendars": calendars.make,
            "referrals": self._referral,
            "event_schemas": schemas.make,
            "surveys": people.survey,
            "metrics": metrics.make,
        }
        self.shop.trigger_types = None
        for section, maker in makers.items():
            self.shop.ruling = section == "points"
            shape = SECTIONS[section].of  # type: ignore[attr-defined]  # these are tables
            for name, node in self._entries.get(section, {}).items():
                self.shop.turn_to(self._about(section, name, node))
                fields = self.shop.reading.read(node, shape, f"{section}.{name}")
                if fields is FAULT:
                    continue
                self._later(section, name, fields, node)
                maker(name, fields, node)
        self.shop.ruling, self.shop.trigger_types = False, None
        self.shop.turn_to(USER)
        self._segment_cycles()
        calendars.finish()
        metrics.finish()
        self.catalog.schemas, self.catalog.lists = schemas.checks, [*self.catalog.lists, *schemas.files]
        self.catalog.calendars = self.shop.calendars = calendars.made
        self.catalog.holidays = calendars.made.get(calendars.main or "")
        # what the packages say is part of what the plan was made from
        self.catalog.lists.extend((CALENDAR + name, repr(it).encode()) for name, it in calendars.made.items())
        return self.catalog

    def _about(self, section: str, name: str, node: Node) -> str:
        """Whose expressions stand in an entry."""
        if section == "metrics":
            return spoken_of(node)
        return self.shop.segment_kinds[name] if section == "segments" else USER

    def _later(self, section: str, name: str, fields: dict[str, Any], node: Node) -> None:
        for key in LATER.get(section, ()):
            if key in fields and isinstance(node, MapNode):
                message = f"'{key}' of '{name}' is read, but this version does not act on it yet"
                self.shop.problems.warning(node.key(key) or node, "not-yet", message)

    def _segment(self, name: str, fields: dict[str, Any], node: Node) -> None:
        if "list" in fields:
            members, wrong = read_list(self.root, fields["list"])
            if wrong is not None:
                self._bad_list(node, "list", fields["list"], wrong)
            self.catalog.lists.append((fields["list"], "\n".join(members).encode()))
            members_ = frozenset(members)
            self.catalog.segments[name] = Segment(name=name, members=members_, subject=self.shop.subject)
        elif "select" in fields:
            self.catalog.segments[name] = Segment(name=name, selection=fields["select"])
            self.selected.append((fields["select"], _below(node, "select") or node))
        else:
            self.catalog.segments[name] = Segment(name=name, test=fields["if"], subject=self.shop.subject)

    def _bad_list(self, node: Node, key: str, name: str, wrong: str) -> None:
        where = node.get(key) if isinstance(node, MapNode) else None
        self.shop.problems.error(where or node, "bad-list", f"list '{name}': {wrong}")

    def _segment_cycles(self) -> None:
        """Segments may ask for each other, but not in a circle."""
        asks = {
            name: self.shop.segments_in(segment.test) if segment.test is not None else set()
            for name, segment in self.catalog.segments.items()
        }
        done: set[str] = set()
        for start in asks:
            path = _circle(asks, start)
            if path and not done & set(path):
                done |= set(path)
                node = self._entries["segments"][start]
                chain = " -> ".join([*path, path[0]])
                self.shop.problems.error(node, "segment-cycle", f"segments ask for each other in a circle: {chain}")

    def _ladder(self, name: str, fields: dict[str, Any], node: Node) -> None:
        written = {
            level: (it["reach"], it["keep"]) if isinstance(it, Mapping) else (it, it)
            for level, it in fields["levels"].items()
        }
        levels = sorted(((level, reach) for level, (reach, _) in written.items()), key=lambda item: item[1])
        thresholds = [threshold for _, threshold in levels]
        for level, (reach, keep) in written.items():
            if keep > reach:
                at_fault = _below(node, "levels", level, "keep") or node
                message = f"level '{level}' is kept only at {keep}, and earned at {reach}"
                self.shop.problems.error(at_fault, "out-of-range", message, hint="'keep' is at most 'reach'")
        if len(set(thresholds)) < len(thresholds):
            where = node.get("levels") if isinstance(node, MapNode) else None
            self.shop.problems.error(where or node, "same-threshold", f"two levels of '{name}' have one threshold")
        if not levels:
            self.shop.problems.error(node, "empty", f"ladder '{name}' has no levels")
        metric = _below(node, "metric")
        if isinstance(metric, ScalarNode) and not self.shop.is_number(metric, "user"):
            message = f"ladder '{name}' is measured by a number, and this is none"
            self.shop.problems.error(metric, "type-mismatch", message, hint='such as sum("order.paid", "amount")')
        ladder = Ladder(
            name=name,
            metric=fields["metric"],
            levels=tuple(levels),
            grace=fields.get("grace", _NO_GRACE),
            keeps={level: keep for level, (reach, keep) in written.items() if keep < reach},
        )
        self.catalog.ladders.append(ladder)

    def _account(self, name: str, fields: dict[str, Any], node: Node) -> None:
        self.catalog.accounts[name] = account(self.shop, name, fields, node)

    def _reward(self, name: str, fields: dict[str, Any], node: Node) -> None:
        self.catalog.rewards[name] = Reward(
            name=name,
            points=fields["points"],
            account=fields.get("account") or next(iter(self._entries.get("points", {})), "main"),
            stock=_amount(fields["stock"]),
            per_user=_amount(fields["per_user"]),
        )

    def _badge(self, name: str, fields: dict[str, Any], node: Node) -> None:
        self.catalog.badges.append(name)
        if fields.get("once") is False:
            self.catalog.repeating.add(name)

    def _coupon(self, name: str, fields: dict[str, Any], node: Node) -> None:
        limits, codes = fields["limits"], fields["codes"]
        given: tuple[str, ...] = ()
        imported = codes == "imported"
        if "file" in codes and not imported:
            values, wrong = read_list(self.root, codes["file"])
            if wrong is None and len(set(values)) < len(values):
                wrong = "a code stands in it twice"
            if wrong is None:
                twice = next((code for code in values if self._codes.setdefault(code, name) != name), None)
                if twice is not None:
                    wrong = f"code '{twice}' stands in the pool '{self._codes[twice]}' too"
            if wrong is not None:
                inner = node.get("codes") if isinstance(node, MapNode) else None
                self._bad_list(inner or node, "file", codes["file"], wrong)
            given = tuple(values)
            self.catalog.lists.append((codes["file"], "\n".join(values).encode()))
        count, _, window = str(limits["per_user"]).partition("/")
        value = fields.get("value")
        cost = value.get("off") if isinstance(value, Mapping) else None
        budget = limits.get("budget", "unlimited")
        self._check_coupon(name, fields, node, counts=budget == "unlimited" or _is_number(cost))
        self.catalog.pools[name] = CouponPool(
            name=name,
            total=_amount(limits["total"]),
            per_day=_amount(limits.get("per_day", "unlimited")),
            budget=None if budget == "unlimited" else Decimal(budget),
            cost=Decimal(cost) if isinstance(cost, (int, Decimal)) and _is_number(cost) else Decimal(0),
            prefix=None if imported else codes.get("generate"),
            codes=given,
            imported=imported,
            valid_for=fields.get("valid_for"),
            remind=None if "remind" not in fields else fields["remind"].elapsed,
            value=value,
            per_user=None if count == "unlimited" else int(count),
            per_user_window=self._window(node, window),
            fallback=fields.get("on_exhausted", {}).get("use"),
            title=fields.get("title"),
        )

    def _window(self, node: Node, window: str, limit: str = "per_user") -> int | None:
        """The window of ``1/90d``."""
        try:
            return parse_duration(window) if window else None
        except ValueError as error:
            where = _below(node, "limits", limit) or node
            self.shop.problems.error(where, "bad-duration", f"'limits.{limit}': {error}")
            return None

    def _referral(self, name: str, fields: dict[str, Any], node: Node) -> None:
        count, _, window = str(fields["limits"]["per_inviter"]).partition("/")
        if count != "unlimited" and int(count) > MOST:
            where = _below(node, "limits", "per_inviter") or node
            message = f"'limits.per_inviter' is at most {MOST} people, got {count}"
            self.shop.problems.error(where, "out-of-range", message, hint="or unlimited")
        field = fields["field"].removeprefix("user.")
        self.catalog.referrals[name] = Referral(
            name=name,
            prefix=fields["codes"]["generate"],
            field=field,
            differ=tuple(it.removeprefix("user.") for it in fields.get("differ", ())),
            per_inviter=None if count == "unlimited" else int(count),
            window=self._window(node, window, "per_inviter"),
        )

    def _check_coupon(self, name: str, fields: dict[str, Any], node: Node, *, counts: bool) -> None:
        if "remind" in fields and not self._reminds(fields):
            where = _below(node, "remind") or node
            message = f"'remind' of coupon '{name}' needs a 'valid_for' that is longer"
            self.shop.problems.error(where, "conflict", message, hint="valid_for: 7d and remind: 1d, for example")
        if fields.get("on_exhausted", {}).get("use") == name:
            where = _below(node, "on_exhausted", "use") or node
            message = f"coupon '{name}' cannot take its own place when it is exhausted"
            hint = "name another coupon, or leave 'on_exhausted' out"
            self.shop.problems.error(where, "conflict", message, hint=hint)
        if not counts:
            where = _below(node, "limits", "budget") or node
            message = f"the budget of '{name}' is never used up: its 'value' has no number under 'off'"
            self.shop.problems.warning(where, "idle-budget", message, hint="value: {off: 20}, what one coupon costs")

    def _reminds(self, fields: dict[str, Any]) -> bool:
        """Does a coupon last longer than its reminder needs?"""
        lasts: Span | None = fields.get("valid_for")
        if lasts is None:
            return False
        return lasts.days is not None or lasts.elapsed > fields["remind"].elapsed

    def _group(self, name: str, fields: dict[str, Any], node: Node) -> None:
        rooms = []
        zone = localtime.zone(self.zone) or localtime.UTC
        for place, row in enumerate(fields.get("rooms", ())):
            if row.get("soft", 0) > row["capacity"]:
                where = _below(node, "rooms", place, "soft") or node
                message = f"'soft' ({row['soft']}) lies above 'capacity' ({row['capacity']})"
                self.shop.problems.error(where, "out-of-range", message, hint="invites stop at 'soft'")
            last = row.get("expires")
            expires = None if last is None else _end_of(last, zone)
            soft = min(row.get("soft", row["capacity"]), row["capacity"])
            rooms.append(Room(id=row["id"], link=row["link"], capacity=row["capacity"], soft=soft, expires=expires))
        ids = [room.id for room in rooms]
        for place, id_ in enumerate(ids):
            if id_ in ids[:place]:
                where = _below(node, "rooms", place, "id") or node
                self.shop.problems.error(where, "duplicate-name", f"two rooms of '{name}' have the id '{id_}'")
        self.catalog.cards[name] = GroupCard(
            title=fields.get("title"), topic=fields.get("topic"), platform=fields.get("platform"),
            owner=fields.get("owner"), deputies=tuple(fields.get("deputies", ())), channel=fields.get("channel"),
            zone=self._zone(node, fields.get("zone")),
        )  # fmt: skip
        self.catalog.groups[name] = GroupInfo(
            name=name,
            rooms=tuple(rooms),
            rotate=fields.get("rotate", "fill_first"),
            hold=fields.get("hold", _DEFAULT_HOLD),
            match=fields.get("match"),
        )

    def _zone(self, node: Node, name: str | None) -> str | None:
        if name is None or zone_exists(name):
            return name
        message = f"there is no time zone '{name}'"
        self.shop.problems.error(_below(node, "zone") or node, "unknown-zone", message, hint=zone_hint(name))
        return None

    def _role(self, name: str, fields: dict[str, Any], node: Node) -> None:
        spans = {key: fields[key].elapsed for key in ("term", "min_tenure") if key in fields}
        self.catalog.roles[name] = RoleInfo(name=name, per_members=fields.get("per_members"), **spans)


def _end_of(last: date, zone: ZoneInfo) -> int | None:
    """The instant at which a day is over; the year 9999 is how people write "never"."""
    if last.year in (1, 9999):  # the calendar ends within a day of them
        return None if last.year == 9999 else 0
    return localtime.at_wall(last + timedelta(days=1), "00:00", zone)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _below(node: Node, *path: str | int) -> Node | None:
    """The node at a path of keys and places, if all of it is there."""
    here: Node | None = node
    for part in path:
        if isinstance(here, MapNode) and isinstance(part, str):
            here = here.get(part)
        elif isinstance(here, SeqNode) and isinstance(part, int):
            here = here.items[part]
        else:
            return None
    return here


def _amount(value: int | str) -> int | None:
    return None if value == "unlimited" else int(value)


def _circle(asks: Mapping[str, set[str]], start: str) -> list[str] | None:
    """A way from a segment back to itself."""
    paths = [[start]]
    reached = {start}
    while paths:
        path = paths.pop()
        for following in sorted(asks.get(path[-1], ())):
            if following == start:
                return path
            if following not in reached:
                reached.add(following)
                paths.append([*path, following])
    return None


def membership(segment: Segment) -> Callable[[Moment], bool]:
    """Is the subject in the segment, as a full recompute."""
    if segment.members is not None:
        members = segment.members
        return lambda m: name_of(m.state.id) in members
    if segment.selection is not None:
        selection = segment.selection
        return lambda m: selection in m.state.selections
    if segment.test is None:
        return lambda m: False
    return segment.test.test
