"""How people are named in logs: a short keyed hash, the same for one person as long as the key is."""

from __future__ import annotations

from hashlib import blake2b

_LENGTH = 6  #: bytes


class Mask:
    """Stands for people's ids in logs; ``key``: the store's secret, so that a list of ids is no way back."""

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]

    def __call__(self, id: str) -> str:
        """Twelve hex digits for an id."""
        return blake2b(id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=_LENGTH).hexdigest()
