"""``drumbeat preview``: a message as somebody would get it, byte for byte; and a marked test for a tester."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from engine.cli.common import (
    EXIT_OK,
    EXIT_WRONG,
    columns_option,
    common_options,
    compiled,
    emit_json,
    map_option,
    moment,
    replayed,
    tell,
)
from engine.cli.preview_people import people, person, subject_asked
from engine.cli.preview_text import lines
from engine.core.subjects import PROGRAM_KIND
from engine.errors import CannotRun, DrumbeatError, ProgramError, UsageError


@click.command()
@click.argument("what", metavar="TEMPLATE|PLAYBOOK[:STEP]")
@click.option("--user", default=None, help="For this user of the store, or of --events.")
@click.option("--group", default=None, help="For this group: what a playbook of groups posts.")
@click.option("--sample", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="For somebody made up: JSON with user or group, traits, event, steps.")  # fmt: skip
@click.option("--events", multiple=True, metavar="FILE", help="Users of a feed instead of a store.")
@columns_option
@map_option
@click.option("--locale", default=None, help="In this locale, as if it were the user's.")
@click.option("--channel", default=None, help="As this channel carries it (default: the step's first).")
@click.option("--all", "every", is_flag=True, help="All channels, in all locales.")
@click.option("--longest", type=click.IntRange(1), default=None, metavar="N",
              help="The longest text over at most N users or groups; of the program, over N events.")  # fmt: skip
@click.option("--wire", is_flag=True, help="The bytes the channel hands over.")
@click.option("--image", type=click.Path(path_type=Path), default=None, metavar="OUT.png",
              help="Draw it (needs Chromium).")  # fmt: skip
@click.option("--to", default=None, metavar="ADDRESS", help="Send a marked test; the program says who may get one.")
@click.option("--at", callback=moment, default=None, help="As sent at this instant (default: the store's clock).")
@click.option("--store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def preview(format_: str, program: Path | None, quiet: bool, no_color: bool, **asked: Any) -> int:
    """The message of a template or of a playbook's step as a user would get it now; nothing is decided or recorded.

    A playbook of groups needs --group; one about the whole program needs nobody named.

    Coupon codes in it say SAMPLE and links say TEST: nobody is given a code, and no link does anything.
    """
    ask = _Ask(map_=asked.pop("map_"), as_json=format_ == "json", **asked)
    found = compiled(program)
    messages = _messages(found, ask)
    if ask.as_json:
        group = {} if ask.group is None else {"group": ask.group}
        emit_json({"what": ask.what, "user": ask.user, **group, "messages": messages})
    else:
        tell(line for it in messages for line in lines(it, wire=ask.wire))
    refused = any(form["reason"] is not None for it in messages for form in it["forms"])
    return EXIT_WRONG if refused else EXIT_OK


@dataclass(frozen=True, kw_only=True)
class _Ask:
    """What was asked for, option by option."""

    what: str
    user: str | None
    group: str | None
    sample: Path | None
    events: tuple[str, ...]
    columns: str | None
    map_: Path | None
    locale: str | None
    channel: str | None
    every: bool
    longest: int | None
    wire: bool
    image: Path | None
    to: str | None
    at: int | None
    store: str | None
    as_json: bool

    @property
    def nobody(self) -> bool:
        """No subject is named."""
        return self.user is None and self.group is None and self.sample is None


def _messages(found: Any, ask: _Ask) -> list[dict[str, Any]]:
    """Each message step that is asked for, in its forms, ready for JSON."""
    from engine import wiring
    from engine.insight import preview as look
    from engine.render import TemplateSet
    from engine.runtime.clock import SystemClock

    templates, _ = TemplateSet.load(found.root)
    sources = look.sources(found.plan, templates, ask.what)
    _check(ask, sources)
    if ask.to is not None:
        _known_tester(wiring, found, ask.to)
    opened = _opened(wiring, found, ask)
    try:
        now = ask.at if ask.at is not None else opened.clock() if opened is not None else None
        stage = _Stage(wiring, look, found, templates, opened, now or SystemClock().now(), ask)
        messages = [stage.message(it, several=len(sources) > 1) for it in sources]
        if ask.to is not None:
            messages[0]["forms"][0]["test"] = _sent(look, wiring, found, stage.first, ask.to, SystemClock().now())
        return messages
    finally:
        if opened is not None:
            opened.close()


def _check(ask: _Ask, sources: list[Any]) -> None:
    """Raise UsageError where it is not clear for whom, or which message a tester is to get."""
    if (ask.user, ask.group, ask.sample).count(None) < 2:
        hint = "--user ID (or --group ID) of the store or of --events, or --sample FILE"
        raise UsageError("preview is of one user or group", hint=hint)
    book = sources[0].playbook
    if ask.nobody and not ask.longest and book.subject != PROGRAM_KIND:
        hint = f"--{book.subject} ID of the store or of --events, or --sample FILE, or --longest N"
        raise UsageError(f"preview needs a {book.subject}", hint=hint)
    if ask.to is not None and len(sources) > 1:
        steps = ", ".join(f"{ask.what}:{it.node.id}" for it in sources)
        raise UsageError("--to sends one message, and this playbook has several", hint=steps)


def _opened(wiring: Any, found: Any, ask: _Ask) -> Any:
    """The store that is asked, or one filled from files; None: somebody made up needs none."""
    if ask.events:
        if ask.store is not None:
            raise UsageError("--events stands in for a store", hint="leave out --store")
        return replayed(found, ask.events, ask.at, ask.columns, ask.map_)
    if ask.sample is not None and ask.longest is None:
        return None
    return wiring.open_store(found.settings, found.root, read_only=True, override=ask.store)


class _Stage:
    """Where messages are shown: a program, people, an instant."""

    def __init__(
        self, wiring: Any, look: Any, found: Any, templates: Any, opened: Any, now: int, ask: _Ask
    ) -> None:
        self._wiring, self._look, self._found, self._templates = wiring, look, found, templates
        self._opened, self._now, self._ask = opened, now, ask
        self.first: Any = None  #: the form a tester gets

    def message(self, source: Any, *, several: bool) -> dict[str, Any]:
        """One message step."""
        ask, look, plan = self._ask, self._look, self._found.plan
        whom = person(look, self._opened, source, subject_asked(ask.user, ask.group), ask.sample)
        if ask.longest is not None and ask.nobody:
            whom = None  # the longest alone
        forms = [] if whom is None else look.shown(
            plan, source, whom, self._now, templates=self._templates, locale=ask.locale, channel=ask.channel,
            every=ask.every,
        )  # fmt: skip
        rows = [_row(look, self._wiring, self._found, it, ask.wire or ask.as_json) for it in forms]
        if ask.image is not None:
            _draw(forms, rows, ask.image, every=ask.every or several, name=source.node.id)
        self.first = self.first or next(iter(forms), None)
        return {
            "playbook": source.playbook.id if source.playbook.id in plan.by_id else None,
            "step": source.node.id,
            "template": source.action.template,
            "purpose": source.purpose,
            "forms": rows,
            "held_back_by": [] if whom is None else look.closed(plan, source, whom.state, self._now),
            "longest": self._longest(source),
        }

    def _longest(self, source: Any) -> list[dict[str, Any]]:
        ask = self._ask
        if ask.longest is None:
            return []
        from engine.insight.longest import longest

        return longest(
            self._found.plan, source, people(self._look, self._opened, source, ask.longest), self._now,
            self._templates, channel=ask.channel, locale=ask.locale, every=ask.every,
        )  # fmt: skip


def _row(look: Any, wiring: Any, found: Any, it: Any, with_wire: bool) -> dict[str, Any]:
    row: dict[str, Any] = look.row(it, found.plan)
    if it.item is None or not with_wire:
        return row
    try:
        wire = wiring.wire_of(found.settings, found.root, it.item)
        body = None if wire.refused else wire.body.decode("utf-8", "backslashreplace")
        row["wire"] = {"form": wire.form, "head": [list(pair) for pair in wire.head], "body": body,
                       "refused": wire.refused}  # fmt: skip
    except DrumbeatError as error:
        row["wire"] = {"form": None, "head": [], "body": None, "refused": str(error)}
    return row


def _draw(shown: list[Any], rows: list[dict[str, Any]], image: Path, *, every: bool, name: str) -> None:
    from engine.cli.picture import picture

    drawn = [(it, row) for it, row in zip(shown, rows, strict=True) if it.item is not None]
    if not drawn:
        raise ProgramError("there is no message to draw", hint="see the reason without --image")
    for it, row in drawn:
        own = f"-{name}-{it.channel}-{it.locale or 'any'}" if every else ""
        out = image.with_name(f"{image.stem}{own}{image.suffix or '.png'}".replace("/", "-"))
        picture(it.item.effect.detail["text"], out, html=it.html)
        row["image"] = str(out)


# ---------------------------------------------------------------------- a test for a tester


def _known_tester(wiring: Any, found: Any, to: str) -> None:
    """Raise UsageError unless the program lets this address have tests."""
    site = wiring.site_of(found.root)
    allowed = [site.text(it, "preview.allow") for it in found.settings.testers]
    if to.strip().lower() not in {it.strip().lower() for it in allowed}:
        hint = f"drumbeat.yaml: preview: {{allow: [{to}]}}; it may be a ${{NAME}} of the environment"
        raise UsageError(f"'{to}' is not among the addresses that may get a test", hint=hint)


def _sent(look: Any, wiring: Any, found: Any, it: Any, to: str, stamp: int) -> dict[str, Any]:
    """Send the test at once, past store, outbox and caps."""
    if it.item is None:
        raise ProgramError(f"there is no message to send: {it.refused}: {it.words}")
    if found.plan.channels[it.channel].address is None:
        raise UsageError(f"channel '{it.channel}' has no addresses, so nobody can be sent a test by it")
    channel = wiring.open_channel(it.channel, found.settings.channels[it.channel], wiring.site_of(found.root))
    try:
        (answer,) = channel.send([look.as_test(it.item, to, stamp)])
    finally:
        channel.close()
    if not answer.ok:
        raise CannotRun(f"the test was not sent: {answer.reason}")
    return {"to": to, "channel": it.channel, "receipt": answer.receipt}
