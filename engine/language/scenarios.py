"""Reads scenario tests: the same reader, the same messages as for playbooks.

Rule 1: an unknown name in a test is an error; a test that names what is not there would pass for ever.
Rule 2: what the shapes cannot say (times, users, arms, the fields of events) is checked here, at the very word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.core import localtime
from engine.core import shapes as sh
from engine.core.instants import InstantError, parse_duration, parse_instant
from engine.core.plan import Playbook
from engine.core.policies import Control
from engine.core.subjects import GROUP, PROGRAM, PROGRAM_KIND, USER
from engine.language import scenario_forms as forms
from engine.language.diagnostics import Located
from engine.language.expecting import ExpectReader
from engine.language.nodes import MapNode, Node, ScalarNode, SeqNode
from engine.language.reading import FAULT
from engine.language.scenario_facts import check_fields
from engine.language.scenario_model import Check, Fixed, Given, Person, Refusal, Scenario
from engine.language.scenario_verbs import VERBS
from engine.language.scenario_world import answers, belts, drawn
from engine.language.workshop import Workshop
from engine.registry import nearest

_PART = re.compile(r"[0-9]+[smhdw]")
_OWN = ("consent", "history")
_OF_GROUPS = ("members", "history")
_MEMBERS = sh.Many(sh.Ref("user"), at_least=0)



@dataclass
class Times:
    """How the times of one scenario are read."""

    clock: int
    zone: str

    def instant(self, value: Any) -> int:
        """``+20d``, ``{days: 3, at: "10:00"}`` or an instant; raises ValueError."""
        if not isinstance(value, str):
            zone = localtime.zone(self.zone) or localtime.UTC
            return localtime.add_days(self.clock, value["days"], value.get("at"), zone)
        if value[0] not in "+-":
            return parse_instant(value)
        span = sum(parse_duration(part) for part in _PART.findall(value) if part[:-1].strip("0"))  # +0h is the clock
        return self.clock + (span if value[0] == "+" else -span)


class ScenarioMaker:
    """Reads the scenario files of one program.

    Parameters
    ----------
    shop: knows all names of the program.
    playbooks: those that could be compiled, by id.
    zone: the program's zone.
    control: the program's control group.
    """

    def __init__(
        self, shop: Workshop, playbooks: Mapping[str, Playbook], zone: str, control: Control | None = None
    ) -> None:
        self.shop = shop
        self.playbooks = playbooks
        self.zone = zone
        self.control = control
        self.times = Times(0, zone)
        self.wrong = False

    # ------------------------------------------------------------------ the file

    def make(self, root: Node, file: str) -> Scenario | None:
        """The scenario in a file, or None after problems were reported."""
        shop, reading = self.shop, self.shop.reading
        node = reading.mapping(root, file)
        if not isinstance(node, MapNode):
            return None
        if node.keys()[:1] != ["scenario"] and "scenario" in node:
            self._error(node.key("scenario") or node, "scenario-first", "'scenario' is the first key of a scenario")
        self.wrong = node.broken
        users = node.get("users")
        groups = node.get("groups")
        shop.names["user"] = set(users.keys()) if isinstance(users, MapNode) else set()
        named = set(groups.keys()) if isinstance(groups, MapNode) else set()
        known, shop.names["group"] = shop.names["group"], shop.names["group"] | named
        try:
            return self._read(node, file, users, groups)
        finally:
            shop.names["group"] = known

    def _read(self, node: MapNode, file: str, users: Node | None, groups: Node | None) -> Scenario | None:
        shop, reading = self.shop, self.shop.reading
        fields = reading.fields(node, forms.SCENARIO, "scenario")
        clock = node.get("clock")
        self.times = Times(self._clock(clock), self.zone)
        people = self._people(users) if isinstance(users, MapNode) else []
        if isinstance(groups, MapNode):
            people += self._groups(groups)
        real = shop.names["user"]
        shop.names["user"] = real | (set(groups.keys()) if isinstance(groups, MapNode) else set())
        fixed = self._fixed(node.get("fixed"), None if fields is FAULT else fields.get("fixed", {}))
        shop.names["user"] = real
        timeline = self._timeline(node.get("timeline"))
        if fields is FAULT or self.wrong:
            return None
        return Scenario(
            file=file, title=fields["scenario"], playbooks=tuple(dict.fromkeys(fields.get("playbooks", ()))),
            clock=self.times.clock, people=tuple(people), fixed=fixed, timeline=tuple(timeline), mark=node.mark,
        )  # fmt: skip

    def _clock(self, node: Node | None) -> int:
        if not isinstance(node, ScalarNode):
            return 0
        try:
            return parse_instant(node.text)
        except InstantError as error:
            if re.fullmatch(forms.INSTANT.pattern, node.text) is not None:  # the pattern let it pass: a 31st of June
                self._error(node, "bad-time", f"'scenario.clock': {error}")
            return 0

    # ------------------------------------------------------------------ users

    def _people(self, users: MapNode) -> list[Person]:
        found = []
        for name, value in users:
            what = f"users.{name.text}"
            node = self.shop.reading.mapping(value, what, "traits, consent and history; {} for somebody new")
            if not isinstance(node, MapNode):
                self.wrong = True
                continue
            self.wrong = self.wrong or node.broken
            traits = {key.text: one.plain() for key, one in node if key.text not in _OWN and self._trait(key, one)}
            found.append(
                Person(name.text, traits, self._consent(node, what), tuple(self._history(node, name.text, what)))
            )
        return found

    def _groups(self, groups: MapNode) -> list[Person]:
        found = []
        for name, value in groups:
            what = f"groups.{name.text}"
            node = self.shop.reading.mapping(value, what, "traits, members and history; {} for a new one")
            if not isinstance(node, MapNode):
                self.wrong = True
                continue
            self.wrong = self.wrong or node.broken
            self.shop.turn_to(GROUP)
            good = [key.text for key, _ in node if key.text not in _OF_GROUPS and not self.shop.user_field(key)]
            self.shop.turn_to(USER)
            self.wrong = self.wrong or bool(good)
            traits = {key.text: one.plain() for key, one in node if key.text not in _OF_GROUPS}
            members = node.get("members")
            read = [] if members is None else self.shop.reading.read(members, _MEMBERS, f"{what}.members")
            self.wrong = self.wrong or read is FAULT
            history = tuple(self._history(node, None, what, name.text))
            found.append(Person(name.text, traits, (), history, () if read is FAULT else tuple(read)))
        return found

    def _trait(self, key: ScalarNode, value: Node) -> bool:
        near = nearest(key.text, _OWN)
        schema = self.shop.schema
        if near is not None and key.text not in schema.profile and not schema.any_user_field:
            return self._error(key, "unknown-key", f"unknown key '{key.text}' of a user", f"did you mean '{near}'?")
        if not self.shop.user_field(key):
            self.wrong = True
            return False
        return self._sound({key.text: schema.profile.get(key.text)}, [(key, value)], "user")

    def _sound(self, known: Mapping[str, Any], entries: Iterable[tuple[ScalarNode, Node]], what: str) -> bool:
        """Do values have the types their fields declare?"""
        good = check_fields(self.shop.problems, known, entries, what)
        self.wrong = self.wrong or not good
        return good

    def _consent(self, user: MapNode, what: str) -> tuple[tuple[str, str], ...]:
        node = user.get("consent")
        if node is None:
            return ()
        found = self.shop.reading.read(node, forms.CONSENT, f"{what}.consent")
        self.wrong = self.wrong or found is FAULT
        if isinstance(node, MapNode):
            for key, _ in node:
                self._name(key, "channel", f"{what}.consent")
        if found is FAULT:
            return ()
        return tuple((channel, purpose) for channel, purposes in found.items() for purpose in purposes)

    def _history(self, user: MapNode, name: str | None, what: str, group: str | None = None) -> list[Given]:
        node = user.get("history")
        if node is None:
            return []
        if not isinstance(node, SeqNode):
            self._fault(self.shop.reading.wrong_type(node, f"{what}.history", "a list of events"))
            return []
        found = [
            one
            for place, item in enumerate(node.items)
            for one in self._past(item, name, f"{what}.history[{place}]", group)
        ]
        return sorted(found, key=lambda it: it.time)

    def _past(self, item: Node, user: str | None, what: str, group: str | None = None) -> list[Given]:
        """``{order.paid: {amount: 80}, at: -60d}``."""
        reading = self.shop.reading
        node = reading.mapping(item, what, "such as {order.paid: {amount: 80}, at: -60d}")
        if not isinstance(node, MapNode) or node.broken:
            self.wrong = True
            return []
        types = [key for key, _ in node if key.text not in forms.HISTORY.fields]
        if len(types) != 1:
            where: Located = types[1] if types else node
            self._error(where, "scenario-word", f"'{what}' holds one event type and 'at'")
            return []
        type_ = reading.read(types[0], sh.EventName(), what)
        fields = reading.fields(node, forms.HISTORY, what, (types[0].text,))
        body = node.get(types[0].text)
        empty = isinstance(body, ScalarNode) and body.value is None and not body.style
        data = {} if empty or body is None else self._data(body, types[0].text, f"{what}.{types[0].text}")
        if type_ is FAULT or fields is FAULT or data is None:
            self.wrong = True
            return []
        at = self._when(node.get("at") or node, fields["at"])
        whose = user if group is None else fields.get("user")
        first = Given(at, at, type_, whose, group or fields.get("group"), data, fields.get("id"), node.mark)
        found = self._again(first, fields, node)
        if found[-1].at > self.times.clock:
            self._error(node.get("at") or node, "scenario-order", "history lies before 'clock'", "such as -60d")
        return found

    def _again(self, first: Given, fields: Mapping[str, Any], node: MapNode) -> list[Given]:
        """``times`` and ``every``: the same event several times."""
        if ("times" in fields) != ("every" in fields):
            there = "times" if "times" in fields else "every"
            self._error(node.key(there) or node, "missing-key", "'times' and 'every' go together")
            return [first]
        if "times" not in fields:
            return [first]
        if first.id is not None:
            self._error(node.key("id") or node, "conflict", "'times' makes several events, and 'id' names one")
        step = fields["every"].elapsed
        return [replace(first, at=first.at + n * step, time=first.time + n * step) for n in range(fields["times"])]

    def _data(self, node: Node, type_: str, what: str) -> dict[str, Any] | None:
        """The data of an event, along what the program declares of its type."""
        mapping = self.shop.reading.mapping(node, what)
        if not isinstance(mapping, MapNode) or mapping.broken:
            self.wrong = True
            return None
        declared = self.shop.schema.events.get(type_)
        if declared:
            for key, _ in mapping:
                if key.text not in declared and key.text not in ("group", "room"):
                    near = nearest(key.text, declared)
                    hint = f"did you mean '{near}'?" if near else "declared: " + ", ".join(declared)
                    self._error(key, "unknown-field", f"event '{type_}' has no field '{key.text}'", hint)
            self._sound(declared, list(mapping), type_)
        return mapping.plain()

    # ------------------------------------------------------------------ what is laid down

    def _fixed(self, node: Node | None, fields: Mapping[str, Any] | None) -> Fixed:
        if not isinstance(node, MapNode):
            return Fixed()
        self._known_keys(node.get("holdout"), "playbook", "fixed.holdout")
        self._known_keys(node.get("split"), "playbook", "fixed.split")
        self._known_keys(node.get("codes"), "coupon", "fixed.codes")
        for part in ("holdout", "split"):
            inner = node.get(part)
            for key, users in inner if isinstance(inner, MapNode) else ():
                self._known_keys(users, "user", f"fixed.{part}.{key.text}")
        for part in ("control_group", "jitter"):
            self._known_keys(node.get(part), "user", f"fixed.{part}")
        if self.wrong or fields is None:
            return Fixed()
        draws = belts(self._error, node, fields, self.control, sorted(self.shop.names["user"]))
        draws |= drawn(self._error, node, fields, self.playbooks)
        refusals = tuple(
            Refusal(
                row["channel"], frozenset(row.get("attempt", ())), row.get("user"),
                row.get("reason", "refused, as the scenario says"), row.get("definitive", False),
            )
            for row in fields.get("fail", ())
        )  # fmt: skip
        codes = {pool: tuple(codes) for pool, codes in fields.get("codes", {}).items()}
        return Fixed(draws, codes, answers(self._error, node, fields, self.playbooks), refusals)

    def _known_keys(self, node: Node | None, kind: str, what: str) -> None:
        for key, _ in node if isinstance(node, MapNode) else ():
            self._name(key, kind, what)

    def _name(self, key: ScalarNode, kind: str, what: str) -> None:
        if self.shop.reading.read(key, sh.Ref(kind), what) is FAULT:
            self.wrong = True

    # ------------------------------------------------------------------ what happens

    def _timeline(self, node: Node | None) -> list[Given | Check]:
        if node is None:
            return []
        if not isinstance(node, SeqNode):
            self._fault(self.shop.reading.wrong_type(node, "timeline", "a list", "put '- ' before each entry"))
            return []
        if not node.items and not node.broken:
            self._error(node, "empty", "'timeline' is empty")
        out: list[Given | Check] = []
        now = self.times.clock
        for place, item in enumerate(node.items):
            out += self._entry(item, f"timeline[{place}]", now)
            now = max(now, out[-1].at) if out else now
        return out

    def _entry(self, item: Node, what: str, now: int) -> Sequence[Given | Check]:
        """The word is picked first, and only its keys apply."""
        reading = self.shop.reading
        words = " or ".join(f"'{word}'" for word in forms.ENTRIES)
        node = reading.mapping(item, what, f"an entry has {words}")
        if not isinstance(node, MapNode) or node.broken:
            self.wrong = True
            return []
        found = [key for key, _ in node if key.text in forms.ENTRIES]
        if len(found) != 1:
            if found:
                message = f"'{what}' has '{found[0].text}' and '{found[1].text}'"
                self._error(found[1], "conflict", message, "make two entries of it")
                return []
            keys = [key for key, _ in node if key.text not in forms.EVENT.fields]
            near = nearest(keys[0].text, forms.ENTRIES) if keys else None
            hint = f"did you mean '{near}'?" if near else ""
            self._error(keys[0] if keys else node, "scenario-word", f"'{what}' needs {words}", hint)
            return []
        word = found[0].text
        fields = reading.fields(node, forms.ENTRIES[word], what)
        reader = ExpectReader(self.shop, self.times)
        expected = reader.read(node.get("expect") or node, what) if word == "expect" else []
        if fields is FAULT or expected is None:
            self.wrong = True
            return []
        at = now if "at" not in fields else self._when(node.get("at") or node, fields["at"])
        if at < now:
            hint = "entries stand in order of time; an event that arrives late has 'time'"
            self._error(node.get("at") or node, "scenario-order", f"'{what}.at' lies before the entry above it", hint)
            return []
        if word == "event":
            return self._event(node, fields, at, what)
        if word in VERBS:
            return self._verb(word, node, fields, at, what)
        return [Check(at, tuple(expected), (node.key("expect") or node).mark)]

    def _user(self, node: MapNode, fields: Mapping[str, Any], what: str) -> str | None:
        """Whose it is; None after a problem was reported."""
        users, user = self.shop.names["user"], fields.get("user")
        if user is None and len(users) != 1:
            self._error(node, "missing-key", f"'{what}' needs 'user'", "may be left out only when there is one")
            return None
        return next(iter(users)) if user is None else str(user)

    def _verb(self, word: str, node: MapNode, fields: Mapping[str, Any], at: int, what: str) -> list[Given]:
        """What ``drumbeat trigger`` or ``drumbeat tasks done`` would put into the inbox."""
        group, user = fields.get("group"), None
        made = VERBS[word](self._error, node, fields, self.playbooks)
        told = self.playbooks.get(str(fields.get("trigger", made[1].get("playbook") if made is not None else None)))
        if told is not None and told.subject == PROGRAM_KIND:
            user = PROGRAM
        elif group is None:
            user = self._user(node, fields, what)
        body = node.get("data")
        data = {} if body is None else self._data(body, "", f"{what}.data")
        if (user is None and group is None) or made is None or data is None:
            return []
        type_, own = made
        return [Given(at, at, type_, user, group, {**data, **own}, fields.get("id"), node.mark, by_hand=True)]

    def _event(self, node: MapNode, fields: Mapping[str, Any], at: int, what: str) -> list[Given]:
        user = fields.get("user")
        if user is None and "group" not in fields:
            user = self._user(node, fields, what)
            if user is None:
                return []
        body = node.get("data")
        data = {} if body is None else self._data(body, fields["event"], f"{what}.data")
        if data is None:
            return []
        time = at if "time" not in fields else self._when(node.get("time") or node, fields["time"])
        if time > at:
            self._error(node.get("time") or node, "scenario-order", f"'{what}.time' lies after 'at'")
        first = Given(at, time, fields["event"], user, fields.get("group"), data, fields.get("id"), node.mark)
        return self._again(first, fields, node)

    # ------------------------------------------------------------------ helpers

    def _when(self, node: Located, value: Any) -> int:
        try:
            return self.times.instant(value)
        except (ValueError, InstantError) as error:
            self._error(node, "bad-time", str(error))
            return self.times.clock

    def _error(self, where: Located, code: str, message: str, hint: str = "") -> bool:
        self.shop.problems.error(where, code, message, hint=hint)
        self.wrong = True
        return False

    def _fault(self, _: object) -> None:
        self.wrong = True
