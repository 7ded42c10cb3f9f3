"""Fuzzes what people write with atheris, which follows the branches that an input takes: files, and conditions.

    pip install atheris
    python bench/fuzz_words.py yaml|condition [--seconds 600] [--seed 1] [--keep FOLDER]

Inputs begin with the documents and expressions of the tests, and what is asked of each is asked by the functions of the
tests. ``yaml``: the reader never raises, every finding has its page and its place, and what it takes is what two other
readers understand. ``condition``: an answer, an issue or an ``ExpressionError`` on any payload; the normal form is the
same condition; its opposite is the opposite. Prints how many inputs were tried, and ends at the first that fails, which
it leaves in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "language")]

import atheris  # noqa: E402

with atheris.instrument_imports(include=["engine"]):
    from engine.core.history import HistoryBook
    from engine.language.expressions import compile_condition
    from engine.language.source import read_source

import test_expressions_fuzz as conditions  # noqa: E402
import test_source_fuzz as documents  # noqa: E402

SLOW = 0.25
"""Seconds of processor time that no input may take; instrumented code is some times slower than the other."""

PAYLOADS: list[dict[str, Any]] = [
    {}, {"amount": 1, "x": "x", "city": "gold"}, {"amount": Decimal("2.50"), "x": [1, "x"], "city": "2026-03-28"},
    {"amount": Decimal("1E+90"), "x": {"y": 1}, "city": None}, {"amount": "7", "x": True, "city": ["x"]},
]  # fmt: skip

MADE = 0x80
"""An input that begins with such a byte, which no text of ours does, chooses among the words of a grammar instead."""

tried: Counter[str] = Counter()


class Chosen(random.Random):
    """Chance that goes by the bytes of an input, and always takes the first when there are none left."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = iter(data)

    def random(self) -> float:
        """From 0 to below 1."""
        return next(self._data, 0) / 256

    def getrandbits(self, k: int, /) -> int:
        """So many bits."""
        return int.from_bytes(bytes(next(self._data, 0) for _ in range((k + 7) // 8)), "little") >> (-k % 8)


def one_document(data: bytes) -> None:
    """A file of whatever bytes, or one of ours that was mutated."""
    if data and data[0] >= MADE:
        chance = Chosen(data[1:])
        data = documents.mutate(chance, chance.choice(documents.VALID)).encode("utf-8", "surrogatepass")
    begun = time.process_time()
    read = read_source(data, "f.yaml")
    took = time.process_time() - begun
    assert took < SLOW, f"{took:.2f} s"
    if crc32(data) % 4 == 0:  # both other readers are slow
        documents.check(data)
        tried["compared"] += 1
    tried["taken" if read.ok else "refused"] += 1


def one_condition(data: bytes) -> None:
    """A condition of whatever text, on payloads of several shapes."""
    made = bool(data) and data[0] >= MADE
    text = conditions._random(Chosen(data[1:]), 5) if made else data.decode("utf-8", "replace")
    begun = time.process_time()
    found, issues = compile_condition(text, conditions.SCOPE, HistoryBook())
    conditions.checked(text, issues, found)
    if found is None:
        tried["refused"] += 1
        return
    tried["taken"] += 1
    again, _ = compile_condition(found.text, conditions.SCOPE, HistoryBook())
    assert again is not None, found.text
    assert again.text == found.text
    opposite, _ = compile_condition(f"not ({text})", conditions.SCOPE, HistoryBook())
    for payload in PAYLOADS:
        m = conditions.moment(payload, payload)
        verdict = conditions.outcome(found, m)
        found.seen(m)
        if found.next_change is not None:
            following = found.next_change(m)
            assert following is None or following > m.time
        assert conditions.outcome(again, m) == verdict
        if opposite is not None:  # it is longer, and may be too long
            assert conditions.outcome(opposite, m) == ("error" if verdict == "error" else not verdict)
    took = time.process_time() - begun
    assert took < SLOW, f"{took:.2f} s"


def seeds(kind: str) -> list[bytes]:
    """What the tests begin with."""
    made = [bytes([MADE + number % 128]) + sha256(str(number).encode()).digest() for number in range(200)]
    if kind == "yaml":
        return [*made, *(text.encode() for text in (*documents.VALID, *documents.PIECES))]
    words = (*conditions.PATHS, *conditions.CALLS, *conditions.CONSTANTS)
    whole = [f"{word} {tail}" for word in words for tail in conditions.TAILS[:6]]
    longer = [f"{word} == 1 and not (now > {word})" for word in words]
    return made + [text.encode() for text in (*words, *whole, *longer)]


def words_of(kind: str) -> list[str]:
    """Pieces that an input is put together from."""
    if kind == "yaml":
        return [*documents.PIECES, *documents.SIGNS]
    return [*conditions.WORDS, *conditions.SIGNS, *conditions.TAILS, *conditions.PATHS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", choices=["yaml", "condition"])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(asked.kind)):
        (corpus / f"seed-{number}").write_bytes(data)
    quoted = [word.encode("utf-8", "surrogatepass") for word in words_of(asked.kind)]
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in quoted if word)
    (folder / "words").write_text("".join(f'"{line}"\n' for line in lines), encoding="ascii")
    target: Callable[[bytes], None] = {"yaml": one_document, "condition": one_condition}[asked.kind]
    until = time.monotonic() + asked.seconds

    def one(data: bytes) -> None:
        target(data)
        if time.monotonic() > until:
            told(asked.json)
            sys.stdout.flush()
            os._exit(0)  # libFuzzer has no way out of its own but an error

    options = [f"-dict={folder / 'words'}", f"-seed={asked.seed}", "-max_len=400", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], str(corpus), *options, "-print_final_stats=1"], one)
    atheris.Fuzz()


def told(file: Path | None) -> None:
    """Say what was tried."""
    found = {"inputs": tried["taken"] + tried["refused"], **tried}
    print(json.dumps(found))
    if file is not None:
        file.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
