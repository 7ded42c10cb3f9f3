"""``drumbeat trigger``: a request into the inbox, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from conftest import Drumbeat, Make

CALL = (
    "playbook: call\ntitle: 回访\ntrigger: {manual: true}\nentry: {mode: parallel, limit: unlimited}\n"
    "steps: [{set: {user.city: '{{ event.city }}'}}]\n"
)
HOOK = CALL.replace("call", "hook").replace("manual", "webhook")


@pytest.fixture
def root(make: Make) -> Path:
    """A program with a manual playbook and one for webhooks."""
    return make({"playbooks/call.yaml": CALL, "playbooks/hook.yaml": HOOK})


def test_a_request_is_decided_by_the_next_run(root: Path, drumbeat: Drumbeat) -> None:
    """The request lies in the inbox until ``run``; its data is ``event``, Chinese included.

    Semantics: webhook.request
    """
    said = drumbeat("trigger", "call", "--user", "小明", "--data", '{"city": "上海"}', "--program", root)
    assert said.code == 0
    assert said.out.splitlines()[1] == "next        drumbeat run --until-idle decides it"
    assert drumbeat("run", "--until-idle", "--program", root).code == 0
    seen = drumbeat("user", "小明", "--program", root, "--format", "json").json
    assert seen["traits"] == {"city": "上海"}
    assert seen["last_active_at"] is None
    why = drumbeat("why", "--user", "小明", "--program", root)
    assert "at playbook.manual:call" in why.out


def test_a_webhook_playbook_is_started_the_same_way(root: Path, drumbeat: Drumbeat) -> None:
    """Until the HTTP endpoint is there, the verb serves ``webhook: true`` too.

    Semantics: webhook.request
    """
    found = drumbeat("trigger", "hook", "--user", "u1", "--program", root, "--format", "json").json
    assert found["accepted"] is True
    assert found["playbook"] == "hook"


def test_the_same_id_starts_nothing_twice(root: Path, drumbeat: Drumbeat) -> None:
    """A script may try again with --id, before and after the run.

    Semantics: webhook.request
    """
    words = ("trigger", "call", "--user", "u1", "--id", "ticket-7", "--program", root)
    assert "accepted    ticket-7" in drumbeat(*words).out
    again = "nothing new: the request ticket-7 was there before\n"
    assert drumbeat(*words).out == again
    drumbeat("run", "--until-idle", "--program", root)
    assert drumbeat(*words).out == again


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cal", "--user", "u1"), "no running playbook is called 'cal' (did you mean 'call'?)"),
        (("nobody", "--user", "u1"), "no running playbook is called 'nobody' (these can be: call, hook)"),
        (("thanks", "--user", "u1"), "'thanks' cannot be started by hand: it has no trigger {manual: true}"),
        (("call", "--user", ""), "user is empty"),
        (("call", "--user", "u1", "--data", "[1]"), "data must be an object, not a list (--data is one JSON object"),
        (("call", "--user", "u1", "--data", "{"), "not JSON"),
        (("call", "--user", "u1", "--data", '{}, "type": "x"'), "key 'type' comes twice"),
        (("call", "--user", "u1", "--data", '{"a": 1, "a": 2}'), "key 'a' comes twice"),
        (("call", "--user", "u1", "--id", ""), "id is empty"),
        (("call",), "it is about a user: name it by --user"),
        (("call", "--group", "g1"), "does not fit --group"),
    ],
)
def test_refusals(root: Path, drumbeat: Drumbeat, words: tuple[str, ...], said: str) -> None:
    """Wrong usage is exit code 2, in words, and nothing lies in the inbox."""
    found = drumbeat("trigger", *words, "--program", root)
    assert found.code == 2
    assert said in found.err
    assert drumbeat("run", "--until-idle", "--program", root).out.startswith("nothing new")
