"""One request and its answer over a checked connection, with a deadline that counts from the beginning.

Rule 1: the deadline holds for the whole request: looking up, connecting, TLS, sending, and every byte of the answer.
Rule 2: as long as the request was not handed over whole, nothing happened (``Unsent``). From then on nobody can tell,
unless an answer came (``Unanswered``).
Rule 3: what a request says is never part of an error; an address may hold a secret.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from engine.channels.guard import Guard, Target, Unresolved
from engine.errors import CannotRun

LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the connection is closed on a longer one."""

_PIECE = 16 * 1024
_IDLE = 1.0  #: seconds after which a kept connection is not trusted any more


class Unsent(Exception):
    """The request did not go out whole; its text says why, ``passing`` whether another try may help."""

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Unanswered(Exception):
    """The request went out and no answer came that could be read; its text says why."""


@dataclass(frozen=True)
class Limits:
    """Seconds a request may take."""

    connect: float = 3.0  #: until the connection stands, TLS included
    read: float = 10.0  #: of silence
    total: float = 15.0  #: from beginning to end

    def within(self, seconds: float | None) -> Limits:
        """The same limits, and a total of so many seconds at most."""
        return self if seconds is None else replace(self, total=min(self.total, seconds))


@dataclass(frozen=True)
class Reply:
    """What the other side said."""

    status: int
    headers: Mapping[str, str]  #: names in small letters
    body: bytes
    whole: bool  #: the body was not cut off


class Line:
    """A connected socket under a deadline."""

    def __init__(self, sock: socket.socket, elapsed: Callable[[], float]) -> None:
        self.sock = sock
        self._elapsed = elapsed
        self._until = 0.0
        self._read = 0.0
        self.rested = 0.0  #: when it was last put aside

    def begin(self, until: float, read: float) -> None:
        """From here on everything must be over at ``until``, and no silence be longer than ``read``."""
        self._until, self._read = until, read

    def left(self) -> float:
        """Seconds left; raises TimeoutError when there are none."""
        left = self._until - self._elapsed()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left

    def sendall(self, data: bytes) -> None:
        """All bytes, or an exception."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):  # TLS counts its time-out anew for each record
            self.sock.settimeout(self.left())
            self.sock.sendall(view[start : start + _PIECE])

    def recv_into(self, buffer: Any) -> int:
        """Some bytes."""
        self.sock.settimeout(min(self._read, self.left()))
        return self.sock.recv_into(buffer)

    def makefile(self, mode: str = "rb", *_: Any, **__: Any) -> io.BufferedReader:
        """For reading; closing it leaves the connection as it is."""
        return io.BufferedReader(_Reader(self))

    def secure(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """TLS, with a certificate for ``host``."""
        self.sock.settimeout(max(0.001, min(seconds, self.left())))
        self.sock = context.wrap_socket(self.sock, server_hostname=host)

    def stale(self, now: float) -> bool:
        """Was it put aside too long ago, or did the other side close it or say something nobody asked for?"""
        if now - self.rested > _IDLE:
            return True
        waiting = select.poll()  # select itself knows no more than 1,024 files
        waiting.register(self.sock, select.POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        """Close it, whatever state it is in."""
        with contextlib.suppress(OSError):
            self.sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, line: Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.recv_into(buffer)


def tls(ca: str | None) -> ssl.SSLContext:
    """What certificates are checked with; ``ca``: a file of authorities instead of the system's."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CannotRun(f"the certificates of {ca or 'the system'} cannot be read: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def dial(addresses: list[str], port: int, line_until: float, limits: Limits, elapsed: Callable[[], float]) -> Line:
    """A connection to the first address that takes one; raises OSError."""
    last: OSError = OSError("no address")
    for address in addresses:
        seconds = min(limits.connect, line_until - elapsed())
        if seconds <= 0:
            raise TimeoutError("the time is up")
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds)
            sock.connect((address, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            last = error
            continue
        line = Line(sock, elapsed)
        line.begin(line_until, limits.read)
        return line
    raise last


class _Exchange(http.client.HTTPConnection):
    """``http.client`` on a line of ours: it writes requests and reads answers, and never connects."""

    def __init__(self, target: Target, line: Line) -> None:
        super().__init__(target.host, target.port)
        self.sock = line  # of a socket it uses what a line has

    auto_open = 0

    def close(self) -> None:
        """The line belongs to the caller, who still reads from it."""


class Caller:
    """Sends requests under a guard and keeps connections for a moment.

    Parameters
    ----------
    guard: where they may go.
    elapsed: seconds on a clock that never jumps.
    limits: how long one may take.
    ca: file of certificate authorities instead of the system's.
    """

    def __init__(
        self, guard: Guard, elapsed: Callable[[], float], limits: Limits | None = None, ca: str | None = None
    ) -> None:
        self._guard = guard
        self._elapsed = elapsed
        self._limits = limits or Limits()
        self._tls = None if ca is None else tls(ca)  #: the system's are read when they are needed first: there are many
        self._kept: dict[tuple[bool, str, int], deque[Line]] = {}
        self._lock = Lock()
        self._closed = False

    def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, seconds: float | None = None
    ) -> Reply:
        """The answer to one request, redirects included: none is followed.

        Raises guard.Refused where it may not go, Unsent and Unanswered; ``seconds``: less time than usual.
        """
        limits = self._limits.within(seconds)
        until = self._elapsed() + limits.total
        target = self._guard.target(url)
        line = self._line(target, until, limits)
        keep = False
        try:
            exchange = _Exchange(target, line)
            self._hand_over(exchange, target, method, headers, body)
            reply, keep = _answer(exchange, method)
            return reply
        finally:
            if keep:
                self._put_aside(target, line)
            else:
                line.close()

    def close(self) -> None:
        """Close what was kept; no connection is kept from now on."""
        with self._lock:
            self._closed = True
            lines = [line for kept in self._kept.values() for line in kept]
            self._kept.clear()
        for line in lines:
            line.close()

    def _hand_over(
        self, exchange: _Exchange, target: Target, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        try:
            exchange.putrequest(method, target.path, skip_host=True, skip_accept_encoding=True)
            exchange.putheader("Host", target.host_header())
            exchange.putheader("Accept-Encoding", "identity")
            for name, value in headers.items():
                exchange.putheader(name, value)
            if body is not None or method not in ("GET", "DELETE"):
                exchange.putheader("Content-Length", str(len(body or b"")))
            exchange.endheaders(body)
        except TimeoutError:
            raise Unsent(f"{target.host} did not take the request in time") from None
        except OSError as error:
            raise Unsent(f"{target.host} broke off while the request was sent: {_words(error)}") from None
        except (ValueError, http.client.HTTPException) as error:
            raise Unsent(f"the request cannot be written: {type(error).__name__}", passing=False) from None

    def _line(self, target: Target, until: float, limits: Limits) -> Line:
        kept = self._take(target)
        if kept is not None:
            kept.begin(until, limits.read)
            return kept
        try:
            addresses = self._guard.addresses(target, min(limits.connect, until - self._elapsed()))
            line = dial(addresses, target.port, until, limits, self._elapsed)
        except Unresolved as error:
            raise Unsent(str(error)) from None
        except TimeoutError:
            raise Unsent(f"{target.host} did not answer the connection in time") from None
        except OSError as error:
            raise Unsent(f"{target.host} cannot be connected: {_words(error)}") from None
        if target.secure:
            self._tls = self._tls or tls(None)
            try:
                line.secure(self._tls, target.host, limits.connect)
            except (OSError, ValueError) as error:
                line.close()
                raise Unsent(f"no TLS with {target.host}: {_words(error)}") from None
        return line

    def _take(self, target: Target) -> Line | None:
        while True:
            with self._lock:
                kept = self._kept.get(target.origin)
                line = kept.pop() if kept else None
            if line is None or not line.stale(self._elapsed()):
                return line
            line.close()

    def _put_aside(self, target: Target, line: Line) -> None:
        line.rested = self._elapsed()
        old: list[Line] = [line] if self._closed else []
        with self._lock:
            for kept in self._kept.values():  # the longest rested stand in front
                while kept and line.rested - kept[0].rested > _IDLE:
                    old.append(kept.popleft())
            self._kept = {origin: kept for origin, kept in self._kept.items() if kept}
            if not self._closed:
                self._kept.setdefault(target.origin, deque()).append(line)
        for one in old:
            one.close()


def _answer(exchange: _Exchange, method: str) -> tuple[Reply, bool]:
    """(the answer, whether the connection may be used once more)."""
    host = exchange.host
    try:
        response = exchange.getresponse()
    except TimeoutError:
        raise Unanswered(f"{host} took the request and did not answer in time") from None
    except OSError as error:
        raise Unanswered(f"{host} took the request and broke off: {_words(error)}") from None
    except (ValueError, http.client.HTTPException):
        raise Unanswered(f"{host} answered with something that is no HTTP") from None
    body, whole = b"", False
    try:
        body = response.read(LONGEST_ANSWER + 1)
        whole = len(body) <= LONGEST_ANSWER and (response.length in (None, 0))
    except (OSError, ValueError, http.client.HTTPException) as error:
        body = getattr(error, "partial", b"")
    headers = {name.lower(): value for name, value in response.headers.items()}
    keep = whole and not response.will_close and response.isclosed()
    return Reply(response.status, headers, body[:LONGEST_ANSWER], whole), keep


def _words(error: Exception) -> str:
    """What the system says of an error: never an address, never what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "TLS error")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
