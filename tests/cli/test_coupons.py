"""``drumbeat coupons``: stock, forecast, codes in and out, redeeming by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.stores.sqlite import SqliteStore

Program = Any

CATALOG = """\
coupons:
  tea: {title: 茶券, value: {off: 20, min_spend: 100, currency: CNY}, codes: {generate: TEA}, valid_for: 7d,
        limits: {per_user: 1, total: 100, budget: 2000}}
  cake: {title: 蛋糕券, value: {off: 5}, codes: imported, valid_for: 30d, limits: {per_user: 1, total: 50}}
"""
GIFT = """\
playbook: {coupon}-gift
title: 送券
trigger: {{event: {coupon}}}
entry: {{mode: parallel, limit: unlimited}}
steps: [{{coupon: {coupon}}}]
"""
BEGUN = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A program with a generated and an imported coupon."""
    files = {
        "drumbeat.yaml": "program: tea\nfeeds: [{file: feed.jsonl}]\n",
        "playbooks/catalog/coupons.yaml": CATALOG,
        **{f"playbooks/{name}.yaml": GIFT.format(coupon=name) for name in ("tea", "cake")},
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "feed.jsonl").touch()
    return tmp_path


def say(root: Path, *rows: tuple[str, str, float, dict[str, Any]]) -> None:
    """Append (type, user, hours after the beginning, data) to the feed."""
    feed = root / "feed.jsonl"
    number = len(feed.read_text().splitlines())
    with feed.open("a", encoding="utf-8") as out:
        for place, (type_, user, hours, data) in enumerate(rows, number):
            at = (BEGUN + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
            out.write(json.dumps({"id": f"e{place}", "type": type_, "user": user, "time": at, "data": data}) + "\n")


def codes(root: Path, pool: str) -> list[str]:
    """Codes a pool gave, in order."""
    store = SqliteStore.open(root / "drumbeat.db", read_only=True)
    try:
        return [it.code for it in store.coupons(pool)]
    finally:
        store.close()


def test_import_then_give_in_order(root: Path, drumbeat: Any) -> None:
    """Semantics: coupon.imported — given in the order of the file; imported once more, in part or with repeats, each
    stands once."""
    (root / "a.csv").write_text("code,batch\nC1,1\nC2,1\n\n# note\nC3,1\nC1,1\n", encoding="utf-8")
    said = drumbeat("coupons", "import", "cake", root / "a.csv", "--program", root, "--format", "json")
    assert (said.code, said.json) == (0, {"pool": "cake", "added": 3, "repeated": 1, "elsewhere": 0, "codes": 3})
    (root / "b.csv").write_text("C2\nC4\nC5\n", encoding="utf-8")
    again = drumbeat("coupons", "import", "cake", root / "b.csv", "--program", root, "--format", "json").json
    assert (again["added"], again["repeated"], again["codes"]) == (2, 1, 5)
    say(root, *(("cake", f"u{n}", n, {}) for n in range(7)))
    assert drumbeat("run", "--until-idle", "--program", root, "--quiet").code == 0
    assert codes(root, "cake") == ["C1", "C2", "C3", "C4", "C5"]
    listed = drumbeat("coupons", "list", "--program", root, "--format", "json").json["pools"]
    cake = next(it for it in listed if it["pool"] == "cake")
    assert (cake["codes"], cake["stock"], cake["issued"], cake["left"]) == ("imported", 5, 5, 0)
    assert cake["forecast"] == {"why": "used up", "ends": "stock"}
    assert drumbeat("fsck", "--program", root).code == 0


def test_what_cannot_be_imported(root: Path, drumbeat: Any) -> None:
    """A pool that generates its codes, an unknown name, a file that is not there, a line that is no code: usage."""
    good = root / "a.csv"
    good.write_text("C1\n", encoding="utf-8")
    bad = root / "b.csv"
    bad.write_text("C1\nthis is no code\n", encoding="utf-8")
    for words, hint in (
        (("tea", good), "codes: imported"),
        (("cak", good), "did you mean 'cake'"),
        (("cake", root / "none.csv"), "check the path"),
        (("cake", bad), "line 2 is no code"),
    ):
        said = drumbeat("coupons", "import", *words, "--program", root)
        assert said.code == 2
        assert hint in said.err


def test_redeem_and_why_not(root: Path, drumbeat: Any) -> None:
    """Semantics: coupon.request — each reason by its name; a refusal changes nothing, and a request redeems once."""
    say(root, ("tea", "u1", 0, {}), ("tea", "u2", 1, {}))
    drumbeat("run", "--until-idle", "--program", root, "--quiet")
    # the coupons are of a time long past: what is tried is judged by the machine's clock
    code, other = codes(root, "tea")

    def ask(*words: object) -> tuple[int, str | None, bool]:
        said = drumbeat("coupons", "redeem", *words, "--program", root, "--format", "json")
        return said.code, said.json["reason"], said.json["repeated"]

    assert ask("TEA-NONE") == (1, "unknown", False)
    assert ask(code, "--user", "u2") == (1, "not_yours", False)
    assert ask(code, "--amount", "150") == (1, "expired", False)
    catalog = root / "playbooks" / "catalog" / "coupons.yaml"
    catalog.write_text(CATALOG.replace("valid_for: 7d,", "valid_for: 3000d,"), encoding="utf-8")
    say(root, ("tea", "u3", 2, {}), ("tea", "u4", 3, {}))
    drumbeat("run", "--until-idle", "--program", root, "--quiet")
    code, other = [it for it in codes(root, "tea") if it not in (code, other)]
    assert ask(code, "--amount", "99.99") == (1, "min_spend", False)
    assert ask(code) == (1, "min_spend", False)
    assert ask(code, "--amount", "100", "--currency", "EUR") == (1, "currency", False)
    assert ask(code, "--amount", "100", "--order", "o1", "--id", "r1") == (0, None, False)
    assert ask(code, "--amount", "100", "--order", "o1", "--id", "r1") == (0, None, True)
    assert ask(code, "--amount", "100", "--id", "r2") == (1, "redeemed", False)
    assert ask(other, "--amount", "100", "--id", "r1") == (1, "request", False)
    shown = drumbeat("coupons", "show", code, "--program", root, "--format", "json").json
    assert shown["coupon"]["status"] == "redeemed"
    assert [it["what"] for it in shown["ledger"]] == ["issued", "redeemed"]
    assert drumbeat("fsck", "--program", root).code == 0
    assert "redeemed" in drumbeat("coupons", "show", code, "--program", root).out


def test_stock_cost_and_forecast(root: Path, drumbeat: Any) -> None:
    """Figures of stock, cost and budget are exact; the forecast goes by the store's clock and says what it goes by, or
    that there is too little."""
    say(root, *(("tea", f"u{n}", n / 4, {}) for n in range(8)))
    drumbeat("run", "--until-idle", "--program", root, "--quiet")
    tea = drumbeat("coupons", "show", "tea", "--program", root, "--format", "json").json["pool"]
    assert tea["forecast"] == {"why": "too little data: 8 coupons in the last 1 hours"}
    say(root, *(("tea", f"v{n}", 12 * n + 2, {}) for n in range(11)))
    given = codes(root, "tea")
    say(root, ("coupon.redeemed", "u0", 123, {"code": given[0]}), ("coupon.redeemed", "u1", 124, {"code": given[1]}))
    say(root, ("coupon.reversed", "u1", 125, {"code": given[1]}), ("coupon.redeemed", "u9", 126, {"code": "NOPE"}))
    drumbeat("run", "--until-idle", "--program", root, "--quiet")
    tea = drumbeat("coupons", "show", "tea", "--program", root, "--format", "json").json["pool"]
    assert (tea["issued"], tea["left"], tea["redeemed"], tea["open"], tea["spent"]) == (19, 81, 1, 18, 380)
    assert (tea["budget_left"], tea["cost"], tea["reversed"]) == (1620, {"redeemed": 20, "open": 360}, 1)
    told = tea["forecast"]
    assert told["rate"] == pytest.approx(19 * 24 / 126, abs=0.1)
    ends = BEGUN + timedelta(hours=126) + timedelta(hours=81 * 126 / 19)
    assert abs(datetime.fromisoformat(told["until"].replace("Z", "+00:00")) - ends) < timedelta(minutes=1)
    text = drumbeat("coupons", "list", "--program", root).out
    assert f"~ {told['until'][:10]} at {told['rate']} a day" in text
    report = drumbeat("coupons", "report", "--program", root, "--format", "json").json
    assert report["refused"] == {"unknown": 1}
    assert report["playbooks"] == [
        {
            "playbook": "tea-gift", "pool": "tea", "issued": 19, "open": 18, "redeemed": 1, "expired": 0, "returned": 0,
            "cost": 20, "redemption_percent": 5.3,
        }
    ]  # fmt: skip
    assert "5.3 %" in drumbeat("coupons", "report", "--program", root).out


def test_export(root: Path, drumbeat: Any) -> None:
    """Every coupon as a line of CSV, harmless in a spreadsheet, or as JSON.

    Threat: export.formula — coupons
    """
    (root / "a.csv").write_text("=1+1\nC2\n", encoding="utf-8")
    drumbeat("coupons", "import", "cake", root / "a.csv", "--program", root)
    say(root, ("cake", "@u1", 0, {}), ("cake", "u2", 1, {}))
    drumbeat("run", "--until-idle", "--program", root, "--quiet")
    lines = drumbeat("coupons", "export", "--program", root).out.splitlines()
    assert lines[0] == "code,pool,user,status,given,expires_at,moved,cost,playbook,step"
    assert lines[1].startswith("'=1+1,cake,'@u1,issued,2026-03-01T09:00:00Z,")
    rows = drumbeat("coupons", "export", "cake", "--status", "issued", "--program", root, "--format", "json").json
    assert [it["code"] for it in rows["coupons"]] == ["=1+1", "C2"]


def test_the_operator_is_warned(root: Path, drumbeat: Any) -> None:
    """Semantics: coupon.warned — at 80, 95 and 100 %, once each, of whichever of stock and budget is nearer its end."""
    say(root, *(("tea", f"u{n}", n / 10, {}) for n in range(101)))
    said = drumbeat("run", "--until-idle", "--program", root, "--batch", "7")
    told = [line.partition(" at 2026")[0] for line in said.err.splitlines() if "coupon" in line]
    assert told == [
        "warning: 80 % of the stock of coupon tea is used up", "warning: 95 % of the stock of coupon tea is used up",
        "warning: the stock of coupon tea is used up",
    ]  # fmt: skip


def test_no_code_in_the_file(root: Path, drumbeat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``coupon_key`` no imported code that was not given stands in any file of the store; without the key, or with
    another, no code is given and the verb says why."""
    (root / "drumbeat.yaml").write_text("program: tea\nfeeds: [{file: feed.jsonl}]\ncoupon_key: ${COUPON_KEY}\n")
    monkeypatch.setenv("COUPON_KEY", "a key of many letters")
    secret = [f"SECRETCODE{n:04d}" for n in range(500)]
    (root / "a.csv").write_text("\n".join(secret), encoding="utf-8")
    drumbeat("coupons", "import", "cake", root / "a.csv", "--program", root)
    say(root, ("cake", "u1", 0, {}), ("cake", "u2", 1, {}))
    assert drumbeat("run", "--until-idle", "--program", root, "--quiet").code == 0
    assert codes_sealed(root) == 2
    raw = b"".join(path.read_bytes() for path in root.glob("drumbeat.db*"))
    assert secret[0].encode() in raw  # it was given, and stands in what was decided
    assert not [it for it in secret[2:] if it.encode() in raw]
    shown = drumbeat("coupons", "show", secret[1], "--program", root, "--format", "json").json
    assert shown["coupon"]["user"] == "u2"
    assert drumbeat("fsck", "--program", root).code == 0
    monkeypatch.setenv("COUPON_KEY", "another key of many letters")
    said = drumbeat("run", "--until-idle", "--program", root, "--quiet")
    assert said.code == 3
    assert "another key" in said.err
    monkeypatch.delenv("COUPON_KEY")
    assert "COUPON_KEY" in drumbeat("run", "--until-idle", "--program", root, "--quiet").err
    assert drumbeat("fsck", "--program", root).code == 0


def codes_sealed(root: Path) -> int:
    """Coupons that were given, as they stand in the file: none may be readable."""
    import sqlite3

    db = sqlite3.connect(root / "drumbeat.db")
    try:
        found = [row[0] for row in db.execute("select code from coupon_grant")]
    finally:
        db.close()
    assert not any("SECRET" in it for it in found)
    return len(found)
