"""The laws of docs/reliability.md are written where they bind."""

from __future__ import annotations

import re

from meta_harness import ROOT


def test_each_law_is_written_where_it_binds() -> None:
    """Each of the ten laws names a file, and the file says it in these words."""
    text = (ROOT / "docs" / "reliability.yaml").read_text(encoding="utf-8")
    table = text[text.index("| law | where |") :].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip(" |").split(" | ")] for line in table.splitlines()[2:]]
    assert len({row[0] for row in rows if len(row) == 3}) == 10
    for row in rows:
        file, words = row[-2].strip("|` "), row[-1]
        said = re.sub(r"\s+", " ", (ROOT / file).read_text(encoding="utf-8"))
        assert words in said, f"{file} does not say: {words}"
