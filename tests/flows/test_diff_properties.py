"""``drumbeat diff`` as a function of two programs: nothing differs from itself, and exchanged sides give the mirror."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.cli import oneside
from engine.cli.diffmark import MOST, markdown
from engine.cli.difftext import text as as_text
from engine.insight.diff import Side, Sides, compare

SWAP = {"gained": "lost", "lost": "gained", "gain": "lose", "lose": "gain", "old": "new", "new": "old",
        "first_time": "no_longer", "no_longer": "first_time", "into": "out_of", "out_of": "into"}  # fmt: skip
NAMES = ("playbooks", "steps")


def program(rng: random.Random) -> dict[str, str]:
    """A program of a shop: everything that makes effects go, wait, be held back or run out, drawn anew."""
    names = ["thanks", rng.choice(["thanks-again", "second"])]
    quiet = rng.choice(["never", '{from: "22:00", to: "08:00"}', '{from: "20:00", to: "09:00"}'])
    caps = f"caps: [{{purpose: marketing, max: {rng.choice([1, 3])}, per: 3d}}]"
    files = {
        "drumbeat.yaml": f"program: tea\ntimezone: {rng.choice(['UTC', 'Asia/Shanghai'])}\n"
        "channels: {box: {via: file, path: out/box.jsonl}, sms: {via: file, path: out/sms.jsonl}}\n"
        "links: {base: 'https://go.tea.example', hosts: [tea.example]}\n"
        f"policies:\n  default: {{consent: {{marketing: opt_out, service: none}}, quiet_hours: {quiet}, {caps}}}\n",
        "playbooks/catalog/c.yaml": "coupons: {gift: {value: {off: 5, currency: CNY}, codes: {generate: G}, "
        f"limits: {{per_user: 2, total: {rng.choice([4, 9, 500])}}}}}}}\n"
        "points: {main: {title: P}}\n",
        "templates/a.box.j2": f"{rng.choice(['谢谢', '多谢'])} {{{{ links.shop }}}}\n",
        "templates/a.sms.j2": "hi\n",
        "templates/b.box.j2": "{% if with.gift %}{{ with.gift.code }}{% endif %} {{ user.points }}\n",
    }
    files["templates/a.box.j2"] = (
        f"---\nlink_shop: https://tea.example/{rng.choice('xy')}\n---\n" + files["templates/a.box.j2"]
    )
    for place, name in enumerate(names):
        first = rng.choice(["", ", id: say"]) if place else ", id: say"
        steps = [
            "{coupon: {pool: gift, on_exhausted: skip}, id: gift}",
            f"{{points: {{add: {rng.choice([1, 2])}}}}}",
            f"{{message: {{template: a, via: {rng.choice(['box', 'sms'])}, purpose: marketing}}{first}}}",
            "{message: {template: b, via: box, purpose: service, with: {gift: '{{ steps.gift }}'}}, id: tell}".replace(
                "tell}", rng.choice(["tell}", "tell_them}"])
            ),
            f"{{wait: {rng.choice(['1h', '30h'])}}}",
            "{tag: {add: [seen]}}",
        ]
        kept = [steps[0], *[step for step in steps[1:] if rng.random() < 0.8]]
        if rng.random() < 0.5:
            kept.insert(1, kept.pop())
        holdout = f"holdout: {{percent: {rng.choice([10, 40])}}}\n" if rng.random() < 0.5 else ""
        if rng.random() < 0.9:
            files[f"playbooks/{name}.yaml"] = (
                f"playbook: {name}\ntitle: 谢谢\nowner: o@tea.example\ntrigger: {{event: order.paid}}\n"
                f"when: count('order.paid') >= {rng.choice([1, 2, 3])}\n"
                f"entry: {{mode: {rng.choice(['once', 'parallel, limit: unlimited'])}}}\n{holdout}"
                "steps:\n" + "".join(f"  - {step}\n" for step in kept)
            )
    return files


def feed(rng: random.Random) -> str:
    events = [
        {"id": f"e{n}", "type": "order.paid", "user": f"u{rng.randrange(12)}",
         "time": f"2026-03-{rng.randrange(1, 9):02d}T{rng.randrange(24):02d}:{rng.randrange(60):02d}:00Z"}
        for n in range(60)
    ]  # fmt: skip
    return "".join(json.dumps(it) + "\n" for it in sorted(events, key=lambda it: str(it["time"])))


def simulated(folder: Path, files: dict[str, str], events: Path) -> tuple[Side, bytes]:
    """One side, as its process would leave it."""
    for name, content in files.items():
        path = folder / "program" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    asked = oneside.Request(
        label=folder.name, revision=None, root=str(folder / "program"), home=str(folder / "program"),
        events=[str(events)], until=None, color=False, quiet=True,
    )  # fmt: skip
    request = folder / oneside.REQUEST
    request.write_bytes(msgspec.json.encode(asked))
    failure = folder / oneside.FAILURE
    assert oneside.main(request) == 0, failure.read_text() if failure.exists() else ""
    side = msgspec.json.decode((folder / oneside.SIDE).read_bytes(), type=Side)
    return side, (folder / oneside.ROWS).read_bytes()


def compared(old: tuple[Side, bytes], new: tuple[Side, bytes], bound: int) -> tuple[dict[str, Any], list[Any]]:
    """The result, and every change."""
    out = io.BytesIO()
    sides = Sides(old[0], new[0], io.BytesIO(old[1]), io.BytesIO(new[1]))
    result = compare(sides, limit=2, changes=out, bound=bound)
    plain: dict[str, Any] = json.loads(msgspec.json.Encoder(decimal_format="number").encode(result))
    return plain, [json.loads(line) for line in out.getvalue().splitlines()]


def mirrored(value: Any) -> Any:
    """A result with its sides exchanged."""
    if isinstance(value, dict):
        return {SWAP.get(key, key): mirrored(it) for key, it in value.items()}
    if isinstance(value, list):
        return [mirrored(it) for it in value]
    return SWAP.get(value, value) if isinstance(value, str) else value


def renaming(result: dict[str, Any]) -> Callable[[str | None, str | None], tuple[str | None, str | None]]:
    """Names of the old side, as the new one says them."""
    steps = {(it["old"]["playbook"], it["old"]["step"]): (it["new"]["playbook"], it["new"]["step"])
             for it in result["renamed"]["names"]}  # fmt: skip
    playbooks = {it["old"]: it["new"] for it in result["renamed"]["playbooks"]}
    return lambda playbook, step: steps.get((playbook, step), (playbooks.get(playbook or "", playbook), step))


def table(rows: list[dict[str, Any]], name: Callable[[str | None, str | None], tuple[Any, Any]]) -> list[Any]:
    """Rows of a table under other names, sorted."""
    renamed = []
    for row in rows:
        row = dict(row)
        if "step" in row:
            row["playbook"], row["step"] = name(row["playbook"], row["step"])
        elif "playbook" in row:
            row["playbook"] = name(row["playbook"], None)[0]
        renamed.append(json.dumps(row, sort_keys=True))
    return sorted(renamed)


@pytest.mark.parametrize("seed", range(24))
def test_mirror(tmp_path: Path, seed: int) -> None:
    """Two programs drawn by chance: diff(A, A) is empty, diff(B, A) is the mirror of diff(A, B), whatever is held in
    memory; and every effect of either side is in exactly one place."""
    rng = random.Random(seed)
    one, other = program(rng), program(rng)
    events = tmp_path / "feed.jsonl"
    events.write_text(feed(rng), encoding="utf-8")
    a, b = (simulated(tmp_path / name, files, events) for name, files in (("a", one), ("b", other)))

    itself, nothing = compared(a, a, 1 << 20)
    assert not itself["different"]
    assert nothing == []
    assert itself["samples"] == {"effects": [], "first_time": [], "no_longer": []}
    assert itself["effects"]["unchanged"] == itself["effects"]["old"] == a[1].count(b'"planned"')

    there, changes = compared(a, b, 1 << 20)
    back, changes_back = compared(b, a, 300)
    swapped = mirrored(there)
    for key in ("different", "effects", "users", "cost", "held_back"):
        assert swapped[key] == back[key], key
    name = renaming(back)  # names of b, as a says them
    for dimension in ("playbook", "step", "channel", "kind", "day"):
        assert table(swapped["by"][dimension], name) == table(back["by"][dimension], lambda *it: it), dimension
    for key in ("put_off", "holdout", "because"):
        assert table(swapped[key], name) == table(back[key], lambda *it: it), key
    assert sides_of(mirrored(changes)) == sides_of(changes_back)

    effects = there["effects"]
    assert effects["old"] == a[1].count(b'"planned"')
    assert effects["old"] == effects["unchanged"] + effects["lost"] + effects["moved"] + effects["changed"]
    assert effects["new"] == effects["unchanged"] + effects["gained"] + effects["moved"] + effects["changed"]
    assert len(changes) == sum(effects[what] for what in ("gained", "lost", "moved", "changed", "held_back"))
    assert there["different"] or one == other or effects["unchanged"] == effects["old"]
    assert len(markdown(there)) <= MOST
    assert as_text(there).startswith("before     a\nafter      b\n")


def sides_of(changes: list[Any]) -> list[str]:
    """Changes without the name that stands for both sides."""
    rows = ([it["what"], it["user"], it["kind"], it["old"], it["new"]] for it in changes)
    return sorted(json.dumps(row, sort_keys=True) for row in rows)
