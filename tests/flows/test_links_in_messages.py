"""Links in messages: what a template prints, what the effect carries, what is refused before and while rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from semantics_kit import Row, event, play
from steps_kit import Live

from engine.core.links import CLICK, UNSUBSCRIBE, read, signing_key
from engine.language.compile import compile_program

BASE = "https://go.shop.example"
LINKS = f"feeds: [{{http: {{port: 0}}}}]\nlinks: {{base: {BASE}/, hosts: [shop.example, '*.cdn.example']}}\n"
HEAD = """\
program: kit
channels: {box: {via: file, path: o}, sms: {via: file, path: s, address: user.phone}}
policies:
  default: {consent: {marketing: opt_out, service: none}, quiet_hours: never}
"""
TEMPLATE = """\
---
subject: Tea
link_sale: "https://shop.example/sale?u={{ user.id }}&c={{ event.city }}"
link_pics: "https://img.cdn.example/{{ user.id }}.png"
---
Buy: {{ links.sale }} Leave: {{ links.unsubscribe }}"""
PLAYBOOK = "trigger: {event: a}\nentry: once\nsteps: [{message: {template: tea, purpose: marketing, via: box}}]\n"
FEED = [event("1", "a", "10:00", city="杭 州&x=/?#")]
SIMULATED = signing_key(b"simulate:kit")


def written(root: Path, text: str = TEMPLATE, channel: str = "box") -> Path:
    """A program's folder with the template ``tea``."""
    (root / "templates").mkdir(parents=True, exist_ok=True)
    (root / "templates" / f"tea.{channel}.j2").write_text(text, encoding="utf-8")
    return root


def sent(root: Path, *, head: str = HEAD + LINKS, playbook: str = PLAYBOOK, feed: list[Row] = FEED) -> Row:
    """The one effect of a simulation."""
    (row,) = play(root, {"p": playbook}, feed, head=head).effects
    return row


def link(text: str, word: str) -> tuple[str, str]:
    """(kind, token) of a link in a text."""
    address = text.partition(word + ": ")[2].partition(" ")[0]
    assert address.startswith(BASE + "/")
    kind, _, token = address.removeprefix(BASE + "/").partition("/")
    return kind, token


def test_a_message_carries_its_links(tmp_path: Path) -> None:
    """Each link leads to the daemon, signed for this effect; values in targets are encoded, however they are written.

    Semantics: link.signed
    """
    row = sent(written(tmp_path))
    assert row["status"] == "planned", row
    kind, token = link(row["detail"]["text"], "Buy")
    signed = read(SIMULATED, CLICK, token)
    assert (kind, signed is not None) == ("c", True)
    assert signed is not None
    assert signed.target == "https://shop.example/sale?u=u1&c=%E6%9D%AD%20%E5%B7%9E%26x%3D%2F%3F%23"
    kind, token = link(row["detail"]["text"], "Leave")
    away = read(SIMULATED, UNSUBSCRIBE, token)
    assert (kind, away is not None) == ("u", True)
    assert away is not None
    assert away.key == signed.key == row["key"]
    assert row["detail"]["unsubscribe"] == f"{BASE}/u/{token}"
    assert "fields" not in row["detail"]  # targets are no front matter of the message


def test_the_same_links_each_time(tmp_path: Path) -> None:
    """Two simulations write the same bytes; another store has links of its own."""
    assert sent(written(tmp_path / "a")) == sent(written(tmp_path / "b"))
    live = Live(written(tmp_path / "c"), {"p": PLAYBOOK}, head=HEAD + LINKS)
    live.run(*FEED)
    (effect,) = live.effects()
    kind, token = link(effect.detail["text"], "Buy")
    assert read(SIMULATED, kind, token) is None
    found = read(signing_key(b"x"), kind, token)  # the secret of the kit
    assert found is not None
    assert found.key == effect.key


@pytest.mark.parametrize(("purpose", "there"), [("marketing", True), ("service", False)])
def test_only_what_can_be_revoked_has_a_link_to_do_so(tmp_path: Path, purpose: str, there: bool) -> None:
    """Where a policy asks for no consent, no link pretends to take it back, printed or not.

    Semantics: link.unsubscribe
    """
    text = "{% if links.unsubscribe %}yes{% else %}no{% endif %}"
    row = sent(written(tmp_path, text), playbook=PLAYBOOK.replace("marketing", purpose))
    assert (row["detail"]["text"] == "yes", "unsubscribe" in row["detail"]) == (there, there)


def test_a_bare_link_that_is_not_there_is_a_missing_value(tmp_path: Path) -> None:
    """A message that promises a way out and has none is not sent."""
    row = sent(written(tmp_path, "{{ links.unsubscribe }}"), playbook=PLAYBOOK.replace("marketing", "service"))
    assert row["reason"] == "missing_variable"


def test_programs_without_links_send_what_they_sent(tmp_path: Path) -> None:
    """Nothing is added to a message where the program says nothing of links."""
    row = sent(written(tmp_path, "hello"), head=HEAD)
    assert row["detail"] == {"template": "tea", "via": "box", "purpose": "marketing", "text": "hello"}


@pytest.mark.parametrize(
    ("target", "city", "reason"),
    [
        ("https://{{ event.city }}.cdn.example/", "img", None),
        ("https://{{ event.city }}.cdn.example/", "evil.example/", "render"),
        ("https://{{ event.city }}.cdn.example/", "evil.example#", "render"),
        ("https://{{ event.city }}.cdn.example/", "me@evil", "render"),
        ("https://{{ event.city }}.cdn.example/", "бar", "render"),
        ("https://{{ event.city }}/", "shop.example", None),
        ("https://{{ event.city }}/", "evil.example", "render"),
        ("https://shop.example{{ event.city }}/", ".evil.example", "render"),
        ("https://shop.example{{ event.city }}/", "@evil.example", "render"),
        ("https://shop.example/{{ event.city }}", "//evil.example\r\nx: y", None),
        ("https://shop.example/{{ event.city }}", None, "missing_variable"),
        ("https://shop.example/{{ event.city }}", "x" * 2_000, "render"),
    ],
)
def test_values_lead_nowhere_else(tmp_path: Path, target: str, city: str | None, reason: str | None) -> None:
    """Threat: link.signed — what an event brings stays a part of the address that was written; else nothing is sent.

    Semantics: link.target
    """
    text = f'---\nlink_go: "{target}"\n---\nGo: {{{{ links.go }}}}'
    data: dict[str, Any] = {} if city is None else {"city": city}
    row = sent(written(tmp_path, text), feed=[event("1", "a", "10:00", **data)])
    assert row["reason"] == reason
    if reason is None:
        found = read(SIMULATED, CLICK, link(row["detail"]["text"], "Go")[1])
        assert found is not None
        assert found.target.startswith(("https://shop.example/", "https://img.cdn.example/"))
        assert "//evil" not in found.target.removeprefix("https://")


def test_a_target_nobody_prints_is_not_asked_for(tmp_path: Path) -> None:
    """``link_pics`` of the template needs no value as long as the text does not show it."""
    text = (
        '---\nlink_a: "https://shop.example/{{ event.nothing }}"\nlink_b: "https://shop.example/b"\n---\n{{ links.b }}'
    )
    assert sent(written(tmp_path, text))["status"] == "planned"


def problems(root: Path, links: str, text: str) -> list[tuple[str, str, int]]:
    """(code, file, line) of what validate says."""
    written(root, text)
    files = {"drumbeat.yaml": HEAD + links, "playbooks/p.yaml": f"playbook: p\ntitle: t\nowner: o\n{PLAYBOOK}"}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return [(it.code, it.file, it.line) for it in compile_program(root).problems]


@pytest.mark.parametrize(
    ("links", "text", "code", "line"),
    [
        ("", "a\n{{ links.unsubscribe }}", "no-links", 2),
        (LINKS, "{{ links.unsubscribe }}", None, 0),
        (LINKS, "{{ links.sale }}", "template-links", 1),
        (LINKS, '---\nlink_sale: "https://shop.example"\n---\n\n{{ links.sael }}', "template-links", 5),
        (LINKS, '{{ links["unsubscribe"] }}', None, 0),
        (LINKS, "{% set a = links %}{{ a.unsubscribe }}", "template-links", 1),
        (LINKS, "{% for a in links %}{{ a }}{% endfor %}", "template-links", 1),
        (LINKS, '---\nlink_a: "https://evil.example/"\n---\n{{ links.a }}', "link-host", 2),
        (LINKS, '---\nlink_a: "https://evil.example/{{ user.id }}"\n---\n{{ links.a }}', "link-host", 2),
        (LINKS, '---\nlink_a: "https://evil.example/"\n---\nnever shown', "link-host", 2),
        (LINKS, '---\nlink_a: "//shop.example/"\n---\n{{ links.a }}', "link-host", 2),
        (LINKS, '---\nlink_a: "{{ user.id }}"\n---\n{{ links.a }}', "link-host", 2),
        (LINKS, '---\nlink_a: "https://x@shop.example/{{ user.id }}"\n---\n{{ links.a }}', "link-host", 2),
        (LINKS, '---\nlink_a: "{{ links.unsubscribe }}"\n---\n{{ links.a }}', "template-word", 2),
        (LINKS.replace("https", "http"), "{{ links.unsubscribe }}", "wrong-value", 0),
        (LINKS.replace("shop.example,", "'*',"), "{{ links.unsubscribe }}", "wrong-value", 0),
        (LINKS.partition("\n")[2], "{{ links.unsubscribe }}", "links-unserved", 0),
    ],
)
def test_validate_says_what_is_wrong_with_links(
    tmp_path: Path, links: str, text: str, code: str | None, line: int
) -> None:
    """A link that cannot be is named at its line before anything is sent."""
    found = [it for it in problems(tmp_path, links, text) if it[0] not in ("missing-path",)]
    assert [it[0] for it in found] == ([] if code is None else [code])
    if line and code is not None:
        assert found[0][1:] == ("templates/tea.box.j2", line)


def test_another_channel_carries_its_own_links(tmp_path: Path) -> None:
    """What goes by a second channel has links too, under the same effect."""
    written(tmp_path)
    written(tmp_path, "Buy: {{ links.unsubscribe }} ", "sms")
    live = Live(tmp_path, {"p": PLAYBOOK.replace("via: box", "via: [box, sms]")}, head=HEAD + LINKS)
    live.run(event("0", "user.signup", "09:00", phone="+861"), *FEED)
    (effect,) = live.effects()
    (spare,) = effect.spares
    assert link(spare.text, "Buy") == ("u", effect.detail["unsubscribe"].rpartition("/")[2])
