"""``/u/...`` and ``/c/...`` on a real socket, over a real store with messages that went out."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from links_world import BASE, SIGNING, TARGET, World, go, now, path_of

from engine.core.links import CLICK, UNSUBSCRIBE, sign, signing_key
from engine.core.model import HOUR

FORM = {"content-type": "application/x-www-form-urlencoded"}
ONE_CLICK = b"List-Unsubscribe=One-Click"
ZH = {"accept-language": "fr, zh-CN;q=0.9, en;q=0.8"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One message to u1 went out."""
    made = World(tmp_path)
    made.decide(go("g1"))
    return made


def links(world: World) -> tuple[str, str, str]:
    """Paths of the click and of the way out, and the key, of the newest message."""
    effect = world.effects()[-1]
    sale, out = effect.detail["text"].split(" ")
    assert out == effect.detail["unsubscribe"]
    return path_of(sale), path_of(out), effect.key


def test_opening_the_link_asks_and_changes_nothing(world: World) -> None:
    """What only looks (GET, HEAD) finds a question with one button, and is no word of the person.

    Semantics: link.unsubscribe
    Threat: console.web — opening a page
    """
    _, out, _ = links(world)
    with world.open() as desk:
        for method in ("GET", "HEAD", "GET"):
            answer = desk.call(method, out)
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none';")
            assert "script" not in policy
            assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
        page = desk.get(out).raw.decode()
        assert '<form method="post">' in page
        assert "<script" not in page
        assert "http" not in page.lower()
    assert world.waiting() == []
    world.decide()
    assert world.allowed() == {}


@pytest.mark.parametrize(("body", "headers"), [(ONE_CLICK, FORM), (b"", {}), (b"x" * 1000, FORM)])
def test_a_post_unsubscribes_before_it_is_answered(world: World, body: bytes, headers: dict[str, str]) -> None:
    """The button and the one click of a mailbox (RFC 8058) do the same; once done it is done, however often.

    Semantics: link.unsubscribe, consent.unsubscribed
    """
    _, out, key = links(world)
    with world.open() as desk:
        for _ in range(3):
            answer = desk.call("POST", out, body, headers)
            assert (answer.status, b"<form" in answer.raw) == (200, False)
            (event,) = world.waiting()
            assert (event.id, event.type, event.user) == (f"unsubscribe:{key}", "message.unsubscribed", "u1")
            assert event.data == {
                "channel": "box", "purpose": "marketing", "template": "tea", "playbook": "news", "effect": key,
                "step": event.data["step"],
            }  # fmt: skip
    world.decide(go("g2", time=now()))
    assert world.allowed() == {"box/marketing": False}
    assert sorted(it.reason or "" for it in world.effects()) == ["", "consent"]


def test_an_old_link_works_again_for_who_agreed_anew(world: World) -> None:
    """Unsubscribed, agreed, and unsubscribed by the same mail: each word counts, and the newest one holds.

    Semantics: link.unsubscribe
    """
    _, out, key = links(world)
    ids = []
    for number in range(3):
        with world.open() as desk:
            assert desk.call("POST", out, ONE_CLICK, FORM).status == 200
            assert desk.call("POST", out, ONE_CLICK, FORM).status == 200
            ids += [it.id for it in world.waiting()]
        world.decide()
        assert world.allowed()["box/marketing"] is False
        with world.open() as desk:
            assert desk.call("POST", out, ONE_CLICK, FORM).status == 200
        assert world.waiting() == []
        grant = {**go(f"grant{number}"), "type": "consent.granted", "time": now()}
        world.decide(grant)
        assert world.allowed() == {"*/*": True}
    assert ids == [f"unsubscribe:{key}", f"unsubscribe:{key}:1", f"unsubscribe:{key}:2"]


def test_a_click_leads_on_and_counts_once(world: World) -> None:
    """Each click is led to the signed target; the event is one, also for many at once, and none for a HEAD.

    Semantics: link.click
    """
    sale, _, key = links(world)
    with world.open() as desk:
        head = desk.call("HEAD", sale)
        assert (head.status, head.headers["location"], world.waiting()) == (302, TARGET, [])
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(desk.get(sale))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [(it.status, it.headers["location"]) for it in seen] == [(302, TARGET)] * 8
        assert all(it.headers["cache-control"] == "no-store" for it in seen)
        (event,) = world.waiting()
    assert (event.type, event.user, event.data["url"], event.data["effect"]) == ("message.clicked", "u1", TARGET, key)
    assert event.id.startswith(f"click:{key}:")


def test_a_click_is_led_on_when_the_store_takes_nothing(world: World) -> None:
    """A disk that is full stops the counting and not the person; unsubscribing says that it was not done.

    Semantics: link.click
    """
    sale, out, _ = links(world)

    def broken(store: object) -> None:
        store.ingest = failing  # type: ignore[attr-defined]  # the store of the desk, for this test alone

    def failing(*args: object) -> None:
        raise OSError("disk full")

    with world.open() as desk:
        desk.faults.append(broken)
        assert desk.get(sale).headers["location"] == TARGET
        answer = desk.call("POST", out, ONE_CLICK, {**FORM, **ZH})
        assert answer.status >= 500
        assert "请几分钟后再试" in answer.raw.decode()
    assert world.waiting() == []


def test_what_is_not_signed_by_this_store_is_nowhere(world: World) -> None:
    """Threat: link.signed — forged, cut, mixed up or foreign: the same page of 404 each time, and no event."""
    sale, out, key = links(world)
    click, leave = sale.removeprefix("/c/"), out.removeprefix("/u/")
    foreign = signing_key(b"another store")
    elsewhere = sign(foreign, CLICK, key, "https://evil.example/")
    with world.open() as desk:
        pages = set()
        for kind, token in [
            ("u", click), ("c", leave), ("u", leave[:-1]), ("u", leave + "A"), ("u", "A" + leave[1:]),
            ("u", leave + "="), ("u", leave + "%0A"), ("c", "x"), ("c", elsewhere),
            ("u", sign(foreign, UNSUBSCRIBE, key)), ("c", "A" * 4_000), ("u", "%C3%A9"), ("c", "%00"),
        ]:  # fmt: skip
            for method in ("GET", "POST") if kind == "u" else ("GET",):
                answer = desk.call(method, f"/{kind}/{token}", headers=FORM)
                assert answer.status == 404, (kind, token)
                assert "location" not in answer.headers
                pages.add(answer.raw)
        assert len(pages) == 1
        for path in (
            "/c/",
            "/u/",
            "/c//evil.example",
            "/c/https:%2F%2Fevil.example",
            f"/c/{click}/x",
            "/c/..%2f..",
            f"/c/{click}?to=https://evil.example",
        ):
            answer = desk.get(path)
            assert answer.headers.get("location", TARGET) == TARGET
            assert answer.status in (302, 404)
        assert desk.call("POST", f"/c/{click}", b"", FORM).status == 405
    assert [it.type for it in world.waiting()] == ["message.clicked"]  # of the one whose query was not looked at


def test_links_of_nobody_look_like_those_of_somebody(world: World) -> None:
    """Threat: link.signed — whether a message exists, or its person was erased, is not told: same pages, no event."""
    sale, out, _ = links(world)
    unknown = sign(SIGNING, UNSUBSCRIBE, "f" * 32)
    gone = sign(SIGNING, CLICK, "f" * 32, TARGET)
    with world.open() as desk:
        known = desk.get(out).raw, desk.call("POST", f"/u/{unknown}", b"", FORM).raw
        assert desk.get(f"/u/{unknown}").raw == known[0]
        assert desk.get(f"/c/{gone}").headers["location"] == TARGET
    assert world.waiting() == []
    world.decide({**go("bye"), "type": "user.deleted", "time": now()})
    with world.open() as desk:
        assert desk.get(out).raw == known[0]
        assert desk.call("POST", out, ONE_CLICK, FORM).raw == known[1]
        assert desk.get(sale).headers["location"] == TARGET
    assert world.waiting() == []


def test_people_need_no_key_and_may_come_by_any_name(world: World) -> None:
    """The links are open where events ask for a key, and under the name of the shop where there is none."""
    sale, out, _ = links(world)
    host = {"host": BASE.removeprefix("https://")}
    with world.open({"auth": "${KEY}"}, env={"KEY": "k" * 32}) as desk:
        assert desk.send(desk.event("e1")).status == 401
        assert desk.get(sale, host).status == 302
        assert desk.call("POST", out, ONE_CLICK, {**FORM, **host}).status == 200
    with world.open() as desk:
        assert desk.send(desk.event("e1"), host).status == 421
        assert desk.get(out, host).status == 200
        assert desk.get(sale, host).status == 302


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"), ("zh-CN,zh;q=0.9", "zh-CN"), ("zh-TW", "zh-CN"), ("en-GB", "en"),
        ("fr, zh;q=0.5, en;q=0.4", "zh-CN"), ("zh;q=0, en;q=0.1", "en"),
        ("de", "en"), (";;;q=x,,", "en"), ("zh;q=nan", "en"), ("*", "en"),
    ],
)  # fmt: skip
def test_pages_speak_the_language_of_the_browser(world: World, accepted: str | None, language: str) -> None:
    """Chinese or English, whichever is liked better; nothing in the header can break the page."""
    _, out, _ = links(world)
    with world.open() as desk:
        page = desk.get(out, {} if accepted is None else {"accept-language": accepted})
        assert page.status == 200
        assert f'<html lang="{language}">' in page.raw.decode()
        assert page.headers["vary"] == "accept-language"


def test_the_routes_are_described(world: World) -> None:
    """openapi.json shows them as open to everybody."""
    with world.open() as desk:
        paths = desk.get("/v1/openapi.json").json["paths"]
        assert set(paths["/u/{token}"]) == {"get", "post"}
        assert paths["/c/{token}"]["get"]["security"] == []


def test_whoever_asks_too_often_is_told_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat: ingest.rate — guessing tokens costs the one address its turn, for pages and clicks together."""
    monkeypatch.setattr("engine.api.links.RATE", (3, HOUR))
    sale, out, _ = links(world)
    with world.open() as desk:
        assert [desk.get(path).status for path in (out, "/c/x", sale)] == [200, 404, 302]
        desk.get(out)  # what little came back since pays for one more
        for method, path in (("GET", sale), ("GET", out), ("POST", out)):
            answer = desk.call(method, path, b"" if method == "POST" else None)
            assert (answer.status, int(answer.headers["retry-after"]) > 60) == (429, True)
        assert desk.send(desk.event("e1")).status == 202  # what the feed takes has a rate of its own


def test_what_becomes_of_links_is_counted(world: World) -> None:
    """Each link that is followed is counted by what became of it, and all there is to count stands at 0 before.

    Semantics: link.counted
    """
    sale, out, _ = links(world)

    def counted(link: str) -> dict[str, int]:
        found = {}
        for line in desk.get("/metrics").raw.decode().splitlines():
            if line.startswith("drumbeat_links_total{") and f'link="{link}"' in line:
                found[line.partition('outcome="')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
        return found

    with world.open() as desk:
        assert counted("unsubscribe") == dict.fromkeys(("taken", "repeated", "nobody", "not_ours", "refused"), 0)
        desk.get(sale)
        desk.get(sale)
        desk.call("HEAD", sale)
        desk.get(sale[:-1] + ("A" if sale[-1] != "A" else "B"))
        desk.get(out)
        desk.call("POST", out, ONE_CLICK, FORM)
        desk.call("POST", out, ONE_CLICK, FORM)
        desk.call("POST", "/u/nothing", ONE_CLICK, FORM)
        assert counted("click") == {"taken": 1, "repeated": 1, "head": 1, "not_ours": 1, "nobody": 0, "refused": 0}
        assert counted("unsubscribe") == {"taken": 1, "repeated": 1, "nobody": 0, "not_ours": 1, "refused": 0}
        assert counted("ask") == {"shown": 1, "not_ours": 0}
