"""``drumbeat diff`` on the real purchase log against brute force: whom a changed threshold touches, and when."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
FEED = ROOT / "examples" / "cdnow" / "feed" / "cdnow_orders.jsonl.gz"
FILES = {
    "drumbeat.yaml": """\
program: records
events: {order.paid: {amount: money, quantity: integer, currency: text}}
channels: {box: {via: file, path: out/box.jsonl}}
policies: {default: {consent: {marketing: none}, quiet_hours: never}}
""",
    "playbooks/catalog/coupons.yaml": """\
coupons: {gift: {value: {off: 2.50, currency: USD}, codes: {generate: G}, limits: {per_user: 1, total: 50000}}}
""",
    "playbooks/often.yaml": """\
playbook: often
title: Orders close together
owner: o@cdnow.example
trigger: {event: order.paid}
when: count("order.paid", within="90d") >= 4
entry: once
steps:
  - {coupon: gift, id: gift}
  - {message: {template: thanks, via: box, purpose: marketing, with: {coupon: "{{ steps.gift }}"}}, id: say}
""",
    "playbooks/much.yaml": """\
playbook: much
title: Much money in all
owner: o@cdnow.example
trigger: {event: order.paid}
when: sum("order.paid", "amount") >= 300
entry: once
steps: [{points: {add: 10}, id: give}]
""",
    "playbooks/catalog/points.yaml": "points: {main: {title: Points}}\n",
    "templates/thanks.box.j2": "Thank you: {{ with.coupon.code }}\n",
}
WINDOW = timedelta(days=90)


def orders() -> Iterator[tuple[str, datetime, Decimal]]:
    """(customer, time, amount) in order of time, as the file has them."""
    with gzip.open(FEED, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line, parse_float=Decimal)
            yield row["user"], datetime.fromisoformat(row["time"]), Decimal(row["data"]["amount"])


def often(at_least: int) -> dict[str, datetime]:
    """Customer -> time of the first order that is one of so many within 90 days."""
    found: dict[str, datetime] = {}
    recent: dict[str, list[datetime]] = {}
    for user, time, _ in orders():
        kept = [one for one in recent.get(user, []) if one > time - WINDOW]
        recent[user] = [*kept, time]
        if len(recent[user]) >= at_least:
            found.setdefault(user, time)
    return found


def much(at_least: int) -> dict[str, datetime]:
    """Customer -> time of the order by which the sum of all reached so much."""
    found: dict[str, datetime] = {}
    sums: dict[str, Decimal] = {}
    for user, time, amount in orders():
        sums[user] = sums.get(user, Decimal(0)) + amount
        if sums[user] >= at_least:
            found.setdefault(user, time)
    return found


def write(root: Path) -> Path:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def sorted_out(old: dict[str, datetime], new: dict[str, datetime]) -> dict[str, set[str]]:
    """What brute force says becomes of everybody."""
    both = old.keys() & new.keys()
    return {
        "gained": set(new.keys() - old.keys()),
        "lost": set(old.keys() - new.keys()),
        "moved": {user for user in both if old[user] != new[user]},
    }


def test_one_threshold_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With "4 orders in 90 days" made 5 and "300 in all" made 250, diff names exactly the customers brute force names.

    Each with the right kind of change, the instants before and after, and the sums of coupons, money and points. Whose
    fourth and fifth order came at one instant is not named: the effect hangs on another order, and means the same.

    Semantics: diff.exact
    """
    old, new = tmp_path / "old", write(tmp_path / "new")
    write(old)
    for file, before, after in (("often", ">= 4", ">= 5"), ("much", ">= 300", ">= 250")):
        path = new / f"playbooks/{file}.yaml"
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
    changes = tmp_path / "changes.jsonl"
    words = ["diff", str(old), str(new), "--events", str(FEED), "--format", "json", "--changes", str(changes)]
    assert run(words) == 1
    result = json.loads(capsys.readouterr().out)

    named: dict[tuple[str, str], dict[str, Any]] = {}
    for line in changes.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["user"] not in named.setdefault((row["what"], row["step"]), {})
        named[row["what"], row["step"]][row["user"]] = row
    expected = {}
    four, five, less, more = often(4), often(5), much(250), much(300)
    for steps, before, after in ((("gift", "say"), four, five), (("give",), more, less)):
        assert set(before) != set(after)
        by_what = sorted_out(before, after)
        for step in steps:
            for what, users in by_what.items():
                expected[what, step] = users
                assert set(named.get((what, step), ())) == users
                for user, row in named.get((what, step), {}).items():
                    times = [None if row[side] is None else row[side]["time"] for side in ("old", "new")]
                    told = [None if t is None else datetime.fromisoformat(t) for t in times]
                    assert told == [before.get(user), after.get(user)]
    assert {key for key, users in expected.items() if users} == set(named)
    assert all(len(expected[key]) > 50 for key in (("lost", "say"), ("moved", "say"), ("gained", "give")))
    assert any(time == four.get(user) for user, time in five.items())

    counts = len(four), len(five)
    assert result["cost"]["coupons"] == [
        {"pool": "gift", "old": counts[0], "new": counts[1],
         "value": [{"currency": "USD", "old": counts[0] * 2.5, "new": counts[1] * 2.5}]}
    ]  # fmt: skip
    assert result["cost"]["points"] == [{"account": "main", "old": 10 * len(more), "new": 10 * len(less)}]
    assert result["users"]["lose"] == len(expected["lost", "say"])
    assert result["users"]["gain"] == len(expected["gained", "give"])
    assert result["users"]["move"] == len(expected["moved", "say"] | expected["moved", "give"])
    nothing_left = (four.keys() | more.keys()) - (five.keys() | less.keys())
    assert result["users"]["no_longer"] == len(nothing_left)
