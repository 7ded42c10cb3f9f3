"""``/s/{token}``: the answers of who was invited to a survey."""

from __future__ import annotations

from pathlib import Path

import pytest
from links_world import FILES, World, go, now

JSON = {"content-type": "application/json"}
SURVEY = {
    "playbooks/catalog/s.yaml": (
        "surveys: {nps: {url: 'https://f.example', questions: [{id: would, text: t, kind: nps}, "
        "{id: why, text: t, kind: text}]}}\n"
    ),
    "templates/survey/nps.box.j2": "{{ with.survey.token }}",
    "playbooks/tea.yaml": (
        "playbook: ask\ntitle: t\nowner: o\ntrigger: {event: go}\nentry: {mode: parallel, limit: unlimited}\n"
        "steps:\n  - survey: {name: nps, via: box}\n    id: nps\n"
        "  - {set: {user.why: '{{ steps.nps.answers.why }}'}}\n"
    ),
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store from which a survey went out."""
    for name, text in SURVEY.items():
        monkeypatch.setitem(FILES, name, text)
    found = World(tmp_path)
    found.decide(go("g1", time=now()))
    return found


def token(world: World) -> str:
    """The token of the invitation, as its text has it."""
    (effect,) = [it for it in world.effects() if it.kind == "message"]
    return str(effect.detail["text"])


def test_the_first_answer_counts(world: World) -> None:
    """The answers become an event of the invited user, durable before the answer; a second try changes nothing."""
    key = world.effects()[0].key
    with world.open() as desk:
        for body in (b'{"answers": {"would": 9, "why": "\xe5\xa5\xbd"}}', b'{"answers": {"would": 1}}'):
            assert desk.call("POST", f"/s/{token(world)}", body, JSON).status == 202
        (event,) = world.waiting()
        assert (event.id, event.type, event.user) == (f"survey:{key}", "survey.answered", "u1")
    world.decide()
    rows = {it.kind: it.detail for it in world.effects()}
    assert rows["survey"]["score"] == 9
    assert rows["set"]["value"] == "好"


LONG = b'{"answers": {"a": "' + b"x" * 5000 + b'"}}'


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"answers": 3}', b'{"answers": {"a": [1]}}', LONG])
def test_what_holds_no_answers_is_refused(world: World, body: bytes) -> None:
    """A body of another form is a 400 that shows the right one; nothing is taken."""
    with world.open() as desk:
        assert desk.call("POST", f"/s/{token(world)}", body, JSON).status == 400
    assert world.waiting() == []


def test_no_other_token_will_do(world: World) -> None:
    """A changed token, and one of another kind of link, are nowhere."""
    own = token(world)
    other = own[:-2] + ("AA" if own[-2:] != "AA" else "BB")
    with world.open() as desk:
        for one in (other, "x", own + "A"):
            assert desk.call("POST", f"/s/{one}", b'{"answers": {}}', JSON).status == 404
        assert desk.call("GET", f"/u/{own}").status == 404
    assert world.waiting() == []
