"""Builds a whole program around a piece of YAML, so that every example of the docs can be put to the real compiler.

An example is one or several files (``# file: NAME`` begins one). A file whose first key belongs to a playbook, to the
program file or to the catalog is filled up with what it leaves out.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.core.shapes import Map
from engine.language.compile import compile_program
from engine.language.compiled import Compiled
from engine.language.forms import PLAYBOOK, PROGRAM, SECTIONS

ROOT = Path(__file__).resolve().parents[2]

PROGRAM_PARTS = {
    "program": "program: example",
    "timezone": "timezone: Asia/Shanghai",
    "locale": "locale: en",
    "profile": "profile: {name: text | none, city: text | none, birthday: date | none, "
    "invited_by: text | none, stage: text | none, first_amount: money | none}",
    "events": "events:\n  order.paid: {order_id: text | none, amount: money}\n  app.opened: {}\n  checkin: {}\n"
    "  user.signup: {source: [app, invite, import, none]}\n  '*': open",
    "channels": "channels:\n  sms: {via: file, path: out/sms.jsonl}\n  wecom: {via: console}\n"
    "  box: {via: file, path: out/box.jsonl}\n  webhook: {via: file, path: out/webhooks.jsonl}",
}
CATALOG_PARTS = {
    "segments": "segments:\n  dormant: {if: user.last_active_at is older_than('30d')}\n"
    "  staff: {if: user.city == 'Lima'}",
    "tiers": "tiers:\n  member: {metric: \"sum('order.paid', 'amount')\", "
    "levels: {bronze: 0, silver: 500, gold: 2000}}",
    "coupons": "coupons:\n  new-user-20: {codes: {generate: NU}, valid_for: 7d, limits: {per_user: 1, total: 100}}\n"
    "  new-user-10: {codes: {generate: NT}, limits: {per_user: 1, total: unlimited}}",
    "rewards": "rewards:\n  tea-mug: {points: 300, stock: 200, per_user: 1}",
    "badges": "badges:\n  gold-club: {title: Gold}",
    "groups": "groups:\n  sh-runners:\n    rooms: [{id: r-1, link: 'https://g.example/r1', capacity: 20}]\n"
    "  newcomers:\n    rooms: [{id: n-1, link: 'https://g.example/n1', capacity: 20}]",
}
PLAYBOOK_PARTS = {
    "playbook": "playbook: example",
    "title": "title: Example",
    "owner": "owner: ops@shop.example",
    "trigger": "trigger: {event: order.paid}",
    "entry": "entry: once",
    "steps": "steps:\n  - points: 1",
}
THANKS = {"playbook": "playbook: thanks", "trigger": "trigger: {called: true}"}
"""A playbook to be started by an example."""
TEMPLATES = {
    "templates/welcome/hello.sms.j2": "Hello.\n",
    "templates/welcome/hello.wecom.j2": "Hello.\n",
}

_FILE = re.compile(r"^# file: (\S+)\n", re.MULTILINE)


def files_of(example: str) -> dict[str, str]:
    """File name -> text of an example; a single piece is named by its first key."""
    parts = _FILE.split(example)
    if len(parts) > 1:
        return dict(zip(parts[1::2], parts[2::2], strict=True))
    first = _keys(example)[0]
    # 'points' is a section of the catalog too, but the verbs stand below 'steps'
    if first in SECTIONS:
        return {"playbooks/catalog/example.yaml": example}
    return {"drumbeat.yaml" if first in PROGRAM.fields else "playbooks/example.yaml": example}


def write_program(root: Path, files: dict[str, str]) -> Path:
    """Write a program that holds ``files`` and, where they leave something out, what belongs around them."""
    everything = dict(TEMPLATES)
    taken = {key for name, text in files.items() if "/catalog/" in name for key in _keys(text)}
    everything["playbooks/catalog/around.yaml"] = _joined(CATALOG_PARTS, taken)
    if any("- start: thanks" in text for text in files.values()) and "playbooks/b.yaml" not in files:
        everything["playbooks/thanks.yaml"] = _joined({**PLAYBOOK_PARTS, **THANKS}, set())
    everything["drumbeat.yaml"] = ""
    everything |= files
    everything["drumbeat.yaml"] = _filled(everything["drumbeat.yaml"], PROGRAM_PARTS, PROGRAM)
    for name in files:
        if name.startswith("playbooks/") and "/catalog/" not in name:
            # an example that writes its own id leaves the owner out on purpose
            own = "playbook" in _keys(files[name])
            parts = {key: text for key, text in PLAYBOOK_PARTS.items() if key != "owner" or not own}
            everything[name] = _filled(files[name], parts, PLAYBOOK)
    for name, text in everything.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def compiled(root: Path, example: str) -> Compiled:
    """The program around an example, compiled."""
    return compile_program(write_program(root, files_of(example)))


def codes(found: Compiled) -> set[str]:
    """The codes of everything wrong with a program; what the program around a piece leaves unused is not."""
    around = {"playbooks/catalog/around.yaml", *TEMPLATES}
    return {problem.code for problem in found.problems if problem.code != "unused" or problem.file not in around}


def step(body: str) -> str:
    """A playbook of one step, after a coupon whose id is ``gift``."""
    inner = body.strip().replace("\n", "\n    ")
    return f"steps:\n  - coupon: new-user-20\n    id: gift\n  - {inner}\n"


def _filled(text: str, parts: dict[str, str], shape: Map) -> str:
    keys = set(_keys(text))
    if text.strip() and not keys & set(shape.fields):
        return text
    return _joined(parts, keys) + text.rstrip("\n") + "\n"


def _joined(parts: dict[str, str], without: set[str]) -> str:
    return "".join(f"{text}\n" for key, text in parts.items() if key not in without)


def _keys(text: str) -> list[str]:
    return re.findall(r"^['\"]?([A-Za-z_*][\w.*-]*)['\"]?:", text, re.MULTILINE)
