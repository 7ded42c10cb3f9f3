"""The section of the page about playbooks: funnels, treated against holdout, arms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from engine.insight.headlines import gap_words, name_of
from engine.insight.report_words import Words, number, percent, readable
from engine.insight.statistics import ENOUGH
from engine.render.charts import Bar, Range, bars, ranges, table

CARDS = 12
"""Playbooks that have a card of their own, the most entered first."""

_EMPTY = Markup("")


def playbooks(found: dict[str, Any], w: Words) -> Markup:
    """All playbooks at a glance, then a card for each that was entered."""
    entered = [it for it in found["playbooks"] if it["entered"]]
    idle = len(found["playbooks"]) - len(entered)
    rows = [Bar(name_of(it), it["entered"], number(it["entered"]), _conversion(it, w)) for it in entered[:20]]
    words = ("playbook", "status", "entries", "users", "goals", "conversion", "holdout", "shadow")
    head = [w(name) for name in words]
    figures = [
        [name_of(it), w.kind(it["status"]), number(it["entered"]), number(it["users"]),
         number(it["treated"]["goals"]) if it["treated"] else "–", _share(it["treated"]),
         number(it["holdout"]["entries"]) if it["holdout"] else "–", number(it["shadow"])]
        for it in found["playbooks"]
    ]  # fmt: skip
    inner = [
        Markup("<h2>{}</h2>").format(w("playbooks")),
        Markup("<h3>{}</h3>{}").format(w("overview"), bars(w("overview"), rows)) if rows else _note(w("none")),
        _note(w("more", n=number(len(entered) - 20))) if len(entered) > 20 else _EMPTY,
        _note(w("idle", n=number(idle))) if idle else _EMPTY,
        _behind(w, table(head, figures)) if figures else _EMPTY,
        *(_card(it, w) for it in entered[:CARDS]),
    ]
    return Markup("<section>{}</section>").format(_EMPTY.join(inner))


def _note(text: str) -> Markup:
    return Markup('<p class="note">{}</p>').format(text)


def _behind(w: Words, inner: Markup) -> Markup:
    return Markup("<details><summary>{}</summary>{}</details>").format(w("figures"), inner)


def _share(side: dict[str, Any] | None) -> str:
    return percent(side["share"]["value"]) if side and side["share"] else "–"


def _conversion(it: dict[str, Any], w: Words) -> str:
    return f"{w('conversion')} {_share(it['treated'])}" if it["treated"] and it["treated"]["share"] else ""


def _card(it: dict[str, Any], w: Words) -> Markup:
    goal = w("goal_of", events=", ".join(it["goal"])) if it["goal"] else w("no_goal")
    inner = [_funnel(it, w), _compared(it, w), *(_split(split, w) for split in it["splits"])]
    if not any(inner):
        inner.append(_note(w("nothing_seen", n=number(it["entered"]))))
    if it["exits"]:
        said = ("、" if w.chinese else ", ").join(
            f"{exit_words(one, w)} {number(one['journeys'])}" for one in it["exits"]
        )
        inner.append(_note(w("exits", list=said)))
    return Markup('<article class="card"><h3>{} <small>{} · {}</small></h3>{}</article>').format(
        name_of(it), it["playbook"], goal, _EMPTY.join(inner)
    )


def _funnel(it: dict[str, Any], w: Words) -> Markup:
    stages = it["funnel"]
    if len(stages) < 2:
        return _EMPTY
    first = stages[0]["reached"]
    rows, figures = [], []
    labels = stage_labels(stages, w, it["holdout"] is not None)
    for label, stage in zip(labels, stages, strict=True):
        part = percent(100 * stage["reached"] / first) if first else "–"
        told = f"{part} · {w('refused')} {number(stage['refused'])}" if stage["refused"] else part
        rows.append(Bar(label, stage["reached"], number(stage["reached"]), told,
                        "goal" if stage["stage"] == "goal" else ""))  # fmt: skip
        figures.append([label, number(stage["reached"]), part, number(stage["refused"])])
    head = [w("stage"), w("entries"), w("share"), w("refused")]
    return Markup("<h4>{}</h4>{}{}").format(w("funnel"), bars(w("funnel"), rows), _behind(w, table(head, figures)))


def stage_labels(stages: list[dict[str, Any]], w: Words, held: bool) -> list[str]:
    """The stages of a funnel as people know them; two that would be called alike get the step's own id, or are counted.

    ``held``: there is a holdout, so who is in the funnel is the treated side.
    """
    found = [_stage_words(it, w) for it in stages]
    if not held:
        found = [w("entered_all") if it["stage"] == "entered" else name
                 for name, it in zip(found, stages, strict=True)]  # fmt: skip
    seen: dict[str, int] = {}
    out = []
    for name, it in zip(found, stages, strict=True):
        seen[name] = seen.get(name, 0) + 1
        own = readable(it["step"]) if named(it["step"]) else str(seen[name])
        out.append(f"{name} ({own})" if found.count(name) > 1 else name)
    return out


def _stage_words(stage: dict[str, Any], w: Words) -> str:
    """A stage of a funnel as people know it."""
    if stage["stage"] != "step":
        return w(stage["stage"])
    name = stage["step"] if named(stage["step"]) else stage["what"]
    kind = w.kind(stage["kind"])
    return f"{kind} · {readable(name)}" if name else kind


def named(step: str | None) -> bool:
    """Whether the author gave a step an id; else it is called by its place."""
    return step is not None and "[" not in step


def split_title(split: dict[str, Any], w: Words) -> str:
    """What an A/B test is called."""
    return w("arms", step=readable(split["step"])) if named(split["step"]) else w("arms_here")


def exit_words(it: dict[str, Any], w: Words) -> str:
    """Why a journey ended early, as people know it."""
    if it.get("by"):
        return w("exit_" + it["by"], what=it["what"])
    reason = it["reason"] or "unknown"
    return w("exit_other") if reason.startswith("exit[") else w.reason(reason)


# ---------------------------------------------------------------------- treated against holdout


def _compared(it: dict[str, Any], w: Words) -> Markup:
    treated, holdout = it["treated"], it["holdout"]
    if treated is None:
        return _EMPTY
    if holdout is None:
        words = w("no_holdout", share=_share(treated)) if treated["share"] else _few_alone(w, treated["entries"])
        return _note(words) + (_worth(treated, w) if treated["worth"] else _EMPTY)
    sides = {"treated": treated, "holdout": holdout}
    title = w("comparison")
    out = [Markup("<h4>{}</h4>").format(title), *lift(it, w)]
    shown = [
        Range(f"{w(name)} ({number(side['goals'])} / {number(side['entries'])})", side["share"]["value"],
              side["share"]["low"], side["share"]["high"], _with_interval(side["share"]),
              "holdout" if name == "holdout" else "")
        for name, side in sides.items() if side["share"]
    ]  # fmt: skip
    if shown:
        out.append(ranges(title, shown))
    head = [w("side"), w("entries"), w("goals"), w("conversion"), w("interval"), w("worth"), w("per_entry")]
    figures = [
        [w(name), number(side["entries"]), number(side["goals"]), _share(side), _between(side["share"]),
         number(side["worth"]["sum"], 2) if side["worth"] else "–",
         number(side["worth"]["per_entry"], 2) if side["worth"] else "–"]
        for name, side in sides.items()
    ]  # fmt: skip
    out.append(_behind(w, table(head, figures)))
    return _EMPTY.join(out)


def lift_words(it: dict[str, Any], w: Words) -> list[tuple[str, str]]:
    """What the comparison with the holdout says: (class, sentence)."""
    gap, missing, worth = it["difference"], it["missing"], it["worth_difference"]
    if gap is None:
        return [("few", _few(w, {name: it[name]["entries"] for name in ("treated", "holdout")}))]
    out = [("verdict", w("lift_clear" if gap["clear"] else "lift_open", **gap_words(gap)))]
    if missing and missing["holdout"] is not None:
        out.append(("note", w("lift_missing", n=number(missing["holdout"]))))
    if worth:
        words = {"gap": worth["value"], "low": worth["low"], "high": worth["high"]}
        out.append(("", w("worth_gap", **{name: number(value, 2, sign=True) for name, value in words.items()})))
    return out


def lift(it: dict[str, Any], w: Words) -> list[Markup]:
    """The same as paragraphs."""
    return [Markup('<p class="{}">{}</p>').format(*pair) for pair in lift_words(it, w)]


def _few(w: Words, entries: dict[str, int], word: str = "few") -> str:
    names = {name: w(name) if name in ("treated", "holdout") else name for name in entries}
    short = [w("few_side", side=names[name], n=number(count), more=number(ENOUGH - count))
             for name, count in entries.items() if count < ENOUGH]  # fmt: skip
    return w(word, sides=("，" if w.chinese else ", ").join(short), enough=ENOUGH)


def _few_alone(w: Words, entries: int) -> str:
    """Of a playbook without a holdout: there are no sides."""
    return w("few_alone", n=number(entries), more=number(ENOUGH - entries), enough=ENOUGH)


def _worth(side: dict[str, Any], w: Words) -> Markup:
    worth = side["worth"]
    words = w("worth_alone", sum=number(worth["sum"], 2), each=number(worth["per_entry"], 2))
    return Markup("<p>{}</p>").format(words)


def _with_interval(it: dict[str, float]) -> str:
    return f"{percent(it['value'])} ({number(it['low'], 1)}–{number(it['high'], 1)})"


def _between(interval: dict[str, float] | None) -> str:
    return "–" if interval is None else f"{number(interval['low'], 1)}–{number(interval['high'], 1)} %"


# ---------------------------------------------------------------------- arms


def split_words(split: dict[str, Any], w: Words) -> list[tuple[str, str]]:
    """What an A/B test says so far: (class, sentence)."""
    arms, first = split["arms"], split["arms"][0]["arm"]
    if split["verdict"] == "few":
        return [("few", _few(w, {it["arm"]: it["entries"] for it in arms}, "arms_few"))]
    if split["verdict"] in ("no_goal", "one"):
        return [("note", w("arms_" + split["verdict"]))]
    clear = [it for it in arms if it["against"] and it["against"]["clear"]]
    return [
        ("verdict", w("arms_clear", arm=it["arm"], first=first, **gap_words(it["against"]))) for it in clear
    ] or [("verdict", w("arms_open", first=first))]


def _split(split: dict[str, Any], w: Words) -> Markup:
    arms = split["arms"]
    title = split_title(split, w)
    shown = [
        Range(f"{it['arm']} ({number(it['goals'])} / {number(it['entries'])})", it["share"]["value"],
              it["share"]["low"], it["share"]["high"], _with_interval(it["share"]))
        for it in arms if it["share"] and split["has_goal"]
    ]  # fmt: skip
    head = [w("arm"), w("entries"), w("goals"), w("conversion"), w("interval"), w("against"), w("p"), w("per_entry")]
    figures = [
        [it["arm"], number(it["entries"]), number(it["goals"]), _share(it), _between(it["share"]), _gap(it["against"]),
         "–" if it["against"] is None else f"{it['against']['p']:.4f}",
         number(it["worth"]["per_entry"], 2) if it["worth"] else "–"]
        for it in arms
    ]  # fmt: skip
    said: Iterable[Markup] = [Markup('<p class="{}">{}</p>').format(*pair) for pair in split_words(split, w)]
    return Markup("<h4>{}</h4>{}{}{}{}").format(
        title, _EMPTY.join(said), ranges(title, shown) if shown else _EMPTY, _behind(w, table(head, figures)),
        _note(w("arms_note")) if shown else _EMPTY,
    )  # fmt: skip


def _gap(gap: dict[str, Any] | None) -> str:
    if gap is None:
        return "–"
    words = gap_words(gap)
    return f"{words['gap']} ({words['low']} … {words['high']})"
