"""``drumbeat outbox``: what stands there, and what a person does with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.actions.webhook import ANSWERED
from engine.core.model import Effect
from engine.ports import Batch, Settlement
from engine.runtime.standing import HELD
from engine.stores.sqlite import SqliteStore

Drumbeat = Callable[..., Any]
Make = Callable[..., Path]

FEED = '{"id": "e1", "type": "order.paid", "user": "u1", "time": "2026-03-01T01:00:00Z"}\n'
REASON = "no such number: \x1b[2J"


def kept(key: str, kind: str = "message", **more: Any) -> Effect:
    """An effect that has to go out."""
    fields: dict[str, Any] = {
        "playbook": "thanks", "step": "message[1]", "user": f"u-{key}", "group": None, "status": "planned",
        "reason": None, "detail": {"text": f"茶 for {key}"}, "deliver": "sms", "to": "+86 1", **more,
    }  # fmt: skip
    return Effect(key=key, time=1_700_000_000_000_000, kind=kind, **fields)


@pytest.fixture
def root(make: Make) -> Path:
    """A program whose store has a delivery in each status."""
    program = make({})
    store = SqliteStore.open(program / "drumbeat.db")
    keys = ["dead", "unknown", "again", "sending"]
    effects = [*map(kept, keys), kept("hook", "webhook"), kept("new", deliver="mail")]
    store.commit(Batch(1, [], [], effects, [], {}, [], [], [], {}))
    store.claim(["sms"], 1_700_000_000_000_000, 5)
    store.settle(
        [
            Settlement("dead", "dead", REASON),
            Settlement("unknown", "unknown", "time-out"),
            Settlement("again", "retry", "busy", 1_700_000_060_000_000),
            Settlement("hook", "retry", "busy", 1_700_000_060_000_000),
        ]
    )
    store.close()
    return program


def statuses(root: Path) -> dict[str, str]:
    store = SqliteStore.open(root / "drumbeat.db")
    found = {effect.key: how for effect, how in store.effects()}
    store.close()
    return found


def test_list(drumbeat: Drumbeat, root: Path) -> None:
    """The list shows whole keys, where each stands, why, and when it is tried again; and how many there are.

    Semantics: outbox.verbs
    """
    said = drumbeat("outbox", "list", "--program", root)
    assert said.code == 0
    assert "dead  dead    message to u-dead over sms, 1 try: no such number: \\x1b[2J" in said.out
    assert "again  pending message to u-again over sms, 1 try, next 2023-11-14T22:14:20Z: busy" in said.out
    assert "1 dead, 3 pending, 1 sending, 1 unknown" in said.out
    found = drumbeat("outbox", "list", "--program", root, "--format", "json", "--limit", 2).json
    assert (found["total"], found["counts"]) == (6, {"dead": 1, "pending": 3, "sending": 1, "unknown": 1})
    assert [(it["key"], it["attempts"], it["reason"]) for it in found["deliveries"]] == [
        ("again", 1, "busy"),
        ("hook", 1, "busy"),
    ]
    assert "4 more" in drumbeat("outbox", "list", "--program", root, "--limit", 2).out


def test_list_of_some(drumbeat: Drumbeat, root: Path) -> None:
    """Statuses and a channel narrow the list; nothing found says so.

    Semantics: outbox.verbs
    """

    def keys(*words: str) -> list[str]:
        found = drumbeat("outbox", "list", *words, "--program", root, "--format", "json").json
        return [it["key"] for it in found["deliveries"]]

    assert keys("--status", "dead", "--status", "unknown") == ["dead", "unknown"]
    assert keys("--channel", "mail") == ["new"]
    said = drumbeat("outbox", "list", "--status", "sent", "--program", root)
    assert (said.code, said.out) == (0, "nothing of that stands in the outbox\n")


def test_show(drumbeat: Drumbeat, root: Path) -> None:
    """One delivery is shown with what it carries, harmless on a terminal; one that is not there is a wrong key.

    Semantics: outbox.verbs
    """
    said = drumbeat("outbox", "show", "dead", "--program", root)
    assert said.code == 0
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    for words in ("key dead", "attempts 1", "text 茶 for dead", "reason no such number: \\x1b[2J", "to +86 1"):
        assert words in lines
    found = drumbeat("outbox", "show", "dead", "--program", root, "--format", "json").json
    assert (found["reason"], found["first_try"], found["detail"]) == (
        REASON, "2023-11-14T22:13:20Z", {"text": "茶 for dead"}
    )  # fmt: skip
    missing = drumbeat("outbox", "show", "nobody", "--program", root)
    assert (missing.code, "no delivery nobody" in missing.err) == (2, True)


def test_retry(drumbeat: Drumbeat, root: Path) -> None:
    """Dead and unknown deliveries go again under their keys, by key or all of a status.

    Semantics: outbox.verbs
    """
    assert drumbeat("outbox", "retry", "dead", "--program", root, "--format", "json").json == {"retried": 1}
    said = drumbeat("outbox", "retry", "--status", "unknown", "--channel", "sms", "--program", root)
    assert (said.code, said.out) == (0, "retried     1: they go out with the next run\n")
    waiting = dict.fromkeys(["dead", "unknown", "again", "hook", "new"], "pending")
    assert statuses(root) == {**waiting, "sending": "sending"}
    said = drumbeat("outbox", "retry", "--status", "dead", "--program", root, "--format", "json")
    assert said.json == {"retried": 0}


def test_drop(drumbeat: Drumbeat, root: Path) -> None:
    """What is dropped never goes out, and a journey that waits for its answer is told that none comes.

    Semantics: outbox.verbs
    """
    keys = ["again", "hook", "dead"]
    assert drumbeat("outbox", "drop", *keys, "--program", root, "--format", "json").json == {"dropped": 3}
    store = SqliteStore.open(root / "drumbeat.db")
    assert {it.item.key: it.reason for it in store.outbox("cancelled")} == dict.fromkeys(keys, "dropped")
    ((_, event),) = store.inbox(0, 9)
    assert (event.type, event.data["webhook"], event.data["status"]) == (ANSWERED, "hook", None)
    store.close()


@pytest.mark.parametrize("verb", ["retry", "drop"])
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "name deliveries by their keys, or by --status"),
        (("dead", "--status", "dead"), "name deliveries by their keys, or by --status"),
        (("dead", "--channel", "sms"), "name deliveries by their keys, or by --status"),
        (("dead", "gone"), "no delivery gone"),
        (("dead", "sending"), "sending is sending; what is "),
    ],
)
def test_what_cannot_be_meant(drumbeat: Drumbeat, root: Path, verb: str, words: tuple[str, ...], error: str) -> None:
    """A key that is not there, or stands where nothing can be done, is refused before anything is done."""
    before = statuses(root)
    said = drumbeat("outbox", verb, *words, "--program", root)
    assert said.code == 2
    assert error in said.err
    assert statuses(root) == before


def test_a_store_in_use(drumbeat: Drumbeat, root: Path) -> None:
    """While another process writes the store it can be looked at and not changed."""
    store = SqliteStore.open(root / "drumbeat.db")
    assert drumbeat("outbox", "list", "--program", root).code == 0
    said = drumbeat("outbox", "drop", "dead", "--program", root)
    assert (said.code, "is being written by process" in said.err) == (3, True)
    store.close()


def test_a_held_store(drumbeat: Drumbeat, root: Path) -> None:
    """In a restored store nothing is pending but held, and says why; released, it may send.

    Semantics: store.restored
    """
    store = SqliteStore.open(root / "drumbeat.db")
    store.set_meta(HELD, "it was restored")
    store.close()
    said = drumbeat("outbox", "list", "--program", root)
    assert "again  held    message to u-again" in said.out
    assert "nothing is sent: it was restored" in said.out
    found = drumbeat("outbox", "list", "--status", "held", "--program", root, "--format", "json").json
    assert (found["counts"], found["held"]) == ({"held": 3}, "it was restored")
    assert drumbeat("outbox", "list", "--status", "pending", "--program", root, "--format", "json").json["total"] == 0
    assert drumbeat("outbox", "release", "--program", root).out == "released    it was held: it was restored\n"
    found = drumbeat("outbox", "list", "--status", "pending", "--program", root, "--format", "json").json
    assert (found["counts"], found["held"]) == ({"pending": 3}, None)
    assert drumbeat("outbox", "release", "--program", root).out == "nothing held it: this store may send\n"


def test_what_a_run_leaves(drumbeat: Drumbeat, make: Make) -> None:
    """After a run everything has gone out, and the outbox is empty."""
    root = make({"feed/a.jsonl": FEED})
    text = (root / "drumbeat.yaml").read_text(encoding="utf-8")
    (root / "drumbeat.yaml").write_text(text + "feeds: [{file: feed/*.jsonl}]\n", encoding="utf-8")
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    assert drumbeat("outbox", "list", "--program", root, "--format", "json").json["total"] == 0
    found = drumbeat("outbox", "list", "--status", "sent", "--program", root, "--format", "json").json
    assert found["counts"] == {"sent": 1}
