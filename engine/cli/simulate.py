"""``drumbeat simulate``: a feed through the program on the virtual clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    columns_option,
    common_options,
    compiled,
    emit_json,
    feed_paths,
    moment,
    progress_bar,
    quick_garbage,
    say,
    writing,
)

if TYPE_CHECKING:
    from engine.core.plan import Plan
    from engine.insight.unfired import Lookout
    from engine.runtime.simulate import QuotaUse


@click.command()
@click.option(
    "--events", "events", multiple=True, required=True,
    help="Feed file: jsonl or csv (also .gz, .zst), or parquet; may repeat.",
)  # fmt: skip
@columns_option
@click.option(
    "--map", "map_", type=click.Path(path_type=Path, dir_okay=False), help="How records of other systems become events."
)
@click.option("--until", callback=moment, help="Where the virtual clock ends (default: at the last event).")
@click.option(
    "--effects", type=click.Path(path_type=Path, dir_okay=False), help="Write every effect here, one JSON a line."
)
@click.option("--decisions", type=click.Path(path_type=Path, dir_okay=False), help="Write every verdict here.")
@click.option("--report", is_flag=True, help="What each playbook did, and why some never fired; in JSON all of it.")
@click.option("--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="The page of ``report``.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=None,
    help="Processes that share the users out among them; the result is the same (default: by cores and size).",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Quarantined or repeated records give exit code 1.")
@click.option("--batch", type=click.IntRange(min=1), default=2_000, hidden=True)
@common_options
def simulate(
    events: tuple[str, ...],
    columns: str | None,
    map_: Path | None,
    until: int | None,
    effects: Path | None,
    decisions: Path | None,
    report: bool,
    html: Path | None,
    workers: int | None,
    strict: bool,
    batch: int,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Replay feed files in memory; nothing is written to the store and nothing is sent."""
    from engine.cli import reporting
    from engine.cli.workers import Feed, in_parts
    from engine.feeds.layouts import layout_of
    from engine.feeds.replay import Replay
    from engine.runtime.clock import SystemClock
    from engine.runtime.simulate import simulate as replay_feed
    from engine.stores.memory import MemoryStore

    found = compiled(program)
    paths = feed_paths(events)
    layout = layout_of(found.settings.feeds, found.root, columns, map_)
    clock = SystemClock()
    begun = clock.elapsed()
    looks = _Looks(found.plan) if report else None
    # what is read from a pipe cannot be read again to look closely
    closely = decisions is not None or not all(path.is_file() for path in paths)
    replay = Replay(paths, until, layout=layout, types=found.known_types)
    store, period = MemoryStore(keep_log=False), None
    if html is not None:
        reporting.need_libraries()
    whole = html is not None or (report and format_ == "json" and reporting.can_tell())
    with (
        reporting.lake_of(found.plan) if whole else contextlib.nullcontext() as lake,
        quick_garbage(last=True),
        writing(effects) as rows,
        writing(decisions) as verdicts,
        progress_bar(None, "simulating", quiet) as advance,
    ):
        feed = Feed(paths, columns, map_, until, batch)
        alone = "a report looks at everything in one process" if report or html is not None else None
        apart = in_parts(
            found, feed, workers, alone=alone, effects=rows, decisions=verdicts, progress=advance, quiet=quiet
        )
        outcome = replay_feed(
            found.plan, replay, store, until=until, effects=rows, decisions=verdicts,
            batch_size=batch, known_types=found.known_types, progress=advance,
            observer=None if looks is None else looks.anew(closely), recorder=lake,
        ) if apart is None else apart.outcome  # fmt: skip
        seconds = clock.elapsed() - begun
        if lake is not None:
            period = reporting.period_of_lake(found, lake, store, None, None)
        if looks is not None and not closely and looks.last.unfired:
            # somebody asks why playbooks never fired: the same once more, with every verdict looked at
            replay_feed(
                found.plan, Replay(paths, until, layout=layout, types=found.known_types), MemoryStore(keep_log=False),
                until=until, batch_size=batch, known_types=found.known_types, progress=advance,
                observer=looks.anew(True),
            )  # fmt: skip
    if replay.assigned_ids if apart is None else apart.assigned_ids:
        say("note: records without id were given file:line as id", quiet)
    for name in sorted(name for name, pool in found.plan.pools.items() if pool.imported):
        say(f"note: the codes of coupon {name} are imported; here others stand in for them, up to its total", quiet)
    if html is not None and period is not None:
        reporting.write_page(html, period, found.plan.env.locale, simulated=True)
        say(f"written to {html}", quiet)
    summary = _summary(outcome, seconds)
    told = None if looks is None else _told(found.plan, looks.last, summary)
    if format_ == "json":
        more = {} if told is None else told[1]
        emit_json({**summary, **more, **({} if period is None else {"period": period})})
    else:
        click.echo(_text(summary, None if told is None else told[0]))
    bad = outcome.events["quarantined"] or outcome.events["duplicate"]
    return EXIT_WRONG if strict and bad else EXIT_OK


class _Looks:
    """Who looks on while a feed is replayed: somebody new each time it begins."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.last: Lookout

    def anew(self, closely: bool) -> Callable[[], Lookout]:
        """Makes the next one."""
        from engine.insight.unfired import Lookout

        def made() -> Lookout:
            self.last = Lookout(self._plan, closely=closely)
            return self.last

        return made


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


def _told(plan: Plan, lookout: Lookout, summary: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What fired and what did not: (as text, for JSON)."""
    from engine.cli import firing
    from engine.core.instants import parse_instant

    first, end = (None if at is None else parse_instant(at) for at in summary["clock"].values())
    findings = lookout.findings(first, end)
    titles = {playbook.id: playbook.title for playbook in plan.playbooks}
    parts = [
        firing.fired(summary["playbooks"], titles),
        *(_quota_table(name, it) for name, it in summary.get("quotas", {}).items()),
        firing.kept_back(lookout.kept_back),
        firing.never(findings, len(titles)),
    ]
    return "\n\n".join(filter(None, parts)), firing.as_json(findings, lookout.kept_back)


def _text(summary: dict[str, Any], report: str | None) -> str:
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
    if report is not None:
        lines += ["", report, ""]
    lines.append(f"took       {summary['seconds']} s ({summary['events_per_second']:,} events/s)")
    return "\n".join(lines)


def _quota_table(name: str, quota: dict[str, Any]) -> str:
    """Which playbooks used a quota up, and which came too late."""
    from engine.cli.tables import table

    sent, refused = quota["sent"], quota["refused"]
    rows = [[who, f"{sent.get(who, 0):,}", f"{refused.get(who, 0):,}"] for who in sorted({*sent, *refused})]
    return table([f"{name} {quota['allows']}", "sent", "refused"], rows)
