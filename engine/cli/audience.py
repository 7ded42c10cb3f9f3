"""``drumbeat audience``: who would be met by a condition, and what it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, colors, common_options, compiled, emit_json, moment, say
from engine.errors import UsageError

_SOURCE = "EXPR"  # where a diagnostic of the expression stands
_BY = {"sql": "SQL", "mixed": "SQL and Python", "python": "Python"}


@click.command()
@click.argument("expr")
@click.option("--sample", default=10, show_default=True, type=click.IntRange(0, 10_000), help="How many to name.")
@click.option("--coupon", "pool", default=None, metavar="POOL", help="What this coupon for everybody would cost.")
@click.option("--at", "at", callback=moment, default=None, help="The instant to judge at (default: the store's clock).")
@click.option("--store", "store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def audience(
    expr: str,
    sample: int,
    pool: str | None,
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
    """
    from engine import wiring
    from engine.insight.audience import audience as figures
    from engine.runtime.clock import SystemClock

    found = compiled(program)
    chosen, issues = found.audiences.read(expr)
    if chosen is None or (issues and not quiet):
        _tell(expr, issues, format_, no_color, failed=chosen is None)
    if chosen is None:
        return EXIT_WRONG
    clock = SystemClock()
    opened = wiring.open_store(found.settings, found.root, read_only=True, override=store)
    try:
        if at is not None and at < opened.clock():
            hint = "windows of the past are not kept: leave it out"
            raise UsageError("--at lies before the store's clock", hint=hint)
        begun = clock.elapsed()
        seen = figures(found.plan, opened, chosen, opened.clock() if at is None else at, sample, pool)
        seen["seconds"] = round(clock.elapsed() - begun, 3)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(seen)
    else:
        click.echo("\n".join(lines(seen)))
        if not seen["same_program"]:
            say("note: the store was last run by another version of the program", quiet)
    return EXIT_OK


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
    share = "" if seen["percent"] is None else f" ({seen['percent']} %)"
    out = [f"{seen['count']:,} of {seen['of']:,} users{share} fit at {seen['at']}", f"  {seen['condition']}"]
    if seen["sample"]:
        more = seen["count"] - len(seen["sample"])
        out += ["", "for example " + ", ".join(seen["sample"]) + (f" and {more:,} more" if more else "")]
    out += _coupon(seen["coupon"], seen["count"])
    errors = seen["errors"]
    if errors["count"]:
        out += ["", f"{errors['count']:,} could not be judged, and are not counted"]
        out += [f"  {one['user']}: {one['reason']}" for one in errors["first"]]
    out += ["", f"answered by {_BY[seen['answered_by']]} in {seen['seconds']:.2f} s" + _asked(seen)]
    out += [f"  not in SQL: {one['part']} ({one['reason']})" for one in seen["not_in_sql"]]
    return out


def _asked(seen: dict[str, Any]) -> str:
    if not seen["asked_of_python"] or seen["answered_by"] == "python":
        return ""
    return f", {seen['asked_of_python']:,} users judged by Python"


def _coupon(found: dict[str, Any] | None, count: int) -> list[str]:
    if found is None:
        return []
    unit = f" {found['currency']}" if found["currency"] else ""
    stock = "unlimited" if found["stock_left"] is None else f"{found['stock_left']:,}"
    out = ["", f"coupon {found['pool']}: {count:,} x {found['each']:,f} = {found['cost']:,f}{unit}"]
    limits = [f"stock left {stock}"]
    if found["budget_left"] is not None:
        limits.append(f"budget left {found['budget_left']:,f}{unit}")
    if found["per_day"] is not None:
        limits.append(f"at most {found['per_day']:,} a day")
    out.append("  " + ", ".join(limits))
    if found["enough_for"] < count:
        out.append(f"  enough for {found['enough_for']:,} of them")
    return out
