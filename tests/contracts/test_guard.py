"""Where requests may go: the corpus of threat 8. No test here opens a connection."""

from __future__ import annotations

import pytest

from engine.channels.guard import Guard, Refused, Target, Unresolved, fault, host_name, look_up

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::10.1.2.3",
]  # fmt: skip
NEVER = [
    "0.1.2.3", "169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.1",
    "192.0.0.9", "192.0.0.170", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::2", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "2001:db8::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "3fff::1", "100::1", "5f00::1",
    "fd00:ec2::254", "64:ff9b:1::7f00:1", "64:ff9b::a9fe:a9fe", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
    "::ffff:0:7f00:1", "::127.0.0.1", "::8.8.8.8", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:808:808::",
    "2001:4860:4860::5efe:169.254.169.254", "not an address", "", "1.2.3", "0x7f.0.0.1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
    "2606:4700:4700::1111", "2001:4860:4860::8888", "2400:cb00::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    """A private address is refused, whatever it is wrapped in, and allowed by a word.

    Threat: ssrf.address — private addresses
    """
    assert fault(address) is not None
    assert fault(address, allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_never(address: str) -> None:
    """Metadata, link-local, multicast, reserved and transition addresses are refused, by whatever word.

    Threat: ssrf.address — what no word allows
    """
    assert fault(address) is not None
    assert fault(address, allow_private=True) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """Public addresses are let through, those that only look odd too."""
    assert fault(address) is None


@pytest.mark.parametrize("inner", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "8.8.8.8"])
def test_isatap(inner: str) -> None:
    """An address that carries an IPv4 address in its last half is judged by that one too."""
    assert (fault(f"2606:4700::5efe:{inner}") is None) is (inner == "8.8.8.8")
    assert (fault(f"2606:4700::200:5efe:{inner}") is None) is (inner == "8.8.8.8")


ODD = [
    "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001", "1.2.3.4.5",
    "256.1.1.1", "127.0.0.0x1", "１２７.１",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_numbers(name: str) -> None:
    """Decimal, octal, hexadecimal and short forms of an address are no names: the system would read them as one.

    Threat: ssrf.address — numbers in odd forms
    """
    with pytest.raises(Refused):
        host_name(name)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Shop.Example", "shop.example"),
        ("shop.example.", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ｓｈｏｐ.example", "shop.example"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("127。0。0。1", "127.0.0.1"),
        ("::FFFF:7f00:1", "::ffff:127.0.0.1"),
        ("my_host.example", "my_host.example"),
    ],
)
def test_names(written: str, meant: str) -> None:
    """Names come out in one spelling; what is folded to a number is one."""
    assert host_name(written) in (meant, "::ffff:7f00:1")


URLS = [
    "ftp://shop.example/", "file:///etc/passwd", "gopher://shop.example/", "//shop.example/", "shop.example", "",
    "https://", "https:///path", "https://user@shop.example/", "https://user:pw@shop.example/", "https://a@b@c/",
    "https://shop.example:22/", "https://shop.example:0/", "https://shop.example:99999/", "https://shop.example:x/",
    "https://shop .example/", "https://shop.example/a b", "https://shop.example/\r\nHost: x", "https://shop.example\\@x/",
    "https://shop.example/\x00", "https://-shop.example/", "https://shop..example/", "https://[::1", "https://[fe80::1%25eth0]/",
    "https://127.1/", "https://0x7f.1/", "https://2130706433/", "http://shop.example/", "https://" + "a" * 5000,
    "https://" + "é" * 300 + "/", "https://shop.example/\ud800", "https://evil.example\u2100.shop.example/",
    "javascript:alert(1)", "https:/shop.example",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_addresses_refused(url: str) -> None:
    """What is no plain https address on a usual port is refused before any look-up, and never quoted."""
    def never(host: str, port: int) -> list[str]:
        raise AssertionError("nobody may be asked")

    with pytest.raises(Refused) as refused:
        Guard(resolve=never).target(url)
    assert "pw" not in str(refused.value)


def test_target() -> None:
    """An address is taken apart: host, port and path as they go over the wire."""
    assert Guard().target("https://Shop.example/a?b=é#c") == Target(True, "shop.example", 443, "/a?b=%C3%A9")
    assert Guard().target("https://shop.example?x=1").path == "/?x=1"
    assert Guard(allow_http=True).target("http://shop.example").port == 80
    assert Guard(ports=frozenset({8443})).target("https://shop.example:8443/").host_header() == "shop.example:8443"
    assert Guard().target("https://[2606:4700::1]/").host_header() == "[2606:4700::1]"


def test_hosts() -> None:
    """With a list of hosts no other may be called; a name with a dot in front stands for all below it."""
    guard = Guard(hosts=frozenset({"crm.example", ".shop.example"}))
    for good in ("crm.example", "CRM.example", "a.shop.example", "a.b.shop.example"):
        guard.target(f"https://{good}/")
    for bad in ("shop.example", "evilshop.example", "x.crm.example", "crm.example.evil.example"):
        with pytest.raises(Refused, match="not in 'hosts'"):
            guard.target(f"https://{bad}/")


@pytest.mark.parametrize("bad", PRIVATE + NEVER)
def test_every_address_is_checked(bad: str) -> None:
    """One bad address among good ones refuses the name.

    Threat: ssrf.address — each address of a name
    """
    guard = Guard(resolve=lambda host, port: ["8.8.8.8", bad, "1.1.1.1"])
    with pytest.raises(Refused, match=r"host shop\.example has"):
        guard.addresses(guard.target("https://shop.example/"), 5.0)


def test_looked_up_once() -> None:
    """A resolver that gives another answer each time is asked once, and its first answer is what counts.

    Threat: ssrf.address — a resolver that changes its mind
    """
    asked: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

    guard = Guard(resolve=rebinding)
    assert guard.addresses(guard.target("https://shop.example/"), 5.0) == ["8.8.8.8"]
    assert asked == [("shop.example", 443)]


def test_a_number_needs_no_look_up() -> None:
    """An address written as a number is checked as it is."""
    def never(host: str, port: int) -> list[str]:
        raise AssertionError("nobody may be asked")

    guard = Guard(resolve=never)
    assert guard.addresses(guard.target("https://8.8.8.8/"), 5.0) == ["8.8.8.8"]
    with pytest.raises(Refused):
        guard.addresses(guard.target("https://[::1]/"), 5.0)


def test_look_up_that_fails() -> None:
    """A name nobody knows, one without addresses and a resolver that breaks are one thing: not resolved."""
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    for ask in (unknown, lambda host, port: []):
        with pytest.raises(Unresolved, match=r"shop\.example"):
            look_up(ask, "shop.example", 443, 5.0)


def test_look_up_that_hangs() -> None:
    """A resolver that never answers is left behind when the time is up."""
    from threading import Event

    release = Event()

    def hanging(host: str, port: int) -> list[str]:
        release.wait(60)
        return []

    try:
        with pytest.raises(Unresolved, match="in time"):
            look_up(hanging, "shop.example", 443, 0.05)
    finally:
        release.set()
