"""What a journey gave to the outbox and nobody sent yet, when the journey ends early; and channels that refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from crash_world import without_disk
from flow_program import SECRET, Wall
from semantics_kit import Row, event

from engine import wiring
from engine.cli.why import _effect
from engine.core.model import HOUR
from engine.insight.why import answer
from engine.language.compile import compile_program
from engine.ports import Outgoing, Sent
from engine.runtime.claims import Claims
from engine.runtime.outbox import Outbox
from engine.runtime.pump import Done, Pump
from engine.stores.memory import MemoryStore
from engine.stores.sqlite import SqliteStore

HEAD = """\
program: kit
feeds: [{file: feed/*.jsonl}]
channels: {sms: {via: file, path: s, address: user.phone}, box: {via: file, path: o}}
policies:
  default:
    consent: {marketing: required}
    quiet_hours: never
    caps: [{channel: box, max: 1, per: 1d}]
"""
TEMPLATES = {"templates/hi.sms.j2": "短信 {{ user.id }}", "templates/hi.box.j2": "盒子 {{ user.id }}"}
ENTRY = "playbook: p\ntitle: t\ntrigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
SAY = "{message: {template: hi, purpose: marketing, via: [sms, box]}}"


class Refusing:
    """A channel that really writes, and refuses for good what goes to one address."""

    once = True
    mode = None

    def __init__(self, name: str, path: Path, refuses: str | None) -> None:
        self.name, self.path, self.refuses = name, path, refuses

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        answers = []
        for item in items:
            if self.refuses is not None and item.effect.to == self.refuses:
                answers.append(Sent(ok=False, reason="no such number"))
                continue
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{item.effect.detail['text']}\n")
            answers.append(Sent(ok=True))
        return answers

    def close(self) -> None:
        """Nothing stays open."""


class World:
    """One program, one store, and runs that see ever more of the feed."""

    def __init__(self, root: Path, playbook: str) -> None:
        self.root = root
        for name, text in {"drumbeat.yaml": HEAD, "playbooks/p.yaml": ENTRY + playbook, **TEMPLATES}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (root / "feed").mkdir()
        self.program = compile_program(root)
        assert self.program.plan is not None, [str(problem) for problem in self.program.problems]

    def run(
        self, *feed: Row, deliver: bool = False, refuses: str | None = None, later: int = 0, batch: int = 500
    ) -> Done:
        with (self.root / "feed/a.jsonl").open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in feed))
        plan, wall = self.program.plan, Wall()
        wall.at += later
        assert plan is not None
        with without_disk():
            store = SqliteStore.open(self.root / "s.db")
            try:
                ways: dict[str, Any] = {
                    name: Refusing(name, self.root / f"{name}.txt", refuses) for name in ("sms", "box")
                }
                outbox = Outbox(store, ways, wall, Claims(plan, store, wall)) if deliver else None
                feeds = wiring.open_feeds(self.program.settings, self.root)
                return Pump(plan, store, feeds, outbox, wall, secret=SECRET, batch=batch).until_idle()
            finally:
                store.close()

    def deliveries(self) -> list[tuple[str, str, str | None]]:
        """(status, channel, reason) of what is not pending any more, or still is."""
        store = SqliteStore.open(self.root / "s.db", read_only=True)
        try:
            return [
                (status, item.channel, reason)
                for status in ("pending", "sent", "dead", "unknown", "cancelled")
                for item, reason in store.deliveries(status)
            ]
        finally:
            store.close()

    def why(self) -> list[Row]:
        store = SqliteStore.open(self.root / "s.db", read_only=True)
        assert self.program.plan is not None
        try:
            said = answer(self.program.plan, store, "u1", fresh=lambda: MemoryStore(keep_log=False))
            return list(said["playbooks"]["p"]["effects"])
        finally:
            store.close()

    def lines(self, channel: str) -> list[str]:
        path = self.root / f"{channel}.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


HELLO = [
    event("0", "user.updated", "09:00", phone="13800"),
    event("1", "consent.granted", "09:00"),
    event("2", "a", "10:00"),
]
EARLY = [
    ("goal: {event: order, within: 7d}\n", ", {wait: 3d}", event("3", "order", "11:00"), "goal"),
    ("goal: {event: order, within: 7d}\n", "", event("3", "order", "11:00"), "goal"),
    ("exit: [{event: order}]\n", ", {wait: 3d}", event("3", "order", "11:00"), "exit[0]"),
    ("", ", {wait: 3d}", event("3", "user.deleted", "11:00"), "user.deleted"),
    ("goal: {event: order, within: 7d}\n", "", event("3", "user.deleted", "11:00"), "user.deleted"),
]


@pytest.mark.parametrize(("frame", "more", "last", "reason"), EARLY)
def test_what_is_queued_is_cancelled(tmp_path: Path, frame: str, more: str, last: Row, reason: str) -> None:
    """Semantics: exit.cancels, goal.outlives, erasure.state — "ends the run at that event, cancels its queued
    effects": also when the steps are over and only the goal is open; nothing is sent afterwards."""
    world = World(tmp_path, f"{frame}steps: [{SAY}{more}]\n")
    world.run(*HELLO)
    assert world.deliveries() == [("pending", "sms", None)]
    assert world.run(last).sent == {"cancelled": 1}
    assert world.deliveries() == [("cancelled", "sms", reason)]
    world.run(deliver=True)
    assert world.lines("sms") == world.lines("box") == []


def test_restart_cancels_the_queued_effects_of_the_one_before(tmp_path: Path) -> None:
    """Entry: "*restart*: the running one is cancelled first", with what it has in the outbox.

    Semantics: entry.restart
    """
    world = World(tmp_path, f"steps: [{SAY}, {{wait: 3d}}]\n")
    path = tmp_path / "playbooks/p.yaml"
    path.write_text(path.read_text().replace("mode: parallel", "mode: restart"))
    world.program = compile_program(tmp_path)
    world.run(*HELLO)
    assert world.run(event("3", "a", "11:00")).sent == {"cancelled": 1}
    assert world.deliveries() == [("pending", "sms", None), ("cancelled", "sms", "restart")]


@pytest.mark.parametrize("frame", ["", "goal: {event: order, within: 7d, then: continue}\n"])
def test_what_ends_by_itself_is_sent(tmp_path: Path, frame: str) -> None:
    """A journey that comes to its end, or whose goal lets it continue, leaves its messages in the outbox."""
    world = World(tmp_path, f"{frame}steps: [{SAY}]\n")
    world.run(*HELLO)
    done = world.run(event("3", "order", "11:00"), deliver=True)
    assert done.sent == {"sent": 1}
    assert world.lines("sms") == ["短信 u1"]


def test_what_was_sent_stays_sent(tmp_path: Path) -> None:
    """A goal after the sending takes nothing back.

    Semantics: exit.cancels
    """
    world = World(tmp_path, f"goal: {{event: order, within: 7d}}\nsteps: [{SAY}]\n")
    assert world.run(*HELLO, deliver=True).sent == {"sent": 1}
    assert world.run(event("3", "order", "11:00"), deliver=True).sent == {}
    assert world.deliveries() == [("sent", "sms", None)]


def test_consent_revoked_before_the_sending(tmp_path: Path) -> None:
    """Semantics: consent.twice — "and again when claimed for sending": by the user as the store has it by then."""
    world = World(tmp_path, f"steps: [{SAY}]\n")
    world.run(*HELLO)
    world.run(event("3", "consent.revoked", "11:00"))
    assert world.run(deliver=True).sent == {"cancelled": 1}
    assert world.deliveries() == [("cancelled", "sms", "consent")]
    (row,) = [row for row in world.why() if row["effect"] == "message"]
    assert (row["status"], row["delivery"], row["delivery_reason"]) == ("planned", "cancelled", "consent")
    assert "planned, cancelled by sms (consent)" in "\n".join(_effect(row))


def test_valid_for_ends_before_the_sending(tmp_path: Path) -> None:
    """`valid_for` at the claim: when nobody ran the program for two hours, an hour's message is not sent any more."""
    world = World(tmp_path, "steps: [{message: {template: hi, purpose: marketing, valid_for: 1h}}]\n")
    world.run(*HELLO)
    assert world.run(event("3", "b", "12:00"), deliver=True, later=2 * HOUR).sent == {"cancelled": 1}
    assert world.deliveries() == [("cancelled", "sms", "expired")]


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_a_backlog_goes_out_as_it_would_have_gone_out_then(tmp_path: Path, batch: int) -> None:
    """Whatever stands in one transaction: neither a goal later in the backlog nor `valid_for` takes a message back.

    Semantics: exit.backlog
    """
    world = World(tmp_path, "goal: {event: order, within: 7d}\n"
                  "steps: [{message: {template: hi, purpose: marketing, valid_for: 1h}}]\n")  # fmt: skip
    done = world.run(*HELLO, event("3", "order", "14:00"), event("4", "b", "18:00"), deliver=True, batch=batch)
    assert done.sent == {"sent": 1}
    assert world.lines("sms") == ["短信 u1"]


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_a_backlog_of_slots_goes_out_as_it_would_have_gone_out_then(tmp_path: Path, batch: int) -> None:
    """The same where slots of a schedule make several transactions of one batch: the exit behind them takes nothing
    back that was due before."""
    world = World(tmp_path, f"exit: [{{event: order}}]\nsteps: [{SAY}, {{wait: 3d}}]\n")
    path = tmp_path / "playbooks/p.yaml"
    path.write_text(path.read_text().replace("{event: a}", "{schedule: {every: 1h, audience: true}}"))
    world.program = compile_program(tmp_path)
    done = world.run(*HELLO, event("3", "b", "12:15"), event("4", "order", "12:30"), deliver=True, batch=batch)
    assert done.sent == {"sent": 4}  # 09:00, 10:00, 11:00, 12:00


def test_the_next_channel_has_its_own_text(tmp_path: Path) -> None:
    """Semantics: channel.next — rendered for each channel at the decision, sent by the next one on refusal."""
    world = World(tmp_path, f"steps: [{SAY}]\n")
    done = world.run(*HELLO, deliver=True, refuses="13800")
    assert done.sent == {"passed_on": 1, "sent": 1}
    assert (world.lines("sms"), world.lines("box")) == ([], ["盒子 u1"])
    assert world.deliveries() == [("sent", "box", None)]


def test_a_channel_whose_cap_is_full_is_no_second_choice(tmp_path: Path) -> None:
    """Semantics: channel.cap — a cap on the second channel holds for it, too: the refused message is dead."""
    world = World(tmp_path, f"steps: [{{message: {{template: hi, purpose: service, via: box}}}}, {SAY}]\n")
    done = world.run(*HELLO, deliver=True, refuses="13800")
    assert done.sent == {"sent": 1, "dead": 1}
    assert world.lines("box") == ["盒子 u1"]
