"""``drumbeat simulate``: a feed through the program on the virtual clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    common_options,
    compiled,
    emit_json,
    feed_paths,
    moment,
    progress_bar,
    quick_garbage,
    say,
)

if TYPE_CHECKING:
    from engine.runtime.simulate import QuotaUse


@click.command()
@click.option("--events", "events", multiple=True, required=True, help="Feed file (jsonl, csv; .gz, .zst); may repeat.")
@click.option("--until", callback=moment, help="Where the virtual clock ends (default: at the last event).")
@click.option(
    "--effects", type=click.Path(path_type=Path, dir_okay=False), help="Write every effect here, one JSON a line."
)
@click.option("--decisions", type=click.Path(path_type=Path, dir_okay=False), help="Write every verdict here.")
@click.option("--report", is_flag=True, help="A table of playbooks after the summary; in JSON what ``report`` shows.")
@click.option("--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="The page of ``report``.")
@click.option("--strict", is_flag=True, help="Quarantined or repeated records give exit code 1.")
@click.option("--batch", type=click.IntRange(min=1), default=2_000, hidden=True)
@common_options
def simulate(
    events: tuple[str, ...],
    until: int | None,
    effects: Path | None,
    decisions: Path | None,
    report: bool,
    html: Path | None,
    strict: bool,
    batch: int,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Replay feed files in memory; nothing is written to the store and nothing is sent."""
    from engine.cli import reporting
    from engine.feeds.replay import Replay
    from engine.runtime.clock import SystemClock
    from engine.runtime.simulate import simulate as replay_feed
    from engine.stores.memory import MemoryStore

    found = compiled(program)
    replay = Replay(feed_paths(events), until, types=found.known_types)
    clock = SystemClock()
    begun = clock.elapsed()
    store, period = MemoryStore(keep_log=False), None
    if html is not None:
        reporting.need_libraries()
    whole = html is not None or (report and format_ == "json" and reporting.can_tell())
    with (
        reporting.lake_of(found.plan) if whole else contextlib.nullcontext() as lake,
        quick_garbage(),
        _writing(effects) as rows,
        _writing(decisions) as verdicts,
        progress_bar(None, "simulating", quiet) as advance,
    ):
        outcome = replay_feed(
            found.plan, replay, store, until=until, effects=rows, decisions=verdicts,
            batch_size=batch, known_types=found.known_types, progress=advance, recorder=lake,
        )  # fmt: skip
        seconds = clock.elapsed() - begun
        if lake is not None:
            period = reporting.period_of_lake(found, lake, store, None, None)
    if replay.assigned_ids:
        say("note: records without id were given file:line as id", quiet)
    for name in sorted(name for name, pool in found.plan.pools.items() if pool.imported):
        say(f"note: the codes of coupon {name} are imported; here others stand in for them, up to its total", quiet)
    if html is not None and period is not None:
        reporting.write_page(html, period, found.plan.env.locale, simulated=True)
        say(f"written to {html}", quiet)
    summary = _summary(outcome, seconds)
    if format_ == "json":
        emit_json(summary if period is None else {**summary, "period": period})
    else:
        click.echo(_text(summary, report))
    bad = outcome.events["quarantined"] or outcome.events["duplicate"]
    return EXIT_WRONG if strict and bad else EXIT_OK


@contextlib.contextmanager
def _writing(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=1 << 20) as out:
        yield out


def _summary(outcome: Any, seconds: float) -> dict[str, Any]:
    accepted = outcome.events["accepted"]
    return {
        "events": outcome.events,
        "users": outcome.users,
        **({} if outcome.groups is None else {"groups": outcome.groups}),
        "journeys": outcome.journeys,
        "effects": outcome.effects,
        "playbooks": outcome.playbooks,
        **({"quotas": _quotas(outcome.quotas)} if outcome.quotas else {}),
        "clock": outcome.clock,
        "seconds": round(seconds, 3),
        "events_per_second": round(accepted / seconds) if seconds > 0 else 0,
    }


def _quotas(found: Mapping[str, QuotaUse]) -> dict[str, dict[str, Any]]:
    """How far each quota went: who used it up, and who found it used up."""
    return {
        name: {
            "allows": use.allows,
            "sent": dict(sorted(use.sent.items())),
            "refused": dict(sorted(use.refused.items())),
            "users_refused": len(use.users),
        }
        for name, use in found.items()
    }


def _text(summary: dict[str, Any], report: bool) -> str:
    events, journeys, clock = summary["events"], summary["journeys"], summary["clock"]
    lines = [
        f"events     {events['accepted']:,} accepted of {events['read']:,} read"
        f" ({events['duplicate']:,} duplicate, {events['quarantined']:,} quarantined)",
        f"clock      {clock['from'] or '-'} .. {clock['until'] or '-'}",
        f"users      {summary['users']:,}" + (f" in {summary['groups']:,} groups" if "groups" in summary else ""),
        f"journeys   {journeys['started']:,} started, {journeys['finished']:,} finished,"
        f" {journeys['running']:,} running",
    ]
    for reason, number in events["reasons"].items():
        lines.append(f"           quarantined: {reason} {number:,}")
    for kind, by_status in summary["effects"].items():
        parts = ", ".join(f"{number:,} {status}" for status, number in by_status.items())
        lines.append(f"{kind:<10} {parts}")
    broken = {name: it["errors"] for name, it in summary["playbooks"].items() if it["errors"]}
    if broken:
        parts = ", ".join(f"{name} {number:,}" for name, number in broken.items())
        lines.append(f"errors     {parts} (see --decisions)")
    limited = {name: it["limited"] for name, it in summary["playbooks"].items() if it["limited"]}
    if limited:
        lines.append("limits     " + ", ".join(f"{name} reached in {n:,} window(s)" for name, n in limited.items()))
    for name, it in summary.get("quotas", {}).items():
        sent, refused = sum(it["sent"].values()), sum(it["refused"].values())
        lines.append(
            f"quota      {name} {it['allows']}: {sent:,} sent, {refused:,} refused of {it['users_refused']:,} users"
        )
    if report:
        lines += ["", _table(summary["playbooks"])]
        lines += [text for name, it in summary.get("quotas", {}).items() for text in ("", _quota_table(name, it))]
    lines.append(f"took       {summary['seconds']} s ({summary['events_per_second']:,} events/s)")
    return "\n".join(lines)


def _table(playbooks: dict[str, dict[str, int]]) -> str:
    from engine.cli.tables import table

    rows = [
        [name, f"{it['entered']:,}", f"{it['held_out']:,}", f"{it['effects']:,}", f"{it['goals']:,}"]
        for name, it in playbooks.items()
    ]
    return table(["playbook", "entered", "held out", "effects", "goals"], rows)


def _quota_table(name: str, quota: dict[str, Any]) -> str:
    """Which playbooks used a quota up, and which came too late."""
    from engine.cli.tables import table

    sent, refused = quota["sent"], quota["refused"]
    rows = [[who, f"{sent.get(who, 0):,}", f"{refused.get(who, 0):,}"] for who in sorted({*sent, *refused})]
    return table([f"{name} {quota['allows']}", "sent", "refused"], rows)
