"""Sorting beyond the memory, against ``sorted``."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from engine.errors import CannotRun
from engine.spill import Sorter


@pytest.mark.parametrize("seed", range(20))
def test_as_sorted_does(seed: int) -> None:
    """Any records, empty, equal and long ones too, come out as ``sorted`` puts them, with any bound, and once more."""
    rng = random.Random(seed)
    longest = rng.choice([3, 40, 9_000])
    records = [rng.randbytes(rng.randrange(longest)) for _ in range(rng.choice([0, 1, 7, 900]))]
    with Sorter(rng.choice([1, 200, 5_000, 1 << 26])) as sorter:
        for record in records:
            sorter.add(record)
        assert len(sorter) == len(records)
        assert list(sorter) == sorted(records)
        assert list(sorter) == sorted(records)


def test_memory_is_bounded() -> None:
    """Forty times the bound goes to the disk; what Python holds stays within a small multiple of the bound."""
    bound = 1 << 20
    tracemalloc.start()
    with Sorter(bound) as sorter:
        for number in range(40_000):
            sorter.add(number.to_bytes(4, "little") + b"x" * 1_000)
        assert sorter.spilled > 30 * bound
        last, count = b"", 0
        for record in sorter:
            assert record >= last
            last, count = record, count + 1
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 40_000
    assert peak < 8 * bound


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for temporary files is an error that names their folder and the way out."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with Sorter(10) as sorter, pytest.raises(CannotRun, match=r"no room to sort in .*No space left.*TMPDIR"):
        sorter.add(b"x" * 100)
