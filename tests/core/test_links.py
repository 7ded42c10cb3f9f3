"""Signed links: a token says one thing, to one store, in one spelling; a target is an address of the program's."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.links import (
    CLICK,
    MOST,
    UNSUBSCRIBE,
    Signed,
    click_id,
    fault_of_base,
    fault_of_host,
    read,
    sign,
    signing_key,
)
from engine.core.links import fault_of_target as fault

KEY = "0123456789abcdef" * 2
MINE, OTHER = signing_key(b"one store"), signing_key(b"another")
TARGET = "https://shop.example/sale?u=1&v=%E8%8C%B6#top"
HOSTS = ("shop.example", "*.cdn.example", "local.example:8443")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_token_says_what_was_signed() -> None:
    """Kind, effect and target come back; the same words give the same token each time."""
    assert read(MINE, UNSUBSCRIBE, sign(MINE, UNSUBSCRIBE, KEY)) == Signed(UNSUBSCRIBE, KEY, "")
    assert read(MINE, CLICK, sign(MINE, CLICK, KEY, TARGET)) == Signed(CLICK, KEY, TARGET)
    assert sign(MINE, CLICK, KEY, TARGET) == sign(MINE, CLICK, KEY, TARGET)


def test_a_token_is_for_one_kind_and_one_store() -> None:
    """Threat: link.signed — neither the other kind of link nor another store takes it."""
    token = sign(MINE, CLICK, KEY, TARGET)
    assert read(OTHER, CLICK, token) is None
    assert read(MINE, UNSUBSCRIBE, token) is None
    assert read(MINE, CLICK, sign(MINE, UNSUBSCRIBE, KEY)) is None
    assert read(signing_key(b""), CLICK, token) is None


def test_no_letter_of_a_token_can_be_changed() -> None:
    """Threat: link.signed — every letter at every place, one more and one less; also what decodes to the same bytes."""
    for token in (sign(MINE, UNSUBSCRIBE, KEY), sign(MINE, CLICK, KEY, TARGET)):
        kind = UNSUBSCRIBE if len(token) < 60 else CLICK
        assert read(MINE, kind, token) is not None
        for place, letter in enumerate(token):
            for other in ALPHABET:
                changed = token[:place] + other + token[place + 1 :]
                assert other == letter or read(MINE, kind, changed) is None, (place, other)
        for spelt in (token + "=", token + "A", token[:-1], token + "\n", " " + token, token + "==", token + "%00"):
            assert read(MINE, kind, spelt) is None, spelt


def test_a_target_cannot_be_put_behind_the_signature_of_another() -> None:
    """Threat: link.signed — the signature of one message does not carry over to another key or target."""
    raw = urlsafe_b64decode(sign(MINE, CLICK, KEY, TARGET) + "==")
    for body in (
        raw[16:].replace(b"shop", b"evil"),
        b"c" + b"\x01" * 16 + TARGET.encode(),
        b"",
        b"c",
        b"c" + b"\0" * 15,
    ):
        forged = urlsafe_b64encode(raw[:16] + body).rstrip(b"=").decode()
        assert read(MINE, CLICK, forged) is None


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=120), st.text(ALPHABET, max_size=3_000)))
def test_anything_else_is_no_token(text: str) -> None:
    """Threat: link.signed — whatever stands in the address, the answer is no, and never an error."""
    assert read(MINE, CLICK, text) is None
    assert read(MINE, UNSUBSCRIBE, text) is None


def test_a_click_has_one_id_for_each_target() -> None:
    """Two links of a message are two clicks; the same link is one."""
    one, other = Signed(CLICK, KEY, "https://shop.example/a"), Signed(CLICK, KEY, "https://shop.example/b")
    assert click_id(one) == click_id(Signed(CLICK, KEY, "https://shop.example/a")) != click_id(other)
    assert click_id(one).startswith(f"click:{KEY}:")


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        "https://shop.example",
        "http://shop.example/",
        "https://SHOP.example/A",
        "https://shop.example?x=@evil.example",
        "https://shop.example#//evil.example",
        "https://shop.example/@evil.example",
        "https://a.cdn.example/x.png",
        "https://a.b.cdn.example",
        "https://local.example:8443/x",
    ],
)
def test_targets_of_the_program(target: str) -> None:
    """Addresses of the hosts that were named are taken as they are."""
    assert fault(target, HOSTS) is None


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/sale",
        "//evil.example",
        "///evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://shop.example/",
        "HTTPS://shop.example/",
        "\\\\evil.example",
        "https:\\\\shop.example",
        "https://shop.example\\evil.example",
        "https://evil.example\\@shop.example",
        "https://shop.example@evil.example/",
        "https://shop.example:x@evil.example/",
        "https://user@shop.example/",
        "https://shop.example:8443/",
        "https://shop.example:/",
        "https://local.example/",
        "https://evil.example/",
        "https://evil.example?https://shop.example/",
        "https://evil.example#https://shop.example/",
        "https://shop.example.evil.example/",
        "https://evilshop.example/",
        "https://cdn.example/",
        "https://evilcdn.example/",
        "https://.cdn.example/",
        "https://a..cdn.example/",
        "https://shop.example./",
        "https://shop.example%2eevil.example/",
        "https://shop.example%00.evil.example/",
        "https://shop.exam\u00adple/",
        "https://\u0455hop.example/",
        "https://shop\u3002example/",
        "https://shop.example\uff0fevil.example",
        "https://shop.example\uff20evil.example",
        "https://[::1]/",
        "https://127.1/",
        "https://shop.example/a b",
        "https://shop.example/\u8336",
        "https://shop.example/\r\nset-cookie: a",
        "https://shop.example/\n",
        "https://shop.example/\t",
        "https://shop.example/\0",
        'https://shop.example/"><script>',
        " https://shop.example/",
        "https://shop.example/" + "a" * MOST,
    ],
)
def test_no_way_elsewhere(target: str) -> None:
    """Threat: link.signed — what could lead elsewhere, or be read in two ways, is refused."""
    said = fault(target, HOSTS)
    assert said
    assert "evil" not in said or "links.hosts" in said


def test_without_hosts_nothing_may_be_linked_to() -> None:
    """Threat: link.signed — a program that names no host has no links but that to unsubscribe."""
    assert fault("https://shop.example/", ())


@pytest.mark.parametrize(
    ("base", "right"),
    [
        ("https://go.shop.example", True),
        ("https://go.shop.example/", True),
        ("https://shop.example/go/m", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("http://go.shop.example", False),
        ("http://localhost.evil.example", False),
        ("https://user@go.shop.example", False),
        ("https://go.shop.example?x", False),
        ("https://go.shop.example/#x", False),
        ("https://go.shop.example//", False),
        ("go.shop.example", False),
        ("https://", False),
        ("", False),
    ],
)
def test_where_links_may_lead(base: str, right: bool) -> None:
    """The daemon is reached by https; without it only on this machine."""
    assert (fault_of_base(base) is None) is right


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("shop.example", True),
        ("*.shop.example", True),
        ("shop.example:8443", True),
        ("localhost", True),
        ("*", False),
        ("*.", False),
        ("https://shop.example", False),
        ("shop.example/", False),
        ("a*.shop.example", False),
        ("*.*.example", False),
        ("", False),
    ],
)
def test_what_a_host_is(host: str, right: bool) -> None:
    """A host by its name, with the port where it has one, or all below it; never all there are."""
    assert (fault_of_host(host) is None) is right
