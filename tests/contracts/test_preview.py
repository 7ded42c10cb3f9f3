"""``drumbeat preview`` shows what goes out: compared with what real servers and files got, and testers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mailbox_server import MAILS, mailbox
from provider import Provider, serving

from engine.cli import picture
from engine.cli.main import run
from engine.insight import sms
from engine.wiring import open_store

pytest.importorskip("apprise")
# the library's plugins use modules of Python that are to go
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TIME = "2026-03-02T02:00:00Z"
HEAD = """\
program: tea
timezone: Asia/Shanghai
locale: en
profile: {{name: text | none, email: text | none, phone: text | none, locale: text | none, zone: text | none}}
feeds: [{{file: feed.jsonl}}, {{http: {{port: 0}}}}]
links: {{base: "https://go.shop.example", hosts: [shop.example]}}
preview: {{allow: [qa@shop.example, "${{QA_PHONE}}"]}}
channels:
  email:
    {{via: smtp, url: "smtp://127.0.0.1:{mail}", starttls: never, from: "Tea <hi@shop.example>", address: user.email}}
  sms:
    via: http
    url: "http://127.0.0.1:{http}/send/{{{{ to }}}}"
    address: user.phone
    headers: {{X-Token: "${{SMS_TOKEN}}"}}
    body: {{text: "{{{{ text }}}}", to: "{{{{ to }}}}", ref: "{{{{ key }}}}"}}
    allow_http: true
    allow_private: true
  hook:
    via: webhook
    url: "http://127.0.0.1:{http}/hook"
    secret: ["${{HOOK_SECRET}}"]
    allow_http: true
    allow_private: true
  box: {{via: file, path: out/box.jsonl}}
  screen: {{via: console}}
  robot: {{via: apprise, url: "json://127.0.0.1:{http}/robot"}}
policies: {{default: {{consent: {{marketing: opt_out, service: none}}, quiet_hours: never}}}}
"""
COUPON = """
groups:
  club: {title: 读书会, channel: box, rooms: [{id: r, link: "https://x.example/1", capacity: 9}]}
  team@shop.example: {title: Team, channel: email}
  "+300": {title: 短信群, channel: sms}
  tea: {title: Tea, channel: hook}
  wall: {title: 墙, channel: screen}
  bot: {title: Bot, channel: robot}
coupons:
  gift: {title: t, value: {off: 5}, codes: {generate: TEA}, valid_for: 7d, limits: {per_user: 1, total: 9}}
"""
CHANNELS = ("email", "sms", "hook", "box", "screen", "robot")
STEPS = "".join(
    f"  - message: {{template: hello, via: {name}, purpose: marketing}}\n    id: by_{name}\n" for name in CHANNELS
)
BOOK = f"""\
playbook: thanks
title: 谢谢
owner: tea@shop.example
trigger: {{event: order.paid}}
entry: {{mode: parallel, limit: unlimited}}
steps:
{STEPS}"""
GIFT = """\
playbook: gift
title: t
owner: tea@shop.example
trigger: {event: gift.asked}
entry: {mode: once}
steps:
  - {coupon: {pool: gift, on_exhausted: stop}, id: code}
  - {message: {template: gift, via: sms, purpose: service}, id: tell}
"""
ROOMS = {"email": "team@shop.example", "sms": "+300", "hook": "tea", "box": "club", "screen": "wall", "robot": "bot"}
"""Channel -> the group that is written to by it."""
POSTS = "".join(
    f'  - {{post: {{group: "{name}", template: said, with: {{about: "{{{{ event.topic }}}}"}}}}, id: by_{way}}}\n'
    for way, name in ROOMS.items()
)
SAYING = """\
playbook: {name}
title: t
owner: tea@shop.example
subject: {name}
trigger: {{event: said.{name}}}
entry: {{mode: parallel, limit: unlimited}}
steps:
{posts}"""
SAID = """\
---
subject: "{{ group.title }} {{ with.about }}"
---
{{ group.title }} 群：{{ with.about }} <{{ event.topic }}>
.
"""
HTML = """\
---
subject: "Thank you, {{ user.name }}"
format: html
link_shop: "https://shop.example/o?ref={{ event.order }}"
---
<html><head><title>t</title></head><body><h1>谢谢 {{ user.name }}</h1>
<p>You paid {{ event.amount }}. <a href="{{ links.shop }}">again</a>
<a href="{{ links.unsubscribe }}">stop</a></p></body></html>
"""
ROOM = """\
playbook: room
title: t
owner: tea@shop.example
subject: group
trigger: {event: group.joined}
entry: {mode: parallel, limit: unlimited}
steps:
  - {post: {template: room}, id: tell}
"""
TEMPLATES = {
    "templates/room.box.j2": "{{ group.title }}: {{ event.user }} 来了 {{ group.members }}\n",
    "templates/room.hook.j2": "{{ group.title }} grows",
    "templates/hello.email.en.j2": HTML,
    "templates/hello.email.zh-CN.j2": "---\nsubject: 谢谢\n---\n谢谢 {{ user.name }}\n.\n收到 {{ event.amount }}\n",
    "templates/hello.sms.j2": "Hi {{ user.name }}, {{ event.amount }} received. {{ links.unsubscribe }}",
    "templates/hello.hook.j2": "hook {{ user.name }} {{ event.amount }}",
    "templates/hello.box.j2": "盒 {{ user.name }} {{ event.amount }}\n",
    "templates/hello.screen.j2": "screen {{ user.name }}",
    "templates/hello.robot.j2": "---\ntitle: Robot\n---\nrobot {{ user.name }}",
    "templates/gift.sms.j2": "{{ user.name }}: {{ steps.code.code }}",
    "templates/hello.sms.zh-CN.j2": "您好{{ user.name }}，收到 {{ event.amount }} 元。{{ links.unsubscribe }}",
    "templates/hello.hook.zh-CN.j2": "钩 {{ user.name }} {{ event.amount }}",
    "templates/hello.box.zh-CN.j2": "匣 {{ user.name }} {{ event.amount }}\n",
    "templates/hello.screen.zh-CN.j2": "屏 {{ user.name }}",
    "templates/hello.robot.zh-CN.j2": "---\ntitle: 机器人\n---\n机器人 {{ user.name }}",
    "templates/said.email.j2": SAID,
    "templates/said.robot.j2": SAID.replace("subject", "title"),
    **{f"templates/said.{way}.j2": SAID.split("---\n")[2] for way in ("sms", "hook", "box", "screen")},
    "templates/alone.box.j2": "nobody sends this to {{ user.name }}",
}
ROWS = [
    {"id": "e1", "type": "user.signup", "user": "u1", "time": "2026-03-01T02:00:00Z",
     "data": {"name": "Ada", "email": "ada@shop.example", "phone": "+100", "locale": "en"}},
    {"id": "e2", "type": "user.signup", "user": "u2", "time": "2026-03-01T03:00:00Z",
     "data": {"name": "阿达" * 30, "email": "u2@shop.example", "phone": "+200", "locale": "zh-CN"}},
    {"id": "e3", "type": "order.paid", "user": "u1", "time": TIME, "data": {"amount": 20.5, "order": "o 1"}},
    {"id": "e4", "type": "order.paid", "user": "u2", "time": TIME, "data": {"amount": 7, "order": "o2"}},
    {"id": "e5", "type": "group.joined", "user": "u1", "group": "club", "time": TIME, "data": {}},
    *({"id": f"s{n}", "type": f"said.{kind}", "user": "u1", "group": "club", "time": TIME, "data": {"topic": topic}}
      for n, (kind, topic) in enumerate((("program", "茶" * 30), ("user", "a & b"), ("group", "a"), ("program", "c")))),
]  # fmt: skip


class World:
    """A program on a store, what its channels sent, and the verb."""

    def __init__(self, root: Path, provider: Provider, port: int, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.provider, self.port, self.capsys = root, provider, port, capsys
        self.screen = capsys.readouterr().out  #: what the console channel printed, among others

    def preview(self, *words: str, code: int = 0) -> Any:
        """What the verb prints as JSON, or on standard error where it must fail."""
        self.capsys.readouterr()
        asked = ["preview", *words, "--program", str(self.root)]
        assert run([*asked, *([] if code > 1 else ["--format", "json"])]) == code
        out, err = self.capsys.readouterr()
        return json.loads(out) if code < 2 else err

    def wire(self, user: str, channel: str) -> dict[str, Any]:
        """The wire form of the message of a channel."""
        said = self.preview(f"thanks:by_{channel}", "--user", user, "--wire", "--at", TIME)
        (form,) = said["messages"][0]["forms"]
        found: dict[str, Any] = form["wire"]
        return found


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Provider, int]]:
    """A provider of HTTP and a mail server."""
    with serving() as provider, mailbox() as port:
        yield provider, port


@pytest.fixture
def world(
    tmp_path: Path, servers: tuple[Provider, int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> World:
    """The program, run over its feed."""
    provider, port = servers
    provider.requests.clear()
    MAILS[port].clear()
    monkeypatch.setenv("SMS_TOKEN", "s3cret-token")
    monkeypatch.setenv("QA_PHONE", "+999")
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")
    files = {"drumbeat.yaml": HEAD.format(mail=port, http=provider.port), "playbooks/thanks.yaml": BOOK,
             "playbooks/gift.yaml": GIFT, "playbooks/room.yaml": ROOM,
             **{f"playbooks/{it}.yaml": SAYING.format(name=it, posts=POSTS) for it in ("program", "user", "group")},
             "playbooks/catalog/c.yaml": COUPON, **TEMPLATES,
             "feed.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS)}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert run(["run", "--until-idle", "--program", str(tmp_path)]) == 0
    return World(tmp_path, provider, port, capsys)


_TOKEN = re.compile(r"(https://go\.shop\.example/[uc]/)([A-Za-z0-9_=-]+)")


def plain(text: str) -> str:
    """A text with the tokens of its links as long and otherwise blank: a preview's lead nowhere."""
    return _TOKEN.sub(lambda match: match[1] + "x" * len(match[2]), text)


def test_preview_is_what_is_delivered_byte_for_byte(world: World) -> None:
    """Mail (HTML and text), HTTP, webhook, file, console and Apprise, for two people in two locales.

    Semantics: preview.bytes, render.preview
    """
    mails = {re.search(rb"(?m)^To: (.*?)\r$", raw)[1].decode(): raw for raw in MAILS[world.port]}  # type: ignore[index]
    lines = (world.root / "out/box.jsonl").read_bytes().splitlines(keepends=True)
    requests: dict[str, list[Any]] = {}
    for request in world.provider.requests:
        requests.setdefault(request.path.split("/")[1], []).append(request)
    people = (("u1", "+100", "ada@shop.example", "Ada"), ("u2", "+200", "u2@shop.example", "阿达" * 30))
    for user, phone, mail, name in people:
        got = mails[mail].decode()
        wired = world.wire(user, "email")["body"]
        no_date = re.compile(r"(?m)^Date: .*\r\n")
        # transfer encodings break long lines, so tokens are blanked once these are undone
        assert no_date.sub("", _undone(wired)) == no_date.sub("", _undone(got))
        assert len(wired) == len(got)
        if user == "u2":  # without links in its body nothing hides behind an encoding
            assert plain(no_date.sub("", wired)) == plain(no_date.sub("", got))
        sent = next(it for it in requests["send"] if it.path.endswith(phone.replace("+", "%2B")))
        wire = world.wire(user, "sms")
        assert plain(wire["body"]) == plain(sent.body.decode())
        head = dict(wire["head"])
        assert (head["url"].rsplit("/", 1)[1], head["X-Token"]) == (phone.replace("+", "%2B"), "***")
        assert head["Idempotency-Key"] == sent.headers["idempotency-key"]
        hooked = [it for it in requests["hook"] if _of(json.loads(it.body)["data"]) == (user, "thanks")]
        wire = world.wire(user, "hook")
        assert plain(wire["body"]) == plain(hooked[0].body.decode())
        assert (dict(wire["head"])["webhook-signature"], "webhook-signature" in hooked[0].headers) == ("***", True)
        line = next(it for it in lines if _of(json.loads(it)) == (user, "thanks"))
        assert plain(world.wire(user, "box")["body"]) == plain(line.decode())
        robot = next(it.json() for it in requests["robot"] if it.json()["message"].endswith(name))
        wire = world.wire(user, "robot")
        assert (wire["body"], wire["head"]) == (robot["message"], [["title", robot["title"]]])
        assert world.wire(user, "screen")["body"] in world.screen
    tokens = _TOKEN.findall(world.wire("u1", "sms")["body"])
    assert tokens
    assert all(token.startswith("TEST") for _, token in tokens)


def _of(row: dict[str, Any]) -> tuple[str, str]:
    return row["user"], row["playbook"]


def test_a_post_of_a_group_is_what_is_delivered(world: World) -> None:
    """What a playbook of groups posts, for a group; a user has no such message, and that is said.

    Semantics: preview.bytes, render.preview
    """
    lines = (world.root / "out/box.jsonl").read_bytes().splitlines(keepends=True)
    (line,) = [it for it in lines if json.loads(it)["playbook"] == "room"]
    said = world.preview("room", "--group", "club", "--wire", "--at", TIME)
    (message,) = said["messages"]
    (form,) = message["forms"]
    assert (message["purpose"], form["channel"], form["to"]) == ("community", "box", "club")
    assert form["text"].startswith("读书会: ")
    assert form["wire"]["body"] == line.decode()
    both = world.preview("room:tell", "--group", "club", "--all", "--at", TIME)["messages"][0]["forms"]
    assert [it["channel"] for it in both] == ["hook", "box"]
    assert "playbook 'room' is about groups" in world.preview("room", "--user", "u1", code=2)
    assert "playbook 'thanks' is about users" in world.preview("thanks", "--group", "club", code=2)


WHOM = {"program": (), "user": ("--user", "u1"), "group": ("--group", "club")}


def test_posts_by_every_channel_for_users_groups_and_the_program(world: World) -> None:
    """Six channels, three kinds of subjects: what each sent is what is shown; of the program nobody is named.

    Semantics: preview.bytes, render.preview
    """
    requests = {it.path.split("/")[1]: [] for it in world.provider.requests}  # type: ignore[var-annotated]
    for request in world.provider.requests:
        requests[request.path.split("/")[1]].append(request)
    lines = (world.root / "out/box.jsonl").read_text("utf-8").splitlines(keepends=True)
    sent = {
        "sms": [it.body.decode() for it in requests["send"]], "hook": [it.body.decode() for it in requests["hook"]],
        "robot": [it.json()["message"] for it in requests["robot"]], "box": lines, "screen": [world.screen],
        "email": [_no_date(raw.decode()) for raw in MAILS[world.port]],
    }  # fmt: skip
    for kind, named in WHOM.items():
        messages = world.preview(kind, *named, "--wire", "--at", TIME)["messages"]
        forms = {it["step"]: it["forms"][0] for it in messages}
        assert len(forms) == 6
        for way, group in ROOMS.items():
            form = forms[f"by_{way}"]
            assert (form["channel"], form["to"], form["status"]) == (way, group, "ready"), (kind, way, form)
            body = form["wire"]["body"]
            if way == "screen":
                assert body in world.screen
            else:
                assert sent[way].count(_no_date(body) if way == "email" else body) == 1, (kind, way)
    head = dict(world.preview("program:by_sms", "--wire")["messages"][0]["forms"][0]["wire"]["head"])
    (own,) = [it for it in requests["send"] if it.headers["idempotency-key"] == head["Idempotency-Key"]]
    assert own.path.endswith("%2B300")


def _no_date(raw: str) -> str:
    return re.sub(r"(?m)^Date: .*\r\n", "", raw)


def test_the_longest_over_groups_and_over_events_of_the_program(world: World) -> None:
    """Worst lengths where nobody's name is at hand: over all groups; of the program over what it heard; by locale."""
    (worst,) = world.preview("room", "--longest", "50", "--channel", "box")["messages"][0]["longest"]
    assert (worst["over"], worst["people"], worst["refused"]) == ("group", 1, 0)
    assert (worst["group"], worst["user"]) == ("club", None)
    (said,) = world.preview("program:by_sms", "--longest", "50", "--channel", "sms")["messages"]
    (worst,) = said["longest"]
    assert (said["forms"], worst["over"], worst["people"], worst["event"]) == ([], "program", 2, "s0")
    assert (worst["alphabet"], worst["segments"], worst["letters"]) == ("UCS-2", 2, 71)
    (worst,) = world.preview("program:by_sms", "--longest", "1", "--channel", "sms")["messages"][0]["longest"]
    assert (worst["people"], worst["event"], worst["segments"]) == (1, "s3", 1)
    rows = world.preview("thanks:by_sms", "--longest", "50", "--all")["messages"][0]["longest"]
    assert [(it["channel"], it["locale"], it["user"]) for it in rows] == [("sms", "zh-CN", "u2"), ("sms", None, "u2")]
    world.capsys.readouterr()
    words = ["--program", str(world.root), "--longest", "9"]
    assert run(["preview", "program:by_sms", *words]) == 0
    assert "for event s0 (2 events looked at, 0 without a message)" in world.capsys.readouterr().out
    assert run(["preview", "thanks:by_sms", "--all", *words]) == 0
    assert "longest by sms, zh-CN: " in world.capsys.readouterr().out


def test_somebody_made_up_may_be_a_group_or_the_program(world: World) -> None:
    """A sample is of the kind the playbook is about; what it is not said to have is missing, as in a journey."""
    sample = world.root / "made.json"
    event = {"type": "said.program", "data": {"topic": "t"}}
    sample.write_text(json.dumps({"event": event}))
    (form,) = world.preview("program:by_box", "--sample", str(sample))["messages"][0]["forms"]
    assert form["text"].startswith("读书会 群：t <t>")
    sample.write_text(json.dumps({"group": "club", "members": 12, "event": {"type": "group.joined"}, "user": "u7"}))
    (form,) = world.preview("room", "--sample", str(sample))["messages"][0]["forms"]
    assert form["text"] == "读书会: u7 来了 12"
    sample.write_text(json.dumps({"group": "club", "members": "many"}))
    assert "members is how many" in world.preview("room", "--sample", str(sample), code=1)["error"]
    assert "playbook 'program' is about the program" in world.preview("program", "--user", "u1", code=2)
    assert "preview needs a group" in world.preview("room", code=2)


def _undone(raw: str) -> str:
    """A mail with its transfer encodings undone, but its date, tokens blanked."""
    return plain(_words(raw))


def _words(raw: str) -> str:
    from email import message_from_bytes, policy

    mail = message_from_bytes(raw.encode(), policy=policy.SMTP)
    head = "".join(f"{key}: {value}\r\n" for key, value in mail.items() if key != "Date")
    parts = [f"{part.get_content_type()}\n{part.get_content()}" for part in mail.walk() if not part.is_multipart()]
    return f"{head}{mail.get_boundary()}\n" + "\n".join(parts)


def test_all_forms_side_by_side_samples_and_segments(world: World) -> None:
    """Every channel and locale; sample codes; segments of SMS; the longest over everybody; a template nobody sends."""
    said = world.preview("thanks:by_email", "--user", "u1", "--all")
    forms = [(it["channel"], it["locale"]) for it in said["messages"][0]["forms"]]
    assert forms == [("email", "en"), ("email", "zh-CN")]
    assert len(world.preview("thanks", "--user", "u1")["messages"]) == len(CHANNELS)
    (gift,) = world.preview("gift:tell", "--user", "u1")["messages"]
    (form,) = gift["forms"]
    assert (form["text"], form["samples"]) == ("Ada: TEA-SAMPLE0000000000", ["code"])
    said = world.preview("thanks:by_sms", "--longest", "50")
    (worst,) = said["messages"][0]["longest"]
    assert (worst["user"], worst["alphabet"], worst["people"]) == ("u2", "UCS-2", 2)
    assert worst["segments"] >= 2
    (long,) = world.preview("thanks:by_sms", "--user", "u2")["messages"]
    assert any("segments of SMS" in it for it in long["forms"][0]["warnings"])
    (alone,) = world.preview("alone", "--user", "u1")["messages"]
    assert (alone["playbook"], alone["forms"][0]["text"]) == (None, "nobody sends this to Ada")
    sample = world.root / "user.json"
    sample.write_text(json.dumps({"user": "x", "traits": {"name": "Bo"}, "event": {"type": "order.paid", "data": {}}}))
    said = world.preview("thanks:by_hook", "--sample", str(sample), code=1)
    (form,) = said["messages"][0]["forms"]
    assert (form["status"], form["reason"]) == ("suppressed", "missing_variable")
    assert "event.amount" in form["words"]
    sample.write_text(json.dumps({"traits": {"name": "Bo"}, "event": {"type": "order.paid", "data": {"amount": 1.50}}}))
    (form,) = world.preview("thanks:by_hook", "--sample", str(sample))["messages"][0]["forms"]
    assert form["text"].startswith("hook Bo 1.5")


def test_a_test_goes_to_the_allow_listed_alone_and_is_recorded_nowhere(world: World) -> None:
    """Marked in subject, header and text; no link in it works; nothing of it stands in the store.

    Semantics: preview.test
    """
    store = open_store(_settings(world.root), world.root, read_only=True)
    before = [(effect.key, status) for user in ("u1", "u2") for effect, status in store.effects(user)]
    MAILS[world.port].clear()
    world.provider.requests.clear()
    said = world.preview("thanks:by_email", "--user", "u1", "--to", "qa@shop.example")
    assert said["messages"][0]["forms"][0]["test"]["to"] == "qa@shop.example"
    (raw,) = MAILS[world.port]
    for part in (b"Subject: [TEST] Thank you, Ada\r\n", b"X-Drumbeat-Test: yes\r\n", b"To: qa@shop.example\r\n"):
        assert part in raw
    assert b"List-Unsubscribe" not in raw
    assert "<body>[TEST] <h1>" in _words(raw.decode())
    assert "/u/TEST" in _words(raw.decode())
    world.preview("thanks:by_sms", "--user", "u1", "--to", "+999")
    (request,) = world.provider.requests
    assert request.json()["text"].startswith("[TEST] Hi Ada")
    assert request.json()["ref"].startswith("test:")
    for to in ("ada@shop.example", "qa@shop.example.evil"):
        assert "not among the addresses" in world.preview("thanks:by_email", "--user", "u1", "--to", to, code=2)
    assert "no addresses" in world.preview("thanks:by_box", "--user", "u1", "--to", "+999", code=2)
    assert "several" in world.preview("thanks", "--user", "u1", "--to", "+999", code=2)
    assert (len(MAILS[world.port]), len(world.provider.requests)) == (1, 1)
    after = [(effect.key, status) for user in ("u1", "u2") for effect, status in store.effects(user)]
    store.close()
    assert after == before


def _settings(root: Path) -> Any:
    from engine.language.compile import compile_program

    return compile_program(root).settings


@pytest.mark.parametrize(
    ("text", "alphabet", "units", "segments"),
    [
        ("", "GSM-7", 0, 1), ("a" * 160, "GSM-7", 160, 1), ("a" * 161, "GSM-7", 161, 2), ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3), ("€" * 80, "GSM-7", 160, 1), ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),
        ("你" * 70, "UCS-2", 70, 1), ("你" * 71, "UCS-2", 71, 2), ("你" * 134, "UCS-2", 134, 2),
        ("你" * 135, "UCS-2", 135, 3), ("😀" * 35, "UCS-2", 70, 1), ("😀" * 67, "UCS-2", 134, 3),
        ("Ünï", "UCS-2", 3, 1),
    ],
)  # fmt: skip
def test_segments_are_counted_as_networks_do(text: str, alphabet: str, units: int, segments: int) -> None:
    """GSM-7 with its extension table, UCS-2; what takes two units is not split between segments."""
    found = sms.size(text)
    assert (found.alphabet, found.units, found.segments) == (alphabet, units, segments)


def test_a_mail_as_a_picture(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG where Chromium is; a plain word on what to install where it is not."""
    monkeypatch.setenv("PATH", str(world.root))
    said = world.preview("thanks:by_email", "--user", "u1", "--image", str(world.root / "x.png"), code=3)
    assert "needs Chromium" in said
    monkeypatch.undo()
    try:
        picture.browser()
    except Exception:
        pytest.skip("Chromium is not on this machine")
    out = world.root / "mail.png"
    leak = '<img src="file:///etc/hostname"><script>document.body.innerHTML="ran"</script>'
    picture.picture(f"<html><head></head><body><h1>谢谢</h1>{leak}</body></html>", out, html=True)
    raw = out.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])) == (700, 1000)
