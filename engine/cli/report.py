"""``drumbeat report``: what the program did, as tables."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    columns_option,
    common_options,
    compiled,
    emit_json,
    map_option,
    replay_of,
    say,
    tell,
)
from engine.cli.reporting import LOCALES, day
from engine.cli.tables import table
from engine.errors import UsageError


@click.command()
@click.option("--from", "first", callback=day, help="First day, for example 2026-03-01 (default: of the first event).")
@click.option("--to", "last", callback=day, help="Last day, inside (default: today, by the engine's clock).")
@click.option("--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts here.")
@click.option(
    "--events", "events", multiple=True, help="Report these feed files, simulated, instead of the store; may repeat."
)
@columns_option
@map_option
@click.option(
    "--locale", "locale", type=click.Choice(LOCALES), help="Language of the report (default: the program's locale)."
)
@click.option("--totals", is_flag=True, help="Only the totals of the store; its events are not read.")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def report(
    first: int | None,
    last: int | None,
    html: Path | None,
    events: tuple[str, ...],
    columns: str | None,
    map_: Path | None,
    locale: str | None,
    totals: bool,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """What happened, as tables and as a page with charts: people, playbooks, coupons, groups, sending; only reads.

    The totals of the store, then a period: active users, retention, funnels, treated against holdout, A/B arms,
    coupons, moves between levels, groups, deliveries, and who lost to whom.
    """
    from engine.cli import reporting

    asked = first is not None or last is not None or html is not None or bool(events)
    if totals and asked:
        raise UsageError("--totals shows no period", hint="leave out --totals, or --from, --to, --html and --events")
    if events and store is not None:
        raise UsageError("--events reports feed files, --store a store", hint="give one of them")
    if not events and (columns is not None or map_ is not None):
        raise UsageError("--columns and --map say how feed files are read", hint="give the files with --events")
    if asked:
        reporting.need_libraries()
    found = compiled(program)
    shown: dict[str, Any] = {}
    period = None
    if events:
        period = reporting.period_of_feed(found, replay_of(found, events, None, columns, map_), first, last, quiet)
    else:
        shown, period, found = _of_store(found, store, None if totals else (first, last), quiet)
    words = locale or found.plan.env.locale
    if html is not None and period is not None:
        reporting.write_page(html, period, words, simulated=bool(events))
        say(f"written to {html}", quiet)
    if format_ == "json":
        emit_json({**shown, "period": period})
    elif html is None:
        parts = [text(shown)] if shown else []
        if period is not None:
            from engine.cli.report_text import period_text

            parts.append(period_text(period, words, simulated=bool(events)))
        tell(["\n\n".join(parts)])
    return EXIT_OK


def _of_store(
    found: Any, store: str | None, days: tuple[int | None, int | None] | None, quiet: bool
) -> tuple[dict[str, Any], dict[str, Any] | None, Any]:
    """(the totals, the period where one is asked for and can be told, the program the store is run by).

    What is reported was decided by that program, whatever stands in the folder by now.
    """
    from engine import wiring
    from engine.cli import reporting
    from engine.cli.atwork import at_work
    from engine.insight.report import report as figures

    period = None
    with ExitStack() as closing:
        opened, said = wiring.store_to_read(found.settings, found.root, closing, store)
        now, remarks = at_work(found, opened)
        for remark in [*([] if said is None else [said]), *remarks]:
            say(f"note: {remark}", quiet)
        now = replace(now, settings=found.settings)
        totals = figures(now.plan, opened)
        if days is not None and reporting.can_tell():
            period = reporting.period_of_store(now, opened, *days)
        elif days is not None:
            say("note: figures of a period need pip install 'drumbeat[report]'; these are the totals", quiet)
    return totals, period, now


def figures_of(found: Any, store: str | None = None) -> dict[str, Any]:
    """The figures of a compiled program's store."""
    return _of_store(found, store, None, quiet=True)[0]


def text(figures: dict[str, Any]) -> str:
    """The figures as tables; what is empty is left out."""
    events = figures["events"]
    out = [
        f"{figures['program']} up to {figures['clock']}: {events['events']:,} events"
        f" ({events['duplicate']:,} duplicate, {events['late']:,} late, {events['quarantined']:,} quarantined)"
    ]
    if not figures["same_program"]:
        out.append("note: the store was last run by another version of the program")
    shown = (
        *(_playbooks, _effects, _refused, _coupons, _points, _rewards, _groups, _living, _surveys),
        *(_deliveries, _quarantine),
    )
    for part in shown:
        found = part(figures)
        if found:
            out += ["", found]
    return "\n".join(out)


def _playbooks(figures: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{it['entered']:,}",
            f"{it['held_out']:,}",
            f"{it['finished']:,}",
            f"{it['exited']:,}",
            _side(it["treated"]),
            _side(it["holdout"]),
            _difference(it["difference"]),
        ]
        for name, it in figures["playbooks"].items()
    ]
    limits = [f"{name}: entry limit reached in {it['limited']:,} window(s)"
              for name, it in figures["playbooks"].items() if it["limited"]]  # fmt: skip
    head = ["playbook", "entered", "held out", "finished", "exited", "goals, treated", "goals, holdout", "difference"]
    return "\n".join([table(head, rows), *limits]) if rows else ""


def _side(side: dict[str, Any] | None) -> str:
    from engine.insight.report import NOT_ENOUGH

    if side is None:
        return "-"
    share = NOT_ENOUGH if side["percent"] is None else f"{side['percent']} %"
    return f"{side['goals']:,} ({share})"


def _difference(found: dict[str, Any] | None) -> str:
    return "-" if found is None else f"{found['points']:+} ± {found['give_or_take']}"


def _effects(figures: dict[str, Any]) -> str:
    found = figures["effects"]
    statuses = [it for it in ("planned", "held_out", "suppressed", "denied") if any(it in by for by in found.values())]
    rows = [[kind, *(f"{by.get(status, 0):,}" for status in statuses)] for kind, by in found.items()]
    return table(["effect", *(status.replace("_", " ") for status in statuses)], rows) if rows else ""


def _refused(figures: dict[str, Any]) -> str:
    rows = [[f"{it['kind']} {it['status']}: {it['reason']}", f"{it['count']:,}"] for it in figures["refused"]]
    return table(["not done", "effects"], rows) if rows else ""


def _coupons(figures: dict[str, Any]) -> str:
    rows = []
    for it in figures["coupons"]:
        left = "unlimited" if it["total"] is None else f"{it['left']:,} of {it['total']:,}"
        unit = f" {it['currency']}" if it["currency"] else ""
        spent = f"{it['spent']:,f}" + (f" of {it['budget']:,f}" if it["budget"] is not None else "") + unit
        rows.append([it["pool"], f"{it['given']:,}", left, spent])
    return table(["coupon", "given", "left", "worth"], rows) if rows else ""


def _points(figures: dict[str, Any]) -> str:
    rows = [[it["account"], it["what"], f"{it['points']:+,}", f"{it['entries']:,}"] for it in figures["points"]]
    return table(["points", "what", "sum", "entries"], rows) if rows else ""


def _rewards(figures: dict[str, Any]) -> str:
    rows = []
    for it in figures["rewards"]:
        left = "unlimited" if it["stock"] is None else f"{it['left']:,} of {it['stock']:,}"
        rows.append([it["reward"], f"{it['given']:,}", left, f"{it['points']:,}"])
    return table(["reward", "given", "left", "points"], rows) if rows else ""


def _groups(figures: dict[str, Any]) -> str:
    rows = []
    for group in figures["groups"]:
        if not group["rooms"]:
            continue
        told = _full_in(group["forecast"]) + (f", {group['waiting']:,} waiting" if group["waiting"] else "")
        rows.append([group["group"], f"{group['taken']:,}", "", f"{group['capacity']:,}", told])
        rows += [
            [
                f"  {it['room']}", f"{it['taken']:,}", f"{it['invites_stop_at']:,}", f"{it['capacity']:,}",
                "link expired" if it["expired"] else "",
            ]
            for it in group["rooms"]
        ]  # fmt: skip
    return table(["group, room", "seats taken", "invites stop at", "capacity", "outlook"], rows) if rows else ""


def _full_in(forecast: dict[str, Any]) -> str:
    if "why" in forecast:
        return str(forecast["why"])
    return f"full in {forecast['days']} days at {forecast['per_day']} a day"


def _surveys(figures: dict[str, Any]) -> str:
    from engine.insight.report import NOT_ENOUGH

    rows = []
    for it in figures["surveys"]:
        answers = it["promoters"] + it["passives"] + it["detractors"]
        nps = "-" if not answers else NOT_ENOUGH if it["nps"] is None else f"{it['nps']:+}"
        mean = "-" if it["mean"] is None else str(it["mean"])
        split = f"{it['promoters']:,} / {it['passives']:,} / {it['detractors']:,}" if answers else "-"
        rows.append([it["survey"], f"{it['asked']:,}", f"{it['answered']:,}", split, nps, mean])
    head = ["survey", "asked", "answered", "promoters / passives / detractors", "net promoter score", "mean"]
    return table(head, rows) if rows else ""


def _living(figures: dict[str, Any]) -> str:
    """Groups that are subjects: who is in them, and how long nobody said a word."""
    found = [it for it in figures["groups"] if "members" in it]
    silent = ["" if it["silent_days"] is None else f"{it['silent_days']:,}" for it in found]
    rows = [[it["group"], f"{it['members']:,}", days] for it, days in zip(found, silent, strict=True)]
    return table(["group", "members", "silent days"], rows) if rows else ""


def _deliveries(figures: dict[str, Any]) -> str:
    rows = [
        [channel, status, f"{number:,}"]
        for channel, by_status in figures["deliveries"].items()
        for status, number in by_status.items()
    ]
    return table(["channel", "delivery", "messages"], rows) if rows else ""


def _quarantine(figures: dict[str, Any]) -> str:
    rows = [[reason, f"{number:,}"] for reason, number in figures["quarantine"].items()]
    return table(["quarantine", "records"], rows) if rows else ""
