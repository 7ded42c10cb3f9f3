"""``drumbeat run``: the program at work on its store."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    common_options,
    compiled,
    emit_json,
    program_root,
    progress_bar,
    quick_garbage,
    say,
)
from engine.errors import CannotRun, UsageError

if TYPE_CHECKING:
    from engine.cli.many import Asked
    from engine.core.model import Alert, PoolAlert

_AT_ONCE = 1_000
"""Events of a transaction where several processes decide: others wait for what it holds."""

_TOLD_EACH = 5
"""Windows of a playbook that are told one by one: a backlog of years has hundreds."""


@click.command()
@click.option("--until-idle", is_flag=True, help="Do everything that is there, by the clock of the feeds, then leave.")
@click.option("--once", is_flag=True, help="Do everything that is due by the machine's clock, then leave.")
@click.option("--standby", is_flag=True, help="Where another process is at work on the store, wait for its end.")
@click.option("--trust-clock", is_flag=True, help="Go on at once when the machine's clock jumps ahead.")
@click.option(
    "--follow-files", is_flag=True,
    help="Take what the folder says again, and every edit: a plan that was applied counts no more.",
)
@click.option("--logs", type=click.Choice(("auto", "json", "text")), default="auto", help="Form of the daemon's log.")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=None,
    help="So many processes decide, on a store in PostgreSQL; with --until-idle.",
)
@click.option("--strict", is_flag=True, help="Quarantined or repeated records give exit code 1.")
@click.option("--batch", type=click.IntRange(min=1), default=10_000, hidden=True)
@common_options
def run(
    until_idle: bool,
    once: bool,
    standby: bool,
    trust_clock: bool,
    follow_files: bool,
    logs: str,
    store: str | None,
    workers: int | None,
    strict: bool,
    batch: int,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """Read the feeds and the inbox, decide, commit, deliver, for good.

    SIGTERM leaves in order: what is begun is finished. SIGHUP, or an edit of the program's files, puts the new program
    to work when it is whole; once a plan was applied (drumbeat apply), applied plans are taken and edits are not, until
    --follow-files says otherwise. When the machine's clock jumps more than 10 minutes ahead, what is due waits until
    events agree with it for 5 minutes, or SIGUSR1 says that it is right.

    With --until-idle the engine's clock follows the feeds: it stands at the newest event, so a backlog is decided as it
    would have been then. Running again does nothing twice.
    """
    if until_idle and (once or standby or trust_clock):
        hint = "leave out --once, --standby and --trust-clock"
        raise UsageError("--until-idle goes by the clock of the feeds", hint=hint)
    if workers is not None and not until_idle:
        raise UsageError("--workers goes with --until-idle", hint="a daemon decides in one process")
    if not until_idle:
        from engine.cli.service import Wishes, serve

        wishes = Wishes(program, store, once, standby, trust_clock, format_ == "json", quiet, follow_files, logs)
        return serve(wishes, can_run)
    done, seconds = _work(program, follow_files, store, batch, quiet, workers)
    result = _result(done, seconds)
    if format_ == "json":
        emit_json(result)
    else:
        click.echo(_text(result))
    return EXIT_WRONG if strict and (done.quarantined or done.duplicate) else EXIT_OK


def can_run(found: Any) -> None:
    """A webhook step without a channel would wait in the outbox for ever, and nobody would know."""
    for playbook in found.plan.playbooks:
        for node in playbook.nodes.values():
            if node.action.word == "webhook" and node.action.channel is None:
                raise CannotRun(
                    f"playbook '{playbook.id}' has a webhook step, and no channel of the program takes webhooks",
                    hint="channels: {webhook: {via: webhook, secret: \"${WEBHOOK_SECRET}\"}} sends them, "
                    "{via: file, path: out/webhooks.jsonl} writes them down",
                )


def _work(
    program: Path | None, follow_files: bool, store: str | None, batch: int, quiet: bool, workers: int | None
) -> tuple[Any, float]:
    from engine import wiring
    from engine.language.compile import compile_program
    from engine.language.keeping import pack
    from engine.ports import LiveFeed
    from engine.runtime import applied, programs
    from engine.runtime.claims import Claims
    from engine.runtime.clock import SystemClock
    from engine.runtime.hosts import Hosts
    from engine.runtime.outbox import Outbox
    from engine.runtime.pump import Pump
    from engine.runtime.standing import settle_in
    from engine.runtime.tracing import tracing

    clock = SystemClock()
    root = program_root(program)
    packed = pack(root)
    found: Any = compile_program(root)
    if found.plan is None and not wiring.store_place(found.settings, root, store).exists():
        compiled(program)  # says what is wrong
    with ExitStack() as closing:
        opened = wiring.open_store(found.settings, root, override=store)
        closing.callback(opened.close)
        closing.enter_context(tracing(os.environ, wiring.secret_of(opened)))
        chosen = _applied(opened, root, follow_files)
        found = chosen or wiring.with_older(found if found.plan is not None else compiled(program), opened)
        can_run(found)
        parted = _in_parts(opened, found)
        if chosen is not None:
            say("note: the plan that was applied is at work, not the files; --follow-files takes these", quiet)
        feeds = wiring.open_feeds(found.settings, found.root, wiring.site_of(found.root, notes=opened))
        for feed in feeds:
            if isinstance(feed, LiveFeed):
                closing.callback(feed.close)
        why_held = settle_in(opened, wiring.store_place(found.settings, found.root, store).mark(opened))
        if why_held is not None:
            say(f"warning: nothing is sent: {why_held}; drumbeat outbox list shows what waits", quiet)
        channels = {} if why_held is not None else wiring.open_channels(found.settings, found.root)
        for channel in channels.values():
            closing.callback(channel.close)
        begun = clock.elapsed()
        with quick_garbage(last=True), progress_bar(None, "running", quiet) as advance:
            hosts, claims = Hosts(wiring.hosts_of(found.settings)), Claims(found.plan, opened, clock)
            outbox = Outbox(opened, channels, clock, claims, pause=clock.pause, hosts=hosts)
            closing.callback(outbox.close)
            pump = Pump(
                found.plan, opened, feeds, outbox, clock,
                secret=wiring.secret_of(opened), known_types=found.known_types, batch=batch, progress=advance,
                alert=_alerting(quiet),
            )  # fmt: skip
            if (pinned := applied.read(opened)) is not None:
                programs.keep(opened, pinned.plan, pinned.pack)
            elif packed == pack(root):  # nobody wrote to the files since they were compiled
                programs.keep(opened, found.plan.digest, packed)
                if opened.get_meta(applied.LAST_GOOD) != packed:
                    opened.set_meta(applied.LAST_GOOD, packed)
            if workers is None and not parted:
                done = pump.until_idle()
            else:
                from engine.cli.many import Asked

                asked = Asked(found.root, found.plan.digest, store, workers or 1, min(batch, _AT_ONCE))
                done = _by_many(asked, found, opened, feeds, outbox, clock, advance)
                done.published = pump.done.published
        seconds = clock.elapsed() - begun
    for version, why_not in done.published.stuck.items():
        say(f"warning: journeys of {version} stand still, it cannot be compiled any more: {why_not}", quiet)
    if done.conflicts:
        say(f"warning: {done.conflicts} effects existed already and were not decided again", quiet)
    return done, seconds


def _in_parts(opened: Any, found: Any) -> bool:
    """Was a run with --workers cut short? Then only the program of then can finish it."""
    parted = bool(getattr(opened, "parted", False))
    if parted and opened.get_meta("plan") != found.plan.digest:
        raise CannotRun(
            "the store is in parts: a run with --workers was cut short, and the program was another one",
            hint="finish with the program of then (drumbeat run --until-idle), then take this one",
        )
    return parted


def _by_many(
    asked: Asked, found: Any, opened: Any, feeds: Any, outbox: Any, clock: Any, advance: Callable[[int], None] | None
) -> Any:
    """Several processes decide, this one reads the feeds and delivers."""
    from engine.cli.many import until_idle
    from engine.runtime.door import Porter
    from engine.runtime.parts import joined_by

    if not hasattr(opened, "parted"):
        raise CannotRun("a store in a file is written by one process", hint="--workers needs a store in PostgreSQL")
    if (why := joined_by(found.plan)) is not None:
        raise CannotRun(f"several processes cannot decide this program: {why}", hint="leave out --workers")

    from engine.stores.sql.postgres_parts import history_waits

    if history_waits(opened):
        raise CannotRun(
            "history waits in the inbox, and several processes cannot take it in",
            hint="leave out --workers for this run",
        )

    def porter(door: Any, look: Callable[[], None]) -> Porter:
        return Porter(
            opened, door, feeds, outbox, clock, known_types=found.known_types, progress=advance, look=look,
            pause=clock.pause,
        )

    return until_idle(asked, opened, porter)


def _applied(store: Any, root: Path, follow_files: bool) -> Any:
    """The plan that was applied, compiled; None: the files count."""
    from engine.runtime import applied

    wanted = applied.read(store)
    if wanted is not None and follow_files:
        applied.follow_files(store)
        return None
    if wanted is None:
        return None
    from engine.serving import compiled_applied

    found = compiled_applied(wanted, root, store.versions())
    if found.plan is None:
        raise CannotRun(
            "the applied plan cannot be compiled any more: a file it reads is gone",
            hint="put its lists back, or apply another plan; --follow-files takes what the folder says",
        )
    return found


def _alerting(quiet: bool) -> Callable[[Alert | PoolAlert], None]:
    """Says a reached limit on the terminal, the first windows of each playbook one by one."""
    from engine.core.instants import format_instant
    from engine.core.model import PoolAlert

    told: Counter[str] = Counter()

    def tell(alert: Alert | PoolAlert) -> None:
        if isinstance(alert, PoolAlert):
            say(f"warning: {alert.words()} at {format_instant(alert.time)}", quiet)
            return
        told[alert.playbook] += 1
        if told[alert.playbook] > _TOLD_EACH:
            return
        fate = "waits for the next window" if alert.waits else "is dropped"
        more = "; further windows are only counted" if told[alert.playbook] == _TOLD_EACH else ""
        what = f"playbook {alert.playbook} reached its limit {alert.limit} at {format_instant(alert.time)}"
        say(f"warning: {what}: what is over it {fate}{more}", quiet)

    return tell


def _result(done: Any, seconds: float) -> dict[str, Any]:
    return {
        "events": {
            "read": done.read,
            "accepted": done.accepted,
            "duplicate": done.duplicate,
            "quarantined": done.quarantined,
            "late": done.late,
            "reasons": dict(sorted(done.reasons.items())),
        },
        "deliveries": dict(sorted(done.sent.items())),
        "limits": dict(sorted(done.limits.items())),
        "pools": {name: {"used": it.what, "percent": it.percent} for name, it in sorted(done.pools.items())},
        "published": {
            "moved": done.published.moved,
            "cancelled": done.published.cancelled,
            "on_older_versions": done.published.older,
            "stuck": done.published.stuck,
        },
        "conflicts": done.conflicts,
        "seconds": round(seconds, 3),
        "events_per_second": round(done.accepted / seconds) if seconds > 0 else 0,
    }


def _changed(published: dict[str, Any]) -> list[str]:
    """What a changed program did to those on their way."""
    words = {"moved": "moved to the newest version", "cancelled": "ended", "on_older_versions": "finish on theirs"}
    parts = [f"{published[name]:,} {what}" for name, what in words.items() if published[name]]
    return [f"published   journeys: {', '.join(parts)}"] if parts else []


def _text(result: dict[str, Any]) -> str:
    events = result["events"]
    changed = _changed(result["published"])
    if not events["read"] and not result["deliveries"] and not changed:
        return "nothing new: every record of the feeds was decided before, nothing was sent"
    lines = [
        *changed,
        f"events      {events['accepted']:,} accepted of {events['read']:,} read"
        f" ({events['duplicate']:,} duplicate, {events['quarantined']:,} quarantined)"
    ]
    lines += [f"            quarantined: {reason} {number:,}" for reason, number in events["reasons"].items()]
    if events["late"]:
        lines.append(f"            {events['late']:,} late: they changed state and started nothing")
    if result["deliveries"]:
        parts = ", ".join(f"{number:,} {status}" for status, number in result["deliveries"].items())
        lines.append(f"deliveries  {parts}")
    if result["limits"]:
        parts = ", ".join(f"{name} reached in {n:,} window(s)" for name, n in result["limits"].items())
        lines.append(f"limits      {parts}")
    lines.append(f"took        {result['seconds']} s ({result['events_per_second']:,} events/s)")
    return "\n".join(lines)
