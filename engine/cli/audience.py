"""``drumbeat audience``: who would be met by a condition, and what it would cost."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    colors,
    columns_option,
    compiled,
    emit_json,
    map_option,
    moment,
    replay_of,
    say,
    store_options,
    tell,
)
from engine.cli.tables import table
from engine.core.shapes import PURPOSES
from engine.errors import ProgramError, UsageError

_SOURCE = "EXPR"  # where a diagnostic of the expression stands
_ASKED = "asked-audience"  # segment and file that keep what a condition asks for
_BY = {"sql": "SQL", "mixed": "SQL and Python", "python": "Python"}


def _percent(_: click.Context, __: click.Parameter, value: str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        share = Decimal(value.rstrip("% "))
    except InvalidOperation:
        raise click.BadParameter("a share such as 10 or 2.5") from None
    if not 0 <= share <= 100:
        raise click.BadParameter("a share from 0 to 100")
    return share


@click.command()
@click.argument("expr", required=False)
@click.option("--sample", default=10, show_default=True, type=click.IntRange(0, 10_000), help="How many to name.")
@click.option("--coupon", "pool", default=None, metavar="POOL", help="What this coupon for everybody would cost.")
@click.option("--reach", is_flag=True, help="Whom a message would reach, by channel: consent, address, caps.")
@click.option("--for", "playbook", metavar="PLAYBOOK", default=None, help="Reach by this playbook's belts and holdout.")
@click.option("--purpose", type=click.Choice(PURPOSES), default=None, help="Of the message (default: marketing).")
@click.option("--holdout", callback=_percent, metavar="PERCENT", help="How many a holdout of this size keeps out.")
@click.option("--overlap", is_flag=True, help="How much the segments of the catalog, and EXPR, have in common.")
@click.option("--segment", "segments", multiple=True, metavar="NAME", help="Only these segments; may repeat.")
@click.option("--events", "events", multiple=True, help="Ask people as they are after these feed files, not the store.")
@columns_option
@map_option
@click.option("--at", "at", callback=moment, default=None, help="The instant to judge at (default: the store's clock).")
@store_options
def audience(
    expr: str | None,
    sample: int,
    pool: str | None,
    reach: bool,
    playbook: str | None,
    purpose: str | None,
    holdout: Decimal | None,
    overlap: bool,
    segments: tuple[str, ...],
    events: tuple[str, ...],
    columns: str | None,
    map_: Path | None,
    at: int | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """How many users EXPR fits, and who for example; only reads.

    EXPR is a condition on the user alone, as playbooks have it, or the name of a segment. The database answers as
    much of it as it can, with the same result as Python for every user.

    With --overlap the segments of the catalog (or those named) are laid over each other, EXPR with them where there is
    one: how many are in both, and their share of all who are in either (Jaccard).
    """
    from engine.runtime.clock import SystemClock

    overlap = overlap or bool(segments)
    if expr is None and not overlap:
        raise UsageError("what audience?", hint="give a condition, the name of a segment, or --overlap")
    if not events and (columns is not None or map_ is not None):
        raise UsageError("--columns and --map say how feed files are read", hint="give the files with --events")
    found = compiled(program)
    chosen = None
    if expr is not None:
        if events:
            found = _keeping(found, expr)
        chosen, issues = found.audiences.read(expr)
        if chosen is None or (issues and not quiet):
            _tell(expr, issues, format_, no_color, failed=chosen is None)
        if chosen is None:
            return EXIT_WRONG
    wishes = _Wishes(sample, pool, reach or playbook is not None or purpose is not None or holdout is not None,
                     playbook, purpose, holdout)  # fmt: skip
    sets = _sets(found, segments, expr, chosen) if overlap else None
    clock = SystemClock()
    with ExitStack() as closing:
        replay = replay_of(found, events, None, columns, map_) if events else None
        opened = _people(closing, found, store, replay, quiet)
        if at is not None and at < opened.clock():
            hint = "windows of the past are not kept: leave it out"
            raise UsageError("--at lies before the store's clock", hint=hint)
        begun = clock.elapsed()
        seen = _looked(found, opened, chosen, opened.clock() if at is None else at, wishes, sets)
        seen["seconds"] = round(clock.elapsed() - begun, 3)
    if format_ == "json":
        emit_json(seen)
    else:
        tell(lines(seen))
        if not seen.get("same_program", True):
            say("note: the store was last run by another version of the program", quiet)
    return EXIT_OK


@dataclass(frozen=True)
class _Wishes:
    """What is to be found out beside how many fit."""

    sample: int
    pool: str | None
    reach: bool
    playbook: str | None
    purpose: str | None
    holdout: Decimal | None


def _looked(found: Any, store: Any, chosen: Any, now: int, wishes: _Wishes, sets: Any) -> dict[str, Any]:
    """The figures; without a condition those of the overlap alone."""
    from engine.insight.audience import Wanted
    from engine.insight.audience import audience as figures
    from engine.insight.overlap import overlap
    from engine.insight.reaching import aim
    from engine.insight.subject import instant

    seen: dict[str, Any] = {"at": instant(now)}
    if chosen is not None:
        asked = None
        if wishes.reach:
            asked = aim(
                found.plan, found.policies, playbook=wishes.playbook, purpose=wishes.purpose, holdout=wishes.holdout
            )
        seen = figures(found.plan, store, chosen, now, Wanted(wishes.sample, wishes.pool, asked))
    if sets is not None:
        seen["overlap"] = overlap(store, sets, now)
    return seen


def _keeping(found: Any, expr: str) -> Any:
    """The program, with the history a condition asks for: a feed is read from its beginning, so it can be kept."""
    from engine.language.audiences import NoHistory
    from engine.language.keeping import compile_with

    try:
        found.audiences.read(expr)
    except NoHistory:
        segment = {"segments": {_ASKED: {"if": expr}}}
        return compile_with(found.root, {f"playbooks/catalog/{_ASKED}.yaml": json.dumps(segment, ensure_ascii=False)})
    return found


def _sets(found: Any, names: tuple[str, ...], expr: str | None, chosen: Any) -> dict[str, Any]:
    """Name -> filter of what is laid over each other. Raises ProgramError for a segment that is not there."""
    from engine.registry import nearest

    known = found.audiences.segments
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else "segments: " + (", ".join(sorted(known)) or "none")
            raise ProgramError(f"there is no segment '{name}' of users", hint=hint)
    sets = {name: found.audiences.read(name)[0] for name in names or sorted(known)}
    if expr is not None and expr.strip() not in sets:
        sets[expr.strip()] = chosen
    if not sets:
        raise ProgramError("the catalog has no segments", hint="define some under segments:")
    return sets


def _people(closing: ExitStack, found: Any, store: str | None, replay: Any, quiet: bool) -> Any:
    """The store to ask: the program's, or one that is filled from files and thrown away."""
    from tempfile import TemporaryDirectory

    from engine import wiring

    if replay is not None and store is not None:
        raise UsageError("--events and --store are two sources of people", hint="name one of them")
    if replay is None:
        opened, said = wiring.store_to_read(found.settings, found.root, closing, store)
        if said is not None:
            say(f"note: {said}", quiet)
        return opened
    from engine.cli.common import progress_bar, quick_garbage
    from engine.insight.filled import fill
    from engine.stores.memory import MemoryStore

    folder = Path(closing.enter_context(TemporaryDirectory(prefix="drumbeat-audience-")))
    opened = wiring.scratch_store(folder)
    closing.callback(opened.close)
    with quick_garbage(), progress_bar(None, "reading", quiet) as advance:
        fill(found.plan, MemoryStore(keep_log=False), opened, replay, found.known_types, advance)
        opened.fold()
    if replay.quarantined or replay.duplicate:
        say(f"note: {replay.quarantined:,} records could not be read, {replay.duplicate:,} came twice", quiet)
    return opened


def _tell(text: str, issues: Any, format_: str, no_color: bool, *, failed: bool) -> None:
    """The problems of the expression, as ``validate`` shows those of a file."""
    import sys

    from engine.language.diagnostics import Diagnostic, render_text, to_json

    problems = []
    for issue in issues:
        line = text.count("\n", 0, issue.start) + 1
        col = issue.start - (text.rfind("\n", 0, issue.start) + 1) + 1
        size = max(1, issue.end - issue.start)
        severity = issue.severity
        problems.append(Diagnostic(_SOURCE, line, col, size, severity, issue.code, issue.message, issue.hint))
    if failed and format_ == "json":
        errors = sum(one.severity == "error" for one in problems)
        emit_json({"ok": False, "errors": errors, "problems": [to_json(one) for one in problems]})
    say(render_text(problems, {_SOURCE: text}, colors(no_color, sys.stderr)))


def lines(seen: dict[str, Any]) -> list[str]:
    """The figures as text."""
    out = _fits(seen) if "condition" in seen else [f"at {seen['at']}"]
    if "overlap" in seen:
        out += ["", *_overlap(seen["overlap"])]
    return out


def _fits(seen: dict[str, Any]) -> list[str]:
    """Of a condition."""
    share = "" if seen["percent"] is None else f" ({seen['percent']} %)"
    out = [f"{seen['count']:,} of {seen['of']:,} users{share} fit at {seen['at']}", f"  {seen['condition']}"]
    if seen["sample"]:
        more = seen["count"] - len(seen["sample"])
        out += ["", "for example " + ", ".join(seen["sample"]) + (f" and {more:,} more" if more else "")]
    out += _coupon(seen["coupon"], seen["count"])
    out += _reach(seen["reach"])
    errors = seen["errors"]
    if errors["count"]:
        out += ["", f"{errors['count']:,} could not be judged, and are not counted"]
        out += [f"  {one['user']}: {one['reason']}" for one in errors["first"]]
    out += ["", f"answered by {_BY[seen['answered_by']]} in {seen['seconds']:.2f} s" + _asked(seen)]
    out += [f"  not in SQL: {one['part']} ({one['reason']})" for one in seen["not_in_sql"]]
    return out


def _reach(found: dict[str, Any] | None) -> list[str]:
    """Whom a message would reach."""
    if found is None:
        return []
    whose = f"playbook {found['playbook']}" if found["playbook"] else f"policy {found['policy']}"
    out = ["", f"a {found['purpose']} message by {whose} reaches {found['reachable']:,} of them"]
    rows = [
        [it["channel"], f"{it['consented']:,}", f"{it['with_address']:,}", f"{it['not_capped']:,}",
         f"{it['reachable']:,}"]
        for it in found["channels"]
    ]  # fmt: skip
    if rows:
        shown = table(["channel", "consented", "with an address", "not capped", "reachable"], rows)
        out += ["  " + line for line in shown.splitlines()]
    if found["control_group"]:
        out.append(f"  control group: {found['control_group']:,} get no {found['purpose']} from anybody")
    holdout = found["holdout"]
    if holdout is not None:
        out.append(f"  holdout of {holdout['percent']:f} %: {holdout['count']:,} are kept out")
    return out


def _overlap(found: dict[str, Any]) -> list[str]:
    """Sizes, and who is in both: a number, and its share of all who are in either."""
    names = [it["segment"] for it in found["segments"]]
    if len(names) > MOST_COLUMNS:
        return _nearest(found)
    places = {name: place for place, name in enumerate(names)}
    cells = [[""] * len(names) for _ in names]
    for it in found["pairs"]:
        share = "-" if it["jaccard"] is None else f"{100 * it['jaccard']:.1f} %"
        cells[places[it["a"]]][places[it["b"]]] = f"{it['both']:,} ({share})"
    rows = [
        [f"{place + 1} {it['segment']}", f"{it['size']:,}", *cells[place][1:]]
        for place, it in enumerate(found["segments"])
    ]
    head = ["segment", "size", *(f"and {place + 1}" for place in range(1, len(names)))]
    out = [_in_any(found), *("  " + line for line in table(head, rows).splitlines()), *_unjudged(found)]
    if found["pairs"]:
        out.append("  in both, and in brackets their share of all who are in either (Jaccard)")
    return out


MOST_COLUMNS = 8
"""Segments up to which all pairs stand in one table."""

MOST_PAIRS = 20
"""Pairs that are listed where there are more segments than that."""


def _nearest(found: dict[str, Any]) -> list[str]:
    """Of many segments: the sizes of those with anybody in them, and the pairs that have most in common."""
    full = sorted((it for it in found["segments"] if it["size"]), key=lambda it: (-it["size"], it["segment"]))
    pairs = sorted((it for it in found["pairs"] if it["both"]), key=lambda it: (-it["jaccard"], it["a"], it["b"]))
    sizes = table(["segment", "size"], [[it["segment"], f"{it['size']:,}"] for it in full])
    shown = [[it["a"], it["b"], f"{it['both']:,}", f"{100 * it['jaccard']:.1f} %"] for it in pairs[:MOST_PAIRS]]
    out = [_in_any(found)]
    out += ["  " + line for line in sizes.splitlines()] if full else []
    if len(full) < len(found["segments"]):
        out.append(f"  nobody is in the other {len(found['segments']) - len(full):,}")
    out += _unjudged(found)
    if shown:
        out += ["", "  in both, and their share of all who are in either (Jaccard)"]
        out += ["  " + line for line in table(["segment", "and", "in both", "share"], shown).splitlines()]
    if len(pairs) > MOST_PAIRS:
        out.append(f"  {len(pairs) - MOST_PAIRS:,} more pairs have somebody in common: --format json has all")
    return out


def _in_any(found: dict[str, Any]) -> str:
    number = len(found["segments"])
    return f"{found['in_any']:,} of {found['of']:,} users are in at least one of {number} segment(s)"


def _unjudged(found: dict[str, Any]) -> list[str]:
    return [f"  {it['errors']:,} could not be judged for {it['segment']}" for it in found["segments"] if it["errors"]]


def _asked(seen: dict[str, Any]) -> str:
    if not seen["asked_of_python"] or seen["answered_by"] == "python":
        return ""
    return f", {seen['asked_of_python']:,} users judged by Python"


def _coupon(found: dict[str, Any] | None, count: int) -> list[str]:
    if found is None:
        return []
    unit = f" {found['currency']}" if found["currency"] else ""
    stock = "unlimited" if found["stock_left"] is None else f"{found['stock_left']:,}"
    getting = found["would_get"]
    costs = f"{getting:,} x {found['each']:,f} = {found['cost']:,f}{unit}"
    if found["percent_off"] is not None:
        costs = f"{getting:,} x {found['percent_off']:g} % of an order; what that comes to, their orders decide"
    elif not found["each"]:
        costs = f"{getting:,} would get one; its 'value' does not say what it costs"
    out = ["", f"coupon {found['pool']}: {costs}"]
    if found["had_theirs"]:
        most = f"{found['per_user']:,} a person"
        out.append(f"  {found['had_theirs']:,} of {count:,} have had theirs (at most {most}) and get none")
    limits = [f"stock left {stock}"]
    if found["budget_left"] is not None:
        limits.append(f"budget left {found['budget_left']:,f}{unit}")
    if found["per_day"] is not None:
        limits.append(f"at most {found['per_day']:,} a day")
    out.append("  " + ", ".join(limits))
    if found["enough_for"] < getting:
        out.append(f"  enough for {found['enough_for']:,} of them")
    return out
