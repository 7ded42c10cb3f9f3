"""Values of every wrong type in every field: whatever a condition makes of them, nothing is sent because of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semantics_kit import event, play

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")

GOOD: dict[str, Any] = {
    "amount": 20, "price": 2.5, "city": "xian", "day": "2026-02-01", "at": "2026-02-01T00:00:00Z", "ok": True,
    "langs": ["a", "b"], "more": {"x": 5}, "level": "gold",
}  # fmt: skip
TESTS: dict[str, tuple[str, ...]] = {
    "amount": ("{}.amount > 10", "not ({}.amount > 1000)", "{}.amount + 1 == 21", "{}.amount is above(10)"),
    "price": ("{}.price * 2 >= 5", "not ({}.price < 1)", "-{}.price < 0"),
    "city": ("{}.city is matching('x*')", "{}.city | lower == 'xian'", "'ia' in {}.city", "not ({}.city < 'a')"),
    "day": ("{}.day is older_than('1d')", "not ({}.day is newer_than('1d'))"),
    "at": ("{}.at is older_than('1d')", "not ({}.at is newer_than('1d'))"),
    "ok": ("{}.ok == true",),
    "langs": ("'a' in {}.langs", "{}.langs | first == 'a'", "{}.langs | join('-') == 'a-b'"),
    "more": ("{}.more.x > 3", "not ({}.more.x > 9)"),
    "level": ("{}.level == 'gold'", "{}.level ~ '!' == 'gold!'"),
}
"""Field -> conditions that hold for its good value, and by no right for a value of another type."""

WRONG: list[Any] = ["", "?", 0, -1, 10**30, 0.5, False, [], ["?"], [["a"]], {}, {"?": 1}, {"x": "?"}, {"x": [9]}]


def books() -> dict[str, str]:
    """A playbook for each condition, on the event and on the user."""
    found = {}
    for where in ("event", "user"):
        for name, conditions in TESTS.items():
            for number, text in enumerate(conditions):
                test = text.format(where) if where == "event" else text.replace("{}." + name, f"user.get('{name}')")
                found[f"{where}-{name}-{number}"] = (
                    f"trigger: {{event: go, if: {_quoted(test)}}}\nentry: {{mode: parallel, limit: unlimited}}\n"
                    "steps: [{message: {template: hi, purpose: service}}]\n"
                )
    return found


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def by_right(name: str, value: Any) -> bool:
    """Is this value of the field's own type, so that a condition may well hold for it?"""
    if name == "more" and isinstance(value, dict):
        return "x" not in value  # what is missing is no error
    kinds: dict[str, Any] = {"amount": (int, float), "price": (int, float), "ok": bool, "langs": list}
    return isinstance(value, kinds.get(name, str)) and (name == "ok" or not isinstance(value, bool))


def test_no_wrong_type_sends(tmp_path: Path) -> None:
    """Each field in turn holds each wrong thing: playbooks that ask for it send nothing, all the others send.

    Semantics: condition.error
    Failure: rule.error — every type in every field
    """
    feed = [event("u", "user.updated", "08:00", "good", **GOOD), event("good", "go", "10:00", "good", **GOOD)]
    cases = []
    for name in GOOD:
        for number, wrong in enumerate(WRONG):
            if by_right(name, wrong):
                continue
            user = f"{name}-{number}"
            data = {**GOOD, name: wrong}
            feed += [event(f"u{user}", "user.updated", "08:00", user, **data), event(user, "go", "10:00", user, **data)]
            cases.append((user, name))
    programs = books()
    seen = play(tmp_path, programs, [*feed, END], traced=False)
    sent = {(row["user"], row["playbook"]) for row in seen.effects if row["kind"] == "message"}
    assert {book for user, book in sent if user == "good"} == set(programs)
    assert len(cases) > 100
    for user, name in cases:
        asking = {book for book in programs if book.split("-")[1] == name}
        assert {book for who, book in sent if who == user} == set(programs) - asking, user
