"""``drumbeat preview``: a message as somebody would get it, byte for byte; and a marked test for a tester."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from engine.cli.common import EXIT_OK, EXIT_WRONG, common_options, compiled, emit_json, moment, replayed, tell
from engine.core.subjects import GROUP, USER, kind_of, of_group
from engine.errors import CannotRun, DrumbeatError, ProgramError, UsageError

_PAGE = 500


@click.command()
@click.argument("what", metavar="TEMPLATE|PLAYBOOK[:STEP]")
@click.option("--user", default=None, help="For this user of the store, or of --events.")
@click.option("--group", default=None, help="For this group: what a playbook of groups posts.")
@click.option("--sample", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="For a made-up user: JSON with user, traits, event, steps.")  # fmt: skip
@click.option("--events", multiple=True, metavar="FILE", help="Users of a feed instead of a store.")
@click.option("--locale", default=None, help="In this locale, as if it were the user's.")
@click.option("--channel", default=None, help="As this channel carries it (default: the step's first).")
@click.option("--all", "every", is_flag=True, help="All channels, in all locales.")
@click.option("--longest", type=click.IntRange(1), default=None, metavar="N",
              help="The longest text over at most N users.")  # fmt: skip
@click.option("--wire", is_flag=True, help="The bytes the channel hands over.")
@click.option("--image", type=click.Path(path_type=Path), default=None, metavar="OUT.png",
              help="Draw it (needs Chromium).")  # fmt: skip
@click.option("--to", default=None, metavar="ADDRESS", help="Send a marked test; the program says who may get one.")
@click.option("--at", callback=moment, default=None, help="As sent at this instant (default: the store's clock).")
@click.option("--store", default=None, help="Another store than the program's, for example sqlite:///copy.db.")
@common_options
def preview(
    what: str,
    user: str | None,
    group: str | None,
    sample: Path | None,
    events: tuple[str, ...],
    locale: str | None,
    channel: str | None,
    every: bool,
    longest: int | None,
    wire: bool,
    image: Path | None,
    to: str | None,
    at: int | None,
    store: str | None,
    program: Path | None,
    format_: str,
    quiet: bool,
    no_color: bool,
) -> int:
    """The message of a template or of a playbook's step as a user would get it now; nothing is decided or recorded.

    Coupon codes in it say SAMPLE and links say TEST: nobody is given a code, and no link does anything.
    """
    from engine import wiring
    from engine.insight import preview as look
    from engine.render import TemplateSet
    from engine.runtime.clock import SystemClock

    whose = [it for it in (user, group, sample) if it is not None]
    if len(whose) > 1 or (not whose and not longest):
        hint = "--user ID (or --group ID) of the store or of --events, or --sample FILE"
        raise UsageError("preview needs a user" if not whose else "preview is of one user or group", hint=hint)
    found = compiled(program)
    templates, _ = TemplateSet.load(found.root)
    opened = _opened(wiring, found, events, store, at, needed=sample is None or longest is not None)
    try:
        now = at if at is not None else opened.clock() if opened is not None else SystemClock().now()
        now = now or SystemClock().now()
        sources = look.sources(found.plan, templates, what)
        if to is not None:
            if len(sources) > 1:
                steps = ", ".join(f"{what}:{it.node.id}" for it in sources)
                raise UsageError("--to sends one message, and this playbook has several", hint=steps)
            _known_tester(wiring, found, to)
        messages = []
        code = EXIT_OK
        person = _person(look, opened, of_group(group) if group is not None else user, sample) if whose else None
        for source in sources:
            _about(source, None if person is None else person.state.id)
            shown = [] if person is None else look.shown(
                found.plan, source, person, now, templates=templates, locale=locale, channel=channel, every=every
            )  # fmt: skip
            rows = [_row(look, wiring, found, it, wire or format_ == "json") for it in shown]
            if any(it.refused is not None for it in shown):
                code = EXIT_WRONG
            if image is not None:
                _draw(shown, rows, image, every=every or len(sources) > 1, name=source.node.id)
            if to is not None:
                rows[0]["test"] = _sent(look, wiring, found, shown[0], to, SystemClock().now())
            messages.append({
                "playbook": source.playbook.id if source.playbook.id in found.plan.by_id else None,
                "step": source.node.id,
                "template": source.action.template,
                "purpose": source.purpose,
                "forms": rows,
                "held_back_by": [] if person is None else look.closed(found.plan, source, person.state, now),
                "longest": [] if longest is None else look.longest(
                    found.plan, source, _people(look, opened, longest), now, templates, channel=channel, locale=locale
                ),
            })  # fmt: skip
    finally:
        if opened is not None:
            opened.close()
    if format_ == "json":
        emit_json({"what": what, "user": user, **({} if group is None else {"group": group}), "messages": messages})
    else:
        tell(line for it in messages for line in lines(it, wire=wire))
    return code


def _about(source: Any, subject: str | None) -> None:
    """Raise UsageError where a playbook about others than users, or than groups, is asked for one."""
    about = source.playbook.subject
    if about != (USER if subject is None else kind_of(subject)):
        name = source.playbook.id
        hint = f"drumbeat preview {name} --group ID" if about == GROUP else f"drumbeat preview {name} --user ID"
        if about not in (USER, GROUP):
            hint = f"drumbeat simulate shows what {name} posts"
        raise UsageError(f"playbook '{name}' is about {'the program' if about not in (USER, GROUP) else about + 's'}",
                         hint=hint)  # fmt: skip


def _opened(
    wiring: Any, found: Any, events: tuple[str, ...], store: str | None, at: int | None, *, needed: bool
) -> Any:
    if events:
        if store is not None:
            raise UsageError("--events stands in for a store", hint="leave out --store")
        return replayed(found, events, at)
    return wiring.open_store(found.settings, found.root, read_only=True, override=store) if needed else None


def _person(look: Any, opened: Any, user: str | None, sample: Path | None) -> Any:
    from decimal import Decimal

    import msgspec

    from engine.core.model import Event, new_state
    from engine.insight.subject import known_user

    if sample is None:
        events = [event for event, _ in opened.events(user)]
        return look.Person(known_user(opened, user or ""), events)
    try:
        written = msgspec.json.Decoder(float_hook=Decimal).decode(sample.read_bytes())
    except OSError as error:
        raise CannotRun(f"cannot read {sample}: {error.strerror}") from None
    except ValueError as error:
        raise ProgramError(f"{sample} is no JSON: {error}", hint='{"user": "ada", "traits": {}, "event": {}}') from None
    if not isinstance(written, dict) or written.keys() - {"user", "traits", "event", "steps"}:
        hint = '{"user": "ada", "traits": {"name": "Ada"}, "event": {"type": "order.paid", "data": {}}, "steps": {}}'
        raise ProgramError(f"{sample} has other keys than user, traits, event, steps", hint=hint)
    state = new_state(str(written.get("user", "sample")))
    state.traits = dict(written.get("traits") or {})
    event = written.get("event")
    made = []
    if event:
        type_, data = str(event.get("type", "")), event.get("data") or {}
        made = [Event(id="sample", type=type_, time=0, user=state.id, data=data)]
    return look.Person(state, made, written.get("steps") or {})


def _people(look: Any, opened: Any, most: int) -> Iterator[Any]:
    """The first users of the store, in order of id."""
    from engine.core.subjects import BEFORE_USERS

    after, left = BEFORE_USERS, most
    while left > 0:
        ids = opened.population(after, min(_PAGE, left))
        if not ids:
            return
        states = opened.load(ids)
        for one in ids:
            yield look.Person(states[one], [event for event, _ in opened.events(one)])
        after, left = ids[-1], left - len(ids)


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


# ---------------------------------------------------------------------- as text


def lines(it: dict[str, Any], *, wire: bool) -> list[str]:
    """One message step as text."""
    whose = f"{it['playbook']}, step {it['step']}" if it["playbook"] is not None else "in no playbook"
    out = [f"{it['template']} ({whose}, {it['purpose']})"]
    for form in it["forms"]:
        out += ["", *_form(form, wire=wire)]
    for row in it["longest"]:
        if not row["letters"]:
            out += ["", f"longest by {row['channel']}: none of {row['people']:,} users would get it"]
            continue
        of = f"{row['segments']} segment(s) of {row['alphabet']}, " if row["alphabet"] else ""
        out += ["", f"longest by {row['channel']}: {of}{row['letters']:,} letters, for user {row['user']}"
                    f" ({row['people']:,} users looked at, {row['refused']:,} without a message)"]  # fmt: skip
    for gate in it["held_back_by"]:
        until = f", until {gate['until']}" if gate["until"] else ""
        out.append(f"note: now it would be held back by {gate['gate']}: {gate['text']}{until}")
    return [*out, ""]


def _form(form: dict[str, Any], *, wire: bool) -> list[str]:
    locale = f", {form['locale']}" if form["locale"] else ""
    out = [f"-- {form['channel']}{locale} ({form['file']})"]
    if form["reason"] is not None:
        return [*out, f"   no message: {form['reason']}: {form['words']}"]
    out += [f"   {name}: {form[name]}" for name in ("to", "subject") if form[name] is not None]
    out += [f"   {name}: {value}" for name, value in form["fields"].items()]
    size = form["sms"]
    length = f"{form['letters']:,} letters"
    if size is not None and form["carries_sms"]:
        length += f"; as SMS {size['segments']} segment(s) of {size['alphabet']}, {size['left']} left"
    out.append(f"   length: {length}")
    if form["samples"]:
        out.append(f"   samples stand for what these steps will give: {', '.join(form['samples'])}")
    out += [f"   warning: {one}" for one in form["warnings"]]
    shown = form.get("wire")
    if wire and shown is not None:
        if shown["refused"]:
            return [*out, f"   no wire form: {shown['refused']}"]
        out += [f"   {key}: {value}" for key, value in shown["head"]]
        return [*out, "", *shown["body"].splitlines()]
    if form.get("image"):
        out.append(f"   picture: {form['image']}")
    if form.get("test"):
        out.append(f"   sent as a test to {form['test']['to']}")
    return [*out, "", *(form["text"] or "").splitlines()]
