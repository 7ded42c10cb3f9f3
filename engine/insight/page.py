"""A report of a period as one HTML file that holds everything: no script, no address, nothing to fetch.

Rule 1: text of users, programs and feeds goes through ``Markup.format`` alone, which escapes it; and a policy in the
page forbids whatever might run or load all the same.
Rule 2: every picture has its figures in a table behind it.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from engine.insight import page_parts as parts
from engine.insight.headlines import headlines
from engine.insight.report_words import Words, clock_words, number


def page(found: dict[str, Any], locale: str, *, simulated: bool = False) -> str:
    """The whole file. ``simulated``: the figures are of a feed that was only played through."""
    w = Words(locale)
    period = found["period"]
    title = w("title", program=period["program"])
    style = style_sheet()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sections = [
        parts.tiles(found, w), parts.people(found, w), parts.playbooks(found, w), parts.value(found, w),
        parts.moves(found, w), parts.groups(found, w), parts.sending(found, w, simulated=simulated),
    ]  # fmt: skip
    said = Markup("").join(Markup("<li>{}</li>").format(it) for it in headlines(found, w))
    body = Markup(
        '<header><h1>{}</h1><p class="span">{}</p><p class="cover">{}</p></header>'
        '<main><section class="headlines"><h2>{}</h2><ul>{}</ul></section>{}</main><footer><p>{}</p></footer>'
    ).format(
        title, span_words(found, w), coverage(found, w, simulated=simulated), w("headlines"), said,
        Markup("").join(sections), w("made", clock=clock_words(period)),
    )  # fmt: skip
    return str(
        Markup(
            '<!doctype html>\n<html lang="{}"><head><meta charset="utf-8">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'sha256-{}\'; '
            "base-uri 'none'; form-action 'none'\">"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="referrer" content="no-referrer">'
            "<title>{}</title><style>{}</style></head><body>{}</body></html>\n"
        ).format(w.locale, Markup(digest), title, Markup(style), body)  # noqa: S704 - both are ours
    )


def style_sheet() -> str:
    """The style of the page, as it stands in it."""
    return (files("engine.insight") / "report.css").read_text("utf-8")


def span_words(found: dict[str, Any], w: Words) -> str:
    """The period."""
    it = found["period"]
    return w("span", first=it["from"], last=it["to"], days=number(it["days"]), zone=it["zone"])


def coverage(found: dict[str, Any], w: Words, *, simulated: bool = False) -> str:
    """What of the period is known, in a line."""
    it = found["period"]
    out = []
    if it["events_from"]:
        out.append(w("held", first=it["events_from"], last=it["events_to"], events=number(it["events"])))
    else:
        out.append(w("no_events"))
    if it["last_day_open"] and it["events_from"]:
        out.append(w("open_day"))
    if it["events_from"] and it["from"] < it["events_from"]:
        out.append(w("outside"))
    if it["events_forgotten_until"]:
        out.append(w("forgotten", at=it["events_forgotten_until"]))
    if it["entries_known_since"]:
        out.append(w("since", at=it["entries_known_since"]))
    if simulated:
        out.append(w("simulated"))
    stop = "；" if w.chinese else "; "
    return stop.join(out)
