"""The page of ``drumbeat report``: one file, nothing that runs or loads, every picture in words too."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_world import write_program

from engine.cli.main import run
from engine.insight.headlines import headlines
from engine.insight.report_words import Words
from engine.render.charts import scale

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m"
VOID = {"meta", "br", "img", "link", "input", "hr"}
FORBIDDEN = {"script", "iframe", "object", "embed", "link", "img", "base", "form", "image", "use", "foreignobject", "a"}


class Page(HTMLParser):
    """Tags as they nest, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside: list[tuple[str, str]] = []  #: (tag it stands in, text)
        self.feed(text)
        assert self.open == [], "a tag is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another"

    def handle_data(self, data: str) -> None:
        self.text += data
        self.inside.append((self.open[-1] if self.open else "", data))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program and a feed that call everything by names with markup in them."""
    rows: list[dict[str, Any]] = []
    for n in range(260):
        user = f"u{n}{EVIL}" if n % 3 else f"u{n}"
        day = 1 + n % 20
        at = f"2026-03-{day:02d}T09:{n % 60:02d}:00+08:00"
        rows.append({"type": "user.signup", "user": user, "time": at, "data": {}})
        for step in range(1, 4):
            data = {"amount": 10, "group": EVIL}
            at = f"2026-03-{day + step:02d}T1{step}:{n % 60:02d}:00+08:00"
            rows.append({"type": "order.paid", "user": user, "group": EVIL, "time": at, "data": data})
    rows.sort(key=lambda it: it["time"])
    folder = write_program(
        tmp_path_factory.mktemp("hostile"), [{"id": f"e{n}", **it} for n, it in enumerate(rows)]
    )
    book = folder / "playbooks" / "again.yaml"
    title = json.dumps(EVIL.replace("\x1b", ""))
    book.write_text(book.read_text("utf-8").replace("title: again", f"title: {title}"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(hostile: Path) -> str:
    """Its page."""
    out = hostile / "out" / "deep" / "report.html"
    feed = str(hostile / "feed.jsonl")
    assert run(["report", "--program", str(hostile), "--events", feed, "--html", str(out), "--quiet"]) == 0
    return out.read_text("utf-8")


def test_names_stay_text(page: str) -> None:
    """Titles, groups and whatever else came from outside appear as they are written, and never as markup."""
    found = Page(page)
    assert not {tag for tag, _ in found.tags} & FORBIDDEN
    for _, attributes in found.tags:
        assert not [it for it in attributes if it.startswith("on") or it in ("style", "src", "href", "xlink:href")]
    assert "<script>alert(1)</script>" in found.text  # as text: the title, and the group
    assert "<b>礼</b>" in found.text
    assert "<script" not in page
    assert "<b>礼" not in page


def test_nothing_may_run_or_load(page: str) -> None:
    """A policy forbids all but the one style that stands in the page, by its hash; no address is in it."""
    (policy,) = (it["content"] for tag, it in Page(page).tags if it.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"https?://|//\w|url\(|@import", page)
    assert page.startswith("<!doctype html>")


def test_every_picture_is_told_in_words(page: str) -> None:
    """A drawing has a title and a description, a bar its label and figure beside it; tables stand behind them."""
    found = Page(page)
    charts = [it for tag, it in found.tags if tag == "svg" and it.get("role") == "img"]
    assert len(charts) == 4  # the lines and the hours, wide and narrow
    assert all(it["aria-label"] for it in charts)
    assert sum(tag == "desc" for tag, _ in found.tags) == 4
    hidden = [it for tag, it in found.tags if tag == "svg" and it.get("role") != "img"]
    assert hidden
    assert all(it.get("aria-hidden") == "true" for it in hidden)
    assert all(text.strip() for tag, text in found.inside if tag in ("title", "desc"))
    tables = [it for tag, it in found.tags if tag == "table"]
    assert len(tables) > 8
    assert sum(tag == "details" for tag, _ in found.tags) >= 6
    assert {it.get("scope") for tag, it in found.tags if tag == "th"} == {"col", "row"}
    assert next(it["lang"] for tag, it in found.tags if tag == "html") == "zh-CN"


def test_a_terminal_obeys_no_name(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Signs that would steer a terminal are shown as signs that something stood there."""
    capsys.readouterr()
    assert run(["report", "--program", str(hostile), "--events", str(hostile / "feed.jsonl"), "--locale", "en"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "alert(1)>\ufffd[31m" in said


def test_both_languages_say_everything() -> None:
    """Each text stands there twice, with the same places to fill in, and neither is empty."""
    raw = (Path(__file__).resolve().parents[2] / "engine" / "insight" / "report_words.yaml").read_text("utf-8")
    for texts in yaml.safe_load(raw).values():
        for english, chinese in texts.values():
            assert english
            assert chinese
            assert set(re.findall(r"{(\w+)}", english)) >= set(re.findall(r"{(\w+)}", chinese))
            assert english.isascii() or set(english) - set(map(chr, range(128))) <= set("“”–\u00a0")


def test_scales_are_round() -> None:
    """From nothing to at least the largest figure, in four to seven equal and round steps; whole ones for counts."""
    for top in (0.3, 1, 4, 5, 7, 10, 11, 99, 228, 1_000, 10_912, 123_456_789):
        found = scale(top)
        steps = {round(b - a, 9) for a, b in pairwise(found)}
        assert found[0] == 0
        assert top <= found[-1] <= 2 * top
        assert len(steps) == 1
        assert 4 <= len(found) <= 7
        assert top < 5 or steps.pop() == int(found[1])


def test_headlines_compare_with_the_days_before() -> None:
    """A rise is told with its sign, in both languages; what is nought is not made a headline of."""
    nobody = {"of": 0, "back": 0, "percent": None}
    found: dict[str, Any] = {
        "period": {"days": 7},
        "people": {"active": 30, "active_before": 20, "before": None, "new": 4, "dau": 5.0, "mau": None,
                   "stickiness": None},
        "retention": {"total": {"users": 4, "day_1": nobody, "day_7": nobody, "day_30": nobody}},
        "playbooks": [], "channels": [], "refusals": [], "coupons": [], "collisions": [],
    }  # fmt: skip
    assert headlines(found, Words("en")) == [
        "30 users were active, 4 of them for the first time; 5.0 on a mean day."
        " That is +50.0\u00a0% against the 7 days before (20)."
    ]
    assert "较前 7 天（20 人）+50.0\u00a0%" in headlines(found, Words("zh-CN"))[0]
    found["people"]["active"] = 0
    assert headlines(found, Words("en")) == ["Nothing of the kind in this period."]
