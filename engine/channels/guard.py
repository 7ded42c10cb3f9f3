"""Where a request may go: the address of the other side is checked before anything is sent to it.

Rule 1: a name is looked up once, every address it has is checked, and the connection goes to a checked address. There
is no second look-up in which the answer could be another one.
Rule 2: an address that carries an IPv4 address inside is as good as that one.
Rule 3: the tables are our own. ``ipaddress`` takes 64:ff9b::7f00:1 and 192.0.0.9 for public.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import quote, urlsplit

Resolve = Callable[[str, int], Sequence[str]]
"""(name, port) -> its addresses, as text; raises OSError."""

PORTS = frozenset({443, 80})
"""Where requests go when a channel names no others."""

_MOST_ADDRESSES = 16
_LONGEST = 4096
_UNFIT = re.compile("[\x00-\x20\\\\\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_ASCII = "".join(map(chr, range(33, 127)))
_LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")

_PRIVATE4 = tuple(
    IPv4Network(it) for it in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_NEVER4 = tuple(
    IPv4Network(it)
    for it in (
        "0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_PRIVATE6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
_PUBLIC6 = IPv6Network("2000::/3")
_NEVER6 = tuple(
    IPv6Network(it) for it in ("fd00:ec2::254/128", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_MAPPED = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_METADATA = "an address of link-local, metadata, multicast or reserved kind"
_PRIVATE = "a private address"


class Refused(Exception):
    """The request may not go there; its text says why, without the address it was to go to."""


class Unresolved(Exception):
    """Nobody could say where the name lives."""


@dataclass(frozen=True)
class Target:
    """A web address taken apart and found fit."""

    secure: bool
    host: str  #: as it goes into ``Host`` and into the certificate's check: ASCII, small letters
    port: int
    path: str  #: path and query, as sent

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What one connection serves."""
        return self.secure, self.host, self.port

    def host_header(self) -> str:
        """Value of ``Host``."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.secure else 80) else f"{name}:{self.port}"


@dataclass(frozen=True)
class Guard:
    """What a channel may talk to.

    Parameters
    ----------
    allow_private: loopback and private networks too; link-local, metadata and reserved addresses never.
    allow_http: without TLS too.
    ports: allowed ones; None: any.
    hosts: allowed names, ``.shop.example`` for all below one; None: any.
    resolve: the look-up of names.
    """

    allow_private: bool = False
    allow_http: bool = False
    ports: frozenset[int] | None = PORTS
    hosts: frozenset[str] | None = None
    resolve: Resolve | None = None

    def target(self, url: str) -> Target:
        """A web address, checked as far as that is possible without asking anybody; raises Refused."""
        if len(url) > _LONGEST:
            raise Refused(f"the address is longer than {_LONGEST} characters")
        if _UNFIT.search(url):
            raise Refused("the address holds a blank, a control character or a backslash")
        try:
            parts = urlsplit(url)
            port, name = parts.port, parts.hostname
        except ValueError:
            raise Refused("the address cannot be read") from None
        secure = parts.scheme == "https"
        if not secure and parts.scheme != "http":
            raise Refused("the address does not begin with https://")
        if not secure and not self.allow_http:
            raise Refused("the address is not https; 'allow_http: true' allows it")
        if "@" in parts.netloc:
            raise Refused("the address holds a user name")
        host = host_name(name or "")
        if port is None:
            port = 443 if secure else 80
        if self.ports is not None and port not in self.ports:
            raise Refused(f"port {port} is not allowed; 'ports: [{port}]' allows it")
        if self.hosts is not None and not _listed(host, self.hosts):
            raise Refused(f"host {host} is not in 'hosts'")
        return Target(secure, host, port, _path(parts.path, parts.query))

    def addresses(self, target: Target, seconds: float) -> list[str]:
        """The addresses of a name, each of them checked; raises Refused, Unresolved."""
        found = look_up(self.resolve or resolve, target.host, target.port, seconds)
        for address in found:
            why = fault(address, allow_private=self.allow_private)
            if why is not None:
                raise Refused(f"host {target.host} has {why}")
        return found


def host_name(name: str) -> str:
    """The name of a host in ASCII, small letters; raises Refused for what is none and for odd forms of a number."""
    bare = name.rstrip(".")[: 2 * _LONGEST_NAME]
    if ":" in bare:
        return _literal6(bare)
    try:
        # what is not ASCII is folded first: full-width digits must not be a way round the check of numbers
        host = bare.encode("idna").decode("ascii").lower() if not bare.isascii() else bare.lower()
    except UnicodeError:
        raise Refused("the host is no name") from None
    if not host or len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(it) for it in host.split(".")):
        raise Refused("the host is no name")
    last = host.rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise Refused("the host is a number in an odd form") from None
    return host


def _literal6(text: str) -> str:
    try:
        return str(IPv6Address(text)) if "%" not in text else _odd()
    except ValueError:
        return _odd()


def _odd() -> str:
    raise Refused("the host is a number in an odd form") from None


def _listed(host: str, hosts: Collection[str]) -> bool:
    return any(host == it or (it.startswith(".") and host.endswith(it)) for it in hosts)


def _path(path: str, query: str) -> str:
    """Path and query with what is not ASCII written in per cent."""
    whole = (path or "/") + (f"?{query}" if query else "")
    return quote(whole, safe=_ASCII)


def fault(address: str, *, allow_private: bool = False) -> str | None:
    """Why an address must not be talked to; None: it may."""
    try:
        found = ip_address(address)
    except ValueError:
        return "an address that is none"
    if isinstance(found, IPv4Address):
        return _fault4(found, allow_private)
    inner = _inside(found)
    for one in inner:
        why = _fault4(one, allow_private)
        if why is not None:
            return why
    if found.scope_id is not None:
        return _METADATA
    if any(found in net for net in _MAPPED):
        return None  # it is the address inside
    if any(found in net for net in _NEVER6):
        return _METADATA
    if any(found in net for net in _PRIVATE6):
        return None if allow_private else _PRIVATE
    return None if found in _PUBLIC6 else _METADATA


def _fault4(address: IPv4Address, allow_private: bool) -> str | None:
    if any(address in net for net in _NEVER4):
        return _METADATA
    if any(address in net for net in _PRIVATE4):
        return None if allow_private else _PRIVATE
    return None


def _inside(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses an IPv6 address carries: mapped, compatible, NAT64, 6to4, Teredo, ISATAP."""
    raw = address.packed
    found = []
    mapped = any(address in net for net in _MAPPED)
    if mapped or (raw[:12] == bytes(12) and raw[12:15] != bytes(3)):
        found.append(raw[12:])
    elif raw[:2] == b"\x20\x02":
        found.append(raw[2:6])
    elif raw[:4] == b"\x20\x01\x00\x00":
        found += [raw[4:8], bytes(byte ^ 0xFF for byte in raw[12:])]
    elif raw[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"):
        found.append(raw[12:])
    return [IPv4Address(it) for it in found]


# ---------------------------------------------------------------------- looking up


def resolve(host: str, port: int) -> list[str]:
    """The addresses the system gives for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(it[4][0]) for it in found]


def look_up(ask: Resolve, host: str, port: int, seconds: float) -> list[str]:
    """At most 16 addresses of a name, each once; raises Unresolved, after so many seconds at the latest."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    box: list[Any] = []

    def work() -> None:
        try:
            box.append(ask(host, port))
        except Exception as error:  # a resolver may fail in any way; who waits is told
            box.append(error)

    # The system's look-up knows no time-out, so it is left behind when it takes too long.
    thread = threading.Thread(target=work, name="look-up", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if not box:
        raise Unresolved(f"host {host} could not be looked up in time")
    if isinstance(box[0], Exception):
        raise Unresolved(f"host {host} could not be looked up: {type(box[0]).__name__}")
    found = list(dict.fromkeys(box[0]))[:_MOST_ADDRESSES]
    if not found:
        raise Unresolved(f"host {host} has no address")
    return found
