"""The compiler's bench: names, scopes and the services that reading a file needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from engine.core import shapes as sh
from engine.core.calendars import Calendar
from engine.core.history import HistoryBook
from engine.core.lunar import Lunar, Month
from engine.core.moment import Condition, Value
from engine.core.subjects import GROUP, PROGRAM_KIND, USER
from engine.language import daytables
from engine.language.diagnostics import Mark, Problems, Severity
from engine.language.expressions import (
    compile_condition,
    compile_expression,
    compile_value,
)
from engine.language.expressions.issues import Issue
from engine.language.expressions.scope import Schema, Scope
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.reading import FAULT, Reading, Services, _Fault
from engine.language.remembered import Remembered
from engine.registry import nearest
from engine.render import TemplateSet

OWN_FIELDS = ("id", "tier", "tags", "points", "points_pending", "badges", "groups", "created_at", "last_active_at")
"""What the engine keeps of a user; ``zone`` and ``locale`` are fields like any other."""

OWN_GROUP_FIELDS = ("id", "members", "roles", "silent_days", "tags", "points", "badges", "created_at", "last_active_at")
"""What the engine keeps of a group; the others are what the catalog says, until they are written."""

_STEPS_READ = re.compile(r"""\bsteps\s*(?:\.\s*(\w+)|\[\s*["'](\w+))""")
_SEGMENT_CALLS = re.compile(r"in_segment\('([^']*)'\)")


class Workshop(Services):
    """Holds what is known while a program is compiled.

    Parameters
    ----------
    problems: where everything that is wrong goes.
    schema: fields of users and events.
    book: the history the conditions need.
    """

    def __init__(self, problems: Problems, schema: Schema, book: HistoryBook, templates: TemplateSet) -> None:
        self.problems = problems
        self.schema = schema
        self.books = {USER: book, GROUP: HistoryBook(book.late), PROGRAM_KIND: HistoryBook(book.late)}
        self.subject = USER  #: what is spoken of at the place at hand
        self.playbook_kinds: dict[str, str] = {}  #: playbook -> what it is about
        self.segment_kinds: dict[str, str] = {}  #: segment -> what it is a segment of
        self.templates = templates
        self.reading = Reading(self)
        self.names: dict[str, set[str]] = {}
        self.seen_types: set[str] = set()
        self.trigger_types: tuple[str, ...] | None = None  #: types ``event`` may be in this playbook; None: no event
        self.known_steps: dict[str, frozenset[str]] = {}  #: steps with an id, read so far
        self.used_steps: set[str] = set()  #: ids the playbook reads as ``steps.<id>``; "*": maybe any
        self.said_steps: set[str] = set()  #: those of them that what a step says or hands on is made of
        self.written_steps: dict[str, Mark] = {}  #: ids of the whole playbook, also of steps nobody can read
        self.variables: frozenset[str] = frozenset()
        self.watched: set[str] = set()
        self.metrics: dict[str, str] = {}  #: metric -> "", or whose score it is
        self.holidays = False  #: the catalog has a calendar of holidays
        self.today: date | None = None  #: the present, for checks that ask for it
        self.lunar_months: dict[Month, int] = {}  #: first days the catalog gives lunar months, over the table
        self.calendars: dict[str, Calendar] = {}  #: those of the catalog, when they are made
        self.lunar_table: Lunar | None = None  #: made when somebody asks
        self.unread: set[str] = set()  #: kinds of names that may stand in a file nobody could read to its end
        self.unread_templates: list[str] = []  #: template files with an error
        self.in_use: set[tuple[str, str]] = set()  #: (kind, name) of every name some file refers to
        self.ruling = False  #: rules of the catalog are read: ``event`` is the one a rule names
        self._arriving: list[tuple[str, ...] | None] = []
        self._base = Scope(schema=schema)
        self._remembered = Remembered()
        self._negated = False  #: an odd number of ``none:`` stands around what is read
        self.step_reader: Any = None  #: reads a list of steps; set by the playbook compiler

    # ------------------------------------------------------------------ names

    @property
    def book(self) -> HistoryBook:
        """The history of the subjects at hand."""
        return self.books[self.subject]

    def turn_to(self, subject: str) -> None:
        """From here on users, groups or the program are spoken of."""
        self.subject = subject
        mine = self._family("segment")
        others = frozenset(self.names.get("segment", ())) - (mine or frozenset())
        self._base = replace(self._base, subject=subject, segments=mine, others=others)

    def known(self, kind: str) -> Iterable[str]:
        if kind == "level":
            return self.names.get("level", ())
        if kind == "template":
            return self.templates.names()
        if kind == "segment":
            return self._segments(self.subject)
        return self.names.get(kind, ())

    def _segments(self, subject: str) -> set[str]:
        """Segments of one kind of subjects."""
        return {it for it in self.names.get("segment", ()) if self.segment_kinds.get(it, USER) == subject}

    def doubtful(self, kind: str, name: str) -> bool:
        if kind == "template":
            return any(file.startswith(f"templates/{name}.") for file in self.unread_templates)
        return kind in self.unread

    def used(self, kind: str, name: str) -> None:
        self.in_use.add((kind, name))

    def event_type(self, node: ScalarNode) -> None:
        self.seen_types.add(node.text)
        if self.schema.knows_type(node.text):
            return
        near = nearest(node.text, self.schema.type_names())
        hint = f"did you mean '{near}'?" if near else "declare it under 'events', or set '\"*\": open'"
        self.problems.error(node, "unknown-event", f"event type '{node.text}' is not declared", hint=hint)

    def arriving(self, types: tuple[str, ...] | None) -> None:
        self._arriving = [types] if types is not None else []
        if self.ruling:
            self.trigger_types = types

    # ------------------------------------------------------------------ expressions

    def scope(self, kind: str) -> Scope:
        """What names exist where the shape says ``kind``."""
        arriving = self._arriving[-1] if self._arriving else ()
        if kind == "user":
            return replace(self._base, event_types=None)
        if kind == "users":  # each user, whatever the playbook is about
            return replace(self._base, subject=USER, segments=self._family("segment", USER), event_types=None)
        if kind == "where":
            return replace(self._base, event_types=arriving, where=True)
        inside = replace(self._base, trigger=True, variables=self.variables, event_types=self.trigger_types)
        if kind == "trigger":
            return inside
        inside = replace(inside, entry_types=self.trigger_types, steps=self.known_steps)
        return replace(inside, event_types=arriving) if kind == "arriving" else inside

    def settle_names(self, ladders: dict[str, tuple[str, ...]], ladder: str | None) -> None:
        """All names of the catalog are known: expressions may use them."""
        self._remembered.forget()
        self._base = Scope(
            schema=self.schema, subject=self.subject, segments=self._family("segment"), ladder=ladder,
            ladders=None if "ladder" in self.unread else ladders,
            badges=self._family("badge"), groups=self._family("group"), roles=self._family("role"),
            pools=self._family("coupon"),
            accounts=self._family("account"), holidays=self.holidays,
            metrics=None if "metric" in self.unread else self.metrics,
        )  # fmt: skip

    def _family(self, kind: str, subject: str | None = None) -> frozenset[str] | None:
        if kind in self.unread:
            return None
        return frozenset(self._segments(subject or self.subject) if kind == "segment" else self.known(kind))

    def tell(self, node: ScalarNode, issues: Iterable[Issue]) -> bool:
        """Report the issues of an expression at their words; True when an error was among them."""
        if "steps" in node.text:
            self.used_steps.update(one or other for one, other in _STEPS_READ.findall(node.text))
        found = list(issues)
        for issue in found:
            severity: Severity = "error" if issue.severity == "error" else "warning"
            where = node.at(issue.start, max(1, issue.end - issue.start))
            hint = issue.hint
            if issue.code == "unknown-step":
                written = self.written_steps.get(node.text[issue.start : issue.end])
                if written is not None and written < where.mark and self.problems.has_errors:
                    continue  # the step is there, but could not be read: that was said already
                hint = f"it is written further down, on line {written.line}" if written is not None else hint
            if not _follows(issue, found):
                self.problems.add(where, issue.code, issue.message, severity=severity, hint=hint)
        return any(issue.severity == "error" for issue in found)

    def condition(self, node: ScalarNode, shape: sh.Cond) -> Condition | _Fault:
        scope = self.scope(shape.scope)
        sort = ("not" if self._negated else "condition") + ("*" if shape.everybody else "")
        key = self._remembered.key(sort, node.text, scope, shape.time_free)
        known: Condition | None = self._remembered.get(key)
        if known is not None:
            return known
        found, issues = compile_condition(
            node.text, scope, self.books[scope.subject], time_free=shape.time_free, negated=self._negated
        )
        if shape.everybody and node.text == "true":
            issues = [issue for issue in issues if issue.code != "constant-condition"]
        if self.tell(node, issues) or found is None:
            return FAULT
        return self._remembered.put(key, found, sound=not issues)

    def turned(self) -> None:
        self._negated = not self._negated

    def is_number(self, node: ScalarNode, scope: str) -> bool:
        """May the value of a valid expression be a number, as far as its parts are declared?"""
        _, issues = compile_condition(f"({node.text}) >= 0", self.scope(scope), HistoryBook())
        return all(issue.code not in ("type-mismatch", "tier-order") for issue in issues)

    def expression(self, node: ScalarNode, shape: sh.Expr) -> Value | _Fault:
        scope = self.scope(shape.scope)
        key = self._remembered.key("expression", node.text, scope, shape.time_free)
        known: Value | None = self._remembered.get(key)
        if known is not None:
            return known
        found, issues = compile_expression(node.text, scope, self.books[scope.subject], time_free=shape.time_free)
        if self.tell(node, issues) or found is None:
            return FAULT
        return self._remembered.put(key, found, sound=not issues)

    def value(self, node: Node) -> Value | _Fault:
        """A literal, text with expressions, or a list or mapping of such."""
        if isinstance(node, ScalarNode):
            if "{{" not in node.text or (node.value is not None and not isinstance(node.value, str)):
                literal = node.value
                return Value(text=node.text, get=lambda m: literal, constant=True)
            self.said_steps.update(one or other for one, other in _STEPS_READ.findall(node.text))
            scope = self.scope("step")
            key = self._remembered.key("value", node.text, scope)
            known: Value | None = self._remembered.get(key)
            if known is not None:
                return known
            found, issues = compile_value(node.text, scope, self.books[scope.subject])
            if self.tell(node, issues) or found is None:
                return FAULT
            return self._remembered.put(key, found, sound=not issues)
        if isinstance(node, SeqNode):
            items = [self.value(item) for item in node.items]
            if any(isinstance(item, _Fault) for item in items):
                return FAULT
            values = [item for item in items if isinstance(item, Value)]
            fixed = all(value.constant for value in values)
            return Value(text="[...]", get=lambda m: [value.get(m) for value in values], constant=fixed)
        if isinstance(node, MapNode):
            pairs = {key.text: self.value(value) for key, value in node}
            if any(isinstance(item, _Fault) for item in pairs.values()):
                return FAULT
            kept = {name: item for name, item in pairs.items() if isinstance(item, Value)}
            fixed = all(value.constant for value in kept.values())
            return Value(
                text="{...}", get=lambda m: {name: value.get(m) for name, value in kept.items()}, constant=fixed
            )
        return FAULT

    def user_field(self, node: ScalarNode) -> bool:
        """A field that is like a declared one is a slip; any other may come in, but no condition can name it."""
        whose, _, name = node.text.partition(".")
        if not name:
            whose, name = self.subject, whose
        if whose != self.subject:
            message = f"'{node.text}': this playbook is about a {self.subject}, not about a {whose}"
            self.problems.error(node, "wrong-subject", message, hint=f"did you mean '{self.subject}.{name}'?")
            return False
        if whose == GROUP:
            if name not in OWN_GROUP_FIELDS:
                return True
            message = f"'group.{name}' is kept by the engine and cannot be set"
            self.problems.error(node, "unknown-field", message, hint="name another field")
            return False
        schema = self.schema
        where = node.at(len(node.text) - len(name), len(name))
        if name in OWN_FIELDS:
            message = f"'user.{name}' is kept by the engine and is no field of the profile"
            self.problems.error(where, "unknown-field", message, hint="name a field of the profile")
            return False
        if schema.any_user_field or name in schema.profile or name in ("zone", "locale"):
            return True
        near = nearest(name, schema.profile)
        if near is not None:
            hint = f"did you mean '{near}'?"
            self.problems.error(where, "unknown-field", f"'user' has no field '{name}'", hint=hint)
            return False
        hint = f"declare it under 'profile'; undeclared, only user.get('{name}') can read it"
        self.problems.warning(where, "undeclared-field", f"'user' declares no field '{name}'", hint=hint)
        return True

    def steps(self, node: SeqNode) -> Any:
        return self.step_reader(node)

    def lunar(self) -> Lunar:
        """The lunar calendar, with the catalog's first days of months over those of the table."""
        if self.lunar_table is None:
            self.lunar_table = daytables.lunar(self.lunar_months)
        return self.lunar_table

    # ------------------------------------------------------------------ segments

    def segments_in(self, condition: Condition) -> set[str]:
        """Names of segments a condition asks for."""
        return set(_SEGMENT_CALLS.findall(condition.text))


def _follows(issue: Issue, found: list[Issue]) -> bool:
    """Is it only what another issue of the same text leads to?

    A full-width sign is replaced before parsing goes on, so the parser may trip over the very same place; and braces
    come in pairs.
    """
    if issue.code == "slip-braces":
        return any(other.code == issue.code and other.start < issue.start for other in found)
    return issue.code == "syntax" and any(
        other.code.startswith("slip-") and other.start == issue.start for other in found
    )
