"""What names exist where an expression stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

BASES: Final = frozenset({"text", "number", "integer", "money", "bool", "time", "date", "list", "map", "tier", "any"})

KINDS: Final[dict[str, str]] = {"integer": "number", "money": "number"}
"""Base -> kind, where they differ: to an expression every number is one."""

RESERVED_TYPES: Final = frozenset(
    {
        "user.signup",
        "user.updated",
        "user.deleted",
        "consent.granted",
        "consent.revoked",
        "message.sent",
        "message.delivered",
        "message.opened",
        "message.clicked",
        "message.bounced",
        "message.complained",
        "message.unsubscribed",
        "coupon.issued",
        "coupon.redeemed",
        "coupon.reversed",
        "coupon.expired",
        "group.joined",
        "group.left",
        "group.post",
        "group.updated",
        "role.granted",
        "role.revoked",
        "role.expiring",
        "tier.changed",
        "segment.entered",
        "segment.left",
        "points.changed",
        "points.expired",
        "points.expiring",
        "badge.earned",
        "journey.started",
        "journey.finished",
        "task.done",
        "selection.entered",
        "selection.left",
        "rank.placed",
        "draw.committed",
        "draw.closed",
        "draw.won",
        "survey.sent",
        "survey.answered",
    }
)


@dataclass(frozen=True)
class FieldType:
    """The declared type of a field: a base, or the values it may have."""

    base: str = "any"
    values: tuple[Any, ...] = ()  #: of an enum
    optional: bool = True  #: it may be absent

    @classmethod
    def parse(cls, spec: object) -> FieldType | None:
        """``text``, ``date | none`` or ``[a, b, none]``; None when it is no type."""
        if isinstance(spec, (list, tuple)):
            values = tuple(one for one in spec if one is not None and one != "none")
            if not values or not all(isinstance(one, str) for one in values):
                return None
            return cls("text", values, len(values) < len(spec))
        if not isinstance(spec, str):
            return None
        parts = [part.strip() for part in spec.split("|")]
        bases = [part for part in parts if part != "none"]
        if len(bases) != 1 or bases[0] not in BASES:
            return None
        return cls(bases[0], (), "none" in parts)

    @property
    def kind(self) -> str:
        """What it is to an expression."""
        return KINDS.get(self.base, self.base)


ANY: Final = FieldType()


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields a program declares."""

    profile: Mapping[str, FieldType] = field(default_factory=dict)
    profile_open: bool = False  #: ``profile: open``
    profile_declared: bool = True  #: False: the program declares no profile at all, so any field goes
    events: Mapping[str, Mapping[str, FieldType]] = field(default_factory=dict)
    closed: bool = False  #: ``"*": closed``: undeclared types do not exist

    @property
    def any_user_field(self) -> bool:
        """May an undeclared user field be named?"""
        return self.profile_open or not self.profile_declared

    def knows_type(self, name: str) -> bool:
        """May an event of this type happen?"""
        return not self.closed or name in self.events or name in RESERVED_TYPES

    def type_names(self) -> list[str]:
        """All types worth suggesting."""
        return sorted({*self.events, *RESERVED_TYPES})


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What exists where one expression stands. A set of names that is None is not checked."""

    schema: Schema = field(default_factory=Schema)
    subject: str = "user"  #: "user" | "group" | "program"
    event_types: tuple[str, ...] | None = None  #: types ``event`` may have; None: no event; (): any type
    entry_types: tuple[str, ...] | None = None  #: the same for ``entry``
    steps: Mapping[str, frozenset[str] | None] | None = None  #: step id -> fields of its result (None: any)
    variables: frozenset[str] | None = None  #: names of ``vars``; None: no ``vars`` here
    trigger: bool = False  #: ``trigger.id`` exists
    segments: frozenset[str] | None = None
    others: frozenset[str] = frozenset()  #: segments of other subjects than this one
    ladders: Mapping[str, tuple[str, ...]] | None = None  #: ladder -> levels, lowest first
    ladder: str | None = None  #: the ladder behind ``user.tier``; None: any level of any ladder
    badges: frozenset[str] | None = None
    groups: frozenset[str] | None = None
    roles: frozenset[str] | None = None
    pools: frozenset[str] | None = None  #: only told apart in messages: no expression reads a pool
    accounts: frozenset[str] | None = None  #: the same
    metrics: Mapping[str, str] | None = None  #: metric -> "" of a number, else whose score it is: "user" or "group"
    holidays: bool = True  #: the program has a calendar of holidays
    where: bool = False  #: inside ``where=``: the event alone, without its subject

    @property
    def levels(self) -> frozenset[str] | None:
        """Levels ``user.tier`` may have."""
        if self.ladders is None:
            return None
        if self.ladder is not None and self.ladder in self.ladders:
            return frozenset(self.ladders[self.ladder])
        return frozenset(level for levels in self.ladders.values() for level in levels)

    def family(self, name: str) -> frozenset[str] | None:
        """The names of one family: segment, group, role, badge or level."""
        families = {
            "segment": self.segments, "group": self.groups, "badge": self.badges, "level": self.levels,
            "role": self.roles, "metric": frozenset(self.metrics) if self.metrics is not None else None,
        }  # fmt: skip
        return families[name]

    def elsewhere(self, name: str) -> str:
        """ "it is a badge" when the name exists in another family, else ""."""
        for family, names in (
            ("segment", self.segments),
            ("group", self.groups),
            ("badge", self.badges),
            ("role", self.roles),
            ("tier level", self.levels),
            ("coupon pool", self.pools),
            ("points account", self.accounts),
            ("metric", self.metrics),
        ):
            if names is not None and name in names:
                return f"'{name}' is a {family}"
        return f"'{name}' is a segment of other subjects than this playbook's" if name in self.others else ""
