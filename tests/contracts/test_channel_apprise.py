"""The channel ``apprise`` with the library itself, against a real receiver on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from provider import Handler, Provider, item, serving, site

from engine.channels.apprise import AppriseChannel
from engine.core.plan import Span
from engine.errors import CannotRun
from engine.ports import Outgoing, Sent

pytest.importorskip("apprise")
# the library's plugins use modules of Python that are to go
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SECOND_OF_TIME = Span(text="1s", elapsed=1_000_000)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        yield found


def channel(url: str, env: dict[str, str] | None = None, **more: Any) -> AppriseChannel:
    return AppriseChannel.open("wecom", {"via": "apprise", "url": url, **more}, site(**(env or {})))


def message(**detail: Any) -> Outgoing:
    return item(detail={"template": "welcome/hello", "text": "你好 Ada & <b>", **detail})


def test_sent(provider: Provider) -> None:
    """A message goes out with its text and its title; values may stand in the address, encoded."""
    made = channel("json://127.0.0.1:${PORT}/${TOKEN}/{{ to }}", {"PORT": str(provider.port), "TOKEN": "t0ken"})
    assert made.send([message(fields={"title": "Hi"}), message(subject="Subject")]) == [Sent(ok=True)] * 2
    first, second = provider.requests
    assert first.path == "/t0ken/+100" or first.path == "/t0ken/%2B100"
    assert (first.json()["title"], first.json()["message"]) == ("Hi", "你好 Ada & <b>")
    assert second.json()["title"] == "Subject"
    made.close()


@pytest.mark.parametrize(
    ("status", "passing", "unknown"),
    [(400, False, False), (401, False, False), (404, False, False), (429, True, False), (500, True, False)],
)
def test_refused(provider: Provider, status: int, passing: bool, unknown: bool) -> None:
    """What the library says of the status tells definitive from passing."""
    provider.answer = lambda handler: handler.reply(status)
    (answer,) = channel(f"json://127.0.0.1:{provider.port}/").send([message()])
    assert (answer.ok, answer.passing, answer.unknown) == (False, passing, unknown)


def test_nobody_knows(provider: Provider) -> None:
    """A receiver that hangs up or hangs may have taken the message."""
    made = channel(f"json://127.0.0.1:{provider.port}/", timeout=SECOND_OF_TIME)
    for how in (Handler.drop, Handler.hang):
        provider.answer = how
        (answer,) = made.send([message()])
        assert (answer.ok, answer.unknown) == (False, True)


@pytest.mark.parametrize("url", ["nonsense://53cr3t-canary", "", "json://", "json://a.example, json://b.example"])
def test_address_nobody_knows(url: str) -> None:
    """An address that is none, or several, refuses the start and is not quoted."""
    with pytest.raises(CannotRun) as refused:
        channel("${URL}", {"URL": url})
    assert "53cr3t" not in f"{refused.value} {refused.value!r}"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the channel says what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(CannotRun, match="not installed") as refused:
        channel("json://127.0.0.1/")
    assert "drumbeat[apprise]" in refused.value.hint


def test_no_text(provider: Provider) -> None:
    """A message without words is refused before the library is asked."""
    (answer,) = channel(f"json://127.0.0.1:{provider.port}/").send([item(detail={})])
    assert (answer.ok, answer.passing) == (False, False)
    assert provider.connections == 0


def test_faults() -> None:
    """A value nobody has is told when the program is checked."""
    assert [key for key, _, _ in AppriseChannel.faults({"url": "json://{{ nope }}", "title": "{{ text }}"})] == ["url"]


def test_secrets_are_not_told(
    provider: Provider, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """No reason, text of the channel or log holds a token of the address.

    Threat: secret.logs — the canary of the apprise channel.
    """
    caplog.set_level(0)
    env = {"URL": f"json://u53cr3t-name:p53cr3t-word@127.0.0.1:{provider.port}/53cr3t-token"}
    made = channel("${URL}", env, timeout=SECOND_OF_TIME)
    told = [repr(made), str(made)]
    answers = [
        lambda handler: handler.reply(400, b"53cr3t-token p53cr3t-word"),
        lambda handler: handler.reply(500),
        lambda handler: handler.drop(),
    ]
    for answer in answers:
        provider.answer = answer
        told += [str(it) for it in made.send([message()])]
    seen = capsys.readouterr()
    assert "53cr3t" not in "".join(told) + caplog.text + seen.out + seen.err
