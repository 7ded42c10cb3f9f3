"""What the page on incentives names as proof is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.findall(r"`((?:tests|scenarios)/[^`]+)`", (ROOT / "docs" / "incentives.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("proof", sorted(set(NAMED)))
def test_each_proof_exists(proof: str) -> None:
    """A file that is named is there, and so is the test of it."""
    file, _, name = proof.partition("::")
    path = ROOT / file
    assert path.is_file()
    assert not name or re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_there_are_proofs() -> None:
    """The page names proofs in the form this test reads."""
    assert len(NAMED) > 60
