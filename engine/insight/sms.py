"""What a text costs as a short message: its alphabet and its segments, as 3GPP TS 23.038 and 23.040 count them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWICE: Final = frozenset("\f^{}\\[~]|€")
"""Letters of the extension table: each takes two septets, which stay in one segment."""

_ONE, _MANY = {"GSM-7": 160, "UCS-2": 70}, {"GSM-7": 153, "UCS-2": 67}
"""Units of a message of one segment, and of each of several, which give six bytes to what joins them."""


@dataclass(frozen=True)
class Size:
    """How long a text is as a short message."""

    alphabet: str  #: GSM-7 | UCS-2
    units: int  #: septets, or 16-bit units
    segments: int
    left: int  #: units until another segment begins
    odd: tuple[str, ...] = ()  #: the letters for which GSM-7 was not enough, in order of their first coming


def size(text: str) -> Size:
    """The size of a text; an empty one takes a segment, too."""
    odd = tuple(dict.fromkeys(letter for letter in text if letter not in _BASIC and letter not in _TWICE))
    alphabet = "UCS-2" if odd else "GSM-7"
    letters = [_units(letter, alphabet) for letter in text]
    units = sum(letters)
    if units <= _ONE[alphabet]:
        return Size(alphabet, units, 1, _ONE[alphabet] - units, odd)
    segments, used = 1, 0
    for one in letters:
        if used + one > _MANY[alphabet]:
            segments, used = segments + 1, 0
        used += one
    return Size(alphabet, units, segments, _MANY[alphabet] - used, odd)


def _units(letter: str, alphabet: str) -> int:
    if alphabet == "GSM-7":
        return 2 if letter in _TWICE else 1
    return 2 if ord(letter) > 0xFFFF else 1
