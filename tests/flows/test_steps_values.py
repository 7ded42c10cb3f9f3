"""``{{ }}`` everywhere a value may stand: native types, exact numbers, the same after the subject was read again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from semantics_kit import HEAD, event, play
from steps_kit import Live

from engine.core.model import Effect
from engine.core.values import plain

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
ENTRY = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\nvars: {list: [1, x], none: null, rate: 0.1}\n"
ITEMS = [{"sku": "茶", "price": Decimal("1.10")}]
GO: dict[str, Any] = event("1", "a", "10:00", amount=Decimal("12.50"), n=3, ok=True, items=ITEMS, word="茶")

VALUES: dict[str, Any] = {
    "7": 7,
    "'7'": "7",
    "1.50": Decimal("1.50"),
    "true": True,
    "text": "text",
    "null": None,
    "'{{ event.n }}'": 3,
    "' {{ event.n }} '": 3,
    "'{{ event.amount }}'": Decimal("12.50"),
    "'{{ event.amount * 3 }}'": Decimal("37.50"),
    "'{{ event.amount * vars.rate }}'": Decimal("1.250"),
    "'{{ event.ok }}'": True,
    "'{{ event.gone }}'": None,
    "'{{ vars.none }}'": None,
    "'{{ event.items }}'": ITEMS,
    "'{{ vars.list }}'": [1, "x"],
    "'{{ event.items[0].price }}'": Decimal("1.10"),
    "'{{ event.n == 3 }}'": True,
    "'{{ event.word }} x {{ event.n }}'": "茶 x 3",
    "'{{ event.amount }}元'": "12.50元",
    "'[{{ event.gone }}]'": "[]",
    "'{{ today }}'": "2026-03-01",
    "'{{ now }}'": "2026-03-01T10:00:00Z",
    "'{{ event.time }}'": "2026-03-01T10:00:00Z",
    "'{{ today }}!'": "2026-03-01!",
    "['{{ event.n }}', a, '{{ event.gone }}']": [3, "a", None],
    "{a: '{{ event.amount }}', b: ['{{ today }}']}": {"a": Decimal("12.50"), "b": ["2026-03-01"]},
}
"""A value as it is written -> what it is."""


def first(root: Path, steps: str, kind: str, head: str = HEAD) -> Effect:
    """The one effect of a kind that a playbook of these steps gives."""
    live = Live(root, {"p": ENTRY + steps}, head=head)
    live.run(GO)
    (found,) = live.effects(kind)
    return found


def same(found: Any, wanted: Any) -> bool:
    """Equal, and of the same types all the way down: 1 is not True, and 1.50 not 1.5."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and [*found] == [*wanted] and all(same(found[it], wanted[it]) for it in wanted)
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
    return type(found) is type(wanted) and str(found) == str(wanted)


@pytest.mark.parametrize("written", list(VALUES))
def test_set_and_emit(tmp_path: Path, written: str) -> None:
    """A scalar is a literal; wholly `{{ expr }}` gives the native value, inside longer text it is rendered."""
    steps = f"steps: [{{set: {{user.x: {written}}}}}, {{emit: {{type: q, data: {{x: {written}}}}}}}]\n"
    live = Live(tmp_path, {"p": ENTRY + steps})
    live.run(GO)
    (done,), (sent,) = live.effects("set"), live.effects("emit")
    assert same(done.detail["value"], VALUES[written])
    assert same(sent.detail["data"]["x"], VALUES[written])
    assert same(live.state().traits["x"], VALUES[written])


@pytest.mark.parametrize("written", [it for it in VALUES if it != "null"])
def test_webhook_and_task_bodies(tmp_path: Path, written: str) -> None:
    """The same holds for `webhook.body` and `task.body`."""
    head = HEAD.replace("path: out.jsonl}", "path: out.jsonl}, webhook: {via: file, path: hooks.jsonl}")
    body = f"{{x: {written}}}"
    steps = f"steps: [{{webhook: {{url: 'https://x.example', body: {body}}}}}, "
    steps += f"{{task: {{assign: a, title: t, body: {body}}}}}]\n"
    live = Live(tmp_path, {"p": ENTRY + steps}, head=head)
    live.run(GO)
    for effect in live.effects():
        assert same(effect.detail["body"]["x"], VALUES[written]), effect.kind


@pytest.mark.parametrize(
    ("written", "text"),
    [("'{{ event.n }}'", "3"), ("'{{ event.amount }}'", "12.50"), ("7", "7"), ("'小{{ event.word }}'", "小茶")],
)
def test_titles_are_text(tmp_path: Path, written: str, text: str) -> None:
    """`task.title` and `assign` are for people: whatever they are made of, they are text."""
    detail = first(tmp_path, f"steps: [{{task: {{assign: {written}, title: {written}}}}}]\n", "task").detail
    assert same([detail["assign"], detail["title"]], [text, text])


def test_points(tmp_path: Path) -> None:
    """`points` takes whole numbers, computed exactly; 12.50 // 5 is 2, and 0.1 * 30 is 3.

    Semantics: points.integers
    """
    for place, (written, delta) in enumerate(
        [("'{{ event.amount // 5 }}'", 2), ("'{{ vars.rate * 30 }}'", 3), ("{take: '{{ 0 - event.n }}'}", 3)]
    ):
        assert first(tmp_path / str(place), f"steps: [{{points: {written}}}]\n", "points").detail["delta"] == delta


def test_with_and_to(tmp_path: Path) -> None:
    """`with` hands native values to the template, dates as dates; `to` is the address."""
    head = HEAD.replace("{via: file, path: out.jsonl}", "{via: file, path: out.jsonl, address: user.mail}")
    text = '{{ with.day|date("%-m月%-d日") }} {{ with.sum }} {{ with.items[0].sku }} {{ with.n + 1 }}'
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "full.box.j2").write_text(text, encoding="utf-8")
    values = "{day: '{{ today }}', sum: '{{ event.amount }}', items: '{{ event.items }}', n: '{{ event.n }}'}"
    steps = f"steps: [{{message: {{template: full, purpose: service, to: 'x-{{{{ event.n }}}}', with: {values}}}}}]\n"
    found = first(tmp_path, steps, "message", head)
    assert (found.detail["text"], found.to) == ("3月1日 12.50 茶 4", "x-3")


def test_emit_to_another_user(tmp_path: Path) -> None:
    """`user` of `emit` is a value; what is no id is an error, in words."""
    for written, user in (("'{{ event.word }}'", "茶"), ("'u-{{ event.n }}'", "u-3"), ("'{{ event.n }}'", None)):
        live = Live(tmp_path / str(user), {"p": ENTRY + f"steps: [{{emit: {{type: q, user: {written}}}}}]\n"})
        live.run(GO)
        (found,) = live.effects("emit")
        assert found.detail.get("user") == user
        assert found.reason == (None if user is not None else "error")


@pytest.mark.parametrize("profile", ["open", "{day: date | none, at: time | none, eq: any, txt: any, cp: any}"])
def test_a_date_is_the_same_before_and_after_it_was_stored(tmp_path: Path, profile: str) -> None:
    """What a step writes is text for a date, as from a feed; so it cannot matter whether the subject was read again."""
    head = HEAD + f"profile: {profile}\n"
    steps = """steps:
  - set: {user.day: "{{ today }}", user.at: "{{ now }}"}
  - wait: 1h
  - set: {user.eq: "{{ user.day == today }}", user.txt: "{{ user.at }}!", user.cp: "{{ user.day }}"}
"""
    rows = play(tmp_path / "a", {"p": ENTRY + steps}, [_plain(GO), END], head=head).effects
    live = Live(tmp_path / "b", {"p": ENTRY + steps}, head=head)
    live.run(GO)
    live.run(END)
    once = {row["detail"]["field"]: row["detail"]["value"] for row in rows}
    again = {it.detail["field"]: plain(it.detail["value"]) for it in live.effects()}
    assert once == again
    assert again["user.eq"] is (profile != "open")
    assert again["user.txt"] == "2026-03-01T10:00:00Z!"


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A record without decimals, as the kit's writer needs it."""
    return {**row, "data": {}}
