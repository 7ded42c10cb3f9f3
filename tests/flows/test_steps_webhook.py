"""``webhook``: the row, who waits for an answer, and what simulate makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, Row, event, play
from steps_kit import Live, write

from engine.channels.file import FileChannel
from engine.core.instants import format_instant
from engine.feeds.replay import Replay
from engine.ports import Outgoing, Pace, Sent
from engine.runtime.simulate import simulate
from engine.stores.memory import MemoryStore

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
GO = event("1", "a", "10:00", amount=12.50, n=3, tags=["茶", "x"])
TO_FILE = HEAD.replace("path: out.jsonl}", "path: out.jsonl}, webhook: {via: file, path: hooks.jsonl}")
REAL = HEAD.replace("path: out.jsonl}", "path: out.jsonl}, crm: {via: webhook}")
CALL = "  - webhook: {url: 'https://crm.example/{{ event.n }}'}\n    id: call\n"
READ = "steps:\n" + CALL + "  - set: {user.status: '{{ steps.call.status }}', user.vip: '{{ steps.call.body.vip }}'}\n"
UNREAD = "steps:\n" + CALL + "  - tag: {add: [x]}\n"


def answer(id_: str, time: str, key: str, status: int | None, body: Any = None) -> Row:
    """What the outbox puts into the inbox when the other side has answered."""
    return event(id_, "webhook.answered", time, webhook=key, status=status, body=body)


def values(live: Live) -> dict[str, Any]:
    """What was ``set``, and when."""
    return {it.detail["field"]: (format_instant(it.time)[5:16], it.detail["value"]) for it in live.effects("set")}


def test_the_row(tmp_path: Path) -> None:
    """A row is `{method, url}`, with body and headers worked out: native types in the body, text in headers."""
    steps = """steps:
  - webhook:
      url: "https://crm.example/u/{{ event.n }}?x=1"
      method: PUT
      headers: {X-Shop: "tea {{ event.n }}", X-N: "{{ event.n }}"}
      body: {amount: "{{ event.amount }}", tags: "{{ event.tags }}", day: "{{ today }}", none: "{{ event.gone }}", n: 7}
      timeout: 5s
"""
    rows = play(tmp_path, {"p": ENTRY + steps}, [GO, END], head=TO_FILE).effects
    assert [(row["kind"], row["status"]) for row in rows] == [("webhook", "planned")]
    assert rows[0]["detail"] == {
        "method": "PUT",
        "url": "https://crm.example/u/3?x=1",
        "headers": {"X-Shop": "tea 3", "X-N": "3"},
        "body": {"amount": 12.5, "tags": ["茶", "x"], "day": "2026-03-01", "none": None, "n": 7},
        "timeout": "5s",
    }
    plain = play(tmp_path, {"p": ENTRY + "steps: [{webhook: {url: 'https://x.example'}}]\n"}, [GO, END], head=TO_FILE)
    assert plain.effects[0]["detail"] == {"method": "POST", "url": "https://x.example"}


def test_it_goes_through_the_outbox(tmp_path: Path) -> None:
    """The channel named `webhook` takes the request, with the key it is done once by; amounts are exact.

    Semantics: webhook-step.answer, effect-key.given
    """
    steps = "steps: [{webhook: {url: 'https://x.example', body: {amount: '{{ event.amount }}'}}}]\n"
    live = Live(tmp_path, {"p": ENTRY + steps}, head=TO_FILE)
    channel = FileChannel("webhook", tmp_path / "hooks.jsonl")
    live.run(GO, channels={"webhook": channel})
    channel.close()
    line = (tmp_path / "hooks.jsonl").read_text()
    row = json.loads(line)
    assert (row["key"], row["kind"], row["channel"]) == (live.effects()[0].key, "webhook", "webhook")
    assert row["detail"] == {"method": "POST", "url": "https://x.example", "body": {"amount": 12.5}}


def test_who_does_not_read_the_answer_goes_on_at_once(tmp_path: Path) -> None:
    """ "journeys that use `steps.<id>` later wait ..., others go on at once".

    Semantics: webhook-step.answer
    """
    live = Live(tmp_path, {"p": ENTRY + UNREAD}, head=REAL)
    live.run(GO)
    assert [it.kind for it in live.effects()] == ["webhook", "tag"]


def test_who_reads_the_answer_waits_for_it(tmp_path: Path) -> None:
    """The answer to this very request goes on, whatever its status; a feed cannot forge it.

    Semantics: webhook-step.answer, reserved.requests
    """
    live = Live(tmp_path, {"p": ENTRY + READ}, head=REAL)
    live.run(GO)
    key = live.effects()[0].key
    live.run(answer("2", "10:01", key, 200))
    live.run(answer("3", "10:02", "0" * 32, 200), own=True)
    assert values(live) == {}
    live.run(answer("4", "10:03", key, 404, {"vip": "yes"}), own=True)
    assert values(live) == {"user.status": ("03-01T10:03", 404), "user.vip": ("03-01T10:03", "yes")}
    live.run(answer("5", "10:04", key, 200), own=True)
    assert (live.running(), len(live.effects())) == ([], 3)
    live.check_replay("u1")


class Hooks:
    """A channel over a network that gives answers."""

    name = "crm"
    once = False
    pace = Pace(concurrency=2, batch=1)

    def __init__(self, *answers: Sent) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        self.keys += [item.key for item in items]
        return [self.answers.pop(0) for _ in items]

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("sent", "results"),
    [
        (Sent(ok=True, status=201, body={"vip": 3}), {"user.status": 201, "user.vip": 3}),
        (Sent(ok=False, reason="no such host"), {"user.status": None, "user.vip": None}),
    ],
)
def test_the_answer_comes_through_the_outbox(tmp_path: Path, sent: Sent, results: dict[str, Any]) -> None:
    """One run sends the request, takes the answer in and goes on with it; a request given up fails the step at once.

    Semantics: webhook-step.answer, outbox.answers
    """
    live = Live(tmp_path, {"p": ENTRY + READ}, head=REAL)
    hooks = Hooks(sent)
    live.run(GO, channels={"crm": hooks})
    assert hooks.keys == [live.effects("webhook")[0].key]
    assert {field: value for field, (_, value) in values(live).items()} == results
    assert live.running() == []
    live.check_replay("u1")


@pytest.mark.parametrize(
    ("on_error", "kinds"),
    [
        ("", ["webhook", "set", "set"]),
        ("    on_error: stop\n", ["webhook"]),
        ("    on_error: [{points: 1}]\n", ["webhook", "points", "set", "set"]),
    ],
)
@pytest.mark.parametrize("given_up", [True, False])
def test_no_answer_is_a_failure(tmp_path: Path, on_error: str, kinds: list[str], given_up: bool) -> None:
    """Given up by the outbox, or silent for time-out and retry horizon: `steps.<id>` is none, per `on_error`."""
    live = Live(tmp_path, {"p": ENTRY + READ.replace(CALL, CALL + on_error)}, head=REAL)
    live.run(GO)
    if given_up:
        live.run(answer("2", "10:03", live.effects()[0].key, None), own=True)
    else:
        live.run(event("2", "b", "2026-03-02T10:00:09Z", "u2"))
        assert live.running() == ["p"]
        live.run(event("3", "b", "2026-03-02T10:00:10Z", "u2"), event("4", "b", "2026-03-02T10:00:11Z", "u2"))
    assert sorted(it.kind for it in live.effects()) == sorted(kinds)
    assert all(value is None for _, value in values(live).values())
    assert live.running() == []
    live.check_replay("u1")


def test_a_channel_that_cannot_answer(tmp_path: Path) -> None:
    """A file gives no answers, so nobody waits for one: `run` and `simulate` decide the same."""
    live = Live(tmp_path / "a", {"p": ENTRY + READ}, head=TO_FILE)
    live.run(GO)
    rows = play(tmp_path / "b", {"p": ENTRY + READ}, [GO], head=TO_FILE).effects
    assert values(live) == {"user.status": ("03-01T10:00", None), "user.vip": ("03-01T10:00", None)}
    assert {row["key"] for row in rows} == {it.key for it in live.effects()}


def test_simulate_answers_nothing_unless_it_is_fixed(tmp_path: Path) -> None:
    """`simulate` has a rule: no answer, at once; `plan.env.fixed` may say what it is; afterwards nothing is fixed."""
    program = write(tmp_path, {"p": ENTRY + READ}, head=REAL)
    assert program.plan is not None
    feed = tmp_path / "feed.jsonl"
    feed.write_text(json.dumps(GO) + "\n")

    def answers() -> list[Any]:
        assert program.plan is not None
        store = MemoryStore()
        simulate(program.plan, Replay([feed]), store)
        found = {it.detail["field"]: it.detail["value"] for it, _ in store.effects() if it.kind == "set"}
        return [found["user.status"], found["user.vip"]]

    assert answers() == [None, None]
    assert program.plan.env.fixed == {}
    program.plan.env.fixed["webhooks"] = {"p/call": {"status": 200, "body": {"vip": True}}}
    assert answers() == [200, True]


def test_what_reads_an_answer(tmp_path: Path) -> None:
    """Guards, branches, templates and exits count as readers; a text that only looks like one does no harm."""
    readers = {
        "guard": "  - tag: {add: [x]}\n    if: steps.call.status == 200\n",
        "bracket": "  - set: {user.x: '{{ steps[\"call\"] is none }}'}\n",
        "template": "  - message: {template: told, via: box, purpose: service}\n",
        "loop": "  - message: {template: all, via: box, purpose: service}\n",
        "nested": "  - choose: [{when: user.x == 1, do: [{stop: x}, {points: '{{ steps.call.status }}'}]}]\n",
        "other": "  - message: {template: hi, via: box, purpose: service}\n  - tag: {add: [x]}\n",
    }
    for name, text in (("told", "{{ steps.call.status }}"), ("all", "{% for s in [steps] %}x{% endfor %}")):
        path = tmp_path / "templates" / f"{name}.box.j2"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    books = {name: ENTRY + "steps:\n" + CALL + step for name, step in readers.items()}
    books["exit"] = ENTRY + "steps:\n" + CALL + "exit: [{if: steps.call.status == 500}]\n"
    found = write(tmp_path, books, head=REAL)
    assert found.plan is not None, [str(problem) for problem in found.problems]
    used = {name for name, book in found.plan.by_id.items() if book.nodes["call"].used}
    assert used == {"guard", "bracket", "template", "loop", "nested", "exit"}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("{url: '{{ event.gone }}'}", "missing_variable"),
        ("{url: '{{ event.n }}'}", "error"),
        ("{url: 'ftp://{{ event.n }}'}", "error"),
        ("{url: 'https://x.example', headers: {X: '{{ event.gone }}'}}", "missing_variable"),
        ("{url: 'https://x.example', headers: {X: \"{{ event.lines }}\"}}", "error"),
        ("{url: 'https://x.example', body: {n: '{{ event.n + event.tags }}'}}", "error"),
    ],
)
def test_a_request_that_cannot_be_worked_out(tmp_path: Path, step: str, reason: str) -> None:
    """It is not sent; its row says why, and the journey goes on per `on_error`."""
    go = event("1", "a", "10:00", n=3, lines="a\nb", tags=[1])
    books = {"p": ENTRY + f"steps: [{{webhook: {step}}}, {{tag: {{add: [t]}}}}]\n"}
    rows = play(tmp_path, books, [go, END], head=TO_FILE)
    assert {(row["kind"], row["status"], row["reason"]) for row in rows.effects} == {
        ("webhook", "suppressed", reason),
        ("tag", "planned", None),
    }


@pytest.mark.parametrize("url", ["crm.example", "ftp://x.example", "https://", "https://a b"])
def test_a_literal_that_is_no_address(tmp_path: Path, url: str) -> None:
    """`validate` finds what no run could send to."""
    found = write(tmp_path, {"p": ENTRY + f"steps: [{{webhook: {{url: '{url}'}}}}]\n"}, head=TO_FILE)
    assert [(it.code, it.message) for it in found.problems] == [
        ("wrong-value", f"'webhook.url' needs an address, got '{url}'")
    ]
