"""``drumbeat demo``: the main job in one go, on eighteen months of a real record shop."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, emit_json, progress_bar, say
from engine.cli.report import figures_of, text
from engine.errors import CannotRun, UsageError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cdnow"
"""The program of the demo; it comes with the source, not with the installed package."""

_LEFT_OUT = ("out", "*.db", "*.db-*", "*.db.lock", "*.db.reserve")
_BLOCK = 1 << 20
_BATCH = 5_000


@click.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Work in DIR, new or empty, and leave everything there (default: a temporary folder).",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the temporary folder, to look around with why, user and report.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
@click.option("--quiet", is_flag=True, help="Only results, no progress and no remarks.")
@click.option("--no-color", is_flag=True, help="Plain text, also on a terminal (or set NO_COLOR).")
def demo(folder: Path | None, keep: bool, format_: str, quiet: bool, no_color: bool) -> int:
    """A real purchase log through the example's playbooks, then the report, then all of it again: nothing changes."""
    if not (EXAMPLE / "drumbeat.yaml").is_file():
        raise CannotRun(
            "the demo's program is not here: examples/cdnow comes with the source of Drumbeat, not with the package",
            hint="get the source and run 'make demo' in it",
        )
    with _workplace(folder, keep, quiet) as root:
        result = _demo(root, format_ == "json", quiet)
    if format_ == "json":
        emit_json(result)
    return EXIT_OK if result["second_run"]["nothing_changed"] else EXIT_WRONG


@contextmanager
def _workplace(folder: Path | None, keep: bool, quiet: bool) -> Iterator[Path]:
    """A copy of the example to work in; a temporary one goes away afterwards unless it is to be kept."""
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder, or empty it first")
    root = folder if folder is not None else Path(tempfile.mkdtemp(prefix="drumbeat-demo-"))
    try:
        shutil.copytree(EXAMPLE, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        yield root
    finally:
        if folder is None and not keep:
            shutil.rmtree(root, ignore_errors=True)
    if folder is not None or keep:
        say(f"everything is in {root}: try drumbeat why --program {root} --user ID", quiet)


def _demo(root: Path, silent: bool, quiet: bool) -> dict[str, Any]:
    """Both runs; as text each part is shown as soon as it is there."""
    from engine.cli.common import compiled

    found = compiled(root)
    total = _records(root, found.settings.feeds)
    first, seconds = _run(found, total, "first run", quiet)
    speed = round(first.accepted / seconds) if seconds > 0 else 0
    before = _standing(found)
    figures = figures_of(found)
    if not silent:
        click.echo(text(figures))
        click.echo(f"\n{first.accepted:,} events in {seconds:.1f} s: {speed:,} events per second, stored and delivered")
    again, _ = _run(found, None, "second run", quiet)
    same = _standing(found) == before
    if not silent:
        click.echo(_second(before, again, same))
    return {
        "report": figures,
        "first_run": {"events": first.accepted, "seconds": round(seconds, 3), "events_per_second": speed},
        "second_run": {"read": again.read, "accepted": again.accepted, "sent": again.sent, "nothing_changed": same},
    }


def _run(found: Any, total: int | None, label: str, quiet: bool) -> tuple[Any, float]:
    """What ``run --until-idle`` does, with a bar that knows its end; (what was done, seconds)."""
    from engine import wiring
    from engine.runtime.clock import SystemClock
    from engine.runtime.outbox import Outbox
    from engine.runtime.pump import Pump

    clock = SystemClock()
    begun = clock.elapsed()
    with ExitStack() as closing:
        store = wiring.open_store(found.settings, found.root)
        closing.callback(store.close)
        found = wiring.with_older(found, store)
        feeds = wiring.open_feeds(found.settings, found.root)
        channels = wiring.open_channels(found.settings, found.root)
        for channel in channels.values():
            closing.callback(channel.close)
        with progress_bar(total, label, quiet) as advance:
            done = Pump(
                found.plan, store, feeds, Outbox(store, channels, clock), clock,
                secret=wiring.secret_of(store), known_types=found.known_types, batch=_BATCH, progress=advance,
            ).until_idle()  # fmt: skip
    return done, clock.elapsed() - begun


def _records(root: Path, feeds: tuple[Any, ...]) -> int | None:
    """Lines in the files of the feeds; None when that cannot be told beforehand."""
    count = 0
    for word, fields in feeds:
        if word != "file":
            return None
        for path in root.glob(fields["path"]):
            if path.suffix not in (".gz", ".jsonl"):
                return None
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                count += sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    return count


def _standing(found: Any) -> dict[str, Any]:
    """What a second run must not change: counts, figures of playbooks, deliveries, and what left the house."""
    from engine import wiring

    store = wiring.open_store(found.settings, found.root, read_only=True)
    try:
        deliveries: dict[str, int] = {}
        for _, delivery in store.effects():
            if delivery:
                deliveries[delivery] = deliveries.get(delivery, 0) + 1
        paths = [setting["path"] for setting in found.settings.channels.values() if setting.get("path")]
        sizes = {path: (found.root / path).stat().st_size for path in paths if (found.root / path).exists()}
        return {
            "counts": store.counts(),
            "summary": store.summary(),
            "resources": store.resources(),
            "deliveries": deliveries,
            "files": sizes,
        }
    finally:
        store.close()


def _second(before: dict[str, Any], again: Any, same: bool) -> str:
    counts = before["counts"]
    effects = sum(number for name, number in counts.items() if name.startswith("effects."))
    deliveries = sum(before["deliveries"].values())
    if not same:
        return "second run: something changed; this is a fault of Drumbeat, please report it"
    return (
        f"second run: nothing changed. {again.accepted:,} new events; still {counts['events']:,} events,"
        f" {effects:,} effects and {deliveries:,} deliveries"
    )
