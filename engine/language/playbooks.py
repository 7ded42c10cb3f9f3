"""Compiles one playbook file: its frame; triggers and steps have readers of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.core.kinds import Trigger
from engine.core.moment import Condition
from engine.core.plan import Block, Entry, Exit, Goal, Holdout, Limit, Playbook, Policy
from engine.language.building import Bench, subject_in
from engine.language.forms import PLAYBOOK
from engine.language.loops import OWN_ENDS
from engine.language.nodes import MapNode, ScalarNode, SeqNode
from engine.language.nodes import Node as Yaml
from engine.language.reading import FAULT
from engine.language.steps import StepReader
from engine.language.triggering import TriggerReader, event_types
from engine.registry import nearest


class PlaybookMaker:
    """Compiles playbooks of one program.

    Parameters
    ----------
    bench: what all playbooks share.
    policies: by name; "default" is there.
    """

    def __init__(self, bench: Bench, policies: Mapping[str, Policy]) -> None:
        self.bench = bench
        self.shop = bench.shop
        self.policies = policies
        self._steps = StepReader(bench)
        self._triggers = TriggerReader(bench)

    def make(self, node: MapNode) -> Playbook | None:
        """The compiled playbook, or None after problems were reported."""
        shop = self.shop
        name = node.get("playbook")
        self.bench.playbook = name.text if isinstance(name, ScalarNode) else "?"
        self._steps.begin(node.get("steps"))
        self.bench.templates.clear()
        variables = node.get("vars")
        shop.variables = frozenset(variables.keys()) if isinstance(variables, MapNode) else frozenset()
        shop.trigger_types = ()
        shop.turn_to(subject_in(node))
        triggers = self._triggers.triggers(node)
        shop.trigger_types = event_types(triggers) if triggers else ()
        heard = frozenset().union(*(trigger.listens() or frozenset() for trigger in triggers))
        self.bench.listens.append((self.bench.playbook, heard))
        self._own_ends(node, triggers)
        self.bench.triggers.extend((self.bench.playbook, trigger) for trigger in triggers)
        fields = shop.reading.fields(node, PLAYBOOK, "playbook")
        good = self._entry_limit(node) and self._exits_told_apart(node) and self._holdout_exact(node)
        if fields is FAULT:
            return None
        if not good or not triggers:
            return None
        playbook = self._playbook(fields, triggers)
        playbook.places = {key.text: f"{key.mark.file}:{key.mark.line}:{key.mark.col}" for key, _ in node}
        return playbook if self._migrate(node, set(playbook.nodes)) else None

    def _own_ends(self, node: MapNode, triggers: Sequence[Trigger]) -> None:
        """Every playbook says when it begins and ends: one that listens to that without any condition hears itself."""
        entry = node.get("entry")
        mode = entry.get("mode") if isinstance(entry, MapNode) else entry
        if node.get("when") is not None or (isinstance(mode, ScalarNode) and mode.text == "once"):
            return
        heard = [trigger.listens() or frozenset() for trigger in triggers if trigger.condition is None]
        unasked: frozenset[str] = frozenset().union(*heard)
        self.bench.unasked.append((self.bench.playbook, unasked))
        for type_ in sorted(OWN_ENDS & unasked):
            self.bench.emits.append((self.bench.playbook, type_, node.get("trigger") or node))

    def _migrate(self, node: MapNode, ids: set[str]) -> bool:
        """Where running journeys are sent must be a step of this version."""
        table, good = node.get("migrate"), True
        for key, value in table if isinstance(table, MapNode) else ():
            if not isinstance(value, ScalarNode) or value.text in ("keep", "cancel", *ids):
                continue
            good = False
            near = nearest(value.text, ["keep", "cancel", *sorted(ids)])
            hint = f"did you mean '{near}'?" if near else "keep, cancel, or the id of a step of this playbook"
            message = f"'migrate.{key.text}' names no step of this playbook: '{value.text}'"
            self.shop.problems.error(value, "unknown-step", message, hint=hint)
        return good

    # ------------------------------------------------------------------ checks beyond shape

    def _entry_limit(self, node: MapNode) -> bool:
        """A limit must be written where one event after the other may begin a journey."""
        entry = node.get("entry")
        mode = entry.get("mode") if isinstance(entry, MapNode) else entry
        if not isinstance(mode, ScalarNode) or mode.text not in ("restart", "queue", "parallel"):
            return True
        if isinstance(entry, MapNode) and ("limit" in entry or entry.broken or _nearly(entry, "limit")):
            return True
        message = f"'entry' of mode '{mode.text}' needs 'limit'"
        hint = "for example limit: 1000/day, or limit: unlimited"
        self.shop.problems.error(mode, "missing-limit", message, hint=hint)
        return False

    def _exits_told_apart(self, node: MapNode) -> bool:
        """Each exit listens to an event, or to one move of a segment, or judges a condition."""
        found = node.get("exit")
        good = True
        for item in found.items if isinstance(found, SeqNode) else [found]:
            if not isinstance(item, MapNode) or item.broken:
                continue
            words = [key for key, _ in item if key.text in ("event", "enters", "leaves")]
            if len(words) > 1:
                good = False
                both = f"'{words[0].text}' and '{words[1].text}'"
                message = f"an exit has one of 'event', 'enters' and 'leaves', here are {both}"
                self.shop.problems.error(words[1], "conflict", message, hint="write a list: exit: [{...}, {...}]")
            elif not item.entries:
                good = False
                message = "an exit needs 'event', 'enters', 'leaves' or 'if'"
                self.shop.problems.error(item, "missing-key", message)
        return good

    def _holdout_exact(self, node: MapNode) -> bool:
        """Subjects are drawn by hundredths of a percent: what is finer would be rounded behind the author's back."""
        holdout = node.get("holdout")
        percent = holdout.get("percent") if isinstance(holdout, MapNode) else None
        value = percent.value if isinstance(percent, ScalarNode) else None
        if percent is None or isinstance(value, (str, bool)) or value is None or value * 100 == int(value * 100):
            return True
        message = f"'playbook.holdout.percent' has at most two decimals, got {value}"
        self.shop.problems.error(percent, "out-of-range", message)
        return False

    # ------------------------------------------------------------------ the playbook

    def _playbook(self, fields: dict[str, Any], triggers: list[Trigger]) -> Playbook:
        body: Block = fields["steps"]
        body.link(None)
        for node in body.walk():
            node.used = bool(self.shop.used_steps & {node.id, "*"})
        exits = tuple(self._exit(row) for row in fields.get("exit", ()))
        holdout = fields.get("holdout")
        return Playbook(
            id=self.bench.playbook,
            subject=self.shop.subject,
            title=fields["title"],
            status=fields.get("status", "live"),
            priority=fields.get("priority", 50),
            triggers=tuple(triggers),
            when=_flat(fields.get("when")),
            entry=_entry(fields["entry"]),
            goal=_goal(fields.get("goal")),
            exits=exits,
            holdout=None if holdout is None else _holdout(holdout, self.bench.playbook),
            policy=self.policies[fields.get("policy", "default")],
            variables=fields.get("vars", {}),
            body=body,
            nodes={it.id: it for it in body.walk()},
            exit_events=frozenset().union(*(it.events for it in exits)) if exits else frozenset(),
            always=any(not it.events and it.segment is None for it in exits),
            on_change=fields.get("on_change", "finish"),
            migrate=fields.get("migrate", {}),
        )

    def _exit(self, row: dict[str, Any]) -> Exit:
        for word in ("enters", "leaves"):
            if word in row:
                self.shop.watched.add(row[word])
                return Exit(segment=row[word], moves=word, test=row.get("if"))
        return Exit(events=frozenset(row.get("event", ())), test=row.get("if"))


def playbook_names(nodes: Iterable[MapNode]) -> dict[str, set[str]]:
    """Names of all playbooks, and of those with a trigger ``called``, also of playbooks with faults."""
    names: dict[str, set[str]] = {"playbook": set(), "called": set()}
    for node in nodes:
        name, trigger = node.get("playbook"), node.get("trigger")
        if isinstance(name, ScalarNode):
            names["playbook"].add(name.text)
            rows = trigger.items if isinstance(trigger, SeqNode) else [trigger]
            if any(isinstance(row, MapNode) and "called" in row for row in rows):
                names["called"].add(name.text)
    return names


def _nearly(entry: Yaml, name: str) -> bool:
    """Does a mapping hold a misspelling of a key, which was reported?"""
    return isinstance(entry, MapNode) and any(nearest(key.text, [name]) for key, _ in entry)


def _flat(when: Condition | None) -> tuple[Condition, ...]:
    """A list under ``when`` is judged one by one, so that a trace names the one that refused."""
    if when is None:
        return ()
    return when.parts if when.op == "and" and when.parts and when.listed else (when,)


def _entry(fields: dict[str, Any]) -> Entry:
    limit = fields.get("limit", "unlimited")
    count, _, per = limit.partition("/")
    return Entry(
        mode=fields["mode"],
        key=fields.get("key"),
        again_after=fields.get("again_after"),
        limit=None if limit == "unlimited" else Limit(count=int(count), per=per),
        on_limit=fields.get("on_limit", "wait"),
        inside=tuple(fields.get("in", ())),
        outside=tuple(fields.get("not_in", ())),
    )


def _goal(fields: dict[str, Any] | None) -> Goal | None:
    if fields is None:
        return None
    return Goal(
        events=frozenset(fields["event"]),
        test=fields.get("if"),
        within=fields["within"],
        then=fields.get("then", "exit"),
        value=fields.get("value"),
    )


def _holdout(fields: dict[str, Any], playbook: str) -> Holdout:
    return Holdout(percent=round(fields["percent"] * 100), salt=fields.get("salt", playbook))
