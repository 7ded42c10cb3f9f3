"""Reads the safety belts of the program file: policies, freeze windows, the control group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.instants import parse_duration
from engine.core.plan import Policy
from engine.core.policies import DEFAULT_CONSENT, DEFAULT_QUIET, EXEMPT, UNITS, Cap, Control, Freeze, Quiet
from engine.core.shapes import PURPOSES, Ref
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.workshop import Workshop

_FROZEN = frozenset(PURPOSES) - {EXEMPT}
_CONTROLLED = ("marketing",)
_SALT = "control_group"


WINDOWS = "'7d' (rolling) or per 'day', 'week' or 'month' (calendar)"
"""How windows are written, for messages about one that is not."""


def cap_of(row: Mapping[str, Any], *, purpose: str | None = None, channel: str | None = None) -> Cap:
    """The cap of a checked ``{max, per}``; raises ValueError when ``per`` is no window."""
    most = 0 if row["max"] == "never" else row["max"]
    per = None if row["per"] in UNITS else parse_duration(row["per"])
    return Cap(most=most, per=per, unit=row["per"] if per is None else "day", purpose=purpose, channel=channel)


def default_policy(name: str = "default") -> Policy:
    """What holds where nothing is written."""
    return Policy(name=name, consent=DEFAULT_CONSENT, quiet=DEFAULT_QUIET)


class BeltMaker:
    """Makes policies and the control group out of their checked fields.

    Parameters
    ----------
    shop: the compiler's bench.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._calendars: list[tuple[ScalarNode, str]] = []  #: names used before the catalog was read

    def policies(self, node: MapNode, rows: Mapping[str, dict[str, Any]]) -> dict[str, Policy]:
        """All policies of the program file; ``default`` is among them."""
        section = node.get("policies")
        made = {}
        for name, fields in rows.items():
            inner = section.get(name) if isinstance(section, MapNode) else None
            made[name] = self._policy(name, fields, inner if isinstance(inner, MapNode) else node)
        return made if "default" in made else {**made, "default": default_policy()}

    def _policy(self, name: str, fields: dict[str, Any], place: MapNode) -> Policy:
        return Policy(
            name=name,
            consent={**DEFAULT_CONSENT, **fields.get("consent", {})},
            caps=self._caps(fields.get("caps", ()), place.get("caps")),
            quiet=self._quiet(fields.get("quiet_hours"), place.get("quiet_hours") or place),
            freeze=self._freeze(name, fields.get("freeze"), place.get("freeze")),
        )

    def _quiet(self, written: Any, place: Node) -> Quiet | None:
        if written is None:
            return DEFAULT_QUIET
        if written == "never":
            return None
        if written["from"] == written["to"]:
            message = f"quiet hours from {written['from']} to {written['to']} have no length"
            hint = "write the first quiet minute and the first that is not, or never"
            self.shop.problems.error(place, "conflict", message, hint=hint)
        return Quiet.of(written["from"], written["to"])

    def _freeze(self, policy: str, written: Any, place: Node | None) -> Freeze | None:
        if not written or not written["calendars"]:
            return None
        inner = place.get("calendars") if isinstance(place, MapNode) else place
        nodes = inner.items if isinstance(inner, SeqNode) else [inner]
        what = f"policies.{policy}.freeze"
        self._calendars += [(node, what) for node in nodes if isinstance(node, ScalarNode)]
        return Freeze(tuple(written["calendars"]), frozenset(written.get("purposes", _FROZEN)))

    def check_calendars(self) -> None:
        """The catalog was read: do the calendars of the freezes exist?"""
        for node, what in self._calendars:
            self.shop.reading.read(node, Ref("calendar"), what)

    def _caps(self, rows: Any, place: Node | None) -> tuple[Cap, ...]:
        spots = place.items if isinstance(place, SeqNode) else []
        made = (self._cap(row, spot) for row, spot in zip(rows, spots, strict=True))
        return tuple(cap for cap in made if cap is not None)

    def _cap(self, row: dict[str, Any], place: Node) -> Cap | None:
        try:
            return cap_of(row, purpose=row.get("purpose"), channel=row.get("channel"))
        except ValueError as error:
            message = f"a cap is per {WINDOWS}, got '{row['per']}'"
            where = place.get("per") if isinstance(place, MapNode) else None
            self.shop.problems.error(where or place, "bad-duration", message, hint=str(error))
            return None

    def control(self, fields: dict[str, Any] | None, place: Node | None) -> Control | None:
        """The program's control group."""
        if fields is None:
            return None
        percent = fields["percent"]
        if percent * 100 != int(percent * 100):  # subjects are drawn by hundredths of a percent
            where = place.get("percent") if isinstance(place, MapNode) else None
            message = f"'program.control_group.percent' has at most two decimals, got {percent}"
            if where is not None:
                self.shop.problems.error(where, "out-of-range", message)
        purposes = frozenset(fields.get("applies_to", _CONTROLLED))
        return Control(round(percent * 100), fields.get("salt", _SALT), purposes)
