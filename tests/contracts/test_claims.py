"""What is judged when a message is claimed, and how one goes on to its next channel, over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from test_store import Bench

from engine.core.model import DAY, HOUR, Effect, Spare, State
from engine.language.compile import compile_program
from engine.ports import Batch, Outgoing, Sent
from engine.runtime.claims import Claims
from engine.runtime.outbox import Outbox


class Wall:
    """A clock moved by hand."""

    at = 1000

    def now(self) -> int:
        return self.at


class Lines:
    """A channel that writes what it sends to a file, and refuses some addresses for good: a number nobody has."""

    once = True

    def __init__(self, name: str, path: Path, nobody: set[str | None], mode: str | None = None) -> None:
        self.name = name
        self.path = path
        self.nobody = nobody
        self.mode = mode
        self.breaks: Callable[[], None] = lambda: None

    def send(self, items: Sequence[Outgoing]) -> list[Sent]:
        self.breaks()
        answers = []
        for item in items:
            if item.effect.to in self.nobody:
                answers.append(Sent(ok=False, reason=f"nobody has {item.effect.to}"))
                continue
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{item.key} {item.effect.to} {item.effect.detail['text']}\n")
            answers.append(Sent(ok=True))
        return answers

    def close(self) -> None:
        """Nothing stays open."""

    @property
    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = Bench(request.param, tmp_path / "s.db").store
    yield made
    made.close()


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def claims(tmp_path: Path, store: Any, wall: Wall) -> Claims:
    """The second judgement of a program that asks for grants in one playbook and for nothing in the other."""
    playbook = "title: t\ntrigger: {signup: true}\nentry: once\nsteps: [{stop: x}]\n"
    files = {
        "drumbeat.yaml": "program: t\npolicies: {free: {consent: {marketing: none}}}\n",
        "playbooks/p.yaml": "playbook: p\n" + playbook,
        "playbooks/free.yaml": "playbook: free\npolicy: free\n" + playbook,
    }
    for name, text in files.items():
        path = tmp_path / "program" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    plan = compile_program(tmp_path / "program").plan
    assert plan is not None
    return Claims(plan, store, wall)


def message(key: str = "k", **more: Any) -> Effect:
    """A decided message: by sms to 13800, else by wecom, else to a box."""
    detail = {"template": "t", "via": "sms", "purpose": "marketing", "text": "短信"}
    spares = [Spare("wecom", "w1", "企业微信", "subject"), Spare("box", None, "盒子")]
    return structs.replace(
        Effect(
            key, 1, "p", "s", "message", "u1", None, "planned", None, detail, "sms", "marketing", "13800", spares, None
        ),
        **more,
    )  # fmt: skip


def commit(store: Any, effects: Sequence[Effect] = (), consents: dict[str, bool] | None = None, **more: Any) -> None:
    states = [] if consents is None else [State(id="u1", consents=consents)]
    batch = Batch(
        clock=more.pop("clock", 1), states=states, events=[], effects=list(effects), answers=[], resources={},
        decisions=[], goals=[], rejected=[], positions={}, **more,
    )  # fmt: skip
    store.commit(batch)


def delivered(store: Any) -> list[tuple[str, str, str | None]]:
    """(delivery, channel, reason) of every message, by key."""
    found = []
    for status in ("pending", "sending", "sent", "dead", "unknown", "cancelled"):
        found += [(item.key, status, item.channel, reason) for item, reason in store.deliveries(status)]
    return [(status, channel, reason) for _, status, channel, reason in sorted(found)]


def channels(tmp_path: Path, **nobody: set[str | None]) -> dict[str, Any]:
    return {name: Lines(name, tmp_path / f"{name}.txt", nobody.get(name, set())) for name in ("sms", "wecom", "box")}


# ---------------------------------------------------------------------- channel order


def test_the_next_channel_after_a_definitive_failure(tmp_path: Path, store: Any, wall: Wall) -> None:
    """Semantics: channel.next — "the next only on definitive failure ...; all attempts share one effect key": with the
    next channel's own text and address."""
    commit(store, [message()])
    ways = channels(tmp_path, sms={"13800"})
    assert Outbox(store, ways, wall).drain() == {"passed_on": 1, "sent": 1}
    assert (ways["sms"].lines, ways["wecom"].lines, ways["box"].lines) == ([], ["k w1 企业微信"], [])
    assert [status for status, _, _ in delivered(store)] == ["sent"]
    ((effect, delivery),) = store.effects()
    assert (effect.key, effect.deliver, delivery) == ("k", "wecom", "sent")


def test_every_channel_has_its_try_and_then_it_is_dead(tmp_path: Path, store: Any, wall: Wall) -> None:
    """Refused by all, the message is dead once, and says which channel refused it last, and why."""
    commit(store, [message()])
    ways = channels(tmp_path, sms={"13800"}, wecom={"w1"}, box={None})
    assert Outbox(store, ways, wall).drain() == {"passed_on": 2, "dead": 1}
    assert delivered(store) == [("dead", "box", "box: nobody has None")]


def test_a_passing_failure_stays_with_its_channel(tmp_path: Path, store: Any, wall: Wall) -> None:
    """Semantics: channel.passing — what may be tried again is no definitive failure, and neither is giving up."""
    commit(store, [message()])
    ways = channels(tmp_path)
    ways["sms"].send = lambda items: [Sent(ok=False, reason="busy", passing=True) for _ in items]
    outbox = Outbox(store, ways, wall)
    for _ in range(8):
        outbox.drain()
        wall.at += DAY
    assert delivered(store) == [("dead", "sms", "given up after 8 tries: busy")]
    assert ways["wecom"].lines == ways["box"].lines == []


@pytest.mark.parametrize(("mode", "status"), [("at_most_once", "unknown"), ("at_least_once", "pending")])
def test_what_may_have_gone_out_never_moves_on(
    tmp_path: Path, store: Any, wall: Wall, mode: str, status: str
) -> None:
    """Semantics: channel.passing, effect-key.unknown — "crash between send and settle: `unknown`": parked or sent
    again, by the same channel."""
    commit(store, [message()])
    ways = channels(tmp_path)
    ways["sms"].mode = mode

    def breaks() -> None:
        raise ConnectionResetError("peer went away")

    ways["sms"].breaks = breaks
    outbox = Outbox(store, ways, wall)
    outbox.drain()
    assert [(at, channel) for at, channel, _ in delivered(store)] == [(status, "sms")]
    ways["sms"].breaks = lambda: None
    wall.at += DAY
    outbox.drain()
    assert ways["wecom"].lines == []
    assert ways["sms"].lines == ([] if mode == "at_most_once" else ["k 13800 短信"])


def test_killed_at_its_second_channel(tmp_path: Path, store: Any, wall: Wall) -> None:
    """A process that dies while the second channel sends leaves the message with that channel, its tries counted
    anew."""
    commit(store, [message(purpose="service")])
    ways = channels(tmp_path, sms={"13800"})
    Outbox(store, {"sms": ways["sms"]}, wall).drain()
    (claimed,) = store.claim(["wecom"], wall.at, 9)
    assert (claimed.channel, claimed.attempts, claimed.effect.to) == ("wecom", 0, "w1")
    assert claimed.effect.detail == {
        "template": "t", "purpose": "marketing", "via": "wecom", "subject": "subject", "text": "企业微信",
    }  # fmt: skip
    outbox = Outbox(store, ways, wall)
    assert outbox.recover() == {"retry": 1}
    assert outbox.drain() == {"sent": 1}
    assert ways["wecom"].lines == ["k w1 企业微信"]


def test_a_message_without_other_channels_dies_as_ever(tmp_path: Path, store: Any, wall: Wall) -> None:
    """One channel, one refusal: dead with the channel's own words."""
    commit(store, [message(spares=())])
    assert Outbox(store, channels(tmp_path, sms={"13800"}), wall).drain() == {"dead": 1}
    assert delivered(store) == [("dead", "sms", "nobody has 13800")]


# ---------------------------------------------------------------------- consent at the claim


@pytest.mark.parametrize(
    ("consents", "outcome"),
    [
        ({"*/*": True}, ("sent", "sms", None)),
        ({"*/*": True, "sms/marketing": False}, ("sent", "wecom", None)),
        ({"box/*": True}, ("sent", "box", None)),
        ({"*/*": True, "*/marketing": False}, ("cancelled", "sms", "consent")),
        ({}, ("cancelled", "sms", "consent")),
    ],
)
def test_consent_is_judged_again(
    tmp_path: Path, store: Any, wall: Wall, claims: Claims, consents: dict[str, bool], outcome: tuple[str, str, str]
) -> None:
    """Semantics: consent.twice — "judged when decided **and** again when claimed for sending", per channel."""
    commit(store, [message()], consents)
    ways = channels(tmp_path)
    Outbox(store, ways, wall, claims).drain()
    assert delivered(store) == [outcome]
    sent = [name for name, way in ways.items() if way.lines]
    assert sent == ([outcome[1]] if outcome[0] == "sent" else [])


def test_consent_of_the_playbooks_own_policy(tmp_path: Path, store: Any, wall: Wall, claims: Claims) -> None:
    """The rule is that of the playbook that sent it; a playbook that is gone leaves the default behind."""
    commit(store, [message("a", playbook="free"), message("b", playbook="gone"), message("c", kind="webhook")], {})
    Outbox(store, channels(tmp_path), wall, claims).drain()
    assert delivered(store) == [("sent", "sms", None), ("cancelled", "sms", "consent"), ("sent", "sms", None)]


def test_consent_stands_before_the_next_channel(tmp_path: Path, store: Any, wall: Wall, claims: Claims) -> None:
    """A channel that is asked second needs its own consent too."""
    commit(store, [message()], {"sms/*": True, "box/*": True})
    ways = channels(tmp_path, sms={"13800"})
    assert Outbox(store, ways, wall, claims).drain() == {"passed_on": 2, "sent": 1}
    assert (ways["wecom"].lines, len(ways["box"].lines)) == ([], 1)


# ---------------------------------------------------------------------- valid_for at the claim


@pytest.mark.parametrize(("late", "outcome"), [(0, "sent"), (HOUR, "sent"), (HOUR + 1, "cancelled")])
def test_valid_for_is_judged_again(
    tmp_path: Path, store: Any, wall: Wall, claims: Claims, late: int, outcome: str
) -> None:
    """`valid_for` at the claim: by what passed on the machine since the decision was committed."""
    commit(store, [message(playbook="free", until=wall.at + HOUR)], clock=DAY)
    wall.at += late
    Outbox(store, channels(tmp_path), wall, claims).drain()
    assert delivered(store) == [(outcome, "sms", "expired" if outcome == "cancelled" else None)]


# ---------------------------------------------------------------------- taking back


def test_what_is_not_being_sent_is_taken_back(tmp_path: Path, store: Any, wall: Wall) -> None:
    """Semantics: exit.cancels — "cancels its queued effects", in the same transaction, counted; what is being sent,
    was sent, or is not known stays as it is; so does what this very batch decided: a backlog goes out as it would
    have."""
    commit(store, [message(key) for key in ("a", "b", "c", "d")])
    store.claim(["sms"], wall.at, 1)
    Outbox(store, {"sms": channels(tmp_path)["sms"]}, wall).drain(1)
    commit(store, [message("e")], cancels=[(key, "goal") for key in ("a", "b", "c", "e", "nobody's")])
    assert delivered(store) == [
        ("sending", "sms", None), ("sent", "sms", None), ("cancelled", "sms", "goal"), ("pending", "sms", None),
        ("pending", "sms", None),
    ]  # fmt: skip
    assert store.counts()["cancelled"] == 1
    assert store.outcomes("u1") == {"c": "goal"}
    ways = channels(tmp_path)
    Outbox(store, ways, wall).drain()
    assert [line[0] for line in ways["sms"].lines] == ["b", "d", "e"]
