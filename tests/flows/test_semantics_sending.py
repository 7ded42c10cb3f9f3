"""Messages at points the table of gates does not reach: what must be written, which channel, what a full cap does."""

from __future__ import annotations

from pathlib import Path

import pytest
from semantics_kit import HEAD, Seen, event, play
from steps_kit import write

END = event("z", "end", "2026-03-20T00:00:00Z", "zz")
PARALLEL = "trigger: {event: a}\nentry: {mode: parallel, limit: unlimited}\n"
CHANNELS = """\
program: kit
locale: zh-CN
channels:
  wecom: {via: file, path: w, address: user.wecom}
  sms: {via: file, path: s, address: user.phone}
  box: {via: file, path: o}
  tty: {via: console}
"""
POLICY = "policies: {default: {consent: {marketing: required}, quiet_hours: never%s}}\n"


def say(more: str = "", after: str = "") -> str:
    return PARALLEL + f"steps: [{{message: {{template: hi, purpose: marketing{more}}}}}{after}]\n"


def templates(root: Path, *names: str) -> None:
    for name in names:
        path = root / "templates" / f"{name}.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def messages(seen: Seen) -> list[tuple[str, str, str | None]]:
    """(user, status or reason, channel) of every message."""
    rows = [row for row in seen.effects if row["kind"] == "message"]
    return [(row["user"], row["reason"] or row["status"], row["detail"].get("via")) for row in rows]


def test_a_message_without_purpose_is_refused(tmp_path: Path) -> None:
    """No purpose, and no plan; each of the four is fine.

    Semantics: message.purpose
    """
    found = write(tmp_path, {"p": PARALLEL + "steps: [{message: {template: hi, via: box}}]\n"})
    assert [it.code for it in found.problems if it.severity == "error"] == ["missing-key"]
    assert found.plan is None
    for purpose in ("marketing", "service", "transactional", "community"):
        text = PARALLEL + f"steps: [{{message: {{template: hi, via: box, purpose: {purpose}}}}}]\n"
        assert write(tmp_path / purpose, {"p": text}).plan is not None


def test_the_first_channel_that_may_be_used(tmp_path: Path) -> None:
    """An address that is missing and a consent that is missing both lead to the next channel of `via`.

    Semantics: channel.first
    """
    templates(tmp_path, "hi.wecom", "hi.sms")
    feed = [event(f"c{user}", "consent.granted", "09:00", user) for user in ("both", "phone", "none")]
    feed += [
        event("c", "consent.granted", "09:00", "by-sms", channel="sms"),
        event("1", "user.updated", "09:00", "both", wecom="w", phone="1"),
        event("2", "user.updated", "09:00", "phone", phone="1"),
        event("3", "user.updated", "09:00", "by-sms", wecom="w", phone="1"),
        *(event(f"e{user}", "a", "10:00", user) for user in ("both", "by-sms", "none", "phone")),
    ]
    seen = play(tmp_path, {"p": say(", via: [wecom, sms]")}, feed, head=CHANNELS + POLICY % "")
    found = {user: (outcome, via) for user, outcome, via in messages(seen)}
    assert found["both"] == ("planned", "wecom")
    assert found["phone"] == found["by-sms"] == ("planned", "sms")
    assert found["none"][0] == "no_address"


@pytest.mark.parametrize(("channel", "outcome"), [("box", "planned"), ("tty", "planned"), ("sms", "no_address")])
def test_file_and_console_need_no_address(tmp_path: Path, channel: str, outcome: str) -> None:
    """A channel that names an address needs it; a file and the terminal that name none go.

    Semantics: gates.no-address
    """
    templates(tmp_path, f"hi.{channel}")
    feed = [event("0", "consent.granted", "09:00"), event("1", "a", "10:00")]
    seen = play(tmp_path, {"p": say(f", via: {channel}")}, feed, head=CHANNELS + POLICY % "")
    assert [it[1] for it in messages(seen)] == [outcome]


@pytest.mark.parametrize(("on_cap", "after"), [("skip", 2), ("exit", 1)])
def test_over_the_cap(tmp_path: Path, on_cap: str, after: int) -> None:
    """Both leave a row `cap`; `skip` walks on behind the step, `exit` ends the journey there.

    Semantics: cap.skip, cap.exit
    """
    way = "" if on_cap == "skip" else f", on_cap: {on_cap}"  # skip is what holds when nothing is written
    text = say(f", via: box{way}", ", {points: 1}")
    head = HEAD + "    caps: [{max: 1, per: 7d}]\n"
    seen = play(tmp_path, {"p": text}, [event("1", "a", "10:00"), event("2", "a", "11:00"), END], head=head)
    assert [it[1] for it in messages(seen)] == ["planned", "cap"]
    assert len(seen.brief("points")) == after
    assert seen.outcome.journeys == {"started": 2, "finished": 2, "running": 0}


@pytest.mark.parametrize(
    ("names", "locale", "text"),
    [
        (["zh-TW", "zh", "zh-CN", ""], "zh-TW", "zh-TW"),
        (["zh", "zh-CN", ""], "zh-TW", "zh"),
        (["en", "zh-CN", ""], "fr", "zh-CN"),
        (["en", ""], "fr", ""),
        (["en", ""], None, ""),
    ],
)
def test_the_locale_of_a_message(tmp_path: Path, names: list[str], locale: str | None, text: str) -> None:
    """Each user has the words nearest to the own locale.

    Semantics: render.locale
    """
    files = {name: f"note.box.{name}".rstrip(".") for name in names}
    templates(tmp_path, *files.values())
    feed = [event("0", "consent.granted", "09:00"), event("1", "a", "10:00")]
    if locale:
        feed.insert(0, event("l", "user.updated", "08:00", locale=locale))
    book = say(", via: box").replace("template: hi", "template: note")
    seen = play(tmp_path, {"p": book}, feed, head=CHANNELS + POLICY % "")
    assert [row["detail"]["text"] for row in seen.effects] == [files[text]]


@pytest.mark.parametrize(("names", "codes"), [(["en"], ["missing-locale"]), (["zh-CN"], []), (["zh"], []), ([""], [])])
def test_a_message_nobody_at_home_could_read(tmp_path: Path, names: list[str], codes: list[str]) -> None:
    """Without words in the program's locale, its language or none, `validate` refuses the message.

    Semantics: render.no-template
    """
    templates(tmp_path, *(f"note.box.{name}".rstrip(".") for name in names))
    book = say(", via: box").replace("template: hi", "template: note")
    found = write(tmp_path, {"p": book}, head=CHANNELS + POLICY % "")
    assert [it.code for it in found.problems if it.severity == "error"] == codes
