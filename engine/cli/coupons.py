"""``drumbeat coupons``: stock and cost of coupons, codes in and out, and redeeming one by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, emit_json, progress_bar, store_options, with_store, writer
from engine.cli.tables import csv_line, table
from engine.errors import CannotRun, UsageError


@click.group()
def coupons() -> None:
    """Coupons: stock, redemptions and cost; codes in and out; redeeming a code."""


@coupons.command("list")
@store_options
def list_(store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """Every coupon of the program: stock, what became of what was given, budget, and how long the rest lasts."""
    from engine.insight.coupons import rows

    found, opened = with_store(program, store, read_only=True)
    try:
        shown = rows(found.plan, opened)
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"pools": shown})
    elif not shown:
        click.echo("the program defines no coupons")
    else:
        click.echo(_pools(shown))
    return EXIT_OK


@coupons.command()
@click.argument("what", metavar="POOL|CODE")
@store_options
def show(what: str, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool) -> int:
    """One coupon of the catalog, or one code and what became of it."""
    from engine.insight.coupons import coupon_row, known_pool, rows, story

    found, opened = with_store(program, store, read_only=True)
    try:
        pool = next((it for it in rows(found.plan, opened) if it["pool"] == what), None)
        coupon = None if pool is not None else opened.coupon(what)
        if pool is None and coupon is None:
            known_pool(found.plan, what)
        shown = {"pool": pool} if coupon is None else {"coupon": coupon_row(coupon), "ledger": story(opened, coupon)}
    finally:
        opened.close()
    if format_ == "json":
        emit_json(shown)
    else:
        click.echo("\n".join(_one_pool(pool) if pool is not None else _one_code(shown)))
    return EXIT_OK


@coupons.command("import")
@click.argument("pool")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@store_options
def import_(
    pool: str, file: str, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """Put codes of FILE (one a line, or the first column; - reads standard input) behind those of POOL.

    Codes that are there already are passed over, so an import that was broken off is simply begun again.
    """
    from engine.cli.common import compiled
    from engine.insight.coupons import known_pool
    from engine.runtime.importing import codes_of, import_codes

    found = compiled(program)
    if not known_pool(found.plan, pool).imported:
        raise UsageError(f"the codes of '{pool}' are not imported", hint="write codes: imported in the catalog")
    taken = frozenset(code for it in found.plan.pools.values() for code in it.codes)
    opened = writer(found, store)
    try:
        with _lines(file) as lines, progress_bar(None, "importing", quiet) as advance:
            done = import_codes(opened, pool, codes_of(lines), taken, advance)
        there = opened.code_count(pool)
    finally:
        opened.close()
    result = {"pool": pool, "added": done.added, "repeated": done.repeated, "elsewhere": done.elsewhere, "codes": there}
    if format_ == "json":
        emit_json(result)
    else:
        click.echo(f"imported    {done.added:,} codes into {pool}; it has {there:,} now")
        if done.repeated:
            click.echo(f"            {done.repeated:,} were there already, or stood twice")
        if done.elsewhere:
            click.echo(f"            {done.elsewhere:,} belong to other coupons and were left out")
    return EXIT_OK


@coupons.command()
@click.argument("pool", required=False)
@click.option(
    "--status", type=click.Choice(["issued", "redeemed", "reversed", "expired", "returned"]), help="Only these."
)
@store_options
def export(
    pool: str | None, status: str | None, store: str | None, program: Path | None, format_: str, quiet: bool,
    no_color: bool,
) -> int:  # fmt: skip
    """Codes that were given, each with its owner and where it stands: a table in CSV, or JSON."""
    from engine.insight.coupons import coupon_row, known_pool

    found, opened = with_store(program, store, read_only=True)
    try:
        if pool is not None and pool not in {it.pool for it in opened.coupon_sums(0)}:
            known_pool(found.plan, pool)
        shown = (coupon_row(it) for it in opened.coupons(pool) if status in (None, it.status))
        if format_ == "json":
            emit_json({"coupons": list(shown)})
        else:
            _csv(shown)
    finally:
        opened.close()
    return EXIT_OK


@coupons.command()
@click.argument("code")
@click.option("--user", default=None, metavar="ID", help="Who shows it; by default whoever it was given to.")
@click.option("--order", default=None, metavar="ID", help="What it is redeemed for.")
@click.option("--amount", default=None, metavar="MONEY", help="What the order comes to.")
@click.option("--currency", default=None, metavar="WORD", help="Of the amount.")
@click.option("--id", "id_", default=None, help="Of this request: the same id redeems once (default: a new one).")
@store_options
def redeem(
    code: str, user: str | None, order: str | None, amount: str | None, currency: str | None, id_: str | None,
    store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool,
) -> int:  # fmt: skip
    """Redeem CODE, or say why not (exit 1)."""
    import msgspec

    from engine.cli.common import compiled
    from engine.runtime.clock import SystemClock
    from engine.runtime.redeeming import Redeem

    clock = SystemClock()
    ask = Redeem(id_ or f"cli:{os.urandom(16).hex()}", code, user, order, _money(amount), currency, clock.now())
    found = compiled(program)
    opened = writer(found, store)
    try:
        verdict = _redeem(found, opened, ask, clock)
    finally:
        opened.close()
    if format_ == "json":
        emit_json(msgspec.structs.asdict(verdict))
    elif verdict.status == "redeemed":
        again = " (by this very request, before)" if verdict.repeated else ""
        click.echo(f"redeemed    {code} of {verdict.pool}, given to {verdict.user}{again}")
    else:
        click.echo(f"refused     {code}: {verdict.message} ({verdict.reason})")
    return EXIT_OK if verdict.status == "redeemed" else EXIT_WRONG


@coupons.command()
@click.option("--playbook", default=None, metavar="ID", help="Only coupons of one playbook.")
@store_options
def report(
    playbook: str | None, store: str | None, program: Path | None, format_: str, quiet: bool, no_color: bool
) -> int:
    """What became of the coupons of each playbook, and what they cost."""
    from engine.insight.coupons import refusals
    from engine.insight.coupons import report as made

    _, opened = with_store(program, store, read_only=True)
    try:
        shown, refused = made(opened, playbook), refusals(opened)
    finally:
        opened.close()
    if format_ == "json":
        emit_json({"playbooks": shown, "refused": refused})
        return EXIT_OK
    if not shown:
        click.echo("no coupon was given yet")
    else:
        head = ("playbook", "coupon", "issued", "open", "redeemed", "", "expired", "returned", "cost")
        lines = [
            (
                it["playbook"] or "-", it["pool"], _n(it["issued"]), _n(it["open"]), _n(it["redeemed"]),
                "" if it["redemption_percent"] is None else f"{it['redemption_percent']} %", _n(it["expired"]),
                _n(it["returned"]), f"{it['cost']:,}",
            )
            for it in shown
        ]  # fmt: skip
        click.echo(table(head, lines))
    if refused:
        click.echo("told by feeds and without effect: " + ", ".join(f"{n:,} {why}" for why, n in refused.items()))
    return EXIT_OK


# ---------------------------------------------------------------------- parts


def _redeem(found: Any, opened: Any, ask: Any, clock: Any) -> Any:
    """Through the daemon that holds the store, or with the store itself."""
    from engine import wiring
    from engine.api.remote import through_daemon
    from engine.runtime.pump import Pump
    from engine.runtime.redeeming import redeem as decide

    if through_daemon(opened):
        return opened.call("redeem", ask)
    found = wiring.with_older(found, opened)
    pump = Pump(found.plan, opened, (), None, clock, secret=wiring.secret_of(opened), known_types=found.known_types)
    return decide(pump, ask, pump.session.clock)


def _money(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or found < 0:
        raise click.BadParameter(f"{text!r} is no amount", param_hint="--amount")
    return found


@contextmanager
def _lines(file: str) -> Iterator[Iterator[str]]:
    """The lines of a file, or of standard input, as they are read."""
    try:
        if file == "-":
            yield iter(sys.stdin)
            return
        with Path(file).open(encoding="utf-8-sig") as opened:
            yield iter(opened)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {file}", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", hint="save it as UTF-8, one code a line") from error
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}") from error


_COLUMNS = ("code", "pool", "user", "status", "given", "expires_at", "moved", "cost", "playbook", "step")


def _csv(shown: Iterator[dict[str, Any]]) -> None:
    sys.stdout.write(csv_line(_COLUMNS))
    for row in shown:
        sys.stdout.write(csv_line([row[name] for name in _COLUMNS]))


def _n(number: int | None) -> str:
    return "unlimited" if number is None else f"{number:,}"


def _pools(shown: list[dict[str, Any]]) -> str:
    head = ("coupon", "issued", "left", "open", "redeemed", "expired", "returned", "spent", "of budget", "lasts until")
    lines = [
        (
            it["pool"], _n(it["issued"]), _n(it["left"]), _n(it["open"]), _n(it["redeemed"]), _n(it["expired"]),
            _n(it["returned"]), f"{it['spent']:,}", "-" if it["budget_left"] is None else f"{it['budget_left']:,}",
            _forecast(it["forecast"]),
        )
        for it in shown
    ]  # fmt: skip
    return table(head, lines)


def _forecast(it: dict[str, Any]) -> str:
    if "until" in it:
        return f"~ {it['until'][:10]} at {it['rate']:,} a day"
    return str(it["why"])


def _one_pool(it: dict[str, Any]) -> list[str]:
    money = f" {it['currency']}" if it["currency"] else ""
    out = [
        f"coupon      {it['pool']} ({it['codes']})",
        f"stock       {_n(it['stock'])}, {_n(it['left'])} left",
        f"given       {it['issued']:,}: {it['open']:,} open, {it['redeemed']:,} redeemed, {it['expired']:,} expired;"
        f" {it['returned']:,} returned",
        f"cost        {it['cost']['redeemed']:,}{money} redeemed, {it['cost']['open']:,}{money} still open",
    ]
    if it["budget"] is not None:
        out.append(f"budget      {it['budget']:,}{money}, {it['budget_left']:,}{money} left")
    told = it["forecast"]
    by = f" (by {told['by']}; the {told['ends']} ends first)" if "by" in told else ""
    out.append(f"lasts until {_forecast(told)}{by}")
    return out


def _one_code(shown: dict[str, Any]) -> list[str]:
    it = shown["coupon"]
    out = [
        f"code        {it['code']} of {it['pool']}: {it['status']}",
        f"given       {it['given']} to {it['user'] or 'somebody unknown'} by {it['playbook']}/{it['step']}",
        f"expires     {it['expires_at'] or 'never'}",
    ]
    return [*out, *(f"            {line['time']}  {line['what']}" for line in shown["ledger"])]

