"""How much a request may be, all of it counted before anything is parsed."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    header: int = 16 * KIB  #: request line and headers together
    header_seconds: float = 5.0  #: from the first byte to the last of them; also how long an idle connection is kept
    body: int = MIB  #: of a request
    body_seconds: float = 30.0  #: from the end of the headers to the end of the body; also of a stuck answer
    batch: int = 1_000  #: records of a request
    buffered: int = 64 * MIB  #: bodies of all requests that are being read or wait for their commit
    waiting: int = 10_000  #: records of one key that wait for their commit
    commit: int = 5_000  #: records of one transaction
    drain: int = MIB  #: read and dropped of a body that is refused, so that its sender sees the answer
    drain_seconds: float = 2.0
    admin: int = 32 * MIB  #: body of a request on the Unix socket
