"""``drumbeat quarantine list`` of a great many records."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make


def test_quarantine_page_by_page(drumbeat: Drumbeat, make: Make) -> None:
    """A large quarantine is listed page by page: each says where the next begins, and all say how many there are."""
    root = make(feed="".join(f'{{"broken": {n}}}\n' for n in range(7)))
    drumbeat("ingest", root / "feed.jsonl", "--program", root)
    seen, after = [], 0
    while after is not None:
        page = drumbeat(
            "quarantine", "list", "--program", root, "--limit", 3, "--after", after, "--format", "json"
        ).json  # fmt: skip
        assert page["total"] == 7
        seen.append([it["number"] for it in page["records"]])
        after = page["next"]
    assert seen == [[1, 2, 3], [4, 5, 6], [7]]
    assert "... 4 more: --after 3" in drumbeat("quarantine", "list", "--program", root, "--limit", 3).out
    assert drumbeat("quarantine", "list", "--program", root, "--after", 7).out == "7 unknown_key\n"
