"""What ``drumbeat why`` says beside the verdict: the nearest change, gates, versions; of all kinds of subjects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Drumbeat, Make

HEAD = """\
program: tea
timezone: Asia/Shanghai
profile: {city: text | none, phone: text | none}
feeds: [{file: feed.jsonl}]
channels: {sms: {via: file, path: out/sms.jsonl, address: user.phone, quota: {max: 4, per: month}}}
policies: {default: {consent: {marketing: required}, caps: [{purpose: marketing, max: 1, per: 7d}]}}
"""
BOOK = "playbook: {0}\ntitle: t\nowner: a@b.example\n{1}\nsteps:\n{2}\n"
SAY = "  - message: {template: hi, via: sms, purpose: marketing}\n    id: say\n"
ANY = "entry: {mode: parallel, limit: unlimited}"
FILES = {
    "drumbeat.yaml": HEAD,
    "templates/hi.sms.j2": "hi",
    "playbooks/catalog/c.yaml": (
        "groups: {club: {title: t, rooms: [{id: r, link: 'https://x.example/1', capacity: 9}]}}\n"
        "segments: {busy: {if: 'count(\"order.paid\", within=\"3d\") >= 2'}}\n"
    ),
    "playbooks/busy.yaml": BOOK.format(
        "busy", "trigger: {event: order.paid}\nwhen: in_segment('busy')\nentry: {mode: once}\nholdout: {percent: 50}",
        SAY,
    ),
    "playbooks/back.yaml": BOOK.format(
        "back", "trigger: {event: order.returned}\nwhen: user.city == '上海'\n" + ANY, SAY
    ),
    "playbooks/large.yaml": BOOK.format(
        "large", f"subject: group\ntrigger: {{event: group.joined}}\nwhen: group.members >= 3\n{ANY}",
        "  - tag: {add: [l]}",
    ),
    "playbooks/titled.yaml": BOOK.format(
        "titled", f"subject: group\ntrigger: {{event: group.joined}}\nwhen: group.city == 'Bern'\n{ANY}",
        "  - tag: {add: [x]}",
    ),
    "playbooks/whole.yaml": BOOK.format(
        "whole", f"subject: program\ntrigger: {{event: day.closed}}\nwhen: event.sales >= 100\n{ANY}",
        "  - emit: {type: day.good}",
    ),
}  # fmt: skip
ROWS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("2026-03-01T02:00:00Z", "user.signup", "ada", {"city": "Bern"}),
    ("2026-03-02T02:00:00Z", "order.paid", "ada", {}),
    ("2026-03-02T03:00:00Z", "group.joined", "ada", {"group": "club"}),
    ("2026-03-02T03:00:00Z", "day.closed", "ada", {"sales": 70}),
    ("2026-03-06T02:00:00Z", "order.paid", "ada", {}),
    ("2026-03-06T16:00:00Z", "order.paid", "bo", {}),
]


@pytest.fixture
def shop(make: Make, drumbeat: Drumbeat) -> Path:
    """The program, run over its feed."""
    rows = [
        json.dumps({"id": f"e{n}", "time": time, "type": type_, "user": user, "data": data})
        for n, (time, type_, user, data) in enumerate(ROWS)
    ]
    root = make(FILES, feed="".join(row + "\n" for row in rows))
    (root / "playbooks/thanks.yaml").unlink()
    (root / "templates/thanks.box.j2").unlink()
    said = drumbeat("run", "--until-idle", "--program", root)
    assert said.code == 0, said.err
    return root


def near(drumbeat: Drumbeat, root: Path, playbook: str, *words: str) -> dict[str, Any]:
    """What why says of a playbook."""
    said = drumbeat("why", *words, "--playbook", playbook, "--program", root, "--format", "json")
    assert said.code == 0, said.err
    found: dict[str, Any] = said.json["playbooks"][playbook]
    return found


def texts(found: dict[str, Any]) -> list[list[str]]:
    """The options of the nearest change."""
    return [[it["text"] for it in option["changes"]] for option in found["nearest_change"]["options"]]


def test_through_segments_to_events_for_users_groups_and_the_program(shop: Path, drumbeat: Drumbeat) -> None:
    """What is missing is found behind a segment, a member count, a field of the event; and what would begin at all."""
    busy = near(drumbeat, shop, "busy", "--user", "ada")
    assert texts(busy) == [["1 more order.paid"]]
    assert busy["nearest_change"]["options"][0]["verdict"] in ("entered", "held_out")
    assert texts(near(drumbeat, shop, "back", "--user", "ada")) == [
        ["trait city '上海' instead of 'Bern'", "1 order.returned"]
    ]
    assert texts(near(drumbeat, shop, "titled", "--group", "club")) == [["trait city 'Bern' instead of none"]]
    assert texts(near(drumbeat, shop, "large", "--group", "club")) == [["2 more members"]]
    assert texts(near(drumbeat, shop, "whole")) == [["event sales 100 instead of 70"]]
    said = drumbeat("why", "--playbook", "whole", "--program", shop)
    assert said.out.startswith("the program, 1 event(s)")
    assert "nearest change: event sales 100 instead of 70: entered" in said.out
    assert drumbeat("why", "--playbook", "busy", "--program", shop).code == 2
    everything = drumbeat("why", "--user", "ada", "--program", shop).out
    assert "nearest change: 1 more order.paid at 2026-03-06T02:00:00Z" in everything
    past = near(drumbeat, shop, "busy", "--user", "ada", "--at", "2026-03-03T00:00:00Z")
    assert (past["entry"]["time"], texts(past)) == ("2026-03-02T02:00:00Z", [["1 more order.paid"]])


def test_a_group_at_a_past_instant(shop: Path, drumbeat: Drumbeat) -> None:
    """Tree, values, gates, version and nearest change of a group and of the program, as things stood then."""
    at = ("--group", "club", "--at", "2026-03-02T12:00:00Z")
    large = near(drumbeat, shop, "large", *at)
    (line,) = [it for it in large["entry"]["why"] if it["at"] == "when[0]"]
    assert (line["tree"]["text"], line["tree"]["value"]) == ("group.members >= 3", False)
    assert line["seen"] == {"group.members": 1}
    assert line["nearest"][0]["needs"] == "3"
    assert texts(large) == [["2 more members"]]
    assert large["version"]["same"] is True
    assert [it["gate"] for it in large["gates"]] == ["entry"]
    assert near(drumbeat, shop, "titled", *at)["nearest_change"]["of"] == "skipped"
    before = near(drumbeat, shop, "whole", "--at", "2026-03-02T12:00:00Z")
    assert texts(before) == [["event sales 100 instead of 70"]]


def test_an_entry_without_a_condition_and_one_that_a_journey_keeps_out(make: Make, drumbeat: Drumbeat) -> None:
    """The event that began it is what would have had to be missing; and when the journey is over."""
    book = BOOK.format("slow", "trigger: {event: order.paid}\nentry: {mode: single, limit: unlimited}", "  - wait: 5d")
    rows = [{"id": f"e{n}", "time": f"2026-03-0{n}T02:00:00Z", "type": "order.paid", "user": "ada"} for n in (1, 2)]
    root = make({"playbooks/slow.yaml": book}, feed="".join(json.dumps(row) + "\n" for row in rows))
    (root / "drumbeat.yaml").write_text((root / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    first = near(drumbeat, root, "slow", "--user", "ada", "--at", "2026-03-01T12:00:00Z")
    assert texts(first) == [["without the order.paid of 2026-03-01T02:00:00Z"]]
    then = near(drumbeat, root, "slow", "--user", "ada")
    assert then["nearest_change"]["of"] == "skipped"
    assert texts(then) == [["without the order.paid of 2026-03-01T02:00:00Z"]]
    from_ = then["nearest_change"]["from"]
    assert (from_["at"], from_["proved"]) == ("2026-03-06T02:00:00.000001Z", True)


def test_what_begins_a_playbook_later(make: Make, drumbeat: Drumbeat) -> None:
    """A date that is missing, a set of days, an event the engine alone makes: each with when it begins the playbook."""
    any_ = "entry: {mode: parallel, limit: unlimited}"
    books = {
        "born": "trigger: {date: {field: user.birthday, at: '09:00', repeat: yearly}}",
        "daily": "trigger: {streak: {event: order.paid, days: 3}}",
        "asked": "trigger: {manual: true}",
    }
    files = {f"playbooks/{name}.yaml": BOOK.format(name, f"{it}\n{any_}", "  - wait: 5d") for name, it in books.items()}
    row = {"id": "e", "time": "2026-03-01T02:00:00Z", "type": "order.paid", "user": "ada"}
    root = make(files, feed=json.dumps(row) + "\n")
    (root / "drumbeat.yaml").write_text((root / "drumbeat.yaml").read_text() + "feeds: [{file: feed.jsonl}]\n")
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    born = near(drumbeat, root, "born", "--user", "ada")["nearest_change"]["options"]
    assert {it["changes"][0]["change"] for it in born} == {"trait"}
    assert all(it["time"] > "2026-03-01T02:00:00Z" and it["verdict"] == "entered" for it in born)
    daily = near(drumbeat, root, "daily", "--user", "ada")
    assert texts(daily) == [["order.paid also on 2026-02-27, 2026-02-28"]]
    assert texts(near(drumbeat, root, "asked", "--user", "ada")) == [["drumbeat trigger asked"]]
    said = drumbeat("why", "--user", "ada", "--program", root, "--playbook", "born")
    assert ": entered at 2026-" in said.out


def test_over_a_feed_it_says_the_same(shop: Path, drumbeat: Drumbeat) -> None:
    """The store of a run and the replay of its feed give one answer, but for what only a store knows."""
    asked = ("why", "--user", "ada", "--program", shop, "--format", "json")
    stored, fed = drumbeat(*asked).json, drumbeat(*asked, "--events", shop / "feed.jsonl").json
    for it in (stored, fed):
        del it["program"]
        for book in it["playbooks"].values():
            book["version"] = None
            for effect in book["effects"]:
                effect["delivery"] = None
    assert stored == fed
    assert drumbeat(*asked, "--events", shop / "feed.jsonl", "--store", "sqlite:///x.db").code == 2


def test_gates_and_versions_of_that_instant(shop: Path, drumbeat: Drumbeat) -> None:
    """Each gate with what it goes by; the version that held then and the one that holds now."""
    busy = near(drumbeat, shop, "busy", "--user", "bo")
    gates = {it["gate"]: it for it in busy["gates"]}
    assert set(gates) == {"entry", "holdout", "consent", "address", "quiet_hours", "cap", "quota"}
    assert (gates["entry"]["open"], gates["entry"]["text"]) == (True, "once: not entered yet")
    assert "was never given" in gates["consent"]["text"]
    assert (gates["consent"]["open"], gates["address"]["open"], gates["quiet_hours"]["open"]) == (False, False, False)
    assert gates["quiet_hours"]["until"].startswith("2026-03-07T00:")
    assert (gates["cap"]["open"], gates["cap"]["text"]) == (True, "marketing by sms: 0 of 1 in 7d")
    assert busy["version"]["same"] is True
    then = busy["version"]["then"]
    file = shop / "playbooks/busy.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("'busy'", "'busy' ").replace("mode: once", "mode: single"))
    with (shop / "feed.jsonl").open("a", encoding="utf-8") as feed:
        feed.write('{"id": "z", "time": "2026-03-09T00:00:00Z", "type": "order.paid", "user": "bo"}\n')
    assert drumbeat("run", "--until-idle", "--program", shop).code == 0
    old = near(drumbeat, shop, "busy", "--user", "bo", "--at", "2026-03-06T15:00:00Z")["version"]
    new = near(drumbeat, shop, "busy", "--user", "bo")["version"]
    assert (old["then"], old["same"], new["then"], new["same"]) == (then, False, new["present"], True)
